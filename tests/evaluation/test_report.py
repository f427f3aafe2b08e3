"""The report of an evaluation: one page without external parts, complete data, and filters that work."""

import json
import re
from html.parser import HTMLParser

import chromium
import numpy as np
import pytest
from planted_errors import FLIP, NAMES, SIGMAS, mixed_rows, perfect_rows, plant, write_annotations

from simplepose.evaluation import coco_eval, error_analysis, report
from simplepose.evaluation.report import MAX_EXAMPLES, Run
from simplepose.synthetic import coco_export, scenes

VOID = {"meta", "input"}
SVG_NAMESPACE = "http://www.w3.org/2000/svg"
PROFILE = {
    "frames": 40,
    "seconds": 4.0,
    "frames_per_second": 10.0,
    "steps": {"network": {"count": 40, "p50_ms": 80.0, "p95_ms": 95.5, "total_s": 3.4}},
}


class Page(HTMLParser):
    """Elements of a page with their attributes, the texts, and the data; unbalanced tags are an error."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self._open = [], [], []
        self.feed(text)
        assert self._open == []
        self.plot_scripts = re.findall(r'<script class="plot-script"[^>]*>(.*?)</script>', text, re.DOTALL)
        self.data = json.loads(re.search(r'<script id="data"[^>]*>(.*?)</script>', text, re.DOTALL)[1])

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def make_run(truth, rows, name="ours"):
    return Run(name, rows, coco_eval.evaluate_rows(truth, rows))


def write(folder, truth, rows, **options):
    """Write a report, and return its text and its page."""
    path, run = folder / "report.html", make_run(truth, rows)
    analysis = error_analysis.analyze(truth, rows, SIGMAS, FLIP.tolist(), NAMES)
    report.write_report(path, truth, run, analysis, folder / "images", **options)
    text = path.read_text(encoding="utf-8")
    return text, Page(text)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Truth, and the page, of 40 images of synthetic people, compared to worse results."""
    folder = tmp_path_factory.mktemp("drawn")
    rng = np.random.default_rng(5)
    images = [scenes.draw_scene(rng, [(240, 320), (320, 240)][i % 2], 1 + i % 3) for i in range(40)]
    truth = coco_eval.read_annotations(coco_export.write_coco(folder, images))
    other = make_run(truth, mixed_rows(truth, 0.5, seed=3), "theirs")
    settings = {"protocol": "fast", "scales": [1.0]}
    return truth, *write(folder, truth, mixed_rows(truth), other=other, profile=PROFILE, settings=settings)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    return write_annotations(tmp_path_factory.mktemp("planted") / "person_keypoints.json")


def test_the_page_needs_no_network(drawn):
    _, text, page = drawn
    assert page.plot_scripts == [(report.ASSETS / name).read_text() for name in report.PLOT_SCRIPTS]
    assert (report.ASSETS / report.PLOT_LICENSE).read_text() in text
    for script in page.plot_scripts:  # that they load nothing is tested in a browser
        text = text.replace(script, "")
    assert set(re.findall(r"https?://[^\s\"'<>]*", text)) == {SVG_NAMESPACE}
    links = [value for _, attrs in page.elements for key, value in attrs.items() if key in ("src", "href")]
    assert links
    assert all(link.startswith("#") for link in links)
    policies = [attrs["content"] for tag, attrs in page.elements if tag == "meta" and "http-equiv" in attrs]
    assert policies[0].startswith("default-src 'none'")


def test_every_section_and_link_is_there_and_controls_have_labels(drawn):
    _, text, page = drawn
    ids = {attrs["id"] for _, attrs in page.elements if "id" in attrs}
    assert {"limits", "images", "metrics", "keypoints", "speed", "settings"} <= ids
    targets = {attrs["href"][1:] for tag, attrs in page.elements if tag == "a"}
    labels = {attrs["aria-labelledby"] for _, attrs in page.elements if "aria-labelledby" in attrs}
    assert targets | labels <= ids
    assert len(re.findall(r"<label", text)) == len(re.findall(r"<(?:input|select)\b", text))


