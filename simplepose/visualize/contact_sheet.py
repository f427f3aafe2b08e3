"""A contact sheet: many images on one, with captions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from simplepose.visualize.drawing import FONT

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
