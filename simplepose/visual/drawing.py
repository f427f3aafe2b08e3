"""People drawn over their picture."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np

from simplepose.people import People
from simplepose.skeleton import COCO, Skeleton

FRACTION_BITS = 4
"""OpenCV draws at 1 / 2**FRACTION_BITS of a pixel."""

FAR = 2**15
"""Pixels from the corner beyond which a joint is not drawn: OpenCV counts in 32 bits."""


def draw(image: np.ndarray, people: People, skeleton: Skeleton = COCO) -> np.ndarray:
    """Draw bones and joints, each person in a colour of its own, the best on top.

    Args:
        image: (H, W, 3) uint8 BGR; it is not changed.
        people: joints that were not found (score 0) and their bones are left out.
        skeleton: its `bones` are drawn.

    Returns:
        (H, W, 3) uint8 BGR, a copy.

    Raises:
        ValueError: the people have another number of joints than the skeleton.
    """
    if people.keypoints.shape[1] != len(skeleton.annotated):
        raise ValueError(
            f"{len(skeleton.annotated)} joints a person expected, got {people.keypoints.shape[1]}"
        )
    canvas = np.ascontiguousarray(image).copy()
    for person in np.argsort(people.scores, kind="stable"):
        _draw_person(
            canvas, people.keypoints[person], skeleton, person_colour(int(person)), _size(people, int(person))
        )
    return canvas


def _size(people: People, person: int) -> float:
    """The longer side of a person's box, pixels."""
    left, top, right, bottom = people.boxes_xyxy[person]
    return max(right - left, bottom - top)


def _draw_person(
    canvas: np.ndarray, joints: np.ndarray, skeleton: Skeleton, colour: tuple[int, ...], size: float
) -> None:
    width = int(np.clip(round(size / 90), 1, 12))
    edge = max(1, round(width / 2))  # a dark edge, so that any colour shows on any background
    found = (joints[:, 2] > 0) & (np.abs(joints[:, :2]) < FAR).all(1)
    points = np.rint(joints[:, :2].clip(-FAR, FAR) * 2**FRACTION_BITS).astype(int).tolist()
    for shade, grown in (((0, 0, 0), edge), (colour, 0)):
        for a, b in skeleton.bone_ends[found[skeleton.bone_ends].all(1)]:
            cv2.line(canvas, points[a], points[b], shade, width + 2 * grown, cv2.LINE_AA, FRACTION_BITS)
        for joint in np.flatnonzero(found):
            radius = (width + grown) * 2**FRACTION_BITS
            cv2.circle(canvas, points[joint], radius, shade, cv2.FILLED, cv2.LINE_AA, FRACTION_BITS)


def person_colour(person: int) -> tuple[int, ...]:
    """BGR: steps of the golden ratio keep the hues of any number of people apart."""
    red, green, blue = colorsys.hsv_to_rgb(person * 0.618034 % 1, 0.75 if person % 2 else 0.95, 1)
    return round(255 * blue), round(255 * green), round(255 * red)
