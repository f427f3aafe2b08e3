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


def read_annotations(path: str | Path) -> Annotations:
    """Read a `person_keypoints_*.json`, or an `image_info_*.json` that lists pictures alone.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no such json, or its people have no keypoints.
    """
    content = coco_json.read(path, _EXPECTED, annotated=False)
    people = coco_json.persons(content)
    lacking = sorted({key for person in people for key in _JUDGED if key not in person})
    if lacking or (content["annotations"] and not people):
        raise ValueError(f"{path}: people without {', '.join(lacking) or 'annotations'}; {_EXPECTED}")
    for person in people:
        if not _is_judgeable(person):
            raise ValueError(f"{path}: {', '.join(_JUDGED)} are not all numbers in {person}; {_EXPECTED}")
    # pycocotools takes a match with annotation 0 for none, and of two with one id it sees one.
    numbered = [
        {"iscrowd": 0, **person, "category_id": PERSON_CATEGORY, "id": number}
        for number, person in enumerate(people, 1)
    ]
    return _indexed(
        {**content, "annotations": numbered, "categories": [{"id": PERSON_CATEGORY, "name": "person"}]}
    )


_JUDGED = ("keypoints", "num_keypoints", "bbox", "area")
_EXPECTED = "COCO's person_keypoints_*.json is expected, or image_info_test-dev2017.json (see data/README.md)"


def evaluate_rows(
    annotations: str | Path | Annotations,
    rows: Sequence[Row],
    image_ids: Collection[int] | None = None,
    sigmas: Sequence[float] = COCO.sigmas,
) -> dict[str, float]:
    """COCO's keypoint AP and AR of results, at most 20 people a picture.

    Args:
        annotations: a path for `read_annotations`, or what it returned.
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
        values = [*person["keypoints"], person["num_keypoints"], *person["bbox"], person["area"]]
        return len(person["bbox"]) == 4 and bool(np.isfinite(values).all()) and np.ndim(values) == 1
    except (TypeError, ValueError):
        return False


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
