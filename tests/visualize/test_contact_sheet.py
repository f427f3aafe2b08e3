"""Contact sheet: any number of images of any sizes."""

from itertools import pairwise

import cv2
import numpy as np
import pytest

from simplepose.visualize.drawing import (
    BACKGROUND,
    CAPTION_HEIGHT,
    MARGIN,
    ROW_HEIGHT,
    SHEET_WIDTH,
    contact_sheet,
)

COLORS = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30), (30, 200, 200), (200, 30, 200)]
ROW = ROW_HEIGHT + CAPTION_HEIGHT + MARGIN


def solid_image(height: int, width: int, color=COLORS[0]) -> np.ndarray:
    return np.full((height, width, 3), color, np.uint8)


def box(sheet: np.ndarray, color) -> tuple[int, int, int, int]:
    """Return top, left, bottom and right of the pixels of a color; fails unless they fill a rectangle."""
    rows, columns = np.nonzero((np.abs(sheet.astype(int) - color) <= 1).all(2))
    top, left, bottom, right = rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
    assert len(rows) == (bottom - top) * (right - left)
    return int(top), int(left), int(bottom), int(right)


def test_no_images_are_rejected():
    with pytest.raises(ValueError, match="contact sheet: expected at least 1 image, got 0"):
        contact_sheet([], [])


def test_one_image_makes_a_small_sheet():
    sheet = contact_sheet([solid_image(ROW_HEIGHT, 300)], ["1 person"])
    assert sheet.dtype == np.uint8
    assert sheet.shape == (MARGIN + ROW, MARGIN + 300 + MARGIN, 3)
    assert box(sheet, COLORS[0]) == (MARGIN, MARGIN, MARGIN + ROW_HEIGHT, MARGIN + 300)
    caption = sheet[MARGIN + ROW_HEIGHT : -MARGIN]
    assert (caption != BACKGROUND).any(), "the caption is below the image"
    for border in (sheet[:MARGIN], sheet[-MARGIN:], sheet[:, :MARGIN], sheet[:, -MARGIN:]):
        assert (border == BACKGROUND).all()


def test_images_are_copied_unchanged(rng):
    image = cv2.GaussianBlur(rng.integers(0, 256, (ROW_HEIGHT, 400, 3), dtype=np.uint8), (9, 9), 3)
    before = image.copy()
    sheet = contact_sheet([image], [""])
    assert (sheet[MARGIN : MARGIN + ROW_HEIGHT, MARGIN:-MARGIN] == image).all()
    assert (image == before).all()


def test_images_are_in_order_in_rows_of_equal_height():
    sizes = [(480, 640), (600, 500), (90, 120), (720, 1280), (300, 300), (50, 40)]
    images = [solid_image(*size, color) for size, color in zip(sizes, COLORS, strict=True)]
    sheet = contact_sheet(iter(images), [f"{number} people" for number in range(len(images))])
    assert sheet.shape[1] <= SHEET_WIDTH
    boxes = [box(sheet, color) for color in COLORS]
    assert len({top for top, *_ in boxes}) == 2, "two rows"
    for (height, width), (top, left, bottom, right) in zip(sizes, boxes, strict=True):
        assert bottom - top == ROW_HEIGHT
        assert (right - left) / (bottom - top) == pytest.approx(width / height, rel=0.01)
    positions = [(top, left) for top, left, _, _ in boxes]
    assert positions == sorted(positions)
    for (top, _, _, right), (next_top, next_left, _, _) in pairwise(boxes):
        assert next_left - right >= MARGIN or next_top - top == ROW


def test_a_hundred_images_fill_rows():
    sheet = contact_sheet((solid_image(30, 40) for _ in range(100)), ["1 person"] * 100)
    assert sheet.shape[1] <= SHEET_WIDTH
    assert sheet.shape[0] == MARGIN + 34 * ROW  # three images of 480 pixels in a row


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (2, 3), (4000, 6000)])
def test_images_of_any_size_fit(size):
    sheet = contact_sheet([solid_image(*size), solid_image(480, 640, COLORS[1])], ["0 people", "1 person"])
    assert sheet.shape[1] <= SHEET_WIDTH
    assert sheet.shape[0] in (MARGIN + ROW, MARGIN + 2 * ROW)
    top, left, bottom, right = box(sheet, COLORS[0])
    assert 1 <= bottom - top <= ROW_HEIGHT
    assert 1 <= right - left <= SHEET_WIDTH - 2 * MARGIN
    top, _, bottom, _ = box(sheet, COLORS[1])
    assert bottom - top == ROW_HEIGHT


def test_a_caption_stays_in_its_cell():
    images = [solid_image(ROW_HEIGHT, 200), solid_image(ROW_HEIGHT, 200, COLORS[1])]
    sheet = contact_sheet(images, ["a very long caption " * 20, ""])
    right = box(sheet, COLORS[0])[3]
    assert (sheet[:, right : right + MARGIN] == BACKGROUND).all()
    assert (sheet[MARGIN + ROW_HEIGHT :, right:] == BACKGROUND).all()


@pytest.mark.parametrize("caption", ["café", "\udce9", "写真", "two\nlines", ""])
def test_any_text_is_a_caption(caption):
    contact_sheet([solid_image(20, 20)], [caption])


@pytest.mark.parametrize(
    ("image", "got"),
    [
        (np.zeros((4, 5), np.uint8), r"uint8 \(4, 5\)"),
        (np.zeros((4, 5, 1), np.uint8), r"uint8 \(4, 5, 1\)"),
        (np.zeros((4, 5, 4), np.uint8), r"uint8 \(4, 5, 4\)"),
        (np.zeros((4, 5, 3), np.float32), "float32"),
        (np.zeros((0, 5, 3), np.uint8), r"uint8 \(0, 5, 3\)"),
    ],
)
def test_invalid_images_are_rejected(image, got):
    with pytest.raises(ValueError, match=f"expected images of H x W x 3 uint8 in BGR, .* got {got}"):
        contact_sheet([solid_image(4, 4), image], ["", ""])


@pytest.mark.parametrize("captions", [[], ["one"], ["one", "two", "three"]])
def test_number_of_captions_must_match(captions):
    message = f"expected 2 captions, one per image, got {len(captions)}"
    with pytest.raises(ValueError, match=message):
        contact_sheet([solid_image(4, 4), solid_image(4, 4)], captions)
