"""A picture file's bytes -> an array, strictly: a cut file is a fault, not a picture with grey below."""

from __future__ import annotations

import cv2
import numpy as np


def decode(encoded: bytes, upright: bool) -> np.ndarray | None:
    """Decode a picture: JPEG, PNG and what else OpenCV reads, grey, transparent and 16-bit ones too.

    Args:
        encoded: the file's bytes.
        upright: turn the picture as its EXIF orientation says; False keeps the frame that the file stores,
            which is the one that data sets (COCO's too) are annotated in.

    Returns:
        (H, W, 3) uint8 BGR, or None where the bytes are no picture or end too early.
    """
    if not encoded or _is_cut_jpeg(encoded):
        return None
    flags = cv2.IMREAD_COLOR if upright else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        return cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
    except cv2.error:  # for example more pixels than OpenCV takes
        return None


def _is_cut_jpeg(encoded: bytes) -> bool:
    """Decoders fill what is missing with grey; in a whole JPEG an end marker follows the last scan."""
    return encoded.startswith(b"\xff\xd8") and encoded.rfind(b"\xff\xd9") < encoded.rfind(b"\xff\xda")
