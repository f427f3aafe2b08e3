"""People of other samples, cut out of their pictures and pasted onto this one.

No record keeps a mask a person, only where labelled people are. So a person is cut along the connected parts
of that mask which hold its joints and nobody else's: who stands free is cut along its own annotated outline,
who touches somebody is not pasted at all; nor is who was annotated without an outline, whose box stands in
for it, with all that is in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from simplepose import geometry
from simplepose.config import Augment
from simplepose.data.covering import blend, hide
from simplepose.data.record import Record
from simplepose.data.sample import FILL_BGR, Sample, move_joints, placing, to_cells
from simplepose.skeleton import Skeleton

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


def draw(rng: np.random.Generator, settings: Augment) -> tuple[Paste, ...]:
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
