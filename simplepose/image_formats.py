"""Formats of image files: recognized by their first bytes, with the size and length that their headers state.

Nothing is decoded here, so that a file of a few bytes that claims gigabytes of pixels costs nothing.
"""

from __future__ import annotations

import codecs
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

# Extensions of images. In folders, files of other extensions are images if their content is one.
IMAGE_EXTENSIONS = (
    *(".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".gif"),
    *(".avif", ".jp2", ".heic", ".heif"),
)

# Bytes at the start of a file that `identify` needs.
START_BYTES = 512

TEXT, UNKNOWN = "text", "data in an unknown format"

# (offset, first bytes, name): images.
_IMAGE_MAGICS = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"GIF87a", "GIF"),
    (0, b"GIF89a", "GIF"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"II+\0", "TIFF"),
    (0, b"MM\0+", "TIFF"),
    (8, b"WEBP", "WebP"),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"#?RADIANCE", "Radiance HDR"),
    (0, b"#?RGBE", "Radiance HDR"),
    (0, b"\x59\xa6\x6a\x95", "Sun raster"),
    (0, b"\x76\x2f\x31\x01", "OpenEXR"),
    (0, b"8BPS", "Photoshop"),
    (0, b"qoif", "QOI"),
)

# The same for other files that folders of images contain.
_OTHER_MAGICS = (
    (0, b"\x1a\x45\xdf\xa3", "a Matroska or WebM video"),
    (8, b"AVI ", "an AVI video"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"%PDF", "a PDF document"),
    (0, b"\x89HDF", "an HDF5 file"),
)

# Brands of ISO media files that are images; all others are videos.
_AVIF_BRANDS = (b"avif", b"avis")
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")

_BMP_HEADER_SIZES = (12, 16, 40, 52, 56, 64, 108, 124)

_NETPBM_START = re.compile(rb"P[1-6Ff][ \t\r\n#]|P7\n")

# Formats whose decoder is an optional part of OpenCV -> the extension by which to ask for it. None: OpenCV
# has no decoder.
OPTIONAL_FORMATS: dict[str, str | None] = {
    "AVIF": ".avif",
    "GIF": ".gif",
    "JPEG 2000": ".jp2",
    "OpenEXR": ".exr",
    "Radiance HDR": ".hdr",
    "TIFF": ".tif",
    "WebP": ".webp",
    "HEIC": None,
    "JPEG XL": None,
    "Photoshop": None,
    "QOI": None,
}

_IMAGE_NAMES = {name for _, _, name in _IMAGE_MAGICS} | {"AVIF", "BMP", "HEIC", "Netpbm"}


class InvalidHeaderError(ValueError):
    """The header or structure of an image file is invalid."""


class TruncatedError(InvalidHeaderError):
    """A file ends before its header or data does."""


class ImageHeader(NamedTuple):
    """What the header of an image states.

    Attributes:
        width, height: size in pixels, as stored.
        end: bytes that the file has at least; 0 if the header does not state them.
        encoding: an unusual encoding that a decoder may not support; may be empty.
    """

    width: int
    height: int
    end: int = 0
    encoding: str = ""


def identify(start: bytes) -> str:
    """Name the format of a file.

    Args:
        start: the first START_BYTES of the file, or all of them.

    Returns:
        The name of an image format, see `is_image_format`; else a description such as "a ZIP archive".
    """
    if start[4:8] == b"ftyp":
        brands = {start[8:12], *(start[i : i + 4] for i in range(16, min(_u32(start, 0), len(start)), 4))}
        if brands & {*_AVIF_BRANDS}:
            return "AVIF"
        return "HEIC" if brands & {*_HEIC_BRANDS} else "an MP4 or MOV video"
    for offset, magic, name in (*_IMAGE_MAGICS, *_OTHER_MAGICS):
        if start.startswith(magic, offset):
            return name
    if start.startswith(b"BM") and (len(start) < 18 or _u32(start, 14, "<") in _BMP_HEADER_SIZES):
        return "BMP"
    if _NETPBM_START.match(start):
        return "Netpbm"
    return TEXT if start and _is_text(start) else UNKNOWN


def is_image_format(name: str) -> bool:
    """Whether a name from `identify` is the name of an image format, decodable here or not."""
    return name in _IMAGE_NAMES


