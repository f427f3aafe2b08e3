"""Hostile images: in a folder beside a healthy one, alone, and as arrays from Python."""

from __future__ import annotations

import json
import os
import socket
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from base_inputs import NETWORK, SMALL_INPUT
from case import Case, Expected, or_value, refusal, reported, skip, value

import simplepose
from simplepose.cli import demo_image

HEALTHY = "000000000001.jpg"
BOMB_BYTES = 3 << 30  # of the contents of compressed files; more than the limit of memory
Write = Callable[[Path], Sequence[str]]


def chunk(kind: bytes, data: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    width: int, height: int, data: bytes, *chunks: bytes, depth: int = 8, color: int = 0, interlace: int = 0
) -> bytes:
    """A PNG with this header; its data need not fit."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlace))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def deflated_zeros(size: int) -> bytes:
    """Zeros in deflate's format. After a full flush each block of a megabyte has the same bytes."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = compressor.compress(bytes(1 << 20)) + compressor.flush(zlib.Z_FULL_FLUSH)
    return block * (size >> 20) + compressor.compress(bytes(size % (1 << 20))) + compressor.flush()


def compressed_zeros(size: int) -> bytes:
    """Zeros in zlib's format, compressed by a factor of 1000; the end is their Adler-32."""
    return b"\x78\xda" + deflated_zeros(size) + struct.pack(">HH", size % 65_521, 1)


