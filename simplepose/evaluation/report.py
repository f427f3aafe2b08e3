"""Write an evaluation as one self-contained HTML page: AP, what limits it, and the worst and best images."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import jinja2
import numpy as np
from pycocotools.coco import COCO as Annotations

from simplepose import image_io
from simplepose.evaluation import coco_eval, comparison, error_analysis
from simplepose.evaluation.coco_eval import MAX_PEOPLE, Row
from simplepose.evaluation.comparison import ImageWeightedAP
from simplepose.evaluation.error_analysis import KEYPOINT_ERRORS, LARGE_AREA, PERSON_ERRORS, Match
from simplepose.skeleton import COCO, Skeleton
from simplepose.utils import atomic

ASSETS = Path(__file__).parents[1] / "assets"

# Number of the worst, and of the best images that are shown.
MAX_EXAMPLES = 30
# The images are shown with this longer side, pixels, at this JPEG quality.
EXAMPLE_SIDE, JPEG_QUALITY = 480, 72
# Width and height of an image that cannot be read and whose annotations state no size, pixels.
UNKNOWN_SIZE = (640, 480)

# Kinds of errors -> title and explanation; the position of a kind is its bit in the data of the page.
ERROR_KINDS = {
    "jitter": ("keypoint jitter", "near the right place, but not on it"),
    "inversion": ("left-right inversions", "on the mirrored keypoint of the same person"),
    "swap": ("swaps between people", "on a keypoint of another person"),
    "miss": ("missed keypoints", "far from every right place, or not found"),
    "score": ("wrong scores", "a worse pose has a higher score than a better one"),
    "background": ("people in the background", "found where no person is annotated"),
    "missed": ("missed people", "annotated, but not found"),
}
KEYPOINT_CODES = {"good": "g", "jitter": "j", "inversion": "i", "swap": "s", "miss": "m", "": "-"}

# A pose that is worse by this OKS, but has a higher score, makes the score of the better pose an error.
SCORE_ERROR_OKS = 0.1

# Gains of AP below this are rounding.
MIN_GAIN = 0.0005

# Scripts that draw the plot, in the order in which they run, and their license. NOTICE states their versions.
PLOT_SCRIPTS, PLOT_LICENSE = ("vega.min.js", "vega-lite.min.js", "vega-embed.min.js"), "vega-license.txt"
PLOT_HEIGHT = 300  # pixels
# OKS thresholds at which the curve of the other run is drawn, too: of AP50 and AP75.
OTHER_CURVES = (0, 5)
# Step between the recalls of the table beside the plot, in points of the curve: 0.1.
TABLE_STEP = 10

# Stages as profiles name them -> as the reader knows them.
STAGE_TITLES = {"frame": "preprocess", "see": "network"}


@dataclass(frozen=True)
class Run:
    """The results of one run.

    Attributes:
        name: for the reader.
        rows: the found people in COCO's result format.
        metrics: as `coco_eval.evaluate_rows` returns them.
    """

    name: str
    rows: Sequence[Row]
    metrics: Mapping[str, float]


def write_report(
    path: str | Path,
    truth: Annotations,
    run: Run,
    analysis: Mapping[str, Any],
    images: Path,
    skeleton: Skeleton = COCO,
    image_ids: Collection[int] | None = None,
    other: Run | None = None,
    profile: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Write the report of an evaluation, atomically. The same arguments give the same file.

    Args:
        path: of the HTML file.
        truth: as `coco_eval.read_annotations` returns them.
        run: the run to report.
        analysis: of the run, as `error_analysis.analyze` returns it.
        images: folder of the images; an image that cannot be read is shown without its pixels.
        skeleton: its sigmas, flip order and bones are used.
        image_ids: the evaluated images; None: all.
        other: a run on the same images that the run is compared to.
        profile: times of the stages, as `runner.build_profile` returns them.
        settings: plain values that the run was made with.
    """
    ap = ImageWeightedAP(truth, run.rows, image_ids, skeleton.sigmas)
    other_ap = ImageWeightedAP(truth, other.rows, image_ids, skeleton.sigmas) if other else None
    rated = _rate_images(truth, run.rows, ap, other_ap, skeleton)
    context: dict[str, Any] = {
        "run": run,
        "other": other,
        "differences": comparison.compare(other_ap, ap) if other_ap else {},
        "analysis": analysis,
        "gains": sorted(analysis["gains"].items(), key=lambda item: -item[1]["AP"]),
        "limit": _find_limit(run.metrics["AP"], analysis),
        "kinds": ERROR_KINDS,
        "keypoint_errors": KEYPOINT_ERRORS,
        "keypoint_kinds": ("good", *KEYPOINT_ERRORS),
        "curves": _list_curves(ap, other_ap),
        "table_step": TABLE_STEP,
        **_read_plot_scripts(),
        "profile": profile,
        "stage_titles": STAGE_TITLES,
        "settings": {key: _format_setting(value) for key, value in (settings or {}).items()},
        "image_count": len(rated),
        "data": _build_data(rated, truth, run.rows, images, skeleton)
        | {"plot": _build_plot(ap, other_ap, run.name, other.name if other else "")},
    }
    page = _load_template().render(context)
    atomic.write_bytes(path, page.encode(errors="backslashreplace"))


