"""Decode image files strictly: a truncated file is an error, not an image with gray rows at the bottom."""

from __future__ import annotations

import re

import cv2
import numpy as np

# The end marker, or a marker that a length follows. Scan data has neither: only stuffed zeros and restart
# markers follow 0xff there.
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xd9"
_JPEG_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])")


def decode(encoded: bytes | np.ndarray, upright: bool, validated: bool = False) -> np.ndarray | None:
    """Decode an image in a format that OpenCV reads (JPEG, PNG, ...); also gray, transparent and 16-bit ones.

    Args:
        encoded: the bytes of the file, also as (B,) uint8.
        upright: rotate the image by its EXIF orientation. False keeps the stored orientation, in which
            datasets (COCO's too) are annotated.
        validated: these bytes were decoded before, so they are not checked for truncation again.

    Returns:
        (H, W, 3) uint8 BGR, or None if the bytes are not an image or are truncated.
    """
    if not len(encoded) or (not validated and _is_truncated_jpeg(bytes(encoded))):
        return None
    flags = cv2.IMREAD_COLOR if upright else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        return cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
    except cv2.error:  # for example, more pixels than OpenCV supports
        return None


def describe_other_size(
    stored_hw: tuple[int, ...], upright_hw: tuple[int, ...], annotated_hw: tuple[int, ...]
) -> str:
    """Describe how the size of an image file differs from that of its annotations.

    Args:
        stored_hw: height and width in the stored orientation.
        upright_hw: the same after the rotation by the EXIF orientation.
        annotated_hw: the same in the annotations.
    """
    (height, width), (annotated_height, annotated_width) = stored_hw, annotated_hw
    text = f"is {width} x {height}, its annotations are for {annotated_width} x {annotated_height}"
    if upright_hw == annotated_hw:
        text += " (the size after rotation by its EXIF orientation; annotate the stored orientation)"
    return text


def _is_truncated_jpeg(encoded: bytes) -> bool:
    """Check whether the file's first image lacks its end marker; decoders would fill the rest with gray.

    Goes from marker to marker and skips the bytes of each segment. A thumbnail in a segment, or data that
    phones append (a video, another image), is therefore not mistaken for the image.
    """
    if not encoded.startswith(_JPEG_START):
        return False
    position = len(_JPEG_START)
    while marker := _JPEG_MARKER.search(encoded, position):
        if marker[1] == _JPEG_END:
            return False
        length = encoded[marker.end() : marker.end() + 2]  # includes these two bytes
        position = marker.end() + int.from_bytes(length, "big")
    return True
