"""COCO's keypoint AP, by pycocotools, and the two files that go with it: annotations in, results out."""

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
from simplepose.people import PERSON_CATEGORY
from simplepose.skeleton import COCO

METRICS = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")
"""In pycocotools' order: mean over OKS 0.50:0.95, at 0.50, at 0.75, of medium and of large people."""

Row = dict[str, Any]
"""One person in COCO's keypoint result format, see `People.to_coco_rows`."""


def read_annotations(path: str | Path, joints: Sequence[str] = COCO.annotated) -> Annotations:
    """Read a `person_keypoints_*.json`, or an `image_info_*.json` that lists pictures alone.

    What other sets leave out is put in: an absent `num_keypoints` is counted, an absent `area` is BOX_SHARE
    of the box, and people without keypoints are not looked for.

    Args:
        path: of the json.
        joints: the names of the annotated joints that are expected of it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no such json, its people have no keypoints, or they are of other joints.
    """
    content = coco_json.read(path, _EXPECTED, annotated=False)
    people = coco_json.persons(content)
    lacking = [] if all("bbox" in person for person in people) else ["bbox"]
    lacking += [] if any(person.get("keypoints") for person in people) else ["keypoints"]
    if content["annotations"] and (lacking or not people):
        raise ValueError(f"{path}: people without {', '.join(lacking)}; {_EXPECTED}")
    for person in people:
        if not _is_judgeable(person):
            told = "keypoints, num_keypoints, bbox, area are not all numbers"
            raise ValueError(f"{path}: {told} in {person}; {_EXPECTED}")
    coco_json.require_joints(path, content, joints)
    # pycocotools takes a match with annotation 0 for none, and of two with one id it sees one.
    numbered = [{**_whole(person, len(joints)), "id": number} for number, person in enumerate(people, 1)]
    return _indexed(
        {**content, "annotations": numbered, "categories": [{"id": PERSON_CATEGORY, "name": "person"}]}
    )


BOX_SHARE = 0.53
"""What CrowdPose's evaluation, whose json states no areas, takes a person to cover of their box."""

_EXPECTED = "COCO's person_keypoints_*.json is expected, or image_info_test-dev2017.json (see data/README.md)"


def evaluate_rows(
    annotations: str | Path | Annotations,
    rows: Sequence[Row],
    image_ids: Collection[int] | None = None,
    sigmas: Sequence[float] = COCO.sigmas,
) -> dict[str, float]:
    """COCO's keypoint AP and AR of results, at most 20 people a picture.

    Args:
        annotations: what `read_annotations` returned, or a path for it (of COCO's joints).
        rows: people found, as `People.to_coco_rows` gives them; they are not changed.
        image_ids: the pictures that are judged; None: all that the annotations list.
        sigmas: per annotated joint, the spread of object keypoint similarity.

    Returns:
        A value in [0, 1] for each of `METRICS`; -1, as pycocotools has it, where the pictures
        show nobody to find. Nobody found is 0.

    Raises:
        ValueError: rows or annotations with another number of joints, or rows of unknown pictures.
    """
    truth = annotations if isinstance(annotations, Annotations) else read_annotations(annotations)
    unknown = {row["image_id"] for row in rows} - set(truth.imgs)
    if unknown:
        raise ValueError(
            f"results for pictures that the annotations do not list: {sorted(unknown, key=str)[:5]}"
        )
    lengths = {len(row["keypoints"]) for row in (*rows, *truth.anns.values())} - {3 * len(sigmas)}
    if lengths:
        raise ValueError(
            f"{len(sigmas)} joints, 3 values each, expected everywhere; got lists of {sorted(lengths)}"
        )
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator = COCOeval(truth, _results(truth, rows), "keypoints")
        evaluator.params.kpt_oks_sigmas = np.array(sigmas)
        evaluator.params.catIds = [PERSON_CATEGORY]
        evaluator.params.imgIds = sorted(truth.imgs if image_ids is None else image_ids)
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return dict(zip(METRICS, map(float, evaluator.stats), strict=True))


def table(metrics: dict[str, float]) -> str:
    """The metrics in the layout that pycocotools prints, which papers quote."""
    lines = []
    for name, value in metrics.items():
        title = "Average Precision  (AP)" if name.startswith("AP") else "Average Recall     (AR)"
        oks = {"50": "0.50", "75": "0.75"}.get(name[2:], "0.50:0.95")
        area = {"M": "medium", "L": "large"}.get(name[2:], "all")
        lines.append(f" {title} @[ IoU={oks:<9} | area={area:>6} | maxDets= 20 ] = {value:0.3f}")
    return "\n".join(lines)


def server_file_name(annotations: str | Path, name: str) -> str:
    """The file name that COCO's server takes; the split's name is taken from the annotations'."""
    split = Path(annotations).stem.removeprefix("image_info_").removeprefix("person_keypoints_")
    return f"person_keypoints_{split}_{name}_results.json"


def _is_judgeable(person: Row) -> bool:
    try:
        stated = [person.get("num_keypoints", 0), person.get("area", 0)]
        values = [*(person.get("keypoints") or []), *person["bbox"], *stated]
        return len(person["bbox"]) == 4 and bool(np.isfinite(values).all()) and np.ndim(values) == 1
    except (TypeError, ValueError):
        return False


def _whole(person: Row, joints: int) -> Row:
    """An annotation with all that pycocotools reads."""
    keypoints = person.get("keypoints") or [0] * 3 * joints
    width, height = person["bbox"][2:]
    put_in = {
        "iscrowd": 0,
        "num_keypoints": sum(v > 0 for v in keypoints[2::3]),
        "area": BOX_SHARE * width * height,
    }
    return {**put_in, **person, "keypoints": keypoints, "category_id": PERSON_CATEGORY}


def _results(truth: Annotations, rows: Sequence[Row]) -> Annotations:
    if not rows:  # pycocotools cannot load an empty list
        return _indexed({**truth.dataset, "annotations": []})
    return truth.loadRes([dict(row) for row in rows])


def _indexed(content: dict[str, Any]) -> Annotations:
    annotations = Annotations()
    annotations.dataset = content
    with contextlib.redirect_stdout(io.StringIO()):
        annotations.createIndex()
    return annotations