def test_metrics_differences_keypoints_and_speed_are_shown(drawn):
    truth, text, page = drawn
    ap = coco_eval.evaluate_rows(truth, mixed_rows(truth))["AP"]
    texts = " ".join(" ".join(page.texts).split())
    assert f"{100 * ap:.1f} AP" in texts
    assert all(
        word in texts for word in ("theirs", "left ankle", "95 % interval", "95.5", "protocol", "[1.0]")
    )
    curves = {(point["OKS"], point["run"]) for point in page.data["plot"]["data"]["values"]}
    assert curves == {(f"{0.5 + 0.05 * index:.2f}", "ours") for index in range(10)} | {
        ("0.50", "theirs"),
        ("0.75", "theirs"),
    }
    assert all(kept in text for kept in ("Redistributions in binary form", "ISC License", "MIT License"))


def test_every_image_is_listed_and_the_worst_and_best_have_their_pixels(drawn):
    truth, _, page = drawn
    assert [image[0] for image in page.data["images"]] == [
        entry["file_name"] for entry in truth.imgs.values()
    ]
    worst, best = page.data["worst"], page.data["best"]
    assert len(worst) == len(best) == MAX_EXAMPLES
    aps = [image[1] for image in page.data["images"]]
    for chosen, sign in ((worst, 1), (best, -1)):
        ordered = sorted(sign * ap for ap in aps if ap is not None)
        assert [sign * aps[index] for index in chosen] == ordered[:MAX_EXAMPLES]
    for index in {*worst, *best}:
        example = page.data["examples"][str(index)]
        entry = truth.imgs[index + 1]
        assert example["size"] == [entry["width"], entry["height"]]
        assert example["jpeg"].startswith("data:image/jpeg;base64,")


@pytest.mark.parametrize("bit", range(4))
def test_the_data_of_the_filters_name_the_planted_errors(planted, tmp_path, bit):
    kind = error_analysis.KEYPOINT_ERRORS[bit]
    rows, errors = plant(planted, kind)
    _, page = write(tmp_path, planted, rows)
    assert page.data["kinds"][bit] == report.ERROR_KINDS[kind][0]
    with_errors = {rows[row]["image_id"] for row, _ in errors}
    bits = [image[6][::3] for image in page.data["images"]]
    flagged = {number for number, people in enumerate(bits, 1) if any(b & (1 << bit) for b in people)}
    assert len(flagged ^ with_errors) <= 0.05 * len(with_errors)
    assert sum(image[5][bit] for image in page.data["images"]) >= 0.95 * len(errors)


def test_people_have_their_size_and_score_and_missed_people_none(planted, tmp_path):
    rows = perfect_rows(planted)[1:]
    _, page = write(tmp_path, planted, rows)
    people = [np.reshape(image[6], (-1, 3)).tolist() for image in page.data["images"]]
    first, second = planted.imgToAnns[1]
    large = [int(person["area"] > error_analysis.LARGE_AREA) for person in (second, first)]
    assert people[0] == [[0, large[0], round(1000 * rows[0]["score"])], [1 << 6, large[1], -1000]]
    assert all(bits == 0 for image in people[1:] for bits, _, _ in image)


def test_a_worse_pose_with_a_higher_score_is_a_score_error(planted, tmp_path):
    rows = perfect_rows(planted)
    far = [value + 3000 * (i % 3 < 2) for i, value in enumerate(rows[0]["keypoints"])]
    _, page = write(tmp_path, planted, [*rows, {**rows[0], "keypoints": far, "score": 1.0}])
    assert page.data["images"][0][5][4:] == [2, 1, 0]
    assert all(sum(image[5]) == 0 for image in page.data["images"][1:])


