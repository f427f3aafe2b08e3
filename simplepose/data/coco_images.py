"""Build the masks and people of one COCO image, checked against the image file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from simplepose import image_io
from simplepose.data.coco import AnnotatedImage, PersonAnnotations, malformed_annotations, union_mask
from simplepose.data.record import NO_PERSON, PreparedImage, UnusableImageError, decode_image
from simplepose.image_io import decode, describe_other_size


def prepare_image(
    image: AnnotatedImage, persons: PersonAnnotations, folders: Sequence[Path], negatives: bool = False
) -> PreparedImage | None:
    """Read one image, and build its masks and people.

    Args:
        image: from `read_annotations`.
        persons: its `parse_persons`.
        folders: searched for the image file, in this order.
        negatives: whether an image without any annotation of a person gives a sample.

    Returns:
        None if the image gives no sample.

    Raises:
        UnusableImageError: the image is missing or damaged, or its annotations are malformed.
    """
    is_negative = negatives and image.is_empty
    if not persons.main_persons and not is_negative:
        if persons.issues:  # such annotations may belong to another image: check its size
            _read_image(image, folders)
        return None
    encoded, pixels = _read_image(image, folders)
    masks = build_masks(image, persons)
    rows = np.flatnonzero(persons.labeled_counts)
    main_persons = tuple(int(np.searchsorted(rows, row)) for row in persons.main_persons)
    return PreparedImage(
        image.image_id,
        image.file_name,
        encoded,
        pixels,
        *masks,
        persons.keypoints[rows],
        persons.boxes_xywh[rows],
        (NO_PERSON,) if is_negative else main_persons,
    )


def build_masks(image: AnnotatedImage, persons: PersonAnnotations) -> tuple[np.ndarray, np.ndarray]:
    """Build `mask_miss` and `mask_all`, as in `Record`.

    The published code rejects more than one crowd region.

    Raises:
        UnusableImageError: a segmentation is malformed.
    """

    def mask_of(selected: np.ndarray) -> np.ndarray:
        annotations = [image.persons[row] for row in np.flatnonzero(selected)]
        return union_mask(annotations, image.height, image.width)

    try:
        labeled = mask_of(persons.labeled_counts > 0)
        unlabeled = mask_of(~persons.crowd & (persons.labeled_counts == 0))
        crowds = mask_of(persons.crowd) | union_mask(image.masked, image.height, image.width)
    except ValueError as error:
        raise malformed_annotations(image, error) from error
    return combine_masks(labeled, unlabeled, crowds)


def combine_masks(
    labeled: np.ndarray, unlabeled: np.ndarray, crowds: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Combine masks: where people are, and where the loss must ignore people without labels.

    Args:
        labeled: (H, W) bool, the union of people with keypoints.
        unlabeled: the same of people without keypoints.
        crowds: the same of crowd regions.

    Returns:
        `mask_miss` and `mask_all`, (H, W) uint8 with 0 and 255, as in `Record`.
    """
    people = labeled | unlabeled
    ignored = unlabeled | (crowds & ~people)
    return np.where(ignored, 0, 255).astype(np.uint8), np.where(people | crowds, 255, 0).astype(np.uint8)


def _read_image(image: AnnotatedImage, folders: Sequence[Path]) -> tuple[bytes, np.ndarray]:
    """Read the bytes of the image file, decode them, and check their size against the annotations."""
    path = _find_file(image.file_name, folders)
    try:
        encoded = image_io.read_bytes(path)
    except OSError as error:
        raise UnusableImageError("image missing", f"{path} ({error.strerror})") from error
    except ValueError as error:  # not a valid file name, or not a regular file
        raise UnusableImageError("image missing", str(error)) from error
    try:
        pixels = decode_image(encoded)
    except UnusableImageError as error:
        raise UnusableImageError(error.reason, f"{path}: {error.detail}") from error
    annotated_hw = (image.height, image.width)
    if pixels.shape[:2] != annotated_hw:
        upright = decode(encoded, upright=True, validated=True)
        detail = describe_other_size(pixels.shape[:2], upright.shape[:2], annotated_hw)
        raise UnusableImageError("image of another size", f"{path} {detail}")
    return encoded, pixels


def _find_file(file_name: str, folders: Sequence[Path]) -> Path:
    """Find the first existing file of that name; its path in the last folder if none exists."""
    paths = [folder / file_name for folder in folders]
    return next((path for path in paths[:-1] if path.is_file()), paths[-1])
