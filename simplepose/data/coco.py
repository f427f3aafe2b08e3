"""Read COCO annotations: the people of each image, their masks, and which of them give a training sample.

The rules are the published ones (arXiv:1911.10529 and its code) except for those in `docs/deviations.md`: the
distance test of main persons uses the earlier main person's own box, and an image may have any number of
crowd regions. A segmentation that would make pycocotools read out of bounds is refused first.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from simplepose import coco_json
from simplepose.data.record import PictureFault, Remark
from simplepose.people import PERSON_CATEGORY
from simplepose.skeleton import COCO

FARTHEST = 100_000
"""Pixels from the picture's corner that an outline may reach: pycocotools walks along all of it, and crashes
the process where a coordinate is not finite or very large."""


def covered(annotations: Sequence[dict[str, Any]], height: int, width: int) -> np.ndarray:
    """(H, W) bool: what any of the annotations covers. Raises ValueError as `segmentation_mask`."""
    if not annotations:
        return np.zeros((height, width), bool)
    runs = [_runs(annotation, height, width) for annotation in annotations]
    try:
        mask = coco_mask.decode(coco_mask.merge(runs))
    except Exception as error:  # pycocotools raises bare Exceptions on odd input
        raise ValueError(f"a segmentation that cannot be read ({error})") from error
    return np.ascontiguousarray(mask).astype(bool)


def segmentation_mask(annotation: dict[str, Any], height: int, width: int) -> np.ndarray:
    """(H, W) bool: an annotation's polygons or run lengths, as COCO's `annToMask`; its box where it has none.

    Raises:
        ValueError: the run lengths are of another size, or a polygon is not of finite x, y, x, y, ...
    """
    return covered([annotation], height, width)


def _runs(annotation: dict[str, Any], height: int, width: int) -> dict[str, Any]:
    """An annotation's run lengths as pycocotools has them."""
    segmentation = annotation.get("segmentation")
    try:
        if isinstance(segmentation, dict):
            return _checked_runs(segmentation, height, width)
        outlines = [_outline(polygon) for polygon in segmentation or [] if len(polygon) >= 6]
        shapes = outlines or np.array([annotation["bbox"]], np.float64)
        return coco_mask.merge(coco_mask.frPyObjects(shapes, height, width))
    except ValueError:
        raise
    except Exception as error:  # pycocotools raises bare Exceptions on odd input
        raise ValueError(f"a segmentation that cannot be read ({error!r})") from error


def _outline(polygon: Sequence[float]) -> list[float]:
    values = np.asarray(polygon, np.float64)
    if values.ndim != 1 or len(values) % 2 or not (np.abs(values) <= FARTHEST).all():
        raise ValueError(f"a polygon of finite x, y, x, y, ... within {FARTHEST:,} pixels expected")
    return values.tolist()


def _checked_runs(segmentation: dict[str, Any], height: int, width: int) -> dict[str, Any]:
    counts = segmentation["counts"]
    if list(segmentation["size"]) != [height, width]:
        raise ValueError(f"segmentation of {segmentation['size']}, picture of {[height, width]}")
    lengths = counts if isinstance(counts, list) else _lengths(counts)
    if min(lengths, default=0) < 0 or sum(lengths) != height * width:
        raise ValueError(f"run lengths of {sum(lengths)} pixels, {height} x {width} expected")
    return coco_mask.frPyObjects({"size": [height, width], "counts": lengths}, height, width)


def _lengths(counts: str | bytes) -> list[int]:
    """COCO's run lengths written as text: five bits a character from 48 on, the lowest first, a sixth bit
    where more follow; from the fourth on each is the difference to the one two before."""
    lengths: list[int] = []
    value = shift = 0
    for character in counts.encode("latin-1") if isinstance(counts, str) else counts:
        part = character - 48
        value |= (part & 31) << shift
        shift += 5
        if part & 32:
            continue
        if part & 16:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    return lengths


MAIN_PERSON_KEYPOINTS = 5
MAIN_PERSON_SHARE = 0.5
MAIN_PERSON_AREA = 32 * 32
MAIN_PERSON_DISTANCE = 0.3
"""What makes a main person: labelled keypoints, or where the skeleton has few joints this share of them;
pixels of area; distance to earlier ones in longer sides."""

RESULT_MARGIN = 0.15
"""Around a found person's keypoints, in longer sides of their box, to hold head, hands and feet too."""

SAME_PERSON_OVERLAP = 0.5
"""A found person is an annotated one if their boxes overlap by this share of the smaller box."""

JOINT_OUTSIDE = "joints outside the picture"
BOX_WITHOUT_AREA = "box without area"
"""Kinds of remarks on what is mended: such a joint counts as not labelled, such a person gives no sample."""


@dataclass(frozen=True)
class AnnotatedPicture:
    """One picture as a COCO json describes it; `persons`: its annotations of people, in the json's order."""

    image_id: int
    file_name: str
    height: int
    width: int
    persons: tuple[dict[str, Any], ...]