def read_header(name: str, encoded: bytes) -> ImageHeader:
    """Read the header of an image file.

    Args:
        name: its format, from `identify`; one that OpenCV may decode.
        encoded: the bytes of the file.

    Raises:
        TruncatedError: the file ends within the header.
        InvalidHeaderError: the header is invalid; states the reason.
    """
    try:
        header = _HEADER_READERS[name](encoded)
    except (struct.error, IndexError) as error:
        raise TruncatedError("the file ends within the header") from error
    if min(header.width, header.height) < 1:
        raise InvalidHeaderError(
            f"expected a size of at least 1 x 1 pixels, got {header.width} x {header.height}"
        )
    return header


def check_complete(name: str, encoded: bytes, header: ImageHeader) -> None:
    """Check that an image file has all its data, as far as that shows without decoding.

    Raises:
        TruncatedError: the file is truncated.
        InvalidHeaderError: a checksum is wrong, or there is no image data.
    """
    if name == "JPEG" and _is_truncated_jpeg(encoded):
        raise TruncatedError("the end marker is missing")
    try:
        if name == "PNG":
            _check_png_chunks(encoded)
        elif name == "GIF":
            _check_first_gif_image(encoded)
    except (struct.error, IndexError) as error:
        raise TruncatedError("the end of the image is missing") from error
    if header.end > len(encoded):
        raise TruncatedError(f"expected at least {header.end:,} bytes")


# The end marker, or a marker that a length follows. Scan data has neither: only stuffed zeros and restart
# markers follow 0xff there.
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xd9"
_JPEG_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])")

# Start-of-frame markers -> the encoding, empty for those of every camera.
_JPEG_FRAMES = {
    **dict.fromkeys((0xC0, 0xC1, 0xC2), ""),
    **dict.fromkeys((0xC3, 0xCB), "lossless JPEG"),
    **dict.fromkeys((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF), "hierarchical JPEG"),
    **dict.fromkeys((0xC9, 0xCA), "arithmetic coding"),
}


def _jpeg_segments(encoded: bytes) -> Iterator[tuple[int, int]]:
    """Yield the marker and the position after it of each segment, up to the end marker of the first image.

    Skips the bytes of each segment. A thumbnail in a segment, or data that phones append (a video, another
    image), is therefore not mistaken for the image.
    """
    position = len(_JPEG_START)
    while marker := _JPEG_MARKER.search(encoded, position):
        yield marker[1][0], marker.end()
        length = encoded[marker.end() : marker.end() + 2]  # includes these two bytes
        position = marker.end() + int.from_bytes(length, "big")


def _is_truncated_jpeg(encoded: bytes) -> bool:
    """Check whether the file's first image lacks its end marker; decoders would fill the rest with gray."""
    return all(marker != _JPEG_END[0] for marker, _ in _jpeg_segments(encoded))


def _read_jpeg(encoded: bytes) -> ImageHeader:
    for marker, position in _jpeg_segments(encoded):
        if marker in _JPEG_FRAMES:
            _, bits, height, width = struct.unpack_from(">HBHH", encoded, position)
            encoding = f"{bits} bits per sample" if bits != 8 else _JPEG_FRAMES[marker]
            return ImageHeader(width, height, 0, encoding)
        if marker == _JPEG_END[0]:
            raise InvalidHeaderError("it has no image data")
    raise TruncatedError("the file ends within the header")


def _read_png(encoded: bytes) -> ImageHeader:
    kind, width, height = struct.unpack_from(">4sII", encoded, 12)
    if kind != b"IHDR":
        raise InvalidHeaderError("the first chunk is not IHDR")
    return ImageHeader(width, height)


def _check_png_chunks(encoded: bytes) -> None:
    position, kind = 8, b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", encoded, position)
        end = position + 8 + length
        if zlib.crc32(encoded[position + 4 : end]) != _u32(encoded, end):
            raise InvalidHeaderError("the checksum of a chunk is wrong")
        position = end + 4


def _read_gif(encoded: bytes) -> ImageHeader:
    return ImageHeader(*struct.unpack_from("<HH", encoded, 6))


def _check_first_gif_image(encoded: bytes) -> None:
    position = 13 + _gif_palette_bytes(encoded[10])
    while (block := encoded[position]) == 0x21:  # an extension: a label, then data
        position = _skip_gif_data(encoded, position + 2)
    if block != 0x2C:
        raise InvalidHeaderError("it has no image data")
    position = _skip_gif_data(encoded, position + 11 + _gif_palette_bytes(encoded[position + 9]))
    encoded[position]


def _gif_palette_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _skip_gif_data(encoded: bytes, position: int) -> int:
    while size := encoded[position]:
        position += 1 + size
    return position + 1


