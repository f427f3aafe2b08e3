"""Compute COCO's keypoint AP with pycocotools, from an annotation file and result rows."""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO as Annotations
from pycocotools.cocoeval import COCOeval

from simplepose import coco_json
from simplepose.people import PERSON_CATEGORY_ID
from simplepose.skeleton import COCO

# In pycocotools' order: mean over OKS 0.50:0.95, at 0.50, at 0.75, for medium and for large people.
METRICS = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")

# Slice of the OKS thresholds 0.50:0.05:0.95 of each metric over all areas.
AP_THRESHOLDS = {"AP": slice(None), "AP50": slice(0, 1), "AP75": slice(5, 6)}

# COCO evaluates at most this number of people per image, those with the highest scores.
MAX_PEOPLE = 20

# Groups of `evaluate_groups`: name -> lower bound. Annotated people with keypoints in the image; largest
# intersection over union of two of their bounding boxes; square root of a person's area, pixels.
GROUPS: dict[str, dict[str, float]] = {
    "people_in_image": {"1": 1, "2-4": 2, "5-9": 5, "10+": 10},
    "box_overlap": {"0-0.1": 0, "0.1-0.3": 0.1, "0.3-0.5": 0.3, "0.5-1": 0.5},
    "person_size": {"0-32": 0, "32-64": 32, "64-96": 64, "96-192": 96, "192+": 192},
}

# Upper bound of a person's area, square pixels: pycocotools' own.
MAX_AREA = 1e10
ALL_AREAS = ((0.0, MAX_AREA),)

# One person in COCO's keypoint result format, see `People.to_coco_rows`.
Row = dict[str, Any]

# Person area as a fraction of the bounding box area, if the json states no areas. CrowdPose's evaluation uses
# this value.
BOX_AREA_FRACTION = 0.53

_EXPECTED = "expected COCO's person_keypoints_*.json or image_info_test-dev2017.json (see data/README.md)"


@coco_json.paused_garbage_collection()
def read_annotations(
    path: str | Path,
    joints: Sequence[str] = COCO.annotated,
    options: coco_json.ReadOptions = coco_json.ReadOptions(),  # noqa: B008 (frozen)
) -> Annotations:
    """Read a `person_keypoints_*.json`, or an `image_info_*.json` without annotations.

    `num_keypoints` is counted, and an area that the json does not state is BOX_AREA_FRACTION of the bounding
    box. The evaluation ignores people without keypoints and people of other categories: results that match
    them are not false positives.

    Args:
        path: of the json.
        joints: names of the annotated joints that the json must have.
        options: the category of the people, and whether paths may lead outside the image folder.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is not such a json, an annotation is malformed, or its people have no keypoints,
            or others.
    """
    file = coco_json.read(path, _EXPECTED, joints, options, annotated=False)
    if file.num_annotations and not file.has_keypoints:
        raise ValueError(
            f"{path}: people without keypoints; {_EXPECTED}, with people of category {options.category!r}"
        )
    file.raise_fault()
    if not file.images:
        raise ValueError(f"{path}: expected at least one image, got an empty list; {_EXPECTED}")
    people = [
        person for group in (file.people, file.others) for persons in group.values() for person in persons
    ]
    # New ids from 1: pycocotools treats a match with annotation 0 as no match, and drops repeated ids.
    annotations = [_complete(person, index, len(joints)) for index, person in enumerate(people, 1)]
    categories = [{"id": PERSON_CATEGORY_ID, "name": "person"}]
    return index_annotations({"images": file.images, "annotations": annotations, "categories": categories})


