"""Read COCO annotations: the people of each image, their masks, and the main persons that give samples.

The rules are the published ones (arXiv:1911.10529 and its code) except for those in `docs/deviations.md`: the
distance test of main persons uses the earlier main person's own box, and an image may have any number of
crowd regions. A segmentation that would make pycocotools read out of bounds is rejected first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from simplepose import coco_json
from simplepose.data.record import MAX_COORDINATE, Issue, UnusableImageError
from simplepose.people import PERSON_CATEGORY_ID
from simplepose.skeleton import COCO

# Limits of an annotation's polygons. pycocotools walks along the whole outline in steps of 0.2 pixels, with
# about 100 bytes a pixel, and crashes the process if a coordinate is not finite or very large.
MAX_POLYGON_POINTS = 100_000
MAX_POLYGONS = 1_000
MAX_OUTLINE_RATIO = 64  # length of the outline, in width + height of the image
MAX_OUTSIDE_RATIO = 4  # distance of a point from the image, in longer sides of the image

# A run length below 2**35 has at most this many characters of five bits in COCO's compressed run lengths.
MAX_RUN_CHARACTERS = 7


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
    """Convert an annotation's segmentation or box to pycocotools' run lengths, after all checks."""
    segmentation = annotation.get("segmentation")
    try:
        if isinstance(segmentation, dict):
            counts = _parse_run_lengths(segmentation, height, width)
            rle: dict[str, Any] = coco_mask.frPyObjects(
                {"size": [height, width], "counts": counts}, height, width
            )
            return rle
        shapes: Any = _parse_polygons(segmentation or [], height, width) or _parse_box(
            annotation, height, width
        )
        rle = coco_mask.merge(coco_mask.frPyObjects(shapes, height, width))
    except ValueError as error:
        raise ValueError(f"{coco_json.describe(annotation)}: {error}") from error
    except Exception as error:  # pycocotools raises bare Exceptions on malformed input
        raise ValueError(f"{coco_json.describe(annotation)}: malformed segmentation ({error!r})") from error
    return rle


def _parse_polygons(polygons: object, height: int, width: int) -> list[list[float]]:
    """Check polygons within the limits above; those of fewer than three points are left out."""
    if not isinstance(polygons, list) or not all(map(coco_json.is_number_list, polygons)):
        raise ValueError(
            f"expected a segmentation of polygons (lists of x, y, x, y, ...) or run lengths, "
            f"got {coco_json.show(polygons)}"
        )
    polygons = [polygon for polygon in polygons if len(polygon) >= 6]
    num_points = sum(map(len, polygons)) / 2
    if len(polygons) > MAX_POLYGONS or num_points > MAX_POLYGON_POINTS:
        raise ValueError(
            f"expected at most {MAX_POLYGONS:,} polygons with {MAX_POLYGON_POINTS:,} points, "
            f"got {len(polygons):,} with {num_points:,.0f}"
        )
    side, length = max(height, width), 0.0
    for polygon in polygons:
        points = _polygon_points(polygon)
        low, high = -MAX_OUTSIDE_RATIO * side, (1 + MAX_OUTSIDE_RATIO) * side
        if not ((points >= low) & (points <= high)).all():  # also NaN
            raise ValueError(
                f"expected a polygon of finite x, y, x, y, ... within {low:,} to {high:,} pixels"
            )
        length += float(np.abs(points - np.roll(points, 1, 0)).max(1).sum())
    if length > MAX_OUTLINE_RATIO * (height + width):
        raise ValueError(
            f"expected an outline of at most {MAX_OUTLINE_RATIO * (height + width):,} pixels in an image of "
            f"{width} x {height}, got {length:,.0f} pixels"
        )
    return polygons


def _polygon_points(polygon: Sequence[float]) -> np.ndarray:
    """(N, 2) float64 points of a list x, y, x, y, ..."""
    if len(polygon) % 2:
        raise ValueError(f"expected a polygon of x, y, x, y, ..., got {len(polygon)} values")
    try:
        return np.array(polygon, np.float64).reshape(-1, 2)
    except OverflowError as error:
        raise ValueError("expected a polygon of finite x, y, x, y, ...") from error


def _parse_box(annotation: dict[str, Any], height: int, width: int) -> np.ndarray:
    """(1, 4) float64 box, clipped just outside the image: pycocotools walks along the whole outline."""
    x, y, w, h = np.array(annotation["bbox"], np.float64)
    low = np.clip([x, y], -1, [width + 1, height + 1])
    high = np.clip([x + w, y + h], -1, [width + 1, height + 1])
    return np.array([[*low, *(high - low)]])


def _parse_run_lengths(segmentation: dict[str, Any], height: int, width: int) -> list[int]:
    """Return the run lengths of a segmentation: none is negative, and they cover all pixels."""
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if not coco_json.is_number_list(size) or size != [height, width]:
        raise ValueError(
            f"expected a segmentation of the image's size {[height, width]}, got {coco_json.show(size)}"
        )
    pixels = height * width
    if isinstance(counts, (str, bytes)):
        lengths = _decode_counts(counts, pixels + 1)
    elif not coco_json.is_number_list(counts):
        raise ValueError(f"expected run lengths as a list or text, got {coco_json.show(counts)}")
    elif len(counts) > pixels + 1:
        raise ValueError(f"expected at most {pixels + 1:,} run lengths, got {len(counts):,}")
    else:
        lengths = [coco_json.parse_integer(value, "run length") for value in counts]
    if min(lengths, default=0) < 0 or sum(lengths) != pixels:
        got = f"{sum(lengths)} pixels" if min(lengths, default=0) >= 0 else "a negative length"
        raise ValueError(f"expected run lengths of {height} x {width} pixels, got {got}")
    return lengths


def _decode_counts(counts: str | bytes, max_lengths: int) -> list[int]:
    """Decode COCO's compressed run lengths, in linear time.

    Each character stores five bits, from 48 on, the lowest bits first; a sixth bit is set if more follow.
    From the fourth length on, the value is the difference to the length two before.

    Raises:
        ValueError: a character is none of these, the last length is incomplete, or too many lengths follow.
    """
    lengths: list[int] = []
    value = shift = 0
    for part in counts.encode("utf-8", "replace") if isinstance(counts, str) else counts:
        part -= 48
        if not 0 <= part < 64 or shift >= 5 * MAX_RUN_CHARACTERS or len(lengths) >= max_lengths:
            raise ValueError(f"expected compressed run lengths, got {coco_json.show(counts)}")
        value |= (part & 31) << shift
        shift += 5
        if part & 32:
            continue
        if part & 16:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError(f"expected compressed run lengths, got {coco_json.show(counts)} without an end")
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
    """One image of a COCO json.

    Attributes:
        image_id, file_name, height, width: as in the json.
        persons: its annotations of people, in the json's order.
        masked: its people of other categories, whom the loss ignores.
    """

    image_id: int
    file_name: str
    height: int
    width: int
    persons: tuple[dict[str, Any], ...]
    masked: tuple[dict[str, Any], ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether the image has no annotation of a person."""
        return not self.persons and not self.masked


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