def png_of_zeros(width: int, height: int) -> bytes:
    """A complete black-and-white PNG of any size, a few kilobytes."""
    return png(width, height, compressed_zeros(height * (1 + -(-width // 8))), depth=1)


def bmp(width: int, height: int, bits: int = 24, data: bytes = b"") -> bytes:
    """A BMP with this header."""
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(data), 0, 0, 54) + header + data


def tiff(*entries: tuple[int, int, int, int], next_directory: int = 0) -> bytes:
    """A TIFF with one directory of (tag, type, count, value)."""
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<I", 8) + directory + struct.pack("<I", next_directory)


def tiff_of_size(width: int, height: int) -> bytes:
    """A TIFF that states a size, with one strip of no bytes."""
    strip = [(273, 4, 1, 8), (278, 4, 1, height), (279, 4, 1, 0)]
    return tiff(
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), *strip
    )


def encoded(extension: str, image: np.ndarray, *options: int) -> bytes:
    """An image, encoded by OpenCV."""
    return cv2.imencode(extension, image, options)[1].tobytes()


def jpeg(height: int = 60, width: int = 90) -> bytes:
    """A healthy JPEG of noise."""
    return encoded(".jpg", np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


def jpeg_of_stated_size(height: int, width: int) -> bytes:
    """A JPEG whose frame header states another size."""
    content = jpeg()
    position = content.index(b"\xff\xc0") + 5
    return content[:position] + struct.pack(">HH", height, width) + content[position + 4 :]


def jpeg_with_segment(marker: bytes, data: bytes) -> bytes:
    """A healthy JPEG with one more segment."""
    content = jpeg()
    return content[:2] + b"\xff" + marker + struct.pack(">H", len(data) + 2) + data + content[2:]


def exif(orientation: int, count: int = 1, offset: int = 8) -> bytes:
    """An EXIF segment with an orientation."""
    entry = struct.pack(">HHIHH", 0x112, 3, count, orientation, 0)
    return jpeg_with_segment(b"\xe1", b"Exif\0\0MM\0*" + struct.pack(">IH", offset, 1) + entry + bytes(4))


def box(kind: bytes, data: bytes) -> bytes:
    """One box of HEIF, AVIF or JPEG 2000."""
    return struct.pack(">I", len(data) + 8) + kind + data


GIF = b"GIF89a" + struct.pack("<HHBBB", 2, 2, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
GIF_IMAGE = b"," + struct.pack("<HHHHB", 0, 0, 2, 2, 0) + b"\x02\x03\x0c\x10\x05\0" + b";"

IGNORED = "bad"  # in the name of every hostile file
SKIP = skip(IGNORED)
EITHER = or_value(reported(IGNORED))
LARGE = skip(IGNORED, "megapixels|pixels|pixel limit|too large")

# Files beside a healthy image: (name, content, expected outcome).
FILES: dict[str, tuple[str, Callable[[], bytes], Expected]] = {
    "png_30000": ("bad.png", lambda: png_of_zeros(30_000, 30_000), LARGE),
    "png_50000": ("bad.png", lambda: png_of_zeros(50_000, 50_000), LARGE),
    "png_1e6_by_200": ("bad.png", lambda: png_of_zeros(10**6, 200), LARGE),
    "png_2_31": ("bad.png", lambda: png(2**31 - 1, 2**31 - 1, b""), LARGE),
    "png_0": ("bad.png", lambda: png(0, 0, b""), SKIP),
    "png_without_data": ("bad.png", lambda: png(50, 50, b""), SKIP),
    "png_short_data": ("bad.png", lambda: png(50, 50, compressed_zeros(100)), SKIP),
    "png_long_data": ("bad.png", lambda: png(10, 10, compressed_zeros(BOMB_BYTES)), EITHER),
    "png_profile_bomb": (
        "bad.png",
        lambda: png(10, 10, compressed_zeros(110), chunk(b"iCCP", b"a\0\0" + compressed_zeros(BOMB_BYTES))),
        EITHER,
    ),
    "png_text_bomb": (
        "bad.png",
        lambda: png(10, 10, compressed_zeros(110), chunk(b"zTXt", b"a\0\0" + compressed_zeros(BOMB_BYTES))),
        EITHER,
    ),
    "png_depth_3": ("bad.png", lambda: png(10, 10, compressed_zeros(110), depth=3), SKIP),
    "png_color_7": ("bad.png", lambda: png(10, 10, compressed_zeros(110), color=7), SKIP),
    "png_without_palette": ("bad.png", lambda: png(10, 10, compressed_zeros(110), color=3), EITHER),
    "png_interlaced_short": ("bad.png", lambda: png(100, 100, compressed_zeros(50), interlace=1), SKIP),
    "png_chunk_2_31": ("bad.png", lambda: png(10, 10, b"")[:33] + b"\x7f\xff\xff\xffIDAT", SKIP),
    "png_wrong_checksum": (
        "bad.png",
        lambda: png(10, 10, compressed_zeros(110)).replace(b"\0\0\0\nIDAT", b"\0\0\0\x0bIDAT"),
        EITHER,
    ),
    "jpeg_65535": ("bad.jpg", lambda: jpeg_of_stated_size(65_535, 65_535), LARGE),
    "jpeg_20000": ("bad.jpg", lambda: jpeg_of_stated_size(20_000, 20_000), LARGE),
    "jpeg_0": ("bad.jpg", lambda: jpeg_of_stated_size(0, 0), SKIP),
    "jpeg_truncated": ("bad.jpg", lambda: jpeg()[:-500], SKIP),
    "jpeg_header_only": ("bad.jpg", lambda: b"\xff\xd8\xff\xe0", SKIP),
    "jpeg_markers": ("bad.jpg", lambda: b"\xff\xd8" + b"\xff\xe0\0\2" * 1_000_000, SKIP),
    "jpeg_scans": (
        "bad.jpg",
        lambda: jpeg()[:-2] + jpeg()[jpeg().index(b"\xff\xda") : -2] * 2000 + b"\xff\xd9",
        EITHER,
    ),
    "jpeg_orientation_9": ("bad.jpg", lambda: exif(9), EITHER),
    "jpeg_orientation_65535": ("bad.jpg", lambda: exif(65_535), EITHER),
    "jpeg_orientation_count": ("bad.jpg", lambda: exif(6, count=2**31), EITHER),
    "jpeg_exif_offset": ("bad.jpg", lambda: exif(6, offset=2**32 - 1), EITHER),
    "jpeg_comment_escape": ("bad.jpg", lambda: jpeg_with_segment(b"\xfe", b"\x1b[31mred"), EITHER),
    "bmp_100000": ("bad.bmp", lambda: bmp(100_000, 100_000), LARGE),
    "bmp_negative": ("bad.bmp", lambda: bmp(-5, 5, data=bytes(200)), SKIP),
    "bmp_height_minimum": ("bad.bmp", lambda: bmp(5, -(2**31)), SKIP),
    "bmp_bits_7": ("bad.bmp", lambda: bmp(5, 5, 7, bytes(200)), SKIP),
    "bmp_short": ("bad.bmp", lambda: bmp(500, 500, data=bytes(20)), SKIP),
    "tiff_100000": ("bad.tif", lambda: tiff_of_size(100_000, 100_000), LARGE),
    "tiff_2_31": ("bad.tif", lambda: tiff_of_size(2**31, 2**31), SKIP),
    "tiff_directory_of_itself": ("bad.tif", lambda: tiff((256, 4, 1, 5), next_directory=8), SKIP),
    "tiff_count_2_32": ("bad.tif", lambda: tiff((256, 4, 2**32 - 1, 8), (257, 4, 2**32 - 1, 8)), SKIP),
    "tiff_empty": ("bad.tif", lambda: tiff(), SKIP),
    "webp_16383": (
        "bad.webp",
        lambda: (
            b"RIFF"
            + struct.pack("<I", 30)
            + b"WEBPVP8X"
            + struct.pack("<I", 10)
            + bytes(4)
            + b"\xfe\x3f\0" * 2
            + bytes(8)
        ),
        SKIP,
    ),
    "webp_length_2_32": (
        "bad.webp",
        lambda: b"RIFF\xff\xff\xff\xffWEBPVP8 \xff\xff\xff\xff" + bytes(50),
        SKIP,
    ),
    "ppm_100000": ("bad.ppm", lambda: b"P6 100000 100000 255\n", LARGE),
    "ppm_long_number": ("bad.ppm", lambda: b"P6 " + b"9" * 100_000 + b" 5 255\n", SKIP),
    "ppm_negative": ("bad.ppm", lambda: b"P6 -5 -5 255\n", SKIP),
    "ppm_maximum_0": ("bad.ppm", lambda: b"P6 5 5 0\n" + bytes(75), SKIP),
    "pgm_words": ("bad.pgm", lambda: b"P2 5 5 255\n" + b"x " * 25, EITHER),
    "pgm_comment": ("bad.pgm", lambda: b"P5 #" + b"x" * 10_000_000, SKIP),
    "hdr_100000": ("bad.jpg", lambda: b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 100000 +X 100000\n", SKIP),
    "pfm_100000": ("bad.jpg", lambda: b"PF\n100000 100000\n-1.0\n", SKIP),
    "sun_raster_65536": (
        "bad.jpg",
        lambda: struct.pack(">8I", 0x59A66A95, 65_536, 65_536, 24, 0, 1, 0, 0),
        SKIP,
    ),
    "jpeg2000_2_31": (
        "bad.jpg",
        lambda: (
            box(b"jP  ", b"\r\n\x87\n")
            + box(b"ftyp", b"jp2 " + bytes(4) + b"jp2 ")
            + box(b"jp2h", box(b"ihdr", struct.pack(">IIHBBBB", 2**31 - 1, 2**31 - 1, 3, 7, 7, 0, 0)))
        ),
        SKIP,
    ),
    "exr": ("bad.jpg", lambda: b"\x76\x2f\x31\x01\x02\0\0\0" + bytes(100), SKIP),
    "gif_65535": ("bad.jpg", lambda: b"GIF89a\xff\xff\xff\xff\0\0\0;", SKIP),
    "heic": ("bad.jpg", lambda: box(b"ftyp", b"heic" + bytes(4) + b"mif1heic") + bytes(50), SKIP),
    "avif": ("bad.jpg", lambda: box(b"ftyp", b"avif" + bytes(4) + b"mif1avif") + bytes(50), SKIP),
    "svg": ("bad.png", lambda: b'<svg xmlns="http://www.w3.org/2000/svg"/>', SKIP),
    "html": ("bad.jpg", lambda: b"<!DOCTYPE html><html>403 Forbidden</html>", SKIP),
    "zip": ("bad.jpg", lambda: b"PK\x03\x04" + bytes(100), SKIP),
    "video": ("bad.jpg", lambda: box(b"ftyp", b"isom" + bytes(4) + b"isom") + bytes(50), SKIP),
    "git_lfs_pointer": ("bad.jpg", lambda: b"version https://git-lfs.github.com/spec/v1\n", SKIP),
    "empty": ("bad.jpg", lambda: b"", SKIP),
    "zeros_10_mb": ("bad.jpg", lambda: bytes(10_000_000), SKIP),
    "noise": ("bad.jpg", lambda: np.random.default_rng(0).bytes(100_000), SKIP),
    "name_escape": ("\x1b[31mbad\n.jpg", lambda: b"x", SKIP),
    "name_not_utf8": (os.fsdecode(b"bad\xff\xfe.jpg"), lambda: b"x", SKIP),
    "name_option": ("--bad.jpg", lambda: b"x", SKIP),
    "name_bracket": ("bad[1]*?.jpg", lambda: b"x", SKIP),
}
# Harmless files, whatever they look like.
READ: dict[str, tuple[str, Callable[[], bytes]]] = {
    "png_1_bit": ("a.png", lambda: png_of_zeros(50, 50)),
    "png_16_bit": ("a.png", lambda: encoded(".png", np.full((20, 30, 3), 4095, np.uint16))),
    "png_gray_alpha": ("a.png", lambda: png(10, 10, compressed_zeros(210), color=4)),
    "one_pixel": ("a.png", lambda: encoded(".png", np.zeros((1, 1, 3), np.uint8))),
    "one_column": ("a.png", lambda: encoded(".png", np.zeros((50_000, 1, 3), np.uint8))),
    "one_row": ("a.png", lambda: encoded(".png", np.zeros((1, 50_000, 3), np.uint8))),
    "jpeg_and_video": ("a.jpg", lambda: jpeg() + box(b"ftyp", b"mp42") + bytes(1000)),
    "jpeg_as_png": ("a.png", jpeg),
    "jpeg_as_jfif": ("a.jfif", jpeg),
    "jpeg_uppercase": ("A.JPEG", jpeg),
    "jpeg_gray": ("a.jpg", lambda: encoded(".jpg", np.zeros((20, 30), np.uint8))),
    "jpeg_progressive": (
        "a.jpg",
        lambda: encoded(".jpg", np.zeros((40, 60, 3), np.uint8), cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    ),
    "gif": ("a.gif", lambda: GIF + GIF_IMAGE),
    "name_bracket": ("a[1].jpg", jpeg),
    "name_escape": ("\x1b[31ma\n.jpg", jpeg),
}
SPECIAL_FILES: dict[str, Callable[[Path], Any]] = {
    "fifo": os.mkfifo,
    "socket": lambda path: socket.socket(socket.AF_UNIX).bind(os.path.relpath(path)),
    "device": lambda path: path.symlink_to("/dev/zero"),
    "link_to_itself": lambda path: path.symlink_to(path.name),
    "dangling_link": lambda path: path.symlink_to("nothing.jpg"),
    "folder": lambda path: path.mkdir(),
}


def arguments(*paths: str) -> list[str]:
    """Arguments of `demo`."""
    return [*paths, "--output", "out", "--format", "jsonl,coco", *NETWORK, *SMALL_INPUT]


def one_result(folder: Path) -> None:
    """The healthy image has its results, and its drawing."""
    files = json.loads((folder / "out/frames.json").read_text())["images"]
    assert HEALTHY in [entry["file_name"] for entry in files if "error" not in entry], files
    assert (folder / "out" / HEALTHY).is_file()


def all_read(folder: Path) -> None:
    """Every image has its results."""
    files = json.loads((folder / "out/frames.json").read_text())["images"]
    assert len(files) == 2, files
    assert not [entry for entry in files if "error" in entry], files


def beside(name: str, content: Callable[[], bytes]) -> Write:
    """Return a function that writes a file beside a healthy image, in a folder that is read."""

    def write(folder: Path) -> Sequence[str]:
        (folder / "in").mkdir()
        (folder / "in" / name).write_bytes(content())
        (folder / "in" / HEALTHY).write_bytes((folder.parent / "base/images" / HEALTHY).read_bytes())
        return arguments("in")

    return write


def special(create: Callable[[Path], Any], with_healthy: bool) -> Write:
    """Return a function that creates a special file; alone, or named beside a healthy image."""

    def write(folder: Path) -> Sequence[str]:
        os.chdir(folder)
        create(folder / "bad.jpg")
        return arguments("bad.jpg", *([f"../base/images/{HEALTHY}"] if with_healthy else []))

    return write


# Calls of a network with arrays that are no images.
ARRAYS: dict[str, Callable[[], Any]] = {
    "none": lambda: None,
    "text": lambda: "a.jpg",
    "list": lambda: [[1, 2], [3, 4]],
    "no_pixels": lambda: np.zeros((0, 0, 3), np.uint8),
    "no_columns": lambda: np.zeros((5, 0, 3), np.uint8),
    "gray": lambda: np.zeros((50, 50), np.uint8),
    "four_channels": lambda: np.zeros((50, 50, 4), np.uint8),
    "float": lambda: np.zeros((50, 50, 3)),
    "objects": lambda: np.full((5, 5, 3), None),
    "repeated_1e5": lambda: np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (100_000, 100_000, 3)),
}
VIEWS: dict[str, Callable[[], np.ndarray]] = {
    "view_reversed": lambda: np.zeros((50, 60, 3), np.uint8)[::-1, ::-1, ::-1],
    "view_strided": lambda: np.zeros((100, 120, 6), np.uint8)[::2, ::2, ::2],
    "view_read_only": lambda: np.frombuffer(bytes(50 * 60 * 3), np.uint8).reshape(50, 60, 3),
    "view_fortran": lambda: np.asfortranarray(np.zeros((50, 60, 3), np.uint8)),
}


def _predicting(array: Callable[[], Any]) -> Callable[[Sequence[str] | None], int]:
    """Make a prediction from an array a command."""

    def command(_: Sequence[str] | None) -> int:
        predictor = simplepose.load("../base/network.safetensors", runtime="torch")
        assert predictor(array()).keypoints.shape[1:] == (17, 3)
        return 0

    return command


def _no_files(_: Path) -> list[str]:
    return []


def _image_cases() -> list[Case]:
    cases = []
    for name, (file_name, content, expected) in FILES.items():
        with_check = Expected(expected.statuses, expected.mentions, one_result)
        cases.append(Case(f"image/demo/{name}", beside(file_name, content), demo_image.main, with_check))
    for name, (file_name, content) in READ.items():
        cases.append(Case(f"image/read/{name}", beside(file_name, content), demo_image.main, value(all_read)))
    for name, create in SPECIAL_FILES.items():
        cases.append(Case(f"image/alone/{name}", special(create, False), demo_image.main, refusal("bad.jpg")))
        cases.append(Case(f"image/named/{name}", special(create, True), demo_image.main, reported("bad.jpg")))
    for name, array in ARRAYS.items():
        cases.append(Case(f"image/call/{name}", _no_files, _predicting(array), refusal("expected")))
    for name, array in VIEWS.items():
        cases.append(Case(f"image/call/{name}", _no_files, _predicting(array), value()))
    return cases


CASES = _image_cases()