def choose_subset(truth: Annotations, image_ids: Sequence[int], size: int) -> list[int]:
    """Choose images for a quick evaluation: a fixed choice with the whole's mix of numbers of people.

    The images are sorted by their number of annotated people, those with equal numbers by a hash of their id;
    the choice is evenly spaced. It depends on the images and their people only.

    Args:
        truth: annotations of the images.
        image_ids: to choose from.
        size: number of images; with no more images than that, all are chosen.

    Returns:
        The chosen ids, in the order of `image_ids`.
    """
    if size >= len(image_ids):
        return list(image_ids)

    def rank(image_id: int) -> tuple[int, str]:
        people = annotated_people(truth, image_id)
        return len(people), hashlib.sha256(str(image_id).encode()).hexdigest()

    ranked = sorted(image_ids, key=rank)
    chosen = {ranked[(2 * index + 1) * len(ranked) // (2 * size)] for index in range(size)}
    return [image_id for image_id in image_ids if image_id in chosen]


def evaluate_rows(
    annotations: str | Path | Annotations,
    rows: Sequence[Row],
    image_ids: Collection[int] | None = None,
    sigmas: Sequence[float] = COCO.sigmas,
) -> dict[str, float]:
    """Compute COCO's keypoint AP and AR, with at most 20 people per image.

    Args:
        annotations: as `read_annotations` returns them, or a path (of a json with COCO's keypoints).
        rows: the found people, as `People.to_coco_rows` returns them; they are not changed.
        image_ids: the images to evaluate; None: all images of the annotations.
        sigmas: k/2 of object keypoint similarity for each annotated joint.

    Returns:
        A value in [0, 1] for each of `METRICS`; pycocotools' -1 if the images have no annotated people. 0 if
        no people were found.

    Raises:
        ValueError: rows or annotations have another number of keypoints, or rows are of unknown images.
    """
    truth = annotations if isinstance(annotations, Annotations) else read_annotations(annotations)
    unknown = {row["image_id"] for row in rows} - set(truth.imgs)
    if unknown:
        raise ValueError(
            f"results for images that are not in the annotations: {sorted(unknown, key=str)[:5]}"
        )
    lengths = {len(row["keypoints"]) for row in (*rows, *truth.anns.values())} - {3 * len(sigmas)}
    if lengths:
        raise ValueError(
            f"expected {3 * len(sigmas)} keypoint values per person, 3 for each of {len(sigmas)} keypoints; "
            f"got {sorted(lengths)}"
        )
    return dict(zip(METRICS, map(float, evaluate_images(truth, rows, image_ids, sigmas).stats), strict=True))


def evaluate_images(
    truth: Annotations,
    rows: Sequence[Row],
    image_ids: Collection[int] | None = None,
    sigmas: Sequence[float] = COCO.sigmas,
) -> COCOeval:
    """Run pycocotools' evaluation; its `evalImgs` has the matches of each image and range of areas.

    Args: see `evaluate_rows`, which checks them.
    """
    evaluator = _accumulate(truth, rows, image_ids, sigmas)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator.summarize()
    return evaluator


def _accumulate(
    truth: Annotations,
    rows: Sequence[Row],
    image_ids: Collection[int] | None,
    sigmas: Sequence[float],
    areas: Sequence[tuple[float, float]] = (),
) -> COCOeval:
    """Compute precision and recall for these ranges of areas (square pixels), or for pycocotools' own."""
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator = COCOeval(truth, _load_results(truth, rows), "keypoints")
        evaluator.params.kpt_oks_sigmas = np.array(sigmas)
        evaluator.params.catIds = [PERSON_CATEGORY_ID]
        evaluator.params.imgIds = sorted(truth.imgs if image_ids is None else image_ids)
        if areas:
            evaluator.params.areaRng, evaluator.params.areaRngLbl = areas, list(map(str, areas))
        evaluator.evaluate()
        evaluator.accumulate()
    return evaluator


def evaluate_ap(
    truth: Annotations,
    rows: Sequence[Row],
    image_ids: Collection[int] | None = None,
    sigmas: Sequence[float] = COCO.sigmas,
) -> dict[str, float]:
    """Compute AP, AP50 and AP75 only, equal to those of `evaluate_rows`, in less time.

    Args: see `evaluate_rows`, which checks them.
    """
    precision = _accumulate(truth, rows, image_ids, sigmas, ALL_AREAS).eval["precision"]
    return {name: _mean(precision[thresholds]) for name, thresholds in AP_THRESHOLDS.items()}


def evaluate_groups(
    truth: Annotations,
    rows: Sequence[Row],
    image_ids: Collection[int] | None = None,
    sigmas: Sequence[float] = COCO.sigmas,
) -> dict[str, dict[str, dict[str, float]]]:
    """Compute AP for groups of images by their crowding, and for groups of people by their size.

    Args: see `evaluate_rows`, which checks them.

    Returns:
        For each of GROUPS: name of a group -> `people`, the number of its annotated people with keypoints,
        and their AP, AP50 and AR. Groups without people are left out.
    """
    ids = sorted(truth.imgs if image_ids is None else image_ids)
    people = [annotated_people(truth, image_id) for image_id in ids]
    overlaps = [_largest_overlap(persons) for persons in people]
    groups: dict[str, dict[str, dict[str, float]]] = {}
    for kind, values in (("people_in_image", list(map(len, people))), ("box_overlap", overlaps)):
        groups[kind] = {}
        for name, low, high in _ranges(kind):
            images = {i for i, v, p in zip(ids, values, people, strict=True) if p and low <= v < high}
            if images:
                evaluator = _accumulate(
                    truth, [r for r in rows if r["image_id"] in images], images, sigmas, ALL_AREAS
                )
                count = sum(len(annotated_people(truth, image_id)) for image_id in images)
                groups[kind][name] = {"people": count, **_scores(evaluator, 0)}
    sizes = _ranges("person_size")
    areas = [(low**2, min(np.nextafter(high**2, 0), MAX_AREA)) for _, low, high in sizes]
    evaluator = _accumulate(truth, rows, ids, sigmas, areas)
    counts = [
        len([p for persons in people for p in persons if low <= p["area"] <= high]) for low, high in areas
    ]
    groups["person_size"] = {
        name: {"people": count, **_scores(evaluator, index)}
        for index, ((name, _, _), count) in enumerate(zip(sizes, counts, strict=True))
        if count
    }
    return groups


def annotated_people(truth: Annotations, image_id: int) -> list[Row]:
    """Return the annotated people of an image who have keypoints; the evaluation ignores all others."""
    return [p for p in truth.imgToAnns[image_id] if p["num_keypoints"] > 0 and not p["iscrowd"]]


def _ranges(kind: str) -> list[tuple[str, float, float]]:
    """Return name, lower bound and upper bound (exclusive) of one of GROUPS."""
    names, bounds = zip(*GROUPS[kind].items(), strict=True)
    return list(zip(names, bounds, [*bounds[1:], float("inf")], strict=True))


def _scores(evaluator: COCOeval, area: int) -> dict[str, float]:
    """Return AP, AP50 and AR for one range of areas; -1 if no person is annotated, as pycocotools does."""
    precision = evaluator.eval["precision"][:, :, 0, area, 0]  # by OKS threshold and recall
    recall = evaluator.eval["recall"][:, 0, area, 0]
    return {"AP": _mean(precision), "AP50": _mean(precision[:1]), "AR": _mean(recall)}


def _mean(values: np.ndarray) -> float:
    """Compute pycocotools' mean: of the values above -1; -1 if there is none."""
    valid = values[values > -1]
    return float(valid.mean()) if valid.size else -1.0


def _largest_overlap(people: Sequence[Row]) -> float:
    """Return the largest intersection over union of the bounding boxes of two people; 0 for fewer people."""
    overlaps = box_ious(np.array([person["bbox"] for person in people], float).reshape(-1, 4))
    np.fill_diagonal(overlaps, 0)
    return float(overlaps.max(initial=0))


def box_ious(boxes: np.ndarray) -> np.ndarray:
    """(N, 4) x, y, width, height -> (N, N) intersection over union."""
    low, high = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    sides = (np.minimum(high[:, None], high) - np.maximum(low[:, None], low)).clip(0)
    areas, common = boxes[:, 2:].prod(1), sides.prod(-1)
    ious: np.ndarray = common / (areas[:, None] + areas - common).clip(1e-9)
    return ious


def format_table(metrics: dict[str, float]) -> str:
    """Format the metrics as pycocotools prints them."""
    lines = []
    for name, value in metrics.items():
        title = "Average Precision  (AP)" if name.startswith("AP") else "Average Recall     (AR)"
        oks = {"50": "0.50", "75": "0.75"}.get(name[2:], "0.50:0.95")
        area = {"M": "medium", "L": "large"}.get(name[2:], "all")
        lines.append(f" {title} @[ IoU={oks:<9} | area={area:>6} | maxDets= 20 ] = {value:0.3f}")
    return "\n".join(lines)


def format_groups(groups: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """Format the result of `evaluate_groups` as a table."""
    lines = [f"{'':16} {'':8}{'people':>8}{'AP':>8}{'AP50':>8}{'AR':>8}"]
    for kind, values in groups.items():
        for index, (name, scores) in enumerate(values.items()):
            title = "" if index else kind.replace("_", " ")
            figures = "".join(f"{scores[key]:8.3f}" for key in ("AP", "AP50", "AR"))
            lines.append(f"{title:16} {name:8}{scores['people']:8}{figures}")
    return "\n".join(lines)


def _complete(person: Row, annotation_id: int, joints: int) -> Row:
    """Return the keys that pycocotools reads of a person."""
    return {
        "id": annotation_id,
        "image_id": person["image_id"],
        "category_id": PERSON_CATEGORY_ID,
        "keypoints": person["keypoints"] or [0] * 3 * joints,
        "num_keypoints": person["num_keypoints"],
        "bbox": person["bbox"],
        "area": person["area"] * (BOX_AREA_FRACTION if person["is_box_area"] else 1),
        "iscrowd": person["iscrowd"],
    }


def _load_results(truth: Annotations, rows: Sequence[Row]) -> Annotations:
    if not rows:  # pycocotools cannot load an empty list
        return index_annotations({**truth.dataset, "annotations": []})
    return truth.loadRes([dict(row) for row in rows])


def index_annotations(content: dict[str, Any]) -> Annotations:
    """Index the lists of a COCO json without pycocotools' output."""
    annotations = Annotations()
    annotations.dataset = content
    with contextlib.redirect_stdout(io.StringIO()):
        annotations.createIndex()
    return annotations
