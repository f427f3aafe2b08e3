"""Read and decode image files strictly: each error states its cause, and no file costs unlimited memory.

A truncated file is an error, not an image with gray rows at the bottom.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from simplepose import image_formats
from simplepose.utils.files import check_regular_file, describe_kind

# Default limit of the pixels of an image, checked on its header. Larger images take gigabytes and minutes.
MAX_PIXELS = 100_000_000

# Larger files are not read: no image within the pixel limit needs them.
MAX_FILE_BYTES = 2**30

# Files that are not images: this number is listed in a message, the others are only counted.
MAX_REPORTED_FILES = 10

# OpenCV's own limits.
_OPENCV_MAX_SIDE, _OPENCV_MAX_PIXELS = 2**20, 2**30

# Bit depths that cameras and scanners store in 16 bits.
_BIT_DEPTHS = (8, 10, 12, 14, 16)

# Floating-point values above this percentile are saturated: a sun must not turn the people black.
_FLOAT_WHITE_PERCENTILE = 99.9
_MAX_PERCENTILE_VALUES = 1_000_000

DAMAGED, UNSUPPORTED, TOO_LARGE = "image damaged", "image format not supported", "image too large"


class ImageError(ValueError):
    """Bytes cannot be decoded to an image; the message states the cause.

    Attributes:
        kind: DAMAGED, UNSUPPORTED or TOO_LARGE, to count by.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def is_image_file(path: Path) -> bool:
    """Whether a path is a regular file with an image, by its extension or else by its first bytes.

    Also images that cannot be decoded here, and damaged ones: reading them raises the error with the cause.
    """
    if not path.is_file():
        return False
    return path.suffix.lower() in image_formats.IMAGE_EXTENSIONS or image_formats.is_image_format(
        describe_file(path)
    )


def describe_file(path: Path) -> str:
    """Name the format of a file by its first bytes, see `image_formats.identify`, or the kind of the path."""
    if not path.is_file():
        return describe_kind(path)
    try:
        with path.open("rb") as file:
            start = file.read(image_formats.START_BYTES)
    except OSError as error:
        return error.strerror or "cannot be read"
    return image_formats.identify(start) if start else "empty"


def describe_others(folder: Path, others: Sequence[Path]) -> str:
    """Describe the files of a folder or pattern that are not images, in one line: number, names, formats."""
    count = "1 entry is" if len(others) == 1 else f"{len(others):,} entries are"
    names = [f"{path.name} ({describe_file(path)})" for path in others[:MAX_REPORTED_FILES]]
    if len(others) > len(names):
        names.append(f"{len(others) - len(names):,} more")
    return f"{folder}: {count} not an image and not read: {', '.join(names)}"


def read_bytes(path: Path) -> bytes:
    """Read an image file without decoding it.

    Raises:
        OSError: the file does not exist or cannot be read.
        ValueError: the path is a folder, device or pipe, which is not opened, or no valid file name, or the
            file is too large for an image; names the path.
    """
    try:
        size = path.stat().st_size
    except ValueError as error:  # a null character
        raise ValueError(f"{path}: not a valid file name") from error
    check_regular_file(path)
    if size > MAX_FILE_BYTES:
        raise ValueError(f"{path}: expected an image file of at most {MAX_FILE_BYTES:,} bytes, got {size:,}")
    return path.read_bytes()