def test_hostile_names_stay_text_and_absent_images_are_stated(tmp_path):
    hostile = "</script><script>document.title='x'</script>&\"'\u2028.jpg"
    truth = write_annotations(tmp_path / "person_keypoints.json")
    for entry in truth.dataset["images"]:
        entry["file_name"] = hostile
    run = Run(hostile, perfect_rows(truth), {"AP": 1.0})
    analysis = error_analysis.analyze(truth, run.rows, SIGMAS, FLIP.tolist(), NAMES)
    path = tmp_path / "report.html"
    report.write_report(path, truth, run, analysis, tmp_path, other=run, settings={hostile: hostile})
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert [tag for tag, _ in page.elements].count("script") == 3 + len(report.PLOT_SCRIPTS)
    assert "<script>document" not in text
    assert page.data["images"][0][0] == hostile
    assert page.data["examples"]["0"]["jpeg"] == ""


def test_no_results_and_no_people_make_a_page(planted, tmp_path):
    _, page = write(tmp_path, planted, [])
    assert "Missed people" in " ".join(page.texts)
    empty = coco_eval.index_annotations({**planted.dataset, "annotations": []})
    _, page = write(tmp_path, empty, [])
    assert "there is no AP" in " ".join(page.texts)
    assert page.data["worst"] == page.data["best"] == []


def test_the_same_arguments_give_the_same_file(planted, tmp_path):
    assert (
        write(tmp_path, planted, mixed_rows(planted))[0] == write(tmp_path, planted, mixed_rows(planted))[0]
    )


def expect_images(page, bit=0, size=None, low=None):
    """Return the sorted names of the images that a filter keeps, from the data of the page."""
    return sorted(
        name
        for name, *_, people in page.data["images"]
        if any(
            (not bit or bits & bit) and size in (None, large) and (low is None or score >= 1000 * low)
            for bits, large, score in np.reshape(people, (-1, 3)).tolist()
        )
    )


