"""One picture of COCO and its annotations -> its masks and people, checked against the picture's file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from simplepose.data.coco import AnnotatedPicture, Persons, covered, malformed
from simplepose.data.record import NOBODY, PictureFault, PreparedPicture, decode_picture


def prepare_picture(
    picture: AnnotatedPicture, persons: Persons, folders: Sequence[Path], negatives: bool = False
) -> PreparedPicture | None:
    """Read one picture and make its masks and people.

    Args:
        picture: as `read_annotations` gives it.
        persons: its `persons_of`.
        folders: where its file is looked for, in this order.
        negatives: whether a picture without a single annotation of a person gives a sample.

    Returns:
        None if it gives no sample.

    Raises:
        PictureFault: the picture is missing or damaged, or its annotations are malformed.
    """
    empty = negatives and not picture.persons
    if not persons.main_persons and not empty:
        if persons.remarks:  # annotations so odd may be those of another picture
            _read_picture(picture, folders)
        return None
    encoded, image = _read_picture(picture, folders)
    masks = masks_of(picture, persons)
    rows = np.flatnonzero(persons.labelled)
    return PreparedPicture(
        picture.image_id,
        picture.file_name,
        encoded,
        image,
        *masks,
        persons.keypoints[rows],
        persons.boxes_xywh[rows],
        (NOBODY,) if empty else tuple(int(np.searchsorted(rows, row)) for row in persons.main_persons),
    )


def masks_of(picture: AnnotatedPicture, persons: Persons) -> tuple[np.ndarray, np.ndarray]:
    """`mask_miss` and `mask_all`, as in `Record`. The published code refuses more than one crowd region.

    Raises:
        PictureFault: a segmentation is malformed.
    """

    def of(rows: np.ndarray) -> np.ndarray:
        chosen = [picture.persons[row] for row in np.flatnonzero(rows)]
        return covered(chosen, picture.height, picture.width)

    try:
        labelled = of(persons.labelled > 0)
        unlabelled, crowds = of(~persons.crowd & (persons.labelled == 0)), of(persons.crowd)
    except ValueError as error:
        raise malformed(picture, error) from error
    return make_masks(labelled, unlabelled, crowds)


def make_masks(
    labelled: np.ndarray, unlabelled: np.ndarray, crowds: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where people are, and where the loss must not look because people there are not labelled.

    Args:
        labelled: (H, W) bool, what people with keypoints cover.
        unlabelled: the same of people without.
        crowds: the same of crowd regions.

    Returns:
        `mask_miss` and `mask_all`, (H, W) uint8 with 0 and 255, as in `Record`.
    """
    people = labelled | unlabelled
    unseen = unlabelled | (crowds & ~people)
    return np.where(unseen, 0, 255).astype(np.uint8), np.where(people | crowds, 255, 0).astype(np.uint8)


def _read_picture(picture: AnnotatedPicture, folders: Sequence[Path]) -> tuple[bytes, np.ndarray]:
    """The picture file's bytes, and what they decode to, known to be of the annotated size."""
    path = _find(picture.file_name, folders)
    try:
        encoded = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise PictureFault("picture missing", f"{path} ({getattr(error, 'strerror', error)})") from error
    try:
        image = decode_picture(encoded)
    except PictureFault as error:
        raise PictureFault(error.reason, f"{path}: {error.detail}") from error
    height, width = image.shape[:2]
    if (height, width) != (picture.height, picture.width):
        raise PictureFault(
            "picture of another size",
            f"{path} is {width} x {height}, its annotations are for {picture.width} x {picture.height}",
        )
    return encoded, image


def _find(file_name: str, folders: Sequence[Path]) -> Path:
    """The first file of that name; in the last folder where there is none."""
    paths = [folder / file_name for folder in folders]
    return next((path for path in paths[:-1] if path.is_file()), paths[-1])
