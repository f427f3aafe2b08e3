"""COCO's annotations and pictures -> what training samples need.

The rules are the published ones (arXiv:1911.10529 and its code) but for two, see `docs/deviations.md`: the
distance test of main persons takes the earlier main person's own box, and a picture may hold any number of
crowd regions.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from simplepose import coco_json
from simplepose.data.record import PictureFault, PreparedPicture, decode_picture
from simplepose.people import PERSON_CATEGORY
from simplepose.skeleton import COCO

MAIN_PERSON_KEYPOINTS = 5
MAIN_PERSON_AREA = 32 * 32
MAIN_PERSON_DISTANCE = 0.3
"""What makes a main person: labelled keypoints, pixels of area, distance to earlier ones in longer sides."""


@dataclass(frozen=True)
class AnnotatedPicture:
    """One picture as a COCO json describes it; `persons`: its annotations of people, in the json's order."""

    image_id: int
    file_name: str
    height: int
    width: int
    persons: tuple[dict[str, Any], ...]


def read_annotations(path: str | Path) -> list[AnnotatedPicture]:
    """Read COCO's `person_keypoints_*.json`: all its pictures, in the order they are listed.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no such file, is cut off, or holds no person with keypoints.
    """
    content = coco_json.read(path, _EXPECTED, annotated=True)
    persons = defaultdict(list)
    for annotation in coco_json.persons(content):
        persons[annotation["image_id"]].append(annotation)
    try:
        pictures = [
            AnnotatedPicture(
                int(image["id"]),
                image["file_name"],
                int(image["height"]),
                int(image["width"]),
                tuple(persons[image["id"]]),
            )
            for image in content["images"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not in COCO's format ({error!r}); {_EXPECTED}") from error
    if not any(person.get("keypoints") for picture in pictures for person in picture.persons):
        raise ValueError(
            f"{path}: {len(pictures)} pictures and {len(content['annotations'])} annotations, "
            f"but none is a person (category_id {PERSON_CATEGORY}) with keypoints; {_EXPECTED}"
        )
    return pictures


_EXPECTED = "COCO's person_keypoints_*.json is expected (see data/README.md)"


def prepare_picture(picture: AnnotatedPicture, images: str | Path) -> PreparedPicture | None:
    """Read one picture from the folder `images` and make its masks and people; None if it has no main person.

    Raises:
        PictureFault: the picture is missing or damaged, or its annotations are malformed.
    """
    keypoints, boxes, areas, crowd = _persons(picture)
    labelled = (keypoints[..., 2] > 0).sum(1) * ~crowd
    eligible = (labelled >= MAIN_PERSON_KEYPOINTS) & (areas >= MAIN_PERSON_AREA) & (boxes[:, 2:] > 0).all(1)
    main_persons = choose_main_persons(
        boxes, eligible, reach=MAIN_PERSON_DISTANCE * boxes[:, 2:].max(1, initial=0)
    )
    if not main_persons:
        return None
    encoded = _read_picture(picture, Path(images))
    mask_miss, mask_all = make_masks(_segmentations(picture), labelled > 0, crowd)
    rows = np.flatnonzero(labelled)
    return PreparedPicture(
        picture.image_id,
        picture.file_name,
        encoded,
        mask_miss,
        mask_all,
        keypoints[rows],
        boxes[rows],
        tuple(int(np.searchsorted(rows, person)) for person in main_persons),
    )


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


def make_masks(
    segmentations: np.ndarray, labelled: np.ndarray, crowd: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where people are, and where the loss must not look because people there are not labelled.

    Args:
        segmentations: (P, H, W) bool, of all people and crowd regions.
        labelled: (P,) bool, who has a labelled keypoint.
        crowd: (P,) bool, what is a crowd region. The published code refuses pictures with more than one.

    Returns:
        `mask_miss` and `mask_all`, (H, W) uint8 with 0 and 255, as in `Record`.
    """
    persons = segmentations[~crowd].any(0)
    crowds = segmentations[crowd].any(0)
    unlabelled = segmentations[~crowd & ~labelled].any(0) | (crowds & ~persons)
    return np.where(unlabelled, 0, 255).astype(np.uint8), np.where(persons | crowds, 255, 0).astype(np.uint8)


def segmentation_mask(annotation: dict[str, Any], height: int, width: int) -> np.ndarray:
    """(H, W) bool: an annotation's polygons or run lengths, as COCO's `annToMask`; its box where it has none.

    Raises:
        ValueError: the run lengths are of another size.
    """
    segmentation = annotation.get("segmentation")
    if isinstance(segmentation, dict):
        if list(segmentation["size"]) != [height, width]:
            raise ValueError(f"segmentation of {segmentation['size']}, picture of {[height, width]}")
        plain = isinstance(segmentation["counts"], list)
        runs = coco_mask.frPyObjects(segmentation, height, width) if plain else segmentation
    else:
        outlines = [polygon for polygon in segmentation or [] if len(polygon) >= 6]
        shapes = outlines or np.array([annotation["bbox"]], np.float64)
        runs = coco_mask.merge(coco_mask.frPyObjects(shapes, height, width))
    return coco_mask.decode(runs).astype(bool)


def _persons(picture: AnnotatedPicture) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Keypoints (P, A, 3) float32, boxes (P, 4), areas (P,) and crowd flags (P,) of all annotations."""
    joints = len(COCO.annotated)
    try:
        keypoints = [person.get("keypoints") or [0] * 3 * joints for person in picture.persons]
        boxes = [person["bbox"] for person in picture.persons]
        parts = (
            np.array(keypoints, np.float32).reshape(len(keypoints), joints, 3),
            np.array(boxes, np.float64).reshape(len(boxes), 4),
            np.array([person["area"] for person in picture.persons], np.float64),
            np.array([person.get("iscrowd", 0) for person in picture.persons], bool),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _malformed(picture, error) from error
    if not all(np.isfinite(part).all() for part in parts):
        raise _malformed(picture, "a value that is not finite")
    return parts


def _segmentations(picture: AnnotatedPicture) -> np.ndarray:
    """(P, H, W) bool, of all annotations."""
    try:
        return np.stack(
            [segmentation_mask(person, picture.height, picture.width) for person in picture.persons]
        )
    except Exception as error:  # pycocotools raises bare Exceptions on odd input
        raise _malformed(picture, error) from error


def _malformed(picture: AnnotatedPicture, what: object) -> PictureFault:
    return PictureFault("annotations malformed", f"of {picture.file_name}: {what}")


def _read_picture(picture: AnnotatedPicture, images: Path) -> bytes:
    """The picture file's bytes, once they are known to decode to the annotated size."""
    path = images / picture.file_name
    try:
        encoded = path.read_bytes()
    except OSError as error:
        raise PictureFault("picture missing", f"{path} ({error.strerror})") from error
    try:
        height, width = decode_picture(encoded).shape[:2]
    except PictureFault as error:
        raise PictureFault(error.reason, f"{path}: {error}") from error
    if (height, width) != (picture.height, picture.width):
        raise PictureFault(
            "picture of another size",
            f"{path} is {width} x {height}, its annotations are for {picture.width} x {picture.height}",
        )
    return encoded