def _read_bmp(encoded: bytes) -> ImageHeader:
    data_start, header_size = struct.unpack_from("<II", encoded, 10)
    width, height, _, bits = struct.unpack_from("<HHHH" if header_size == 12 else "<iiHH", encoded, 18)
    compression = 0 if header_size == 12 else _u32(encoded, 30, "<")
    row_bytes = (abs(width) * bits + 31) // 32 * 4
    end = data_start + row_bytes * abs(height) if compression == 0 else 0
    return ImageHeader(abs(width), abs(height), end)


def _read_webp(encoded: bytes) -> ImageHeader:
    kind, end = encoded[12:16], _u32(encoded, 4, "<") + 8
    if kind == b"VP8X":
        width, height = (1 + int.from_bytes(encoded[i : i + 3], "little") for i in (24, 27))
        encoded[29]
    elif kind == b"VP8L":
        bits = _u32(encoded, 21, "<")
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", encoded, 26))
    return ImageHeader(width, height, end)


# TIFF types of numbers: bytes of each -> its letter in `numpy.dtype`.
_TIFF_TYPES = {1: "u1", 3: "u2", 4: "u4", 16: "u8"}
_TIFF_ENCODINGS = {1, 2, 3, 4, 5, 7, 8, 32773, 32946}  # compressions that OpenCV's libtiff decodes


def _read_tiff(encoded: bytes) -> ImageHeader:
    tags = _read_tiff_tags(encoded)
    width, height = (int(tags[tag].max(initial=0)) if tag in tags else 0 for tag in (256, 257))
    compression = int(tags[259][0]) if 259 in tags and tags[259].size else 1
    encoding = "" if compression in _TIFF_ENCODINGS else f"compression {compression}"
    end = 0
    for offset_tag, size_tag in ((273, 279), (324, 325)):  # strips, tiles
        if offset_tag in tags and size_tag in tags and tags[offset_tag].size == tags[size_tag].size:
            ends = tags[offset_tag].astype(object) + tags[size_tag].astype(object)
            end = max([end, *ends.tolist()])
    if 322 in tags and 323 in tags:  # a decoder allocates whole tiles
        tile_width, tile_height = (int(tags[tag].max(initial=0)) for tag in (322, 323))
        if tile_width * tile_height > max(1, width * height):
            width, height = max(width, tile_width), max(height, tile_height)
    return ImageHeader(width, height, end, encoding)


def _read_tiff_tags(encoded: bytes) -> dict[int, np.ndarray]:
    """Read the whole numbers of the first page's directory; tag -> values."""
    order = "<" if encoded[:1] == b"I" else ">"
    big = encoded[2:4] in (b"+\0", b"\0+")
    (position,) = struct.unpack_from(order + ("Q" if big else "I"), encoded, 8 if big else 4)
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), encoded, position)
    entry, inline = (20, 8) if big else (12, 4)
    position += 8 if big else 2
    if count * entry > len(encoded) - position:
        raise TruncatedError("the file ends within the header")
    tags = {}
    for start in range(position, position + count * entry, entry):
        tag, kind, length = struct.unpack_from(order + ("HHQ" if big else "HHI"), encoded, start)
        if kind not in _TIFF_TYPES:
            continue
        dtype = np.dtype(order + _TIFF_TYPES[kind])
        offset = start + entry - inline
        if length * dtype.itemsize > inline:
            (offset,) = struct.unpack_from(order + ("Q" if big else "I"), encoded, offset)
        if offset + length * dtype.itemsize > len(encoded):
            raise TruncatedError("the file ends within the header")
        tags[tag] = np.frombuffer(encoded, dtype, length, offset)
    return tags


def _read_jpeg2000(encoded: bytes) -> ImageHeader:
    start, end = 0, 0
    if not encoded.startswith(b"\xff\x4f"):
        streams = [box for box in _boxes(encoded, 0, len(encoded)) if box[0] == b"jp2c"]
        if not streams:
            raise TruncatedError("the file ends within the header")
        _, start, end = streams[0]
    right, bottom, left, top = struct.unpack_from(">IIII", encoded, start + 8)
    return ImageHeader(right - left, bottom - top, end)


def _read_avif(encoded: bytes) -> ImageHeader:
    sizes = list(_avif_sizes(encoded, 0, len(encoded)))
    if not sizes:
        raise TruncatedError("the file ends within the header")
    end = max(stop for _, _, stop in _boxes(encoded, 0, len(encoded)))
    return ImageHeader(*max(sizes, key=lambda size: size[0] * size[1]), end)


