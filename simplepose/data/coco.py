"""Read COCO annotations: the people of each image, their masks, and the main persons that give samples.

The rules are the published ones (arXiv:1911.10529 and its code) except for those in `docs/deviations.md`: the
distance test of main persons uses the earlier main person's own box, and an image may have any number of
crowd regions. A segmentation that would make pycocotools read out of bounds is rejected first.
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
from simplepose.data.record import Issue, UnusableImageError
from simplepose.people import PERSON_CATEGORY_ID
from simplepose.skeleton import COCO

# Maximum distance of a polygon point or box from the image's top left corner. pycocotools walks along the
# whole outline, and crashes the process if a coordinate is not finite or very large.
MAX_COORDINATE_PX = 100_000


def union_mask(annotations: Sequence[dict[str, Any]], height: int, width: int) -> np.ndarray:
    """(H, W) bool: the union of the annotations' masks. Raises ValueError as `segmentation_mask`."""
    if not annotations:
        return np.zeros((height, width), bool)
    rles = [_encode_rle(annotation, height, width) for annotation in annotations]
    try:
        mask = coco_mask.decode(coco_mask.merge(rles))
    except Exception as error:  # pycocotools raises bare Exceptions on malformed input
        raise ValueError(f"malformed segmentation ({error})") from error
    return np.ascontiguousarray(mask).astype(bool)


def segmentation_mask(annotation: dict[str, Any], height: int, width: int) -> np.ndarray:
    """(H, W) bool: an annotation's polygons or run lengths, as COCO's `annToMask`; its box if it has none.

    Raises:
        ValueError: the run lengths have another size, or a polygon is not of finite x, y, x, y, ...
    """
    return union_mask([annotation], height, width)


def _encode_rle(annotation: dict[str, Any], height: int, width: int) -> dict[str, Any]:
    """Convert an annotation's segmentation or box to pycocotools' run lengths."""
    segmentation = annotation.get("segmentation")
    try:
        if isinstance(segmentation, dict):
            return _validate_rle(segmentation, height, width)
        polygons = [_parse_polygon(polygon) for polygon in segmentation or [] if len(polygon) >= 6]
        shapes = polygons or np.array([annotation["bbox"]], np.float64)
        rle: dict[str, Any] = coco_mask.merge(coco_mask.frPyObjects(shapes, height, width))
        return rle
    except ValueError:
        raise
    except Exception as error:  # pycocotools raises bare Exceptions on malformed input
        raise ValueError(f"malformed segmentation ({error!r})") from error


def _parse_polygon(polygon: Sequence[float]) -> list[float]:
    values = np.asarray(polygon, np.float64)
    if values.ndim != 1 or len(values) % 2 or not (np.abs(values) <= MAX_COORDINATE_PX).all():
        raise ValueError(f"expected a polygon of finite x, y, x, y, ... within {MAX_COORDINATE_PX:,} pixels")
    coordinates: list[float] = values.tolist()
    return coordinates


def _validate_rle(segmentation: dict[str, Any], height: int, width: int) -> dict[str, Any]:
    counts = segmentation["counts"]
    if list(segmentation["size"]) != [height, width]:
        raise ValueError(
            f"expected a segmentation of the image's size {[height, width]}, got {segmentation['size']}"
        )
    lengths = counts if isinstance(counts, list) else _decode_counts(counts)
    if min(lengths, default=0) < 0 or sum(lengths) != height * width:
        raise ValueError(f"expected run lengths of {height} x {width} pixels, got {sum(lengths)} pixels")
    rle: dict[str, Any] = coco_mask.frPyObjects({"size": [height, width], "counts": lengths}, height, width)
    return rle


def _decode_counts(counts: str | bytes) -> list[int]:
    """Decode COCO's compressed run lengths.

    Each character stores five bits, from 48 on, the lowest bits first; a sixth bit is set if more follow.
    From the fourth length on, the value is the difference to the length two before.
    """
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


# A main person has at least this many labeled keypoints, or this fraction of the joints if the skeleton has
# few; at least this area; and at least this distance to earlier main persons, in longer sides of their boxes.
MIN_MAIN_PERSON_KEYPOINTS = 5
MIN_MAIN_PERSON_KEYPOINT_RATIO = 0.5
MIN_MAIN_PERSON_AREA_PX = 32 * 32
MIN_MAIN_PERSON_DISTANCE_RATIO = 0.3

# Margin around the keypoints of a detected person, in longer sides of their box, for head, hands and feet.
RESULT_BOX_MARGIN = 0.15

# A detected person is an annotated one if their boxes overlap by this fraction of the smaller box.
MIN_SAME_PERSON_OVERLAP = 0.5

# Kinds of issues that are repaired: such a joint counts as not labeled, such a person gives no sample.
JOINT_OUTSIDE = "joints outside the image"
BOX_WITHOUT_AREA = "box without area"