def _load_template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ASSETS),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"points": _format_points, "signed": _format_signed}
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    return environment.get_template("report.html")


def _build_data(
    rated: Sequence[_RatedImage], truth: Annotations, rows: Sequence[Row], folder: Path, skeleton: Skeleton
) -> dict[str, Any]:
    """Build the data that the page's script filters and draws."""
    worst, best = _choose_examples(rated)
    return {
        "kinds": [title for title, _ in ERROR_KINDS.values()],
        "bones": skeleton.bone_ends.tolist(),
        "images": [image.to_list() for image in rated],
        "worst": worst,
        "best": best,
        "examples": {
            str(index): _build_example(rated[index], truth, rows, folder) for index in sorted({*worst, *best})
        },
    }


@dataclass(frozen=True)
class _RatedImage:
    """An image, the errors of its people, and its AP.

    Attributes:
        entry: of the annotations.
        ap: of this image alone; None without annotated people.
        change: of `ap` from the other run's; None without one.
        matches: found people that match annotated people, by row.
        background, missed: see `error_analysis.Matches`.
        outranked: rows of people with a wrong score.
        found: rows of the evaluated found people, best score first.
        people: (bits of the kinds of errors, whether large, score or -1) of each person.
        counts: number of wrong keypoints, or people, of each of ERROR_KINDS.
    """

    entry: dict[str, Any]
    ap: float | None
    change: float | None
    matches: dict[int, Match]
    background: set[int]
    missed: set[int]
    outranked: set[int]
    found: list[int]
    people: list[tuple[int, bool, float]]
    counts: list[int]

    def to_list(self) -> list[Any]:
        """Return the image's compact row in the data of the page; AP and scores in thousandths."""
        people = [
            value for bits, large, score in self.people for value in (bits, int(large), _per_mille(score))
        ]
        annotated = len(self.matches) + len(self.missed)
        name = str(self.entry.get("file_name", self.entry["id"]))
        changes = [_per_mille(self.ap), _per_mille(self.change)]
        return [name, *changes, annotated, len(self.found), self.counts, people]


def _rate_images(
    truth: Annotations,
    rows: Sequence[Row],
    ap: ImageWeightedAP,
    other_ap: ImageWeightedAP | None,
    skeleton: Skeleton,
) -> list[_RatedImage]:
    matches = error_analysis.match_people(truth, rows, skeleton.sigmas, skeleton.annotated_flip.tolist())
    by_image: dict[Any, list[int]] = {}
    for index in sorted(range(len(rows)), key=lambda index: -rows[index]["score"]):
        by_image.setdefault(rows[index]["image_id"], []).append(index)
    matched = {match.row: match for match in matches.matched}
    background, missed = set(matches.background), set(matches.missed)
    values = ap.per_image()
    others = other_ap.per_image() if other_ap else values
    rated = []
    for image_id, value, other in zip(ap.image_ids, values.tolist(), others.tolist(), strict=True):
        found = by_image.get(image_id, [])[:MAX_PEOPLE]
        of_image = {row: matched[row] for row in found if row in matched}
        lost = {a["id"] for a in truth.imgToAnns[image_id] if a["id"] in missed}
        false = background.intersection(found)
        outranked = _outranked(found, of_image, false)
        rated.append(
            _RatedImage(
                entry=truth.imgs[image_id],
                ap=None if value < 0 else value,
                change=None if value < 0 or not other_ap else value - other,
                matches=of_image,
                background=false,
                missed=lost,
                outranked=outranked,
                found=found,
                people=_describe_people(truth, rows, of_image, false, lost, outranked),
                counts=_count_errors(of_image, false, lost, outranked),
            )
        )
    return rated


def _outranked(found: Sequence[int], matches: Mapping[int, Match], background: Collection[int]) -> set[int]:
    """Return the rows of people below a worse pose of the same image; `found` has the best score first."""
    worst, outranked = np.inf, set()
    for row in found:
        if row in matches or row in background:
            oks = matches[row].oks if row in matches else 0.0
            if oks > worst + SCORE_ERROR_OKS:
                outranked.add(row)
            worst = min(worst, oks)
    return outranked