@dataclass(frozen=True, eq=False)
class Persons:
    """All annotations of people of one picture, crowd regions too, in the json's order.

    Attributes:
        keypoints: (P, A, 3) float32 as in `Record`; joints outside the picture are not labelled.
        boxes_xywh: (P, 4) float64, picture pixels.
        areas: (P,) float64, pixels.
        crowd: (P,) bool, what is a crowd region.
        remarks: what was mended.
    """

    keypoints: np.ndarray
    boxes_xywh: np.ndarray
    areas: np.ndarray
    crowd: np.ndarray
    remarks: tuple[Remark, ...]

    @cached_property
    def labelled(self) -> np.ndarray:
        """(P,) int64: how many keypoints of each are labelled; 0 of a crowd region."""
        return (self.keypoints[..., 2] > 0).sum(1) * ~self.crowd

    @cached_property
    def main_persons(self) -> list[int]:
        """The rows of the main persons."""
        sides = self.boxes_xywh[:, 2:]
        least = min(MAIN_PERSON_KEYPOINTS, MAIN_PERSON_SHARE * self.keypoints.shape[1])
        eligible = (self.labelled >= least) & (self.areas >= MAIN_PERSON_AREA)
        eligible &= (sides > 0).all(1)
        return choose_main_persons(self.boxes_xywh, eligible, MAIN_PERSON_DISTANCE * sides.max(1, initial=0))


def read_annotations(path: str | Path, joints: Sequence[str] = COCO.annotated) -> list[AnnotatedPicture]:
    """Read COCO's `person_keypoints_*.json`, or another of its form: all its pictures, in the order they are
    listed.

    Args:
        path: of the json.
        joints: the names of the annotated joints that are expected of it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no such file, is cut off, holds no person with keypoints, or its people have others.
    """
    content = coco_json.read(path, _EXPECTED, annotated=True)
    persons = defaultdict(list)
    for annotation in coco_json.persons(content):
        persons[annotation["image_id"]].append(annotation)
    coco_json.require_joints(path, content, joints)
    try:
        pictures = [_picture(image, persons[image["id"]]) for image in content["images"]]
    except (KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"{path}: not in COCO's format ({error!r}); {_EXPECTED}") from error
    except ValueError as error:
        raise ValueError(f"{path}: not in COCO's format ({error}); {_EXPECTED}") from error
    if not any(person.get("keypoints") for picture in pictures for person in picture.persons):
        raise ValueError(
            f"{path}: {len(pictures)} pictures and {len(content['annotations'])} annotations, "
            f"but none is a person (category_id {PERSON_CATEGORY}) with keypoints; {_EXPECTED}"
        )
    return pictures


_EXPECTED = "COCO's person_keypoints_*.json is expected (see data/README.md)"


def mark_unlabeled(
    pictures: Sequence[AnnotatedPicture], results: str | Path, min_score: float = 0.2
) -> tuple[list[AnnotatedPicture], int]:
    """Add people that a network found but nobody annotated, as crowd regions, which the loss leaves out.

    For sets in which not every person is marked: as background, they would teach the network to miss people.

    Args:
        pictures: as `read_annotations` gives them.
        results: in COCO's format (a list with image_id, keypoints and score), as tools/evaluate.py writes
            them.
        min_score: people with a lower score are ignored.

    Returns:
        The pictures, and how many people were added.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not in COCO's result format, or holds results for none of the pictures.
    """
    boxes = defaultdict(list)
    for image_id, box, score in _read_results(Path(results)):
        if score >= min_score:
            boxes[image_id].append(box)
    ids = {picture.image_id for picture in pictures}
    if boxes and not ids & boxes.keys():
        raise ValueError(f"{results}: expected results for the annotations' images, got other image ids")
    marked, added = [], 0
    for picture in pictures:
        known = [person["bbox"] for person in picture.persons if "bbox" in person]
        new = [box for box in boxes[picture.image_id] if not any(_same_person(box, k) for k in known)]
        regions = tuple({"bbox": box, "iscrowd": 1, "category_id": PERSON_CATEGORY} for box in new)
        marked.append(replace(picture, persons=picture.persons + regions))
        added += len(new)
    return marked, added