# Functions for the scripts that tests run in the page.
SET_FIELD = """(name, value) => {
  const form = document.getElementById("filters");
  form.elements[name].value = value;
  form.dispatchEvent(new Event("input", { bubbles: true }));
}"""
FOCUS = "document.activeElement.id || document.activeElement.className || document.activeElement.textContent"
NAMES_SHOWN = '[...document.querySelectorAll("#rows tr td:first-child")].map((cell) => cell.textContent)'
COUNT = 'document.getElementById("count").textContent'
TITLE = 'document.getElementById("viewer-title").textContent'
IS_OPEN = 'document.getElementById("viewer").open'


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium.start(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def opened(browser, drawn, tmp_path):
    """A function that opens the page; the console must be empty, and nothing requested, at the end."""
    path = tmp_path / "page.html"
    path.write_text(drawn[1], encoding="utf-8")

    def open_page(**options):
        browser.open(path, **options)
        return browser

    yield open_page
    assert browser.problems == []


@pytest.mark.slow
def test_filters_by_error_size_and_score_keep_the_right_images(opened, drawn):
    page, browser = drawn[2], opened()
    browser.evaluate(f"({SET_FIELD})('view', 'all')")
    assert browser.evaluate(COUNT) == "40 images."
    filters = [{"bit": 1 << bit} for bit in range(len(report.ERROR_KINDS))]
    filters += [{"size": 0}, {"size": 1}, {"low": 0.5}, {"low": 0.9}, {"bit": 1, "size": 1, "low": 0.5}]
    filters += [{"bit": 64, "low": 0.01}]  # missed people have no score
    kept = []
    for chosen in filters:
        kind = chosen["bit"].bit_length() - 1 if "bit" in chosen else ""
        for field, value in (
            ("kind", kind),
            ("size", chosen.get("size", "")),
            ("low", chosen.get("low", "")),
        ):
            browser.evaluate(f"({SET_FIELD})('{field}', '{value}')")
        names = expect_images(page, **chosen)
        assert sorted(browser.evaluate(NAMES_SHOWN)) == names, chosen
        assert browser.evaluate(COUNT).startswith(f"{len(names)} ")
        kept.append(len(names))
    assert sum(0 < count < 40 for count in kept) >= 10
    assert kept[-1] == 0


@pytest.mark.slow
def test_all_images_are_sorted_and_searched(opened, drawn):
    page, browser = drawn[2], opened()
    assert browser.evaluate('document.querySelectorAll(".card").length') == 6
    browser.evaluate('document.getElementById("more").click()')
    assert browser.evaluate('document.querySelectorAll(".card").length') == MAX_EXAMPLES
    browser.evaluate(f"({SET_FIELD})('view', 'all')")
    visible = '["gallery", "list", "more"].filter((id) => document.getElementById(id).offsetHeight > 0)'
    assert browser.evaluate(visible) == ["list"]
    names = sorted(image[0] for image in page.data["images"])
    for expected, order in ((names, "ascending"), (names[::-1], "descending")):
        browser.evaluate('document.querySelector("[data-key=name] button").click()')
        assert browser.evaluate(NAMES_SHOWN) == expected
        assert browser.evaluate('document.querySelector("[data-key=name]").ariaSort') == order
    browser.evaluate(f"({SET_FIELD})('text', '{names[3][:-4]}')")
    assert browser.evaluate(NAMES_SHOWN) == [names[3]]
    browser.evaluate(f"({SET_FIELD})('text', 'no such name')")
    assert browser.evaluate(COUNT).startswith("0 of 40 ")


@pytest.mark.slow
def test_the_keyboard_reaches_and_works_all_controls(opened):
    browser = opened()
    browser.press("Tab")
    assert browser.evaluate(FOCUS) == "skip"
    reached = []
    while not reached or reached[-1] != "card":
        browser.press("Tab")
        reached.append(browser.evaluate("document.activeElement.name || " + FOCUS))
        assert len(reached) < 40, reached
    controls = ["theme", "view", "kind", "size", "low", "high", "text"]
    assert [name for name in reached if name in controls] == controls
    browser.press("Enter")
    assert browser.evaluate(IS_OPEN)
    first = browser.evaluate(TITLE)
    browser.press("ArrowRight")
    assert browser.evaluate(TITLE) != first
    browser.press("ArrowLeft")
    assert browser.evaluate(TITLE) == first
    browser.press("Escape")
    assert not browser.evaluate(IS_OPEN)
    assert browser.evaluate(FOCUS) == "card"
    browser.evaluate("document.querySelector('[name=view]').focus()")
    browser.press("ArrowRight", times=2)
    assert browser.evaluate(COUNT) == "40 images."
    browser.evaluate("document.getElementById('theme').focus()")
    browser.press(" ")
    assert browser.evaluate("document.documentElement.style.colorScheme") == "dark"


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
def test_phones_and_dark_pages_are_readable_and_the_plot_appears_in_view(opened, dark):
    browser = opened(width=390, dark=dark)
    color = "getComputedStyle(document.{}).{}.match(/[0-9.]+/g).slice(0, 3).map(Number)"
    page, text = (
        np.mean(browser.evaluate(color.format("body", name))) for name in ("backgroundColor", "color")
    )
    assert (page < 60 and text > 200) if dark else (page > 200 and text < 60)
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert browser.evaluate(overflow) <= 0
    lines = 'document.querySelectorAll("#plot .mark-line path").length'
    assert browser.evaluate(lines) == 0
    browser.evaluate('document.getElementById("plot").scrollIntoView({ behavior: "instant" })')
    wait = f"""new Promise((done) => {{
      const check = () => {lines} ? done({lines}) : setTimeout(check, 20);
      check();
    }})"""
    assert browser.evaluate(wait) == 12
    stroke = "getComputedStyle(document.querySelector('#plot .mark-line path')).stroke"
    assert browser.evaluate(stroke) not in ("none", "rgb(0, 0, 0)")
    assert browser.evaluate(overflow) <= 0