def _avif_sizes(encoded: bytes, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Yield the width and height of each image in an AVIF file, thumbnails and masks included."""
    for kind, begin, end in _boxes(encoded, start, stop):
        if kind == b"ispe":
            yield struct.unpack_from(">II", encoded, begin + 4)
        elif kind in (b"meta", b"iprp", b"ipco"):
            yield from _avif_sizes(encoded, begin + (4 if kind == b"meta" else 0), min(end, stop))


def _boxes(encoded: bytes, start: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind, the start of the content and the stated end of each box of ISO media."""
    while start + 8 <= stop:
        size, kind = struct.unpack_from(">I4s", encoded, start)
        begin = start + 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", encoded, begin)
            begin += 8
        end = start + size if size else stop
        if end < begin:
            raise InvalidHeaderError("the size of a box is wrong")
        yield kind, begin, end
        start = end


# Width and height after the first two bytes; comments may be before each.
_NETPBM_TOKENS = re.compile(rb"(?:\s|#[^\n]*\n)+(\d{1,18})(?:\s|#[^\n]*\n)+(\d{1,18})\b")
# Bits of a pixel in binary files, at least.
_NETPBM_PIXEL_BITS = {b"P4": 1, b"P5": 8, b"P6": 24, b"Pf": 32, b"PF": 96}
_PAM_FIELD = re.compile(rb"^(WIDTH|HEIGHT)[ \t]+(\d{1,18})\s", re.MULTILINE)
_HDR_SIZE = re.compile(rb"\n[-+]([XY]) (\d{1,18}) [-+]([XY]) (\d{1,18})\n")

# The longest text before the size in the header of a Netpbm or Radiance file, in bytes.
_MAX_TEXT_HEADER = 2**16


def _read_netpbm(encoded: bytes) -> ImageHeader:
    text = encoded[:_MAX_TEXT_HEADER]
    if text.startswith(b"P7"):
        fields = dict(_PAM_FIELD.findall(text.partition(b"ENDHDR")[0]))
        start, sides = 0, [fields.get(b"WIDTH"), fields.get(b"HEIGHT")]
    else:
        tokens = _NETPBM_TOKENS.match(text, 2)
        start, sides = (tokens.end(), list(tokens.groups())) if tokens else (0, [None])
    if None in sides:
        raise InvalidHeaderError("its header has no size")
    width, height = map(int, filter(None, sides))
    bits = _NETPBM_PIXEL_BITS.get(text[:2], 0)
    return ImageHeader(width, height, start + (width * bits + 7) // 8 * height)


def _read_radiance(encoded: bytes) -> ImageHeader:
    match = _HDR_SIZE.search(encoded, 0, _MAX_TEXT_HEADER)
    if match is None:
        raise InvalidHeaderError("its header has no size")
    sides = {match[1]: int(match[2]), match[3]: int(match[4])}
    return ImageHeader(sides.get(b"X", 0), sides.get(b"Y", 0))


def _read_sun_raster(encoded: bytes) -> ImageHeader:
    width, height, _, data_bytes = struct.unpack_from(">IIII", encoded, 4)
    return ImageHeader(width, height, 32 + data_bytes)


def _read_openexr(encoded: bytes) -> ImageHeader:
    position = encoded.find(b"dataWindow\0box2i\0", 0, _MAX_TEXT_HEADER)
    if position < 0:
        raise InvalidHeaderError("its header has no size")
    left, top, right, bottom = struct.unpack_from("<iiii", encoded, position + 21)
    return ImageHeader(right - left + 1, bottom - top + 1)


_HEADER_READERS: dict[str, Callable[[bytes], ImageHeader]] = {
    "JPEG": _read_jpeg,
    "PNG": _read_png,
    "GIF": _read_gif,
    "BMP": _read_bmp,
    "WebP": _read_webp,
    "TIFF": _read_tiff,
    "JPEG 2000": _read_jpeg2000,
    "AVIF": _read_avif,
    "Netpbm": _read_netpbm,
    "Radiance HDR": _read_radiance,
    "Sun raster": _read_sun_raster,
    "OpenEXR": _read_openexr,
}


def _u32(encoded: bytes, position: int, order: str = ">") -> int:
    value: int = struct.unpack_from(f"{order}I", encoded, position)[0]
    return value


def _is_text(start: bytes) -> bool:
    """Whether bytes are UTF-8 text without control characters; the last character may be cut off."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character in "\t\r\n\f\ufeff" for character in text)