def _read_results(path: Path) -> Iterator[tuple[int, list[float], float]]:
    """Image id, box (left, top, width, height; a margin around the keypoints) and score of each result."""
    try:
        rows = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: not a readable json file: {error}") from error
    if not isinstance(rows, list):
        raise ValueError(f"{path}: expected a list of results in COCO's format, got {type(rows).__name__}")
    for number, row in enumerate(rows):
        try:
            keypoints = np.array(row["keypoints"], np.float64).reshape(-1, 3)
            image_id, score = int(row["image_id"]), float(row["score"])
        except (LookupError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: result {number}: not in COCO's format ({error!r})") from error
        found = keypoints[keypoints[:, 2] > 0, :2]
        if not np.isfinite(found).all() or not np.isfinite(score):
            raise ValueError(f"{path}: result {number}: expected finite keypoints and score")
        if len(found):
            margin = RESULT_MARGIN * (found.max(0) - found.min(0)).max()
            low, high = found.min(0) - margin, found.max(0) + margin
            yield image_id, [*low.tolist(), *(high - low).tolist()], score


def _same_person(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether two boxes (left, top, width, height) overlap by half of the smaller one."""
    sides = [min(a[i] + a[i + 2], b[i] + b[i + 2]) - max(a[i], b[i]) for i in (0, 1)]
    smaller = min(a[2] * a[3], b[2] * b[3])
    return min(sides) > 0 and sides[0] * sides[1] >= SAME_PERSON_OVERLAP * smaller


def persons_of(picture: AnnotatedPicture, joints: int) -> Persons:
    """The annotations of a picture as arrays, mended where the rules say so; `joints`: A.

    Raises:
        PictureFault: they are malformed.
    """
    try:
        keypoints = [person.get("keypoints") or [0] * 3 * joints for person in picture.persons]
        boxes = np.array([person["bbox"] for person in picture.persons], np.float64).reshape(-1, 4)
        parts = (
            np.array(keypoints, np.float32).reshape(len(keypoints), joints, 3),
            boxes.reshape(len(keypoints), 4),
            np.array([person.get("area", _box_area(person)) for person in picture.persons], np.float64),
            np.array([person.get("iscrowd", 0) for person in picture.persons], bool),
        )
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        raise malformed(picture, error) from error
    if not all(np.isfinite(part).all() for part in parts):
        raise malformed(picture, "a value that is not finite")
    if not np.isin(parts[0][..., 2], (0, 1, 2)).all():
        raise malformed(picture, "a keypoint's third value is not 0, 1 or 2")
    if not (np.abs(boxes) <= FARTHEST).all():
        raise malformed(picture, f"a box beyond {FARTHEST:,} pixels")
    return Persons(*parts, tuple(_mend(picture, parts[0], boxes)))


def choose_main_persons(boxes_xywh: np.ndarray, eligible: np.ndarray, reach: np.ndarray) -> list[int]:
    """Which people give a sample: each eligible one whose box centre no earlier main person's reach covers.

    Args:
        boxes_xywh: (P, 4) left, top, width, height.
        eligible: (P,) bool.
        reach: (P,) pixels about the box centre of each person in which no other becomes a main person.
            Ours is 0.3 of the longer side of that person's box. The published code takes for every person
            0.3 of the longer side of the box of the picture's last annotation, a variable left by a loop.
    """
    centers = boxes_xywh[:, :2] + boxes_xywh[:, 2:] / 2
    chosen: list[int] = []
    for person in np.flatnonzero(eligible):
        distances = np.linalg.norm(centers[chosen] - centers[person], axis=1)
        if (distances >= reach[chosen]).all():
            chosen.append(int(person))
    return chosen


def inside(keypoints: np.ndarray, height: int, width: int) -> np.ndarray:
    """(P, A) bool: which of the (P, A, 3) lie in the picture: from -0.5, where it begins if pixel centres are
    integers, to its width and height, where it ends if corners are."""
    x, y = keypoints[..., 0], keypoints[..., 1]
    return (x >= -0.5) & (x <= width) & (y >= -0.5) & (y <= height)


def _picture(image: dict[str, Any], persons: list[dict[str, Any]]) -> AnnotatedPicture:
    image_id = int(np.int64(int(image["id"])))
    height, width = int(image["height"]), int(image["width"])
    name = image["file_name"].encode("utf-8", "backslashreplace").decode()  # json can hold half characters
    return AnnotatedPicture(image_id, name, height, width, tuple(persons))


def _box_area(person: dict[str, Any]) -> float:
    """What stands in for an area that an annotation does not state."""
    return float(person["bbox"][2]) * float(person["bbox"][3])


def _mend(picture: AnnotatedPicture, keypoints: np.ndarray, boxes_xywh: np.ndarray) -> list[Remark]:
    """Take the labels from joints outside the picture, in place; tell of these, and of boxes without area."""
    outside = (keypoints[..., 2] > 0) & ~inside(keypoints, picture.height, picture.width)
    places = [f"{x:g}, {y:g}" for x, y, _ in keypoints[outside]]
    keypoints[outside] = 0
    flat = boxes_xywh[~(boxes_xywh[:, 2:] > 0).all(1)]
    sizes = [f"{width:g} x {height:g}" for _, _, width, height in flat]
    return [
        Remark(picture.image_id, kind, f"of {picture.file_name}: {'; '.join(found)}")
        for kind, found in ((JOINT_OUTSIDE, places), (BOX_WITHOUT_AREA, sizes))
        if found
    ]


def malformed(picture: AnnotatedPicture, what: object) -> PictureFault:
    """The fault of a picture whose annotations cannot be read."""
    return PictureFault("annotations malformed", f"of {picture.file_name}: {what}")