def _describe_people(
    truth: Annotations,
    rows: Sequence[Row],
    matches: Mapping[int, Match],
    background: Collection[int],
    missed: Collection[int],
    outranked: Collection[int],
) -> list[tuple[int, bool, float]]:
    bit = {kind: 1 << index for index, kind in enumerate(ERROR_KINDS)}
    people = []
    for row, match in matches.items():
        bits = sum(bit[kind] for kind in KEYPOINT_ERRORS if kind in match.errors)
        bits += bit["score"] * (row in outranked)
        people.append((bits, truth.anns[match.annotation]["area"] > LARGE_AREA, float(rows[row]["score"])))
    people += [(bit["background"], _is_large(rows[row]), float(rows[row]["score"])) for row in background]
    people += [(bit["missed"], truth.anns[person]["area"] > LARGE_AREA, -1.0) for person in missed]
    return people


def _count_errors(
    matches: Mapping[int, Match],
    background: Collection[int],
    missed: Collection[int],
    outranked: Collection[int],
) -> list[int]:
    keypoints = Counter(error for match in matches.values() for error in match.errors)
    people = {"score": len(outranked), "background": len(background), "missed": len(missed)}
    return [keypoints[kind] for kind in KEYPOINT_ERRORS] + [people[kind] for kind in PERSON_ERRORS]


def _is_large(row: Row) -> bool:
    """Whether the box of the found keypoints has at least the area of large people."""
    points = np.array(row["keypoints"], float).reshape(-1, 3)[:, :2]
    found = points[points.any(-1)]
    return bool(len(found) and np.prod(np.ptp(found, axis=0)) > LARGE_AREA)


def _choose_examples(rated: Sequence[_RatedImage]) -> tuple[list[int], list[int]]:
    """Choose the worst images, most errors first, and the best ones, most people first."""
    indices = [index for index, image in enumerate(rated) if image.ap is not None]
    aps = {index: rated[index].ap or 0.0 for index in indices}
    errors = {index: sum(rated[index].counts) for index in indices}
    worst = sorted(indices, key=lambda index: (aps[index], -errors[index]))
    best = sorted(indices, key=lambda index: (-aps[index], errors[index], -len(rated[index].matches)))
    return worst[:MAX_EXAMPLES], best[:MAX_EXAMPLES]


def _build_example(
    image: _RatedImage, truth: Annotations, rows: Sequence[Row], folder: Path
) -> dict[str, Any]:
    """Build the pixels and the poses of an image that is shown."""
    entry = image.entry
    pixels = _read_image(folder, entry)
    size = UNKNOWN_SIZE if pixels is None else pixels.shape[1::-1]
    if pixels is None and entry.get("width") and entry.get("height"):
        size = (entry["width"], entry["height"])
    annotated = coco_eval.annotated_people(truth, entry["id"])
    numbers = {person["id"]: number for number, person in enumerate(annotated)}
    found = []
    for row in image.found:
        match = image.matches.get(row)
        points = np.array(rows[row]["keypoints"], float).reshape(-1, 3)
        present = points[:, :2].any(-1) | (points[:, 2] > 0)
        found.append(
            {
                "points": _compact_points(points, present),
                "score": round(float(rows[row]["score"]), 3),
                "oks": round(match.oks, 3) if match else None,
                "truth": numbers[match.annotation] if match else -1,
                "errors": "".join(KEYPOINT_CODES[error] for error in match.errors) if match else "",
                "background": row in image.background,
                "outranked": row in image.outranked,
            }
        )
    people = [
        {"points": _compact_points(points, points[:, 2] > 0), "missed": person["id"] in image.missed}
        for person in annotated
        for points in [np.array(person["keypoints"], float).reshape(-1, 3)]
    ]
    return {"size": list(map(int, size)), "jpeg": _encode(pixels), "truth": people, "found": found}


def _read_image(folder: Path, entry: Mapping[str, Any]) -> np.ndarray | None:
    try:
        return image_io.decode(image_io.read_bytes(folder / str(entry["file_name"])), upright=False)
    except (OSError, ValueError, KeyError):
        return None  # the page states it