@coco_json.paused_garbage_collection()
def read_annotations(
    path: str | Path,
    joints: Sequence[str] = COCO.annotated,
    options: coco_json.ReadOptions = coco_json.ReadOptions(),  # noqa: B008 (frozen)
) -> list[AnnotatedImage]:
    """Read the images of COCO's `person_keypoints_*.json`, or of a json in its format, in their order.

    Args:
        path: of the json.
        joints: the expected names of the annotated joints.
        options: the category of the people, and whether paths may lead outside the image folder.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is truncated, is not in COCO's format, has no person with keypoints, its people
            have other joints, or most of its images have malformed annotations.
    """
    file = coco_json.read(path, _EXPECTED, joints, options)
    for image in file.images:
        if not {"height", "width"} <= image.keys():
            raise ValueError(
                f"{path}: not in COCO's format: image {image['id']} ({coco_json.show(image['file_name'])}) "
                f"has no height or width; {_EXPECTED}"
            )
    images = [
        AnnotatedImage(
            image["id"],
            image["file_name"],
            image["height"],
            image["width"],
            tuple(file.people.get(image["id"], ())),
            tuple(file.others.get(image["id"], ())),
        )
        for image in file.images
    ]
    if not any(person.get("keypoints") for image in images for person in image.persons):
        raise ValueError(
            f"{path}: {len(images)} images and {file.num_annotations} annotations, but none is a person with "
            f"keypoints (category {options.category!r}; category_id {PERSON_CATEGORY_ID} if the json names "
            f"none); {_EXPECTED}"
        )
    file.raise_if_mostly_malformed()
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
        known = [person["bbox"] for person in (*image.persons, *image.masked) if "bbox" in person]
        new = [box for box in boxes[image.image_id] if not any(_is_same_person(box, k) for k in known)]
        regions = tuple({"bbox": box, "iscrowd": 1, "category_id": PERSON_CATEGORY_ID} for box in new)
        marked.append(replace(image, persons=image.persons + regions))
        added += len(new)
    return marked, added


def _read_results(path: Path) -> Iterator[tuple[int, list[float], float]]:
    """Image id, box (left, top, width, height; a margin around the keypoints) and score of each result."""
    rows = coco_json.load_json(path, "expected a list of results in COCO's format")
    if not isinstance(rows, list):
        raise ValueError(f"{path}: expected a list of results in COCO's format, got {type(rows).__name__}")
    for number, row in enumerate(rows):
        try:
            keypoints = np.array(row["keypoints"], np.float64).reshape(-1, 3)
            image_id = coco_json.parse_integer(row["image_id"], "image_id")
            score = float(row["score"])
        except (LookupError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(
                f"{path}: result {number}: not in COCO's format: expected image_id, keypoints and score, got "
                f"{coco_json.show(row)}"
            ) from error
        found = keypoints[keypoints[:, 2] > 0, :2]
        if not (np.abs(found) <= MAX_COORDINATE).all() or not np.isfinite(score):
            raise ValueError(
                f"{path}: result {number}: expected finite keypoints near the image and a finite score"
            )
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
        persons = [coco_json.parse_person(person, num_joints) for person in image.persons]
        for region in image.masked:
            coco_json.parse_person(region, num_joints)
    except ValueError as error:
        raise malformed_annotations(image, error) from error
    keypoints = [person["keypoints"] or [0] * 3 * num_joints for person in persons]
    labeled = np.array(keypoints, np.float32).reshape(len(persons), num_joints, 3)
    boxes = np.array([person["bbox"] for person in persons], np.float64).reshape(-1, 4)
    areas = np.array([person["area"] for person in persons], np.float64)
    crowd = np.array([person["iscrowd"] for person in persons], bool)
    return PersonAnnotations(labeled, boxes, areas, crowd, tuple(_repair(image, labeled, boxes)))


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
