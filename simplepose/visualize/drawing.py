"""Draw people onto images, and arrange images on a contact sheet."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable, Sequence
from typing import Literal

import cv2
import numpy as np

from simplepose.people import NO_ID, People
from simplepose.skeleton import COCO, Skeleton

ColorBy = Literal["person", "limb"]
BGR = tuple[int, ...]

# OpenCV draws at 1 / 2**SUBPIXEL_BITS of a pixel.
SUBPIXEL_BITS = 4

# Pixels from the origin beyond which a keypoint is not drawn: OpenCV uses 32-bit coordinates.
MAX_COORDINATE = 2**15

# Hues of the first and the last keypoint of each side in limb colors: cold for right, warm for left.
SIDE_HUES = {"right": (0.45, 0.63), "left": (0.0, 0.2), "middle": (0.8, 0.92)}

GRAY: BGR = (160, 160, 160)
FONT = cv2.FONT_HERSHEY_SIMPLEX

# Keypoints with a lower score are not drawn. A network for crops gives every keypoint a position, also those
# of legs outside the image; the results contain them with their low scores.
MIN_DRAWN_SCORE = 0.15


def draw_people(
    image: np.ndarray, people: People, skeleton: Skeleton = COCO, colors: ColorBy = "person"
) -> np.ndarray:
    """Draw bones and keypoints, with the highest-scoring person on top, and the ids of tracked people.

    Args:
        image: (H, W, 3) uint8 BGR; it is not changed.
        people: keypoints with a score below MIN_DRAWN_SCORE and their bones are not drawn.
        skeleton: its `bones` are drawn.
        colors: "person": one color per person, which follows the id in a video; "limb": one color per bone
            and keypoint, which distinguishes right (blue and green) from left (red and yellow).

    Returns:
        (H, W, 3) uint8 BGR, a copy.

    Raises:
        ValueError: the people have another number of keypoints than the skeleton, or `colors` is unknown.
    """
    if people.keypoints.shape[1] != len(skeleton.annotated):
        raise ValueError(
            f"expected {len(skeleton.annotated)} keypoints per person, got {people.keypoints.shape[1]}"
        )
    if colors not in ("person", "limb"):
        raise ValueError(f"colors: expected 'person' or 'limb', got {colors!r}")
    canvas: np.ndarray = np.ascontiguousarray(image).copy()
    ids = range(len(people)) if people.ids is None else people.ids.tolist()
    limb_colors = part_colors(skeleton) if colors == "limb" else None
    boxes = people.boxes_xyxy
    for person in np.argsort(people.scores, kind="stable").tolist():
        color, box = person_color(ids[person]), boxes[person]
        keypoint_colors, bone_colors = limb_colors or (
            [color] * len(skeleton.annotated),
            [color] * len(skeleton.bone_ends),
        )
        width = int(np.clip(np.rint(max(box[2:] - box[:2]) / 90), 1, 12))
        _draw_person(canvas, people.keypoints[person], skeleton, keypoint_colors, bone_colors, width)
        if people.ids is not None and ids[person] != NO_ID and people.found[person].any():
            _draw_label(canvas, str(ids[person]), box[:2], color, width)
    return canvas


def _draw_person(
    canvas: np.ndarray,
    keypoints: np.ndarray,
    skeleton: Skeleton,
    keypoint_colors: list[BGR],
    bone_colors: list[BGR],
    width: int,
) -> None:
    outline_width = max(1, round(width / 2))  # a black outline keeps any color visible on any background
    found = (keypoints[:, 2] >= MIN_DRAWN_SCORE) & (np.abs(keypoints[:, :2]) < MAX_COORDINATE).all(1)
    points = np.rint(np.where(found[:, None], keypoints[:, :2], 0) * 2**SUBPIXEL_BITS).astype(int).tolist()
    bones = np.flatnonzero(found[skeleton.bone_ends].all(1)).tolist()
    for outline in (outline_width, 0):
        for bone in bones:
            a, b = skeleton.bone_ends[bone]
            color = (0, 0, 0) if outline else bone_colors[bone]
            cv2.line(canvas, points[a], points[b], color, width + 2 * outline, cv2.LINE_AA, SUBPIXEL_BITS)
        for index in np.flatnonzero(found).tolist():
            color = (0, 0, 0) if outline else keypoint_colors[index]
            radius = (width + outline) * 2**SUBPIXEL_BITS
            cv2.circle(canvas, points[index], radius, color, cv2.FILLED, cv2.LINE_AA, SUBPIXEL_BITS)


def _draw_label(canvas: np.ndarray, text: str, corner: np.ndarray, color: BGR, width: int) -> None:
    """Draw black text on a colored background above the top left corner of a box, inside the image."""
    scale, thickness = 0.4 + 0.05 * width, 1 + width // 3
    (text_width, text_height), baseline = cv2.getTextSize(text, FONT, scale, thickness)
    x, y = np.clip(corner - (0, 4 * width), -MAX_COORDINATE, MAX_COORDINATE)
    left = int(np.clip(x, 1, max(1, canvas.shape[1] - text_width - 1)))
    bottom = int(np.clip(y, text_height + 1, max(text_height + 1, canvas.shape[0] - baseline - 1)))
    top_left, bottom_right = (left - 1, bottom - text_height - 1), (left + text_width, bottom + baseline)
    cv2.rectangle(canvas, top_left, bottom_right, color, cv2.FILLED)
    cv2.putText(canvas, text, (left, bottom), FONT, scale, (0, 0, 0), thickness, cv2.LINE_AA)


def part_colors(skeleton: Skeleton) -> tuple[list[BGR], list[BGR]]:
    """Choose a color for each annotated keypoint and each bone.

    A bone has the color of its second keypoint if both are on one side of the body. If only one is on a side,
    it has that one's color. Other bones have the color of the middle.

    Returns:
        BGR of each annotated keypoint, BGR of each bone.
    """
    sides = dict.fromkeys(skeleton.annotated, "middle")
    for right, left in skeleton.mirrored:
        sides |= {right: "right", left: "left"}
    keypoint_colors: dict[str, BGR] = {}
    for side, (first, last) in SIDE_HUES.items():
        members = [name for name in skeleton.annotated if sides[name] == side]
        for name, hue in zip(members, np.linspace(first, last, len(members)), strict=True):
            keypoint_colors[name] = _hsv_to_bgr(float(hue), 0.9)
    middle_color = _hsv_to_bgr(SIDE_HUES["middle"][0], 0.6)

    def bone_color(a: str, b: str) -> BGR:
        sided = [name for name in (b, a) if sides[name] != "middle"]
        return keypoint_colors[sided[0]] if len({sides[name] for name in sided}) == 1 else middle_color

    return [keypoint_colors[name] for name in skeleton.annotated], [
        bone_color(*bone) for bone in skeleton.bones
    ]


def person_color(person: int) -> BGR:
    """Choose a person's BGR color by index or id; gray for NO_ID.

    Hues are spaced by the golden ratio, so that they stay distinct for any number of people.
    """
    if person == NO_ID:
        return GRAY
    return _hsv_to_bgr(person * 0.618034 % 1, 0.75 if person % 2 else 0.95)


def _hsv_to_bgr(hue: float, saturation: float) -> BGR:
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, 1)
    return round(255 * blue), round(255 * green), round(255 * red)


# Maximum width of a contact sheet in pixels; a row that would exceed it is wrapped.
SHEET_WIDTH = 1600

# Height of the images in each row in pixels, without their captions.
ROW_HEIGHT = 360

# Minimum cell width in pixels, so that the caption of a narrow image is readable.
MIN_CELL_WIDTH = 160

# Pixels around the sheet and between its cells.
MARGIN = 12

CAPTION_HEIGHT = 26  # pixels
BACKGROUND, TEXT_COLOR = (255, 255, 255), (40, 40, 40)
TEXT_SCALE = 0.5


def contact_sheet(images: Iterable[np.ndarray], captions: Sequence[str]) -> np.ndarray:
    """Arrange images in rows of equal height, each with its caption below.

    Args:
        images: (H, W, 3) uint8 BGR each, of any sizes. They are resized one by one, so that an iterator
            need not keep all of them in memory. An image that is wider than the sheet fills its width.
        captions: one per image. A caption that is wider than its cell is truncated. Characters other
            than ASCII become question marks.

    Returns:
        (H, W, 3) uint8 BGR; at most SHEET_WIDTH wide.

    Raises:
        ValueError: no images, an invalid image, or another number of captions than images.
    """
    tiles = [_resize(image) for image in images]
    if not tiles:
        raise ValueError("contact sheet: expected at least 1 image, got 0")
    if len(tiles) != len(captions):
        raise ValueError(f"contact sheet: expected {len(tiles)} captions, one per image, got {len(captions)}")
    cells = [_build_cell(tile, caption) for tile, caption in zip(tiles, captions, strict=True)]
    rows = _wrap_rows(cells)
    width = MARGIN + max(sum(cell.shape[1] + MARGIN for cell in row) for row in rows)
    row_height = ROW_HEIGHT + CAPTION_HEIGHT
    sheet = np.full((MARGIN + len(rows) * (row_height + MARGIN), width, 3), BACKGROUND, np.uint8)
    for index, row in enumerate(rows):
        top, left = MARGIN + index * (row_height + MARGIN), MARGIN
        for cell in row:
            sheet[top : top + row_height, left : left + cell.shape[1]] = cell
            left += cell.shape[1] + MARGIN
    return sheet


def _resize(image: np.ndarray) -> np.ndarray:
    """Resize to the height of a row, or to the width of the sheet if that gives a smaller image."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(
            "contact sheet: expected images of H x W x 3 uint8 in BGR, at least 1 x 1, "
            f"got {image.dtype} {image.shape}"
        )
    height, width = image.shape[:2]
    scale = min(ROW_HEIGHT / height, (SHEET_WIDTH - 2 * MARGIN) / width)
    size_wh = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def _build_cell(tile: np.ndarray, caption: str) -> np.ndarray:
    """Build a cell of the sheet: the tile in the center, the caption below."""
    height, width = tile.shape[:2]
    cell = np.full((ROW_HEIGHT + CAPTION_HEIGHT, max(width, MIN_CELL_WIDTH), 3), BACKGROUND, np.uint8)
    top, left = (ROW_HEIGHT - height) // 2, (cell.shape[1] - width) // 2
    cell[top : top + height, left : left + width] = tile
    origin = (0, ROW_HEIGHT + CAPTION_HEIGHT - 8)
    text = _truncate(" ".join(caption.encode("ascii", "replace").decode().split()), cell.shape[1])
    cv2.putText(cell, text, origin, FONT, TEXT_SCALE, TEXT_COLOR, 1, cv2.LINE_AA)
    return cell


def _truncate(text: str, width: int) -> str:
    """Truncate a text with an ellipsis so that it fits a width in pixels."""
    if _text_width(text) <= width:
        return text
    while text and _text_width(f"{text}...") > width:
        text = text[:-1]
    return f"{text}..."


def _text_width(text: str) -> int:
    return int(cv2.getTextSize(text, FONT, TEXT_SCALE, 1)[0][0])


def _wrap_rows(cells: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
    """Split the cells, in order, into rows that fit the width of the sheet."""
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