def _encode(pixels: np.ndarray | None) -> str:
    if pixels is None:
        return ""
    height, width = pixels.shape[:2]
    scale = min(1, EXAMPLE_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    _, encoded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()


def _compact_points(points: np.ndarray, present: np.ndarray) -> list[list[float] | None]:
    """Return x and y of each keypoint with a tenth of a pixel; None for an absent one."""
    xy = points[:, :2].round(1).tolist()
    return [point if kept else None for point, kept in zip(xy, present.tolist(), strict=True)]


def _find_limit(ap: float, analysis: Mapping[str, Any]) -> dict[str, Any] | None:
    """Find the kind of errors whose correction gains most AP; None if none gains anything."""
    kind = max(analysis["gains"], key=lambda kind: analysis["gains"][kind]["AP"])
    gain = analysis["gains"][kind]["AP"]
    if ap < 0 or gain < MIN_GAIN:
        return None
    return {"kind": kind, "title": ERROR_KINDS[kind][0], "gain": gain, "ap": ap + gain}


def _list_curves(ap: ImageWeightedAP, other_ap: ImageWeightedAP | None) -> list[dict[str, Any]]:
    """List the threshold, the AP, the other run's AP and the precision at each recall of the curves."""
    others = other_ap.curves.mean(1).tolist() if other_ap else [None] * len(ap.curves)
    return [
        {"oks": 0.5 + 0.05 * index, "ap": float(own.mean()), "other": other, "precisions": own.tolist()}
        for index, (own, other) in enumerate(zip(ap.curves, others, strict=True))
    ]


def _build_plot(
    ap: ImageWeightedAP, other_ap: ImageWeightedAP | None, name: str, other_name: str
) -> dict[str, Any]:
    """Build the Vega-Lite specification of precision against recall for each OKS threshold.

    The colors are the variables --t0 to --t9 of the page's styles, which depend on light and dark.
    """
    values = [point for index, own in enumerate(ap.curves) for point in _list_points(index, own, name, 0)]
    if other_ap:
        for index in OTHER_CURVES:
            values += _list_points(index, other_ap.curves[index], other_name, 1)
    axis = {"type": "quantitative", "scale": {"domain": [0, 100]}, "axis": {"tickCount": 5}}
    encoding = {
        "x": {"field": "recall", "title": "recall, %", **axis},
        "y": {"field": "precision", "title": "precision, %", **axis},
        "color": {
            "field": "curve",
            "type": "ordinal",
            "scale": {
                "domain": list(range(len(ap.curves))),
                "range": [f"var(--t{index})" for index in range(len(ap.curves))],
            },
            "legend": None,
        },
    }
    dash = {"field": "other", "scale": {"domain": [0, 1], "range": [[1, 0], [4, 4]]}, "legend": None}
    nearest = {"type": "point", "on": "pointerover", "nearest": True, "clear": "pointerout"}
    tooltip = [{"field": field} for field in ("run", "OKS", "AP", "recall", "precision")]
    return {
        "description": "Precision against recall for each OKS threshold; the tables below have the values",
        "width": "container",
        "height": PLOT_HEIGHT,
        "background": "transparent",
        "data": {"values": values},
        "encoding": encoding,
        "layer": [
            {
                "mark": {"type": "line", "aria": False},
                "encoding": {"strokeDash": dash, "detail": {"field": "other"}},
            },
            {
                "params": [{"name": "nearest", "select": nearest}],
                "mark": {"type": "point", "filled": True, "size": 70, "aria": False},
                "encoding": {
                    "opacity": {"condition": {"param": "nearest", "empty": False, "value": 1}, "value": 0},
                    "tooltip": tooltip,
                },
            },
        ],
    }


def _list_points(curve: int, precisions: np.ndarray, name: str, other: int) -> list[dict[str, Any]]:
    """List the points of a curve, in percent, with the values that the plot shows; none without people."""
    if precisions.min() < 0:
        return []
    shown = {
        "curve": curve,
        "other": other,
        "run": name,
        "OKS": f"{0.5 + 0.05 * curve:.2f}",
        "AP": _format_points(float(precisions.mean())),
    }
    recalls = np.linspace(0, 100, len(precisions)).round(1).tolist()
    return [
        {**shown, "recall": recall, "precision": precision}
        for recall, precision in zip(recalls, (100 * precisions).round(1).tolist(), strict=True)
    ]


def _read_plot_scripts() -> dict[str, Any]:
    texts = [(ASSETS / name).read_text(encoding="utf-8") for name in (PLOT_LICENSE, *PLOT_SCRIPTS)]
    return {"plot_license": texts[0], "plot_scripts": texts[1:]}


def _format_points(value: float | None) -> str:
    """Format a fraction in percent; a dash for pycocotools' -1."""
    return "–" if value is None or value < 0 else f"{100 * value:.1f}"


def _format_signed(value: float) -> str:
    return f"{100 * value:+.1f}".replace("-", "−")


def _format_setting(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _per_mille(value: float | None) -> int | None:
    return None if value is None else round(1000 * value)
