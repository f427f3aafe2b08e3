"""Compute COCO's keypoint AP with pycocotools, from an annotation file and result rows."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Collection, Sequence
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


def read_rows(path: str | Path, truth: Annotations, joints: int) -> list[Row]:
    """Read anybody's results in COCO's keypoint result format.

    Args:
        path: of the json.
        truth: annotations of the images that results may be of.
        joints: number of keypoints per person.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is no such json; names the entry.
    """
    entries = coco_json.load_json(Path(path), "expected a list of results in COCO's format")
    if not isinstance(entries, list):
        raise ValueError(f"{path}: expected a list of results, got {type(entries).__name__}")
    return [
        _check_row(entry, f"{path}: result {index}", truth, joints) for index, entry in enumerate(entries)
    ]


def _check_row(entry: Any, where: str, truth: Annotations, joints: int) -> Row:
    if not isinstance(entry, dict):
        raise ValueError(f"{where}: expected an object, got {entry!r:.100}")
    image_id, keypoints = entry.get("image_id"), entry.get("keypoints")
    if isinstance(image_id, bool) or not isinstance(image_id, int) or image_id not in truth.imgs:
        raise ValueError(f"{where}: expected the id of an image in the annotations, got {image_id!r:.100}")
    values = [*keypoints, entry.get("score")] if isinstance(keypoints, list) else []
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    is_valid = len(values) == len(numbers) == 3 * joints + 1 and bool(np.isfinite(numbers).all())
    if not is_valid:
        raise ValueError(
            f"{where}, image {image_id}: expected {3 * joints} finite keypoint values and a score, got "
            f"{keypoints!r:.60} and {entry.get('score')!r:.60}"
        )
    return {
        "image_id": image_id,
        "category_id": PERSON_CATEGORY_ID,
        "keypoints": keypoints,
        "score": entry["score"],
    }


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
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator = COCOeval(truth, _load_results(truth, rows), "keypoints")
        evaluator.params.kpt_oks_sigmas = np.array(sigmas)
        evaluator.params.catIds = [PERSON_CATEGORY_ID]
        evaluator.params.imgIds = sorted(truth.imgs if image_ids is None else image_ids)
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return evaluator


def format_table(metrics: dict[str, float]) -> str:
    """Format the metrics as pycocotools prints them."""
    lines = []
    for name, value in metrics.items():
        title = "Average Precision  (AP)" if name.startswith("AP") else "Average Recall     (AR)"
        oks = {"50": "0.50", "75": "0.75"}.get(name[2:], "0.50:0.95")
        area = {"M": "medium", "L": "large"}.get(name[2:], "all")
        lines.append(f" {title} @[ IoU={oks:<9} | area={area:>6} | maxDets= 20 ] = {value:0.3f}")
    return "\n".join(lines)


def server_file_name(annotations: str | Path, name: str) -> str:
    """Return the file name that COCO's evaluation server requires.

    Args:
        annotations: path of the json, whose name contains the split.
        name: of the method.
    """
    split = Path(annotations).stem.removeprefix("image_info_").removeprefix("person_keypoints_")
    return f"person_keypoints_{split}_{name}_results.json"


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
