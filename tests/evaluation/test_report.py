"""The report of an evaluation: one page without external parts, complete data, and filters that work."""

import html
import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from planted_errors import FLIP, NAMES, SIGMAS, mixed_rows, perfect_rows, plant, write_annotations

from simplepose.evaluation import coco_eval, error_analysis, report
from simplepose.evaluation.report import MAX_EXAMPLES, Run
from simplepose.synthetic import coco_export, scenes

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
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
    assert len(re.findall(r"<polyline", text)) == 12  # ten thresholds, and two of the other run


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
    assert [tag for tag, _ in page.elements].count("script") == 2
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


SCRIPT = """
<script>
const form = document.getElementById("filters"), result = {};
const count = () => document.getElementById("count").textContent;
const names = () => [...document.querySelectorAll("#rows tr td:first-child")].map((cell) => cell.textContent);
function set(name, value) {
  form.elements[name].value = value;
  form.dispatchEvent(new Event("input", { bubbles: true }));
}
result.cards = document.querySelectorAll(".card").length;
document.getElementById("more").click();
result.allCards = document.querySelectorAll(".card").length;
document.querySelector(".card").click();
result.open = document.getElementById("viewer").open;
const title = document.getElementById("viewer-title").textContent;
document.getElementById("viewer").dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
result.moved = document.getElementById("viewer-title").textContent !== title;
document.getElementById("close").click();
set("view", "all");
result.listed = count();
result.visible = ["gallery", "list", "more"].filter((id) => document.getElementById(id).offsetHeight > 0);
document.querySelector("[data-key=name] button").click();
result.ascending = names();
document.querySelector("[data-key=name] button").click();
result.descending = names();
result.sort = document.querySelector("[data-key=name]").getAttribute("aria-sort");
set("kind", "6");
result.missed = count();
set("low", "0.5");
result.missedWithScore = count();
set("kind", "");
set("size", "1");
result.largeWithScore = count();
set("text", "no such name");
result.none = count();
document.getElementById("theme").click();
result.theme = document.documentElement.style.colorScheme;
document.documentElement.style.scrollBehavior = "auto";
result.overflow = document.documentElement.scrollWidth - document.documentElement.clientWidth;
document.body.innerHTML = "";
document.body.dataset.result = JSON.stringify(result);
</script>
</body>"""


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="needs Chromium: apt-get install chromium")
def test_filters_sorting_and_keys_work_in_a_browser(drawn, tmp_path):
    _, text, page = drawn
    path = tmp_path / "page.html"
    path.write_text(text.replace("</body>", SCRIPT), encoding="utf-8")
    result = run_browser(path, tmp_path)
    people = [np.reshape(image[6], (-1, 3)) for image in page.data["images"]]
    missed = sum(bool((of_image[:, 0] & 64).any()) for of_image in people)
    large = sum(bool(((of_image[:, 1] == 1) & (of_image[:, 2] >= 500)).any()) for of_image in people)
    assert 0 < missed < 40
    assert 0 < large < 40
    assert (result["cards"], result["allCards"]) == (6, MAX_EXAMPLES)
    assert (result["open"], result["moved"]) == (True, True)
    assert result["listed"] == "40 images."
    assert result["visible"] == ["list"]
    names = sorted(image[0] for image in page.data["images"])
    assert (result["ascending"], result["descending"]) == (names, names[::-1])
    assert result["sort"] == "descending"
    assert result["missed"].startswith(f"{missed} of 40 ")
    assert result["missedWithScore"].startswith("0 of 40 ")
    assert result["largeWithScore"].startswith(f"{large} of 40 ")
    assert result["none"].startswith("0 of 40 ")
    assert result["theme"] in ("light", "dark")
    assert result["overflow"] <= 0


def run_browser(path, folder):
    """Open a page at phone width; return what its script put into the body. Console output is an error."""
    options = "--headless --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    options += " --disable-component-update --disable-sync --enable-logging=stderr --window-size=500,900"
    sandbox = ["--no-sandbox"] if hasattr(os, "getuid") and os.getuid() == 0 else []
    command = [BROWSER, *options.split(), *sandbox, f"--user-data-dir={folder / 'profile'}", "--dump-dom"]
    opened = subprocess.run(
        [*command, path.as_uri()], capture_output=True, text=True, timeout=300, check=True
    )
    assert "CONSOLE" not in opened.stderr, opened.stderr
    return json.loads(html.unescape(re.search(r'data-result="([^"]*)"', opened.stdout)[1]))
