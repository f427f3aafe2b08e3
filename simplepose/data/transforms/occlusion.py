"""Occlusion: random erasing, and people of other samples pasted onto this one (copy-paste).

A record has one mask of all labeled people, not one for each person. So a person is cut out along the
connected parts of that mask that contain its joints and no joints of others: a person who stands free is
cut along its annotated outline. A person who touches another is not pasted, nor is one annotated without an
outline, whose mask is its box, background included.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from simplepose import geometry
from simplepose.config import AugmentSettings
from simplepose.data.record import Record
from simplepose.data.sample import FILL_BGR, Sample, move_joints, placing, to_cells
from simplepose.skeleton import Skeleton


@dataclass(frozen=True)
class Rectangle:
    """What is erased: first column and row, size in pixels of the sample, and the colour that it gets."""

    left: int
    top: int
    width: int
    height: int
    bgr: tuple[int, int, int]


def sample_erasing(rng: np.random.Generator, settings: AugmentSettings) -> Rectangle | None:
    """Decide by chance what is erased; None: nothing."""
    if rng.random() >= settings.erase_probability:
        return None
    rows, columns = settings.size
    area, aspect = rng.uniform(*settings.erase_area) * rows * columns, rng.uniform(*settings.erase_aspect)
    width = min(columns, round((area * aspect) ** 0.5))
    height = min(rows, round((area / aspect) ** 0.5))
    left, top = int(rng.integers(columns - width + 1)), int(rng.integers(rows - height + 1))
    blue, green, red = rng.integers(0, 256, 3).tolist()
    return Rectangle(left, top, width, height, (blue, green, red))


def erase(sample: Sample, rectangle: Rectangle, skeleton: Skeleton) -> Sample:
    """Paint the rectangle: joints under it are hidden, and nobody is seen there.

    `mask_miss` stays: where someone without labels was, the loss goes on to look away.
    """
    covered = np.zeros(sample.image.shape[:2], np.uint8)
    rows = slice(rectangle.top, rectangle.top + rectangle.height)
    columns = slice(rectangle.left, rectangle.left + rectangle.width)
    covered[rows, columns] = 255
    image = sample.image.copy()
    image[rows, columns] = rectangle.bgr
    return replace(
        sample,
        image=image,
        person_mask=blend(sample.person_mask, 0, to_cells(covered, sample.person_mask.shape)),
        joints=hide(sample.joints, covered > 0, skeleton),
    )


def blend(below: np.ndarray, above: np.ndarray | int, cover: np.ndarray) -> np.ndarray:
    """What is seen where `above` lies over `below` and covers (of 255) so much of it; uint8."""
    shown = below + cover.astype(np.float32) / 255 * (np.float32(above) - below)
    return np.rint(shown).astype(np.uint8)


def hide(joints: np.ndarray, covered: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Labelled joints whose pixel is covered become hidden, v = 1, and midpoints with one of their ends.

    Args:
        joints: (P, J, 3) float32, as in `Sample`.
        covered: (H, W) bool.
    """
    hidden, places = joints.copy(), np.rint(joints[..., :2])
    inside = ((places >= 0) & (places < covered.shape[::-1])).all(-1)
    columns, rows = places[inside].astype(int).T
    under = np.zeros(inside.shape, bool)
    under[inside] = covered[rows, columns]
    hidden[under, 2] = np.minimum(hidden[under, 2], 1)
    for joint, *ends in skeleton.midpoint_ends:
        seen = hidden[:, skeleton.joint_of_annotated[ends], 2].min(1)
        hidden[:, joint, 2] = np.minimum(hidden[:, joint, 2], seen)
    return hidden


LEAST_SEEN = 0.7
"""Share of a person's visible joints that must lie in what is cut out."""

FULLEST = 0.9
"""No outline fills more of its box than this: people of COCO fill up to 0.8, boxes that stand in for an
outline all but the whole."""

MOST_ENLARGED = 3.0
"""Beyond this factor a small person only gets more blurred, so it is pasted smaller than drawn."""


@dataclass(frozen=True)
class Paste:
    """Whom to paste, and how it is laid.

    Attributes:
        donor: in [0, 1), which of all samples gives its main person, as a share of their number.
        height: of its box, as a share of the sample's.
        place_xy: of its box's centre, as shares of the sample's width and height.
        degrees: rotation.
        flip: mirror left to right.
    """

    donor: float
    height: float
    place_xy: tuple[float, float]
    degrees: float = 0.0
    flip: bool = False


