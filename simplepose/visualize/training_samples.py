"""What a network is taught of one sample: its picture, and over it the joints, masks and maps."""

from __future__ import annotations

import cv2
import numpy as np

from simplepose.skeleton import COCO, Skeleton
from simplepose.visualize import maps
from simplepose.visualize.drawing import FAR, FRACTION_BITS, person_colour

PERSON, NOT_COUNTED = (80, 200, 80), (60, 60, 230)
"""BGR of the person mask, and of where the loss does not look."""

HIDDEN = (255, 255, 255)
"""BGR of the middle of a hidden joint; bones that reach one are dotted."""

DOT = 5
"""Pixels of a dotted bone's dots, and of its gaps."""


def row(
    image: np.ndarray,
    mask_miss: np.ndarray,
    person_mask: np.ndarray,
    joints: np.ndarray,
    target: np.ndarray,
    stride: float,
    skeleton: Skeleton = COCO,
) -> dict[str, np.ndarray]:
    """The pictures of one sample by name: sample, joints, masks, limbs, keypoints.

    Args:
        image: (H, W, 3) uint8 BGR.
        mask_miss: (h, w) uint8, 255 where the loss counts.
        person_mask: (h, w) uint8, 255 on people.
        joints: (P, J, 3) network joints, x, y in pixels of `image` and COCO's v.
        target: (C, h, w) float maps at `stride`, channels in the skeleton's order.

    Returns:
        Each (H, W, 3) uint8 BGR.
    """
    heat = {
        name: maps.overlay(image, maps.strongest(target, channels), stride)
        for name, channels in (("limbs", skeleton.limb_channels), ("keypoints", skeleton.keypoint_channels))
    }
    joints_over = draw_joints(image, skeleton.to_annotated(joints), skeleton)
    return {
        "sample": image,
        "joints (white: hidden)": joints_over,
        "persons, red: not counted": draw_masks(image, mask_miss, person_mask),
        **heat,
    }


def draw_masks(image: np.ndarray, mask_miss: np.ndarray, person_mask: np.ndarray) -> np.ndarray:
    """Tint people, and what the loss does not look at: (H, W, 3) uint8 BGR. Arguments as in `row`."""
    shown = image.astype(np.float32)
    size = image.shape[1::-1]
    for mask, colour in ((person_mask, PERSON), (255 - mask_miss, NOT_COUNTED)):
        share = (
            0.55 / 255 * cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)[..., None].astype(np.float32)
        )
        shown += share * (np.array(colour, np.float32) - shown)
    return np.rint(shown).astype(np.uint8)


def draw_joints(image: np.ndarray, keypoints: np.ndarray, skeleton: Skeleton = COCO) -> np.ndarray:
    """Draw labelled people, each in a colour of its own, on a darker copy of the picture.

    Args:
        image: (H, W, 3) uint8 BGR.
        keypoints: (P, A, 3) x, y, v: joints that are not labelled (v 0) are left out, hidden ones (1) are
            white inside and their bones dotted.

    Returns:
        (H, W, 3) uint8 BGR.
    """
    canvas = image // 2 + 32
    radius = max(2, round(max(image.shape[:2]) / 128))
    for person, joints in enumerate(keypoints):
        colour = person_colour(person)
        points = joints[:, :2].clip(-FAR, FAR)
        labelled = (joints[:, 2] > 0) & np.isfinite(joints).all(1) & (points == joints[:, :2]).all(1)
        for a, b in skeleton.bone_ends[labelled[skeleton.bone_ends].all(1)]:
            _draw_bone(canvas, points[a], points[b], colour, dotted=joints[[a, b], 2].min() < 2)
        for joint in np.flatnonzero(labelled):
            middle = _fixed(points[joint])
            _draw_disc(canvas, middle, radius, colour)
            if joints[joint, 2] < 2:
                _draw_disc(canvas, middle, radius - 1, HIDDEN)
    return canvas


def _draw_bone(
    canvas: np.ndarray, a: np.ndarray, b: np.ndarray, colour: tuple[int, ...], dotted: bool
) -> None:
    length = float(np.hypot(*(b - a)))
    starts = np.arange(0, length, 2 * DOT) if dotted and length < FAR else [0.0]
    for start in starts:
        end = min(start + DOT, length) if dotted else length
        first, last = (_fixed(a + (b - a) * (at / max(length, 1e-6))) for at in (start, end))
        cv2.line(canvas, first, last, colour, 1, cv2.LINE_AA, FRACTION_BITS)


def _draw_disc(canvas: np.ndarray, middle: tuple[int, int], radius: int, colour: tuple[int, ...]) -> None:
    cv2.circle(canvas, middle, radius * 2**FRACTION_BITS, colour, cv2.FILLED, cv2.LINE_AA, FRACTION_BITS)


def _fixed(point: np.ndarray) -> tuple[int, int]:
    x, y = np.rint(point * 2**FRACTION_BITS).astype(int).tolist()
    return x, y
