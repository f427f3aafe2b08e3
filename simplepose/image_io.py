"""A picture file's bytes -> an array, strictly: a cut file is a fault, not a picture with grey below."""

from __future__ import annotations

import re

import cv2
import numpy as np

_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xd9"
_JPEG_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])")
"""The end marker, or one that a length follows; what scans hold (a stuffed 0, restarts) is neither."""


def decode(encoded: bytes | np.ndarray, upright: bool, known: bool = False) -> np.ndarray | None:
    """Decode a picture: JPEG, PNG and what else OpenCV reads, grey, transparent and 16-bit ones too.

    Args:
        encoded: the file's bytes, also as (B,) uint8.
        upright: turn the picture as its EXIF orientation says; False keeps the frame that the file stores,
            which is the one that data sets (COCO's too) are annotated in.
        known: the bytes are those of a picture that was decoded before, so that they do not end too early.

    Returns:
        (H, W, 3) uint8 BGR, or None where the bytes are no picture or end too early.
    """
    if not len(encoded) or (not known and _is_cut_jpeg(bytes(encoded))):
        return None
    flags = cv2.IMREAD_COLOR if upright else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        return cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
    except cv2.error:  # for example more pixels than OpenCV takes
        return None


def _is_cut_jpeg(encoded: bytes) -> bool:
    """Whether the file's first picture lacks its end marker: decoders would fill what is missing with grey.

    Goes from marker to marker, past the bytes of each segment, so that neither a thumbnail inside nor
    what phones append (a film, another picture) is taken for the picture.
    """
    if not encoded.startswith(_JPEG_START):
        return False
    place = len(_JPEG_START)
    while marker := _JPEG_MARKER.search(encoded, place):
        if marker[1] == _JPEG_END:
            return False
        length = encoded[marker.end() : marker.end() + 2]  # counts itself
        place = marker.end() + int.from_bytes(length, "big")
    return True
