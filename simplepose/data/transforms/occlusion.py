"""Occlusion augmentation: random erasing, and people of other samples pasted onto this one (copy-paste).

A record has one mask of all labeled people, not one for each person. So a person is cut out along the
connected components of that mask that contain its joints and no joints of others: a person who stands free is
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
from simplepose.data.sample import FILL_BGR, Sample, downsample_mask, placement_matrix, transform_joints
from simplepose.skeleton import Skeleton


@dataclass(frozen=True)
class EraseRectangle:
    """The erased rectangle: first column and row, size in pixels of the sample, and its color."""

    left: int
    top: int
    width: int
    height: int
    bgr: tuple[int, int, int]


def sample_erase(rng: np.random.Generator, settings: AugmentSettings) -> EraseRectangle | None:
    """Sample the rectangle to erase; None: nothing is erased."""
    if rng.random() >= settings.erase_probability:
        return None
    rows, columns = settings.size
    area, aspect = rng.uniform(*settings.erase_area) * rows * columns, rng.uniform(*settings.erase_aspect)
    width = min(columns, round((area * aspect) ** 0.5))
    height = min(rows, round((area / aspect) ** 0.5))
    left, top = int(rng.integers(columns - width + 1)), int(rng.integers(rows - height + 1))
    blue, green, red = rng.integers(0, 256, 3).tolist()
    return EraseRectangle(left, top, width, height, (blue, green, red))


def erase(sample: Sample, rectangle: EraseRectangle, skeleton: Skeleton) -> Sample:
    """Paint a rectangle: joints under it become occluded, and the person mask is cleared there.

    `mask_miss` stays unchanged, so the loss still ignores unlabeled people under the rectangle.
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
        person_mask=blend(sample.person_mask, 0, downsample_mask(covered, sample.person_mask.shape)),
        joints=mark_occluded(sample.joints, covered > 0, skeleton),
    )


def blend(background: np.ndarray, foreground: np.ndarray | int, alpha: np.ndarray) -> np.ndarray:
    """Blend a foreground over a background; `alpha` is its opacity, uint8 of 255. Returns uint8."""
    blended = background + alpha.astype(np.float32) / 255 * (np.float32(foreground) - background)
    rounded: np.ndarray = np.rint(blended).astype(np.uint8)
    return rounded


