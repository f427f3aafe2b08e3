"""Image files: formats by content, sizes by header, depth by range, and the cause of each error."""

import contextlib
import os
import struct
import zlib

import cv2
import numpy as np
import pytest

from simplepose.image_formats import identify, is_image_format
from simplepose.image_io import MAX_PIXELS, TOO_LARGE, UNSUPPORTED, ImageError, decode, read_bytes

SIZE_HW = (48, 64)


@pytest.fixture
def image(rng):
    return cv2.GaussianBlur(rng.integers(0, 256, (*SIZE_HW, 3), dtype=np.uint8), None, 2)


def encode(extension, image):
    if not cv2.haveImageWriter(f"a{extension}"):
        pytest.skip(f"this OpenCV does not write {extension}")
    return cv2.imencode(extension, image)[1].tobytes()


def png_chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width, height):
    """A complete PNG with a size in its header and hardly any data."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(b"")) + png_chunk(b"IEND", b"")


def patched(encoded, old, new):
    assert encoded.count(old) == 1
    return encoded.replace(old, new)


COLOR_FORMATS = (".jpg", ".png", ".bmp", ".webp", ".tif", ".ppm", ".pam", ".ras", ".jp2", ".avif", ".gif")


@pytest.mark.parametrize("extension", COLOR_FORMATS)
def test_formats_are_recognized_by_content_and_truncated_files_are_named_so(image, extension):
    encoded = encode(extension, image)
    assert is_image_format(identify(encoded[:512]))
    assert np.abs(decode(encoded, upright=True).astype(int) - image).mean() < 40
    for kept in (len(encoded) // 2, len(encoded) * 3 // 4):
        expected = "damaged|truncated" if extension == ".pam" else "truncated"
        with pytest.raises(ImageError, match=expected):
            decode(encoded[:kept], upright=True)


@pytest.mark.parametrize("extension", [*COLOR_FORMATS, ".pgm", ".hdr", ".pfm"])
def test_the_pixel_limit_applies_to_the_header_of_each_format(image, extension):
    pixels = image.shape[0] * image.shape[1]
    source = image[..., 0] if extension == ".pgm" else image
    source = (image / 255).astype(np.float32) if extension in (".hdr", ".pfm") else source
    encoded = encode(extension, source)
    assert decode(encoded, upright=True, max_pixels=pixels).shape == image.shape
    with pytest.raises(ImageError, match=rf"64 x 48 pixels: expected at most {pixels - 1:,} pixels") as error:
        decode(encoded, upright=True, max_pixels=pixels - 1)
    assert error.value.kind == TOO_LARGE


@pytest.mark.parametrize("size", [(2**15, 2**15), (2**31 - 1, 2**31 - 1), (MAX_PIXELS + 1, 1), (10**7, 2)])
def test_a_small_file_that_claims_gigabytes_is_refused_before_it_is_decoded(size):
    for validated in (False, True):
        with pytest.raises(ImageError, match=r"PNG image of .* expected at most") as error:
            decode(png(*size), upright=True, validated=validated)
        assert error.value.kind == TOO_LARGE


def test_large_sizes_in_other_headers_are_refused(image):
    height, width = SIZE_HW
    huge = 30_000
    jpeg = patched(
        encode(".jpg", image),
        struct.pack(">BHH", 8, height, width),
        struct.pack(">BHH", 8, huge, huge),
    )
    bmp = patched(
        encode(".bmp", image), struct.pack("<Iii", 40, width, height), struct.pack("<Iii", 40, huge, -huge)
    )
    avif = patched(
        encode(".avif", image),
        b"ispe" + struct.pack(">III", 0, width, height),
        b"ispe" + struct.pack(">III", 0, huge, huge),
    )
    for encoded in (jpeg, bmp, avif):
        with pytest.raises(ImageError, match="30,000 x 30,000 pixels"):
            decode(encoded, upright=True)


@pytest.mark.parametrize("extension", [".png", ".tif", ".pgm"])
@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_16_bit_files_are_scaled_by_the_range_of_their_values(extension, bits):
    values = np.linspace(0, 2**bits - 1, 64 * 48).reshape(SIZE_HW).astype(np.uint16)
    decoded = decode(encode(extension, values), upright=True)
    assert decoded.shape == (*SIZE_HW, 3)
    assert np.array_equal(decoded[..., 1], values >> (bits - 8))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("scale", [1 / 255, 1.0, 257.0])
def test_float_images_are_scaled_by_their_range(image, channels, scale):
    image = cv2.normalize(image, None, 0, 255, cv2.NORM_MINMAX)
    source = (image if channels == 3 else image[..., 0]).astype(np.float32) * np.float32(scale)
    decoded = decode(encode(".tif", source), upright=True)
    expected = image if channels == 3 else image[..., :1]
    assert np.abs(decoded.astype(int) - expected).max() <= 20


def test_values_that_are_not_finite_are_black():
    source = np.full((*SIZE_HW, 3), 0.5, np.float32)
    source[0, 0], source[0, 1] = np.nan, -np.inf
    decoded = decode(encode(".tif", source), upright=True)
    assert decoded[0, :2].max() == 0
    assert np.all(decoded[1:] == 128)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"empty \(0 bytes\)"),
        (b"some words\n", "are not an image, but text"),
        (b"PK\x03\x04" + bytes(40), "a ZIP archive"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp42", "an MP4 or MOV video"),
        (b"\0\0\0\x18ftypqt  \0\0\0\0qt      ", "an MP4 or MOV video"),
        (b"\x1a\x45\xdf\xa3" + bytes(40), "a Matroska or WebM video"),
        (bytes(50), "data in an unknown format"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "the format is HEIC, which OpenCV does not decode"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "the format is JPEG XL"),
        (b"P6\nx", "damaged Netpbm image .*no size"),
        (png(0, 5), "at least 1 x 1"),
    ],
)
def test_errors_state_the_cause(content, message):
    with pytest.raises(ImageError, match=message):
        decode(content, upright=True)


def test_a_wrong_checksum_and_an_unsupported_encoding_are_named(image):
    encoded = bytearray(encode(".png", image))
    encoded[60] ^= 1
    with pytest.raises(ImageError, match=r"damaged PNG image of .*checksum"):
        decode(bytes(encoded), upright=True)
    jpeg = patched(encode(".jpg", image), b"\xff\xc0\x00\x11\x08", b"\xff\xc3\x00\x11\x08")
    with pytest.raises(ImageError, match="lossless JPEG") as error:
        decode(jpeg, upright=True)
    assert error.value.kind == UNSUPPORTED


def test_random_bytes_after_each_magic_never_raise_another_error(rng, image):
    for extension in COLOR_FORMATS:
        start = encode(extension, image)
        for _ in range(100):
            content = bytearray(start[: rng.integers(4, len(start))])
            for position in rng.integers(0, min(len(content), 300), 4):
                content[position] = rng.integers(256)
            with contextlib.suppress(ImageError):
                decode(bytes(content), upright=True, max_pixels=1_000_000)


def test_special_files_are_refused_without_opening_them(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")  # opening it would wait for a writer
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    for name, kind in (("pipe.jpg", "a named pipe"), ("zero.jpg", "a character device"), ("", "a folder")):
        with pytest.raises(ValueError, match=f"expected a regular file, got {kind}"):
            read_bytes(tmp_path / name)
    with (tmp_path / "large.jpg").open("wb") as file:
        file.truncate(2**41)  # a file with a hole: no disk space
    with pytest.raises(ValueError, match=r"large\.jpg: expected an image file of at most"):
        read_bytes(tmp_path / "large.jpg")