def sample_pasting(rng: np.random.Generator, settings: AugmentSettings) -> tuple[Paste, ...]:
    """Decide by chance who is pasted; the first lies lowest."""
    if rng.random() >= settings.copy_paste_probability:
        return ()
    low, high = settings.copy_paste_people
    return tuple(
        Paste(
            donor=float(rng.random()),
            height=float(rng.uniform(*settings.copy_paste_height)),
            place_xy=(float(rng.random()), float(rng.random())),
            degrees=float(rng.uniform(-settings.copy_paste_rotation, settings.copy_paste_rotation)),
            flip=bool(rng.random() < settings.flip_probability),
        )
        for _ in range(int(rng.integers(low, high + 1)))
    )


def cut_out(record: Record) -> tuple[np.ndarray, np.ndarray] | None:
    """The main person by itself, if it can be told from the others in its picture.

    Returns:
        (H, W) uint8 mask, 255 on the person, and (A, 3) float32 keypoints, hidden where they are not on it;
        None where nobody is, where less than 0.7 of the visible joints can be had, or where it is a box.
    """
    if not len(record.keypoints):
        return None
    labelled_people = ((record.mask_all > 127) & (record.mask_miss > 127)).astype(np.uint8)
    parts = cv2.connectedComponents(labelled_people)[1]
    owner = _at(parts, record.keypoints)
    person, others = record.keypoints[0], record.keypoints[1:]
    visible = person[:, 2] > 1
    own = np.setdiff1d(owner[0, visible], [0, *owner[1:][others[..., 2] > 0]])
    shown = np.isin(owner[0], own)
    if not visible.any() or shown[visible].mean() < LEAST_SEEN:
        return None
    mask = np.where(np.isin(parts, own), 255, 0).astype(np.uint8)
    width, height = cv2.boundingRect(mask)[2:]
    if np.count_nonzero(mask) > FULLEST * width * height:
        return None
    keypoints = person.copy()
    keypoints[visible & ~shown, 2] = 1
    return mask, keypoints


def paste(sample: Sample, donor: Record, how: Paste, skeleton: Skeleton) -> Sample:
    """Lay the donor's main person over the sample; the sample itself where it cannot be cut out.

    What it covers is hidden, the loss counts there, and its joints come after those of the others.
    """
    cut = cut_out(donor)
    if cut is None:
        return sample
    height, width = sample.image.shape[:2]
    matrix = placing(
        donor.center_xy,
        how.degrees,
        min(how.height * (height - 1) / donor.height, MOST_ENLARGED),
        how.flip,
        (how.place_xy[0] * (width - 1), how.place_xy[1] * (height - 1)),
    )
    image = geometry.apply_to_image(matrix, donor.image, (height, width), FILL_BGR)
    cover = geometry.apply_to_image(matrix, cut[0], (height, width), 0)
    cells = to_cells(cover, sample.person_mask.shape)
    joints = hide(sample.joints, cover > 127, skeleton)
    return Sample(
        image=_lay_over(sample.image, image, cover),
        mask_miss=blend(sample.mask_miss, 255, cells),
        person_mask=blend(sample.person_mask, 255, cells),
        joints=np.concatenate([joints, move_joints(matrix, cut[1][None], how.flip, skeleton)]),
    )


def _lay_over(below: np.ndarray, above: np.ndarray, cover: np.ndarray) -> np.ndarray:
    left, top, width, height = cv2.boundingRect(cover)
    box = slice(top, top + height), slice(left, left + width)
    image = below.copy()
    image[box] = blend(below[box], above[box], cover[box][..., None])
    return image


def _at(parts: np.ndarray, keypoints: np.ndarray) -> np.ndarray:
    """(P, A) int: the part at each joint, 0 outside the picture."""
    places = np.rint(keypoints[..., :2])
    inside = ((places >= 0) & (places < parts.shape[::-1])).all(-1)
    columns, rows = places[inside].astype(int).T
    found = np.zeros(inside.shape, parts.dtype)
    found[inside] = parts[rows, columns]
    return found
