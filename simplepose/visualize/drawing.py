"""People drawn over their picture."""

from __future__ import annotations

import colorsys
from typing import Literal

import cv2
import numpy as np

from simplepose.people import NO_ID, People
from simplepose.skeleton import COCO, Skeleton

Colours = Literal["person", "limb"]
BGR = tuple[int, ...]

FRACTION_BITS = 4
"""OpenCV draws at 1 / 2**FRACTION_BITS of a pixel."""

FAR = 2**15
"""Pixels from the corner beyond which a joint is not drawn: OpenCV counts in 32 bits."""

HUES = {"right": (0.45, 0.63), "left": (0.0, 0.2), "middle": (0.8, 0.92)}
"""From the first to the last joint of a side, where colours tell limbs: right cold, left warm."""

GREY: BGR = (160, 160, 160)
FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw(
    image: np.ndarray, people: People, skeleton: Skeleton = COCO, colours: Colours = "person"
) -> np.ndarray:
    """Draw bones and joints, the best person on top, and the id of people who have one.

    Args:
        image: (H, W, 3) uint8 BGR; it is not changed.
        people: joints that were not found (score 0) and their bones are left out.
        skeleton: its `bones` are drawn.
        colours: "person": each in a colour of its own, which follows the id over a video; "limb": each bone
            and joint in its own, which tells right (blue and green) from left (red and yellow).

    Returns:
        (H, W, 3) uint8 BGR, a copy.

    Raises:
        ValueError: the people have another number of joints than the skeleton, or such colours are unknown.
    """
    if people.keypoints.shape[1] != len(skeleton.annotated):
        raise ValueError(
            f"{len(skeleton.annotated)} joints a person expected, got {people.keypoints.shape[1]}"
        )
    if colours not in ("person", "limb"):
        raise ValueError(f"colours by 'person' or 'limb' expected, got {colours!r}")
    canvas = np.ascontiguousarray(image).copy()
    numbers = range(len(people)) if people.ids is None else people.ids.tolist()
    of_parts = part_colours(skeleton) if colours == "limb" else None
    boxes = people.boxes_xyxy
    for person in np.argsort(people.scores, kind="stable").tolist():
        colour, box = person_colour(numbers[person]), boxes[person]
        joints, bones = of_parts or ([colour] * len(skeleton.annotated), [colour] * len(skeleton.bone_ends))
        width = int(np.clip(np.rint(max(box[2:] - box[:2]) / 90), 1, 12))
        _draw_person(canvas, people.keypoints[person], skeleton, joints, bones, width)
        if people.ids is not None and numbers[person] != NO_ID and people.found[person].any():
            _draw_label(canvas, str(numbers[person]), box[:2], colour, width)
    return canvas


def _draw_person(
    canvas: np.ndarray,
    keypoints: np.ndarray,
    skeleton: Skeleton,
    joint_colours: list[BGR],
    bone_colours: list[BGR],
    width: int,
) -> None:
    edge = max(1, round(width / 2))  # a dark edge, so that any colour shows on any background
    found = (keypoints[:, 2] > 0) & (np.abs(keypoints[:, :2]) < FAR).all(1)
    points = np.rint(np.where(found[:, None], keypoints[:, :2], 0) * 2**FRACTION_BITS).astype(int).tolist()
    bones = np.flatnonzero(found[skeleton.bone_ends].all(1)).tolist()
    for grown in (edge, 0):
        for bone in bones:
            a, b = skeleton.bone_ends[bone]
            shade = (0, 0, 0) if grown else bone_colours[bone]
            cv2.line(canvas, points[a], points[b], shade, width + 2 * grown, cv2.LINE_AA, FRACTION_BITS)
        for joint in np.flatnonzero(found).tolist():
            shade = (0, 0, 0) if grown else joint_colours[joint]
            radius = (width + grown) * 2**FRACTION_BITS
            cv2.circle(canvas, points[joint], radius, shade, cv2.FILLED, cv2.LINE_AA, FRACTION_BITS)


def _draw_label(canvas: np.ndarray, text: str, corner: np.ndarray, colour: BGR, width: int) -> None:
    """Write, black on a colour, above the top left corner of a box, inside the picture."""
    scale, thickness = 0.4 + 0.05 * width, 1 + width // 3
    (wide, high), below = cv2.getTextSize(text, FONT, scale, thickness)
    x, y = np.clip(corner - (0, 4 * width), -FAR, FAR)
    left = int(np.clip(x, 1, max(1, canvas.shape[1] - wide - 1)))
    bottom = int(np.clip(y, high + 1, max(high + 1, canvas.shape[0] - below - 1)))
    cv2.rectangle(canvas, (left - 1, bottom - high - 1), (left + wide, bottom + below), colour, cv2.FILLED)
    cv2.putText(canvas, text, (left, bottom), FONT, scale, (0, 0, 0), thickness, cv2.LINE_AA)


def part_colours(skeleton: Skeleton) -> tuple[list[BGR], list[BGR]]:
    """BGR of each annotated joint, and of each bone: of its further joint where both are of one side."""
    sides = dict.fromkeys(skeleton.annotated, "middle")
    for right, left in skeleton.mirrored:
        sides |= {right: "right", left: "left"}
    joints: dict[str, BGR] = {}
    for side, (first, last) in HUES.items():
        members = [name for name in skeleton.annotated if sides[name] == side]
        for name, hue in zip(members, np.linspace(first, last, len(members)), strict=True):
            joints[name] = _colour(float(hue), 0.9)
    middle = _colour(HUES["middle"][0], 0.6)

    def of_bone(a: str, b: str) -> BGR:
        sided = [name for name in (b, a) if sides[name] != "middle"]
        return joints[sided[0]] if len({sides[name] for name in sided}) == 1 else middle

    return [joints[name] for name in skeleton.annotated], [of_bone(*bone) for bone in skeleton.bones]


def person_colour(person: int) -> BGR:
    """BGR: steps of the golden ratio keep the hues of any number of people apart; grey without an id."""
    if person == NO_ID:
        return GREY
    return _colour(person * 0.618034 % 1, 0.75 if person % 2 else 0.95)


def _colour(hue: float, saturation: float) -> BGR:
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, 1)
    return round(255 * blue), round(255 * green), round(255 * red)
