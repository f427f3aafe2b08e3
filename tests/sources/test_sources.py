"""Images from files, folders and patterns, in any format, complete and truncated."""

import cv2
import numpy as np
import pytest

from simplepose.image_io import ImageError, decode
from simplepose.sources import UnreadableImageError, list_images, read_image

EXIF_ROTATED = (  # an APP1 segment with orientation 6: rotate right by 90 degrees for viewing
    b"\xff\xe1\x00\x22Exif\x00\x00II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00"
    b"\x00\x00\x00\x00"
)


def write(path, shape=(4, 6, 3), dtype=np.uint8, value=200):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full(shape, value, dtype))
    return path


def names(*paths):
    return [source.name for source in list_images(paths)]


def test_files_folders_and_patterns_in_order_without_duplicates(tmp_path):
    for name in ("b.jpg", "a.PNG", "c.jpeg", "deep/er/d.bmp"):
        write(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not an image")
    assert names(tmp_path) == ["a.PNG", "b.jpg", "c.jpeg"]
    assert names(tmp_path / "c.jpeg", tmp_path, str(tmp_path) + "/./b.jpg") == ["c.jpeg", "a.PNG", "b.jpg"]
    assert names(tmp_path / "*.jp*g") == ["b.jpg", "c.jpeg"]
    assert names(f"{tmp_path}/**/*") == ["a.PNG", "b.jpg", "c.jpeg", "d.bmp"]
    assert [source.image_id for source in list_images([tmp_path])] == [1, 2, 3]


def test_an_existing_file_has_priority_over_a_pattern(tmp_path):
    write(tmp_path / "a[1].png")
    write(tmp_path / "a1.png")
    assert names(tmp_path / "a[1].png") == ["a[1].png"]


def test_images_with_the_same_name_are_named_by_their_path(tmp_path):
    paths = [write(tmp_path / folder / "a.png") for folder in "xy"]
    assert names(tmp_path / "x", tmp_path / "y") == [path.as_posix() for path in paths]


def test_missing_images_stay_in_the_list_and_raise_when_read(tmp_path):
    (tmp_path / "empty").mkdir()
    for path, message in (
        (tmp_path / "missing.jpg", "No such file"),
        (tmp_path / "*.jpg", "No such file"),
        (tmp_path / "empty", "no image in this folder"),
    ):
        (source,) = list_images([path])
        with pytest.raises(UnreadableImageError, match=message):
            read_image(source.path)


@pytest.mark.parametrize(
    ("name", "shape", "dtype", "value"),
    [
        ("color.jpg", (5, 7, 3), np.uint8, 200),
        ("gray.png", (5, 7), np.uint8, 200),
        ("gray.pgm", (5, 7), np.uint8, 200),
        ("transparent.png", (5, 7, 4), np.uint8, 200),
        ("deep.png", (5, 7, 3), np.uint16, 200 * 257),
        ("deep_gray.tif", (5, 7), np.uint16, 200 * 257),
        ("one.bmp", (1, 1, 3), np.uint8, 200),
        ("wide.png", (200, 12000), np.uint8, 200),
    ],
)
def test_every_format_is_read_as_bgr_bytes(tmp_path, name, shape, dtype, value):
    image = read_image(write(tmp_path / name, shape, dtype, value))
    assert image.shape == (*shape[:2], 3)
    assert image.dtype == np.uint8
    assert np.abs(image.astype(int) - 200).max() <= 2


def test_exif_orientation_applies_to_users_images_but_not_to_datasets(tmp_path):
    stored = np.zeros((40, 80, 3), np.uint8)
    stored[:20, :20] = 255  # top left as stored, top right when viewed
    encoded = cv2.imencode(".jpg", stored)[1].tobytes()
    path = tmp_path / "rotated.jpg"
    path.write_bytes(encoded[:2] + EXIF_ROTATED + encoded[2:])
    upright, stored_orientation = read_image(path), read_image(path, upright=False)
    assert upright.shape == (80, 40, 3)
    assert upright[:15, 25:].min() > 200
    assert stored_orientation.shape == (40, 80, 3)
    assert stored_orientation[:15, :15].min() > 200


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp"])
@pytest.mark.parametrize("kept", [0, 1, 10, 0.5, -1])
def test_truncated_files_are_unreadable(tmp_path, rng, suffix, kept):
    path = tmp_path / f"cut{suffix}"
    cv2.imwrite(str(path), rng.integers(0, 256, (40, 60, 3), dtype=np.uint8))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept) if isinstance(kept, float) else kept])
    cause = {0: "empty", 1: "bytes are not an image", 10: "bytes are not an image|truncated"}
    with pytest.raises(UnreadableImageError, match=rf"cut\{suffix}: .*({cause.get(kept, 'truncated')})"):
        read_image(path)


def jpeg(rng, *options):
    image = cv2.GaussianBlur(rng.integers(0, 256, (60, 90, 3), dtype=np.uint8), None, 2)
    return cv2.imencode(".jpg", image, list(options))[1].tobytes()


def with_thumbnail(whole, thumbnail):
    return (
        whole[:2]
        + b"\xff\xe1"
        + (len(thumbnail) + 8).to_bytes(2, "big")
        + b"Exif\0\0"
        + thumbnail
        + whole[2:]
    )


@pytest.mark.parametrize(
    "options",
    [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_JPEG_RST_INTERVAL, 1)],
    ids=["plain", "progressive", "restarts"],
)
@pytest.mark.parametrize(
    "trailer", [b"", b"a video \xff\xda of frames", b"\xff\xd8 another\xff\xda", b"\0" * 99]
)
def test_jpegs_with_appended_data_are_complete_and_shorter_ones_are_truncated(rng, options, trailer):
    whole = with_thumbnail(jpeg(rng, *options), jpeg(rng))
    assert decode(whole + trailer, upright=True).shape == (60, 90, 3)
    scan = whole.rfind(b"\xff\xda")
    for kept in (3, 40, scan - 5, scan + 1, scan + 9, scan + 30, (scan + len(whole)) // 2, len(whole) - 1):
        with pytest.raises(ImageError, match="truncated JPEG image"):
            decode(whole[:kept], upright=True)


def test_scan_data_with_every_byte_value_is_parsed_to_its_end(rng):
    whole = cv2.imencode(".jpg", rng.integers(0, 256, (200, 300, 3), np.uint8), [1, 100])[1].tobytes()
    assert whole.count(b"\xff\x00") > 100
    assert decode(whole + b"\xff\xda", upright=True) is not None
    with pytest.raises(ImageError, match="truncated JPEG image"):
        decode(whole[:-2], upright=True)


def test_a_text_file_named_jpg_is_unreadable(tmp_path):
    (tmp_path / "a.jpg").write_text("not an image at all")
    with pytest.raises(UnreadableImageError, match=r"a\.jpg: 19 bytes"):
        read_image(tmp_path / "a.jpg")