@dataclass(frozen=True)
class AnnotatedImage:
    """One image of a COCO json; `persons`: its annotations of people, in the json's order."""

    image_id: int
    file_name: str
    height: int
    width: int
    persons: tuple[dict[str, Any], ...]


@dataclass(frozen=True, eq=False)
class PersonAnnotations:
    """All annotations of people in one image, crowd regions included, in the json's order.

    Attributes:
        keypoints: (P, A, 3) float32 as in `Record`; joints outside the image are not labeled.
        boxes_xywh: (P, 4) float64, image pixels.
        areas: (P,) float64, pixels.
        crowd: (P,) bool, True for a crowd region.
        issues: what was repaired.
    """

    keypoints: np.ndarray
    boxes_xywh: np.ndarray
    areas: np.ndarray
    crowd: np.ndarray
    issues: tuple[Issue, ...]

    @cached_property
    def labeled_counts(self) -> np.ndarray:
        """(P,) int64: number of labeled keypoints of each annotation; 0 for a crowd region."""
        counts: np.ndarray = (self.keypoints[..., 2] > 0).sum(1) * ~self.crowd
        return counts

    @cached_property
    def main_persons(self) -> list[int]:
        """The rows of the main persons."""
        sides = self.boxes_xywh[:, 2:]
        num_joints = self.keypoints.shape[1]
        min_count = min(MIN_MAIN_PERSON_KEYPOINTS, MIN_MAIN_PERSON_KEYPOINT_RATIO * num_joints)
        eligible = (self.labeled_counts >= min_count) & (self.areas >= MIN_MAIN_PERSON_AREA_PX)
        eligible &= (sides > 0).all(1)
        radii = MIN_MAIN_PERSON_DISTANCE_RATIO * sides.max(1, initial=0)
        return select_main_persons(self.boxes_xywh, eligible, radii)


def read_annotations(path: str | Path, joints: Sequence[str] = COCO.annotated) -> list[AnnotatedImage]:
    """Read the images of COCO's `person_keypoints_*.json`, or of a json in its format, in their order.

    Args:
        path: of the json.
        joints: the expected names of the annotated joints.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is truncated, is not in COCO's format, has no person with keypoints, or its
            people have other joints.
    """
    content = coco_json.read(path, _EXPECTED, annotated=True)
    persons = defaultdict(list)
    for annotation in coco_json.person_annotations(content):
        persons[annotation["image_id"]].append(annotation)
    coco_json.validate_joints(path, content, joints)
    try:
        images = [_parse_image(image, persons[image["id"]]) for image in content["images"]]
    except (KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"{path}: not in COCO's format ({error!r}); {_EXPECTED}") from error
    except ValueError as error:
        raise ValueError(f"{path}: not in COCO's format ({error}); {_EXPECTED}") from error
    if not any(person.get("keypoints") for image in images for person in image.persons):
        raise ValueError(
            f"{path}: {len(images)} images and {len(content['annotations'])} annotations, "
            f"but none is a person (category_id {PERSON_CATEGORY_ID}) with keypoints; {_EXPECTED}"
        )
    return images


_EXPECTED = "expected COCO's person_keypoints_*.json (see data/README.md)"


def mark_unlabeled(
    images: Sequence[AnnotatedImage], results: str | Path, min_score: float = 0.2
) -> tuple[list[AnnotatedImage], int]:
    """Add detected people without an annotation as crowd regions, which the loss ignores.

    For datasets in which not every person is annotated: as background, they would train the network to miss
    people.

    Args:
        images: from `read_annotations`.
        results: path of a network's results in COCO's format (a list with image_id, keypoints and score), as
            tools/evaluate.py writes them.
        min_score: people with a lower score are ignored.

    Returns:
        The images, and the number of added people.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is not in COCO's result format, or has results for none of the images.
    """
    boxes = defaultdict(list)
    for image_id, box, score in _read_results(Path(results)):
        if score >= min_score:
            boxes[image_id].append(box)
    ids = {image.image_id for image in images}
    if boxes and not ids & boxes.keys():
        raise ValueError(f"{results}: expected results for the annotations' images, got other image ids")
    marked, added = [], 0
    for image in images:
        known = [person["bbox"] for person in image.persons if "bbox" in person]
        new = [box for box in boxes[image.image_id] if not any(_is_same_person(box, k) for k in known)]
        regions = tuple({"bbox": box, "iscrowd": 1, "category_id": PERSON_CATEGORY_ID} for box in new)
        marked.append(replace(image, persons=image.persons + regions))
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
            margin = RESULT_BOX_MARGIN * (found.max(0) - found.min(0)).max()
            low, high = found.min(0) - margin, found.max(0) + margin
            yield image_id, [*low.tolist(), *(high - low).tolist()], score