def decode(
    encoded: bytes | np.ndarray, upright: bool, validated: bool = False, max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """Decode an image in a format that OpenCV reads (JPEG, PNG, ...); also gray, transparent and deep ones.

    Values of 16 bits are scaled by their range: the maximum decides whether they have 8, 10, 12, 14 or 16
    bits. Floating-point values in 0..1 are scaled to 0..255; if their 99.9th percentile is above 1, it
    becomes 255. Of an animation and of a file with several pages, the first image is decoded.

    Args:
        encoded: the bytes of the file, also as (B,) uint8.
        upright: rotate the image by its EXIF orientation. False keeps the stored orientation, in which
            datasets (COCO's too) are annotated.
        validated: these bytes were decoded before, so they are not checked for truncation again.
        max_pixels: limit of width times height, checked before anything is decoded.

    Returns:
        (H, W, 3) uint8 BGR.

    Raises:
        ImageError: the bytes are not an image, truncated, damaged, in a format or encoding that this OpenCV
            does not decode, or have too many pixels; states which.
    """
    content = bytes(encoded)
    name = image_formats.identify(content[: image_formats.START_BYTES])
    encoding = _check_header(name, content, validated, max_pixels)
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | (0 if upright else cv2.IMREAD_IGNORE_ORIENTATION)
    image = _try_decode(content, flags)
    if image is None and name == "TIFF":  # OpenCV does not make gray floating-point values BGR
        image = _to_bgr(_try_decode(content, cv2.IMREAD_UNCHANGED))
    if image is not None:
        return _to_uint8(image)
    if encoding:
        raise ImageError(
            UNSUPPORTED, f"OpenCV does not decode this {name} image ({encoding}); convert it to JPEG or PNG"
        )
    raise ImageError(DAMAGED, f"damaged {name} image of {len(content):,} bytes")


def _check_header(name: str, content: bytes, validated: bool, max_pixels: int) -> str:
    """Check an image before it is decoded; returns its `ImageHeader.encoding`."""
    count = f"{len(content):,} bytes"
    if not content:
        raise ImageError(DAMAGED, "the file is empty (0 bytes)")
    if not image_formats.is_image_format(name):
        raise ImageError(DAMAGED, f"{count} are not an image, but {name}")
    if not _has_decoder(name):
        raise ImageError(
            UNSUPPORTED, f"the format is {name}, which OpenCV does not decode here; convert it to JPEG or PNG"
        )
    try:
        header = image_formats.read_header(name, content)
        _check_size(name, header, max_pixels)
        if not validated:
            image_formats.check_complete(name, content, header)
    except image_formats.TruncatedError as error:
        raise ImageError(DAMAGED, f"truncated {name} image of {count}: {error}") from error
    except image_formats.InvalidHeaderError as error:
        raise ImageError(DAMAGED, f"damaged {name} image of {count}: {error}") from error
    return header.encoding


def _check_size(name: str, header: image_formats.ImageHeader, max_pixels: int) -> None:
    image = f"{name} image of {header.width:,} x {header.height:,} pixels"
    max_pixels = min(max_pixels, _OPENCV_MAX_PIXELS)
    if header.width * header.height > max_pixels:
        raise ImageError(TOO_LARGE, f"{image}: expected at most {max_pixels:,} pixels; resize it")
    if max(header.width, header.height) > _OPENCV_MAX_SIDE:
        raise ImageError(TOO_LARGE, f"{image}: expected at most {_OPENCV_MAX_SIDE:,} a side; resize it")


def _has_decoder(name: str) -> bool:
    """Whether this build of OpenCV decodes a format."""
    extension = image_formats.OPTIONAL_FORMATS.get(name, ".jpg")
    return extension is not None and cv2.haveImageWriter(f"image{extension}")


def _try_decode(content: bytes, flags: int) -> np.ndarray | None:
    try:
        return cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error:
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


def _to_bgr(image: np.ndarray | None) -> np.ndarray | None:
    """Convert (H, W) or (H, W, C) to three channels; None if it cannot be done."""
    if image is None or image.ndim == 2:
        return None if image is None else np.repeat(image[..., None], 3, axis=2)
    return image[..., :3] if image.shape[2] in (3, 4) else None


def _to_uint8(image: np.ndarray) -> np.ndarray:
    """Scale values of any type to uint8 by their range, see `decode`. Changes `image`."""
    if image.dtype == np.uint8:
        return image
    if image.dtype == np.uint16:
        maximum = int(image.max())
        bits = next(bits for bits in _BIT_DEPTHS if maximum < 2**bits)
        np.right_shift(image, bits - 8, out=image)
        return image.astype(np.uint8)
    values = np.nan_to_num(image.astype(np.float32), copy=False, posinf=0, neginf=0)
    sampled = values.reshape(-1)[:: -(-values.size // _MAX_PERCENTILE_VALUES)]
    white = max(1.0, float(np.percentile(sampled, _FLOAT_WHITE_PERCENTILE)))
    np.multiply(values, 255 / white, out=values)
    scaled: np.ndarray = np.rint(values.clip(0, 255, out=values), out=values).astype(np.uint8)
    return scaled