def mark_occluded(joints: np.ndarray, covered: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Set v = 1 for labeled joints whose pixel is covered, and for midpoints of such a joint.

    Args:
        joints: (P, J, 3) float32, as in `Sample`.
        covered: (H, W) bool.
    """
    marked: np.ndarray = joints.copy()
    inside, rows, columns = _pixels_inside(joints, covered.shape)
    under = np.zeros(inside.shape, bool)
    under[inside] = covered[rows, columns]
    marked[under, 2] = np.minimum(marked[under, 2], 1)
    for joint, *ends in skeleton.midpoint_ends:
        end_v = marked[:, skeleton.joint_of_annotated[ends], 2].min(1)
        marked[:, joint, 2] = np.minimum(marked[:, joint, 2], end_v)
    return marked


# Minimum fraction of a person's visible joints that must lie in its cut-out mask.
MIN_VISIBLE_JOINT_RATIO = 0.7

# An outline fills at most this fraction of its bounding box: people of COCO fill up to 0.8, a box that
# replaces a missing outline fills nearly all.
MAX_BOX_FILL_RATIO = 0.9

# Beyond this factor a small person only gets more blurred, so it is pasted smaller than sampled.
MAX_PASTE_SCALE = 3.0


@dataclass(frozen=True)
class PasteParams:
    """Sampled parameters of one pasted person.

    Attributes:
        donor: in [0, 1), which of all samples gives its main person, as a fraction of their number.
        height: of its box, as a fraction of the sample's height.
        center_xy: of its box, as fractions of the sample's width and height.
        degrees: rotation.
        flip: mirror left to right.
    """

    donor: float
    height: float
    center_xy: tuple[float, float]
    degrees: float = 0.0
    flip: bool = False


def sample_pastes(rng: np.random.Generator, settings: AugmentSettings) -> tuple[PasteParams, ...]:
    """Sample the people to paste; later ones cover earlier ones."""
    if rng.random() >= settings.copy_paste_probability:
        return ()
    low, high = settings.copy_paste_people
    return tuple(
        PasteParams(
            donor=float(rng.random()),
            height=float(rng.uniform(*settings.copy_paste_height)),
            center_xy=(float(rng.random()), float(rng.random())),
            degrees=float(rng.uniform(-settings.copy_paste_rotation, settings.copy_paste_rotation)),
            flip=bool(rng.random() < settings.flip_probability),
        )
        for _ in range(int(rng.integers(low, high + 1)))
    )


def cut_out_person(record: Record) -> tuple[np.ndarray, np.ndarray] | None:
    """Cut out the main person, if it can be separated from the others in its image.

    Returns:
        (H, W) uint8 mask, 255 on the person, and (A, 3) float32 keypoints, occluded where they are not on it.
        None if the image has no people, if the mask holds less than 0.7 of the visible joints, or if the
        mask is a box.
    """
    if not len(record.keypoints):
        return None
    labeled_people = ((record.mask_all > 127) & (record.mask_miss > 127)).astype(np.uint8)
    components = cv2.connectedComponents(labeled_people)[1]
    component_of_joint = _components_at(components, record.keypoints)
    person, others = record.keypoints[0], record.keypoints[1:]
    visible = person[:, 2] > 1
    own = np.setdiff1d(component_of_joint[0, visible], [0, *component_of_joint[1:][others[..., 2] > 0]])
    on_mask = np.isin(component_of_joint[0], own)
    if not visible.any() or on_mask[visible].mean() < MIN_VISIBLE_JOINT_RATIO:
        return None
    mask = np.where(np.isin(components, own), 255, 0).astype(np.uint8)
    width, height = cv2.boundingRect(mask)[2:]
    if np.count_nonzero(mask) > MAX_BOX_FILL_RATIO * width * height:
        return None
    keypoints = person.copy()
    keypoints[visible & ~on_mask, 2] = 1
    return mask, keypoints


def paste(sample: Sample, donor: Record, params: PasteParams, skeleton: Skeleton) -> Sample:
    """Paste the donor's main person onto the sample; the sample stays unchanged if it cannot be cut out.

    Joints that it covers become occluded, the loss counts there, and its joints follow those of the others.
    """
    cut_out = cut_out_person(donor)
    if cut_out is None:
        return sample
    mask, keypoints = cut_out
    height, width = sample.image.shape[:2]
    matrix = placement_matrix(
        donor.center_xy,
        params.degrees,
        min(params.height * (height - 1) / donor.height, MAX_PASTE_SCALE),
        params.flip,
        (params.center_xy[0] * (width - 1), params.center_xy[1] * (height - 1)),
    )
    image = geometry.apply_to_image(matrix, donor.image, (height, width), FILL_BGR)
    alpha = geometry.apply_to_image(matrix, mask, (height, width), 0)
    cells = downsample_mask(alpha, sample.person_mask.shape)
    joints = mark_occluded(sample.joints, alpha > 127, skeleton)
    return Sample(
        image=_composite(sample.image, image, alpha),
        mask_miss=blend(sample.mask_miss, 255, cells),
        person_mask=blend(sample.person_mask, 255, cells),
        joints=np.concatenate([joints, transform_joints(matrix, keypoints[None], params.flip, skeleton)]),
    )


def _composite(background: np.ndarray, foreground: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Blend only within the bounding box of `alpha`, which is faster."""
    left, top, width, height = cv2.boundingRect(alpha)
    box = slice(top, top + height), slice(left, left + width)
    image: np.ndarray = background.copy()
    image[box] = blend(background[box], foreground[box], alpha[box][..., None])
    return image


def _components_at(components: np.ndarray, keypoints: np.ndarray) -> np.ndarray:
    """(P, A) int: the component at each joint, 0 outside the image."""
    inside, rows, columns = _pixels_inside(keypoints, components.shape)
    found = np.zeros(inside.shape, components.dtype)
    found[inside] = components[rows, columns]
    return found


def _pixels_inside(points: np.ndarray, size_hw: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(P, A) bool: which of (P, A, 3) points round to a pixel of the image; then their rows and columns."""
    pixels = np.rint(points[..., :2])
    inside = ((pixels >= 0) & (pixels < size_hw[::-1])).all(-1)
    columns, rows = pixels[inside].astype(int).T
    return inside, rows, columns