def _is_same_person(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether two boxes (left, top, width, height) overlap by half of the smaller one."""
    sides = [min(a[i] + a[i + 2], b[i] + b[i + 2]) - max(a[i], b[i]) for i in (0, 1)]
    smaller = min(a[2] * a[3], b[2] * b[3])
    return min(sides) > 0 and sides[0] * sides[1] >= MIN_SAME_PERSON_OVERLAP * smaller


def parse_persons(image: AnnotatedImage, num_joints: int) -> PersonAnnotations:
    """Convert the annotations of an image to arrays, repaired according to the rules.

    Args:
        num_joints: A, the number of annotated joints.

    Raises:
        UnusableImageError: the annotations are malformed.
    """
    try:
        keypoints = [person.get("keypoints") or [0] * 3 * num_joints for person in image.persons]
        boxes = np.array([person["bbox"] for person in image.persons], np.float64).reshape(-1, 4)
        arrays = (
            np.array(keypoints, np.float32).reshape(len(keypoints), num_joints, 3),
            boxes.reshape(len(keypoints), 4),
            np.array([person.get("area", _box_area(person)) for person in image.persons], np.float64),
            np.array([person.get("iscrowd", 0) for person in image.persons], bool),
        )
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        raise malformed_annotations(image, error) from error
    if not all(np.isfinite(array).all() for array in arrays):
        raise malformed_annotations(image, "a value is not finite")
    if not np.isin(arrays[0][..., 2], (0, 1, 2)).all():
        raise malformed_annotations(image, "the third value of a keypoint is not 0, 1 or 2")
    if not (np.abs(boxes) <= MAX_COORDINATE_PX).all():
        raise malformed_annotations(image, f"a box exceeds {MAX_COORDINATE_PX:,} pixels")
    return PersonAnnotations(*arrays, tuple(_repair(image, arrays[0], boxes)))


def select_main_persons(boxes_xywh: np.ndarray, eligible: np.ndarray, radii: np.ndarray) -> list[int]:
    """Select the people that give a sample: eligible ones outside the radius of all earlier main persons.

    Args:
        boxes_xywh: (P, 4) left, top, width, height.
        eligible: (P,) bool.
        radii: (P,) pixels around the box center of each person in which no other becomes a main person.
            Here it is 0.3 of the longer side of that person's box. The published code takes for every person
            0.3 of the longer side of the box of the image's last annotation, a variable left by a loop.
    """
    centers = boxes_xywh[:, :2] + boxes_xywh[:, 2:] / 2
    chosen: list[int] = []
    for person in np.flatnonzero(eligible):
        distances = np.linalg.norm(centers[chosen] - centers[person], axis=1)
        if (distances >= radii[chosen]).all():
            chosen.append(int(person))
    return chosen


def is_inside_image(keypoints: np.ndarray, height: int, width: int) -> np.ndarray:
    """(P, A) bool: which of (P, A, 3) keypoints lie in the image.

    The range is from -0.5, where the image begins if pixel centers are integers, to its width and height,
    where it ends if pixel corners are integers.
    """
    x, y = keypoints[..., 0], keypoints[..., 1]
    return (x >= -0.5) & (x <= width) & (y >= -0.5) & (y <= height)


def _parse_image(image: dict[str, Any], persons: list[dict[str, Any]]) -> AnnotatedImage:
    image_id = int(np.int64(int(image["id"])))
    height, width = int(image["height"]), int(image["width"])
    # json can contain lone surrogates, which UTF-8 cannot encode.
    name = image["file_name"].encode("utf-8", "backslashreplace").decode()
    return AnnotatedImage(image_id, name, height, width, tuple(persons))


def _box_area(person: dict[str, Any]) -> float:
    """Compute the area of the box, for an annotation without an area."""
    return float(person["bbox"][2]) * float(person["bbox"][3])


def _repair(image: AnnotatedImage, keypoints: np.ndarray, boxes_xywh: np.ndarray) -> list[Issue]:
    """Clear joints outside the image, in place; return issues for these and for boxes without area."""
    outside = (keypoints[..., 2] > 0) & ~is_inside_image(keypoints, image.height, image.width)
    places = [f"{x:g}, {y:g}" for x, y, _ in keypoints[outside]]
    keypoints[outside] = 0
    flat = boxes_xywh[~(boxes_xywh[:, 2:] > 0).all(1)]
    sizes = [f"{width:g} x {height:g}" for _, _, width, height in flat]
    return [
        Issue(image.image_id, kind, f"of {image.file_name}: {'; '.join(found)}")
        for kind, found in ((JOINT_OUTSIDE, places), (BOX_WITHOUT_AREA, sizes))
        if found
    ]


def malformed_annotations(image: AnnotatedImage, detail: object) -> UnusableImageError:
    """Build the error for an image with malformed annotations."""
    return UnusableImageError("annotations malformed", f"of {image.file_name}: {detail}")
