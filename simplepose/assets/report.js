"use strict";
(() => {
  const PAGE_ROWS = 50, FIRST_CARDS = 6, KINDS = ["jitter", "inversion", "swap", "miss", "score", "background", "missed"];
  const ONE = ["jittered keypoint", "inverted keypoint", "swapped keypoint", "missed keypoint", "wrong score", "background person", "missed person"];
  const MANY = ["jittered", "inverted", "swapped", "missed keypoints", "wrong scores", "background people", "missed people"];
  const CODES = { g: "good", j: "jitter", i: "inversion", s: "swap", m: "miss" };
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("data").textContent);
  const images = data.images.map(([name, ap, change, annotated, found, counts, people], index) => ({
    index, name, ap, change, annotated, found, counts, people,
    errors: counts.reduce((sum, count) => sum + count, 0),
    score: people.reduce((best, value, at) => (at % 3 === 2 ? Math.max(best, value) : best), -1000),
  }));
  const state = { page: 0, key: "ap", descending: false, expanded: false, shown: [], viewed: 0 };
  const form = byId("filters");

  function make(tag, properties, ...children) {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  }

  function makeSvg(tag, attributes) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  }

  const percent = (value) => (value === null ? "–" : (value / 10).toFixed(1));
  const signed = (value) => (value === null ? "–" : (value < 0 ? "−" : "+") + (Math.abs(value) / 10).toFixed(1));
  const number = (value) => value.toLocaleString("en-US");

  // Filters: an image is kept if one of its people meets all conditions.
  function readFilter() {
    const values = new FormData(form);
    const score = (name) => (values.get(name) === "" ? null : 1000 * Number(values.get(name)));
    return {
      view: values.get("view"),
      bit: values.get("kind") === "" ? 0 : 1 << Number(values.get("kind")),
      size: values.get("size") === "" ? null : Number(values.get("size")),
      low: score("low"), high: score("high"),
      text: values.get("text").trim().toLowerCase(),
    };
  }

  function keeps(filter, image) {
    if (filter.text && !image.name.toLowerCase().includes(filter.text)) return false;
    const scored = filter.low !== null || filter.high !== null;
    if (!filter.bit && filter.size === null && !scored) return true;
    for (let at = 0; at < image.people.length; at += 3) {
      const [bits, size, score] = image.people.slice(at, at + 3);
      if (filter.bit && !(bits & filter.bit)) continue;
      if (filter.size !== null && size !== filter.size) continue;
      if (scored && (score < 0 || score < (filter.low ?? 0) || score > (filter.high ?? Infinity))) continue;
      return true;
    }
    return false;
  }

  const SORT_VALUES = {
    name: (image) => image.name, ap: (image) => image.ap, change: (image) => image.change,
    people: (image) => image.annotated, score: (image) => image.score, errors: (image) => image.errors,
  };

  function sorted(list) {
    const value = SORT_VALUES[state.key], sign = state.descending ? -1 : 1;
    return list.sort((a, b) => {
      const x = value(a), y = value(b);
      if (x === null || y === null) return (x === null) - (y === null); // images without a value are last
      return (x < y ? -sign : x > y ? sign : 0) || b.errors - a.errors || a.index - b.index;
    });
  }

  function update() {
    const filter = readFilter(), all = filter.view === "all";
    const pool = all ? images : data[filter.view].map((index) => images[index]);
    const kept = pool.filter((image) => keeps(filter, image));
    state.shown = all ? sorted(kept) : kept;
    byId("count").textContent = kept.length === pool.length
      ? `${number(kept.length)} ${kept.length === 1 ? "image" : "images"}.`
      : `${number(kept.length)} of ${number(pool.length)} images.`;
    byId("gallery").hidden = all;
    byId("list").hidden = !all;
    if (all) drawTable(); else drawGallery();
    if (all) byId("more").hidden = true;
  }

  function describe(image) { // [kind, text] of each kind of errors in an image
    return image.counts.flatMap((count, kind) => (count ? [[KINDS[kind], `${count} ${(count === 1 ? ONE : MANY)[kind]}`]] : []));
  }

  function chips(image) {
    const list = make("div", { className: "chips" }, ...describe(image).map(([className, text]) => make("span", { className }, text)));
    if (!list.childNodes.length) list.append("no errors");
    return list;
  }

  function drawGallery() {
    const limit = state.expanded ? state.shown.length : FIRST_CARDS;
    const cards = state.shown.slice(0, limit).map((image, position) => {
      const card = make("button", { type: "button", className: "card" }, drawPair(image),
        make("div", { className: "text" },
          make("div", { className: "title" }, make("span", {}, image.name), make("span", {}, `AP ${percent(image.ap)}`)),
          chips(image)));
      card.setAttribute("aria-label", `${image.name}, AP ${percent(image.ap)}, ${describe(image).map(([, text]) => text).join(", ") || "no errors"}: enlarge`);
      card.addEventListener("click", () => openViewer(position));
      return card;
    });
    if (!cards.length) cards.push(make("p", { className: "empty" }, "No image matches the filter."));
    byId("gallery").replaceChildren(...cards);
    byId("more").hidden = state.shown.length <= limit;
    byId("more").textContent = `Show all ${state.shown.length}`;
  }

  function drawTable() {
    const pages = Math.max(1, Math.ceil(state.shown.length / PAGE_ROWS));
    state.page = Math.min(state.page, pages - 1);
    const first = state.page * PAGE_ROWS;
    const rows = state.shown.slice(first, first + PAGE_ROWS).map((image, offset) => {
      const row = make("tr", {});
      const cell = (...content) => row.append(make("td", {}, ...content));
      if (data.examples[image.index]) {
        const open = make("button", { type: "button", title: image.name }, image.name);
        open.addEventListener("click", () => openViewer(first + offset));
        cell(open);
      } else cell(make("span", { title: image.name }, image.name));
      cell(percent(image.ap));
      if (document.querySelector("[data-key=change]")) cell(signed(image.change));
      cell(`${image.found} / ${image.annotated}`);
      cell(image.score < 0 ? "–" : (image.score / 1000).toFixed(2));
      cell(chips(image));
      return row;
    });
    byId("rows").replaceChildren(...rows);
    byId("page").textContent = `Page ${state.page + 1} of ${pages}`;
    byId("previous").disabled = state.page === 0;
    byId("next").disabled = state.page >= pages - 1;
    for (const head of document.querySelectorAll("[data-key]")) {
      if (head.dataset.key === state.key) head.setAttribute("aria-sort", state.descending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
  }

  // Truth and prediction side by side, the poses over one small image.
  function drawPair(image) {
    const example = data.examples[image.index];
    const panels = [["Truth", drawTruth], ["Prediction", drawFound]].map(([title, draw]) => {
      const panel = make("div", { className: "panel" }, make("b", {}, title));
      panel.style.setProperty("--ratio", `${example.size[0]} / ${example.size[1]}`);
      if (example.jpeg) panel.append(make("img", { src: example.jpeg, alt: "", decoding: "async" }));
      else panel.append(make("em", {}, "The image cannot be read."));
      const drawing = makeSvg("svg", { viewBox: `0 0 ${example.size[0]} ${example.size[1]}`, "aria-hidden": "true" });
      draw(drawing, example);
      panel.append(drawing);
      return panel;
    });
    return make("div", { className: "pair" }, ...panels);
  }

  const personColor = (person) => `hsl(${Math.round(person * 222.5 + 190) % 360} 85% 68%)`;

  const foundColor = (person) => (person.background ? "var(--background)" : person.truth < 0 ? "#aaa" : personColor(person.truth));

  function drawTruth(drawing, example) {
    example.truth.forEach((person, at) => {
      const color = person.missed ? "var(--missed)" : personColor(at);
      drawPose(drawing, example, person.points, color, person.missed, () => color);
    });
  }

  function drawFound(drawing, example) {
    for (const person of [...example.found].reverse()) { // the best score on top
      const color = foundColor(person);
      drawPose(drawing, example, person.points, color, person.background,
        (joint) => (CODES[person.errors[joint]] ? `var(--${CODES[person.errors[joint]]})` : color));
    }
  }

  function drawPose(drawing, example, points, color, dashed, dotColor) {
    const unit = Math.max(...example.size) / 480;
    const bones = data.bones.filter(([a, b]) => points[a] && points[b]);
    const path = bones.map(([a, b]) => `M${points[a]}L${points[b]}`).join("");
    const line = makeSvg("path", { d: path, ...(dashed && { "stroke-dasharray": "5 5" }) });
    line.style.stroke = color;
    drawing.append(makeSvg("path", { d: path, class: "edge" }), line);
    points.forEach((point, joint) => {
      if (!point) return;
      const dot = makeSvg("circle", { cx: point[0], cy: point[1], r: 4.5 * unit, stroke: "rgb(0 0 0 / .7)", "stroke-width": unit });
      dot.style.fill = dotColor(joint);
      drawing.append(dot);
    });
  }

  // The enlarged image.
  function openViewer(position) {
    const image = state.shown[position], example = data.examples[image.index];
    state.viewed = position;
    byId("viewer-title").textContent = `${image.name} · AP ${percent(image.ap)}`;
    const people = example.found.map((person) => {
      const wrong = KINDS.slice(0, 4).map((kind) => [kind, [...person.errors].filter((code) => CODES[code] === kind).length]);
      const parts = [`score ${person.score.toFixed(2)}`];
      if (person.oks !== null) parts.push(`OKS ${person.oks.toFixed(2)}`);
      else parts.push(person.background ? "background" : "in an ignored region");
      for (const [kind, count] of wrong) if (count) parts.push(`${kind}: ${count}`);
      if (person.outranked) parts.push("wrong score");
      const mark = make("i", { className: "mark" });
      mark.style.background = foundColor(person);
      return make("li", {}, mark, parts.join(" · "));
    });
    byId("viewer-body").replaceChildren(drawPair(image), chips(image), make("ul", { className: "viewer-people" }, ...people));
    byId("viewer-previous").disabled = neighbor(-1) === null;
    byId("viewer-next").disabled = neighbor(1) === null;
    byId("viewer-page").textContent = `${number(position + 1)} of ${number(state.shown.length)}`;
    if (!byId("viewer").open) byId("viewer").showModal();
  }

  function neighbor(step) { // the next image that has an example
    for (let at = state.viewed + step; at >= 0 && at < state.shown.length; at += step) {
      if (data.examples[state.shown[at].index]) return at;
    }
    return null;
  }

  function move(step) {
    const target = neighbor(step);
    if (target !== null) openViewer(target);
  }

  function turn(step) {
    state.page += step;
    drawTable();
  }

  const changed = () => { state.page = 0; update(); };
  form.addEventListener("input", changed);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(changed)); // after the fields are reset
  byId("more").addEventListener("click", () => { state.expanded = true; update(); });
  byId("previous").addEventListener("click", () => turn(-1));
  byId("next").addEventListener("click", () => turn(1));
  for (const head of document.querySelectorAll("[data-key]")) {
    head.firstElementChild.addEventListener("click", () => {
      state.descending = state.key === head.dataset.key ? !state.descending : !["name", "ap", "change"].includes(head.dataset.key);
      state.key = head.dataset.key;
      changed();
    });
  }
  byId("close").addEventListener("click", () => byId("viewer").close());
  byId("viewer-previous").addEventListener("click", () => move(-1));
  byId("viewer-next").addEventListener("click", () => move(1));
  byId("viewer").addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") move(-1);
    if (event.key === "ArrowRight") move(1);
  });

  // The plot, when it comes into view: its scripts take longer than all the rest of the page.
  function drawPlot() {
    for (const { textContent } of document.querySelectorAll(".plot-script")) document.head.append(make("script", { textContent }));
    vegaEmbed("#plot", data.plot, {
      mode: "vega-lite", renderer: "svg", actions: false, tooltip: { theme: "custom" },
      ast: true, // without code from strings, which the policy of the page forbids
    });
  }
  const watcher = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    watcher.disconnect();
    drawPlot();
  }, { rootMargin: "300px" });
  watcher.observe(byId("plot"));

  // Light and dark: the system's choice until the button is used.
  const root = document.documentElement;
  const isDark = () => (root.style.colorScheme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const labelTheme = () => { byId("theme").textContent = isDark() ? "Light" : "Dark"; };
  byId("theme").addEventListener("click", () => {
    root.style.colorScheme = isDark() ? "light" : "dark";
    try { localStorage.setItem("simplepose-report-theme", root.style.colorScheme); } catch { /* storage is disabled */ }
    labelTheme();
  });
  try { root.style.colorScheme = localStorage.getItem("simplepose-report-theme") ?? ""; } catch { /* storage is disabled */ }
  labelTheme();
  update();
})();
