"""What lies over people hides them; and random erasing, which lays a rectangle there."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from simplepose.config import Augment
from simplepose.data.sample import Sample, to_cells
from simplepose.skeleton import Skeleton


@dataclass(frozen=True)
class Rectangle:
    """What is erased: first column and row, size in pixels of the sample, and the colour that it gets."""

    left: int
    top: int
    width: int
    height: int
    bgr: tuple[int, int, int]


def draw(rng: np.random.Generator, settings: Augment) -> Rectangle | None:
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
