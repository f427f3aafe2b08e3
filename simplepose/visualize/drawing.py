"""Draw people onto images, and many images onto one contact sheet."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable, Sequence
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


SHEET_WIDTH = 1600
"""Pixels; a row that would exceed it continues in the next one."""

ROW_HEIGHT = 360
"""Pixels of the images in each row, without their captions."""

MIN_CELL_WIDTH = 160
"""Pixels, so that the caption of a narrow image is readable."""

MARGIN = 12
"""Pixels around the sheet and between its cells."""

CAPTION_HEIGHT = 26
BACKGROUND, TEXT_COLOR = (255, 255, 255), (40, 40, 40)
TEXT_SCALE = 0.5


def contact_sheet(images: Iterable[np.ndarray], captions: Sequence[str]) -> np.ndarray:
    """Arrange images in rows of equal height, each with its caption below.

    Args:
        images: (H, W, 3) uint8 BGR each, of any sizes. They are resized one by one, so that an iterator
            need not keep all of them in memory. An image that is wider than the sheet fills its width.
        captions: one for each image. One that is wider than its cell is cut; characters other than ASCII
            become question marks.

    Returns:
        (H, W, 3) uint8 BGR; at most SHEET_WIDTH wide.

    Raises:
        ValueError: no images, an array that is not such an image, or another number of captions.
    """
    tiles = [_resize(image) for image in images]
    if not tiles:
        raise ValueError("contact sheet: expected at least 1 image, got 0")
    if len(tiles) != len(captions):
        raise ValueError(f"contact sheet: expected {len(tiles)} captions, one an image, got {len(captions)}")
    cells = [_with_caption(tile, caption) for tile, caption in zip(tiles, captions, strict=True)]
    rows = _rows(cells)
    width = MARGIN + max(sum(cell.shape[1] + MARGIN for cell in row) for row in rows)
    row_height = ROW_HEIGHT + CAPTION_HEIGHT
    sheet = np.full((MARGIN + len(rows) * (row_height + MARGIN), width, 3), BACKGROUND, np.uint8)
    for number, row in enumerate(rows):
        top, left = MARGIN + number * (row_height + MARGIN), MARGIN
        for cell in row:
            sheet[top : top + row_height, left : left + cell.shape[1]] = cell
            left += cell.shape[1] + MARGIN
    return sheet


def _resize(image: np.ndarray) -> np.ndarray:
    """Resize to the height of a row, or to the width of the sheet where that is less."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(
            "contact sheet: expected images of H x W x 3 uint8 in BGR, at least 1 x 1, "
            f"got {image.dtype} {image.shape}"
        )
    height, width = image.shape[:2]
    factor = min(ROW_HEIGHT / height, (SHEET_WIDTH - 2 * MARGIN) / width)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)


def _with_caption(tile: np.ndarray, caption: str) -> np.ndarray:
    """A cell of the sheet: the tile in its middle, the caption below."""
    height, width = tile.shape[:2]
    cell = np.full((ROW_HEIGHT + CAPTION_HEIGHT, max(width, MIN_CELL_WIDTH), 3), BACKGROUND, np.uint8)
    top, left = (ROW_HEIGHT - height) // 2, (cell.shape[1] - width) // 2
    cell[top : top + height, left : left + width] = tile
    place = (0, ROW_HEIGHT + CAPTION_HEIGHT - 8)
    text = _cut(" ".join(caption.encode("ascii", "replace").decode().split()), cell.shape[1])
    cv2.putText(cell, text, place, FONT, TEXT_SCALE, TEXT_COLOR, 1, cv2.LINE_AA)
    return cell


def _cut(text: str, width: int) -> str:
    """The text, or as much of its beginning as fits with an ellipsis."""
    if _text_width(text) <= width:
        return text
    while text and _text_width(f"{text}...") > width:
        text = text[:-1]
    return f"{text}..."


def _text_width(text: str) -> int:
    return int(cv2.getTextSize(text, FONT, TEXT_SCALE, 1)[0][0])


def _rows(cells: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
    """The cells in their order, as many in each row as the sheet is wide."""
    rows: list[list[np.ndarray]] = []
    left = SHEET_WIDTH
    for cell in cells:
        right = left + cell.shape[1] + MARGIN
        if right > SHEET_WIDTH or not rows:
            rows.append([])
            right = MARGIN + cell.shape[1] + MARGIN
        rows[-1].append(cell)
        left = right
    return rows
