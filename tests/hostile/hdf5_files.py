"""Hostile files of training samples, in the project's layout and in the published one."""

from __future__ import annotations

import json
import os
import shutil
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
from base_inputs import created
from case import Case, Expected, or_value, refusal, reported
from image_files import BOMB_BYTES, compressed_zeros, png_of_zeros

from simplepose.cli import draw_targets, prepare_coco, train
from simplepose.data.hdf5.layout import checksum

FILE = "a.h5"
Change = Callable[[h5py.File], Any]
Write = Callable[[Path], Sequence[str]]

CHECK = ["--check", FILE, "--workers", "1"]
DRAW = [
    "--config",
    "../base/settings.yaml",
    "--samples",
    FILE,
    "--output",
    "t.png",
    "--plain",
    "--count",
    "20",
]
TRAIN = ["--config", "../base/settings.yaml", "--train", FILE, "--output", "run", "--device", "cpu"]


def changed(base: str, change: Change, arguments: Sequence[str] = CHECK) -> Write:
    """Return a function that writes a healthy file, changed."""

    def write(folder: Path) -> Sequence[str]:
        shutil.copy(folder.parent / f"base/{base}.h5", folder / FILE)
        with h5py.File(folder / FILE, "r+") as file:
            change(file)
        return arguments

    return write


def column(name: str, value: Any) -> Change:
    """Replace a column, with its checksum; a function is called with the old values."""

    def change(file: h5py.File) -> None:
        old = file[name][()]
        values = np.ascontiguousarray(value(old) if callable(value) else value)
        del file[name]
        file[name] = values
        file[name].attrs["crc32"] = zlib.crc32(values.data)

    return change


def element(name: str, index: int, value: int) -> Change:
    """Replace one value of a column, with its checksum."""

    def replace(values: np.ndarray) -> np.ndarray:
        values[index] = value
        return values

    return column(name, replace)


def dataset(name: str, **options: Any) -> Change:
    """Replace a dataset by one that is created with these options; its attributes are kept."""

    def change(file: h5py.File) -> None:
        attributes = dict(file[name].attrs)
        del file[name]
        file.create_dataset(name, **options).attrs.update(attributes)

    return change


def linked(name: str, link: Any) -> Change:
    """Replace a dataset by a link."""

    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = link

    return change


def virtual(name: str) -> Change:
    """Replace a dataset by a virtual one, whose values are those of another file."""

    def change(file: h5py.File) -> None:
        shape, dtype = file[name].shape, file[name].dtype
        layout = h5py.VirtualLayout(shape, dtype)
        layout[:] = h5py.VirtualSource("../base/compressed.h5", name, shape)
        del file[name]
        file.create_virtual_dataset(name, layout)

    return change


def external(name: str, path: str) -> Change:
    """Replace a dataset by one whose bytes are those of another file."""

    def change(file: h5py.File) -> None:
        shape, dtype = file[name].shape, file[name].dtype
        attributes = dict(file[name].attrs)
        del file[name]
        made = file.create_dataset(name, shape, dtype, external=[(path, 0, h5py.h5f.UNLIMITED)])
        made.attrs.update(attributes)

    return change


def attribute(name: str, value: Any) -> Change:
    """Replace an attribute of the file."""

    def change(file: h5py.File) -> None:
        del file.attrs[name]
        if value is not None:
            file.attrs[name] = value

    return change


def people(name: str, change_values: Callable[[np.ndarray], Any]) -> Change:
    """Change the values of all people, with the checksums of their images."""

    def change(file: h5py.File) -> None:
        values = file[name][()]
        change_values(values)
        file[name][...] = values
        _update_checksums(file)

    return change


def image_bytes(image: Callable[[], bytes], masks: Callable[[], bytes] | None = None) -> Change:
    """Replace the bytes of the last image and its masks (None: keep them), with lengths and checksums."""

    def change(file: h5py.File) -> None:
        ends, lengths = file["pictures/data_end"][()], file["pictures/image_bytes"][()]
        data = file["pictures/data"][()]
        start = int(ends[-2])
        old_masks = data[start + lengths[-1] :].tobytes()
        encoded = image() or data[start : start + lengths[-1]].tobytes()
        packed = old_masks if masks is None else masks()
        data = np.concatenate([data[:start], np.frombuffer(encoded + packed, np.uint8)])
        del file["pictures/data"]
        file["pictures/data"] = data
        lengths[-1], ends[-1] = len(encoded), len(data)
        column("pictures/data_end", ends)(file)
        column("pictures/image_bytes", lengths)(file)
        _update_checksums(file)

    return change


def _update_checksums(file: h5py.File) -> None:
    ends, people_ends = (np.append(0, file[f"pictures/{name}"][()]) for name in ("data_end", "people_end"))
    data, points, boxes = (
        file[name][()] for name in ("pictures/data", "people/keypoints", "people/box_xywh")
    )
    sums = [
        checksum(
            data[ends[n] : ends[n + 1]],
            points[slice(*people_ends[n : n + 2])],
            boxes[slice(*people_ends[n : n + 2])],
        )
        for n in range(len(ends) - 1)
    ]
    column("pictures/checksum", np.array(sums, np.uint64))(file)


def image_of(extension: str, *shape: int) -> Callable[[], bytes]:
    """Return a function that encodes a black image."""
    return lambda: cv2.imencode(extension, np.zeros(shape, np.uint8))[1].tobytes()


def zlib_bomb() -> bytes:
    """Gigabytes of zeros, compressed."""
    return compressed_zeros(BOMB_BYTES)


def masks_of(lengths: Sequence[int], kinds: bytes) -> Callable[[], bytes]:
    """Return a function that packs run lengths and kinds of masks."""
    return lambda: zlib.compress(struct.pack(f"<{len(lengths)}I", *lengths) + kinds)


def old_image() -> bytes:
    """No bytes: the image of the file is kept."""
    return b""


HUGE = {"shape": (10**12,), "dtype": np.int64, "chunks": (1 << 20,)}
RECORD = reported(FILE, "image")
REFUSAL = refusal(FILE)

# Faults of the project's layout: (change, expected outcome of the check).
NATIVE: dict[str, tuple[Change, Expected]] = {
    "data_external_link": (
        linked("pictures/data", h5py.ExternalLink("../base/compressed.h5", "pictures/data")),
        REFUSAL,
    ),
    "data_external_fifo": (linked("pictures/data", h5py.ExternalLink("fifo", "x")), REFUSAL),
    "data_external_device": (linked("pictures/data", h5py.ExternalLink("/dev/zero", "x")), REFUSAL),
    "data_external_storage": (external("pictures/data", "../base/compressed.h5"), REFUSAL),
    "data_external_storage_device": (external("pictures/data", "/dev/zero"), REFUSAL),
    "data_virtual": (virtual("pictures/data"), REFUSAL),
    "column_virtual": (virtual("pictures/image_id"), REFUSAL),
    "column_external_storage": (external("pictures/image_id", "/dev/zero"), REFUSAL),
    "data_link_to_itself": (linked("pictures/data", h5py.SoftLink("/pictures/data")), REFUSAL),
    "data_dangling_link": (linked("pictures/data", h5py.SoftLink("/nothing")), REFUSAL),
    "data_group": (lambda f: (f.__delitem__("pictures/data"), f.create_group("pictures/data")), REFUSAL),
    "data_absent": (lambda f: f.__delitem__("pictures/data"), REFUSAL),
    "data_scalar": (dataset("pictures/data", data=5), REFUSAL),
    "data_float": (dataset("pictures/data", data=np.zeros(100)), REFUSAL),
    "data_2d": (dataset("pictures/data", data=np.zeros((100, 100), np.uint8)), REFUSAL),
    "data_1e12": (
        dataset("pictures/data", shape=(10**12,), dtype=np.uint8, chunks=(1 << 20,)),
        reported(FILE),
    ),
    "data_text": (dataset("pictures/data", data="text"), REFUSAL),
    "column_1e12": (dataset("pictures/image_id", **HUGE), REFUSAL),
    "column_1e12_samples": (dataset("samples/picture", **HUGE), REFUSAL),
    "column_bomb": (
        dataset(
            "samples/picture",
            shape=(3 << 27,),
            dtype=np.int64,
            chunks=(1 << 20,),
            compression="gzip",
            fillvalue=1,
        ),
        REFUSAL,
    ),
    "column_scalar": (column("pictures/image_id", np.int64(5)), REFUSAL),
    "column_2d": (column("pictures/image_id", np.ones((3, 3), np.int64)), REFUSAL),
    "column_float": (column("pictures/image_id", np.ones(3)), REFUSAL),
    "column_short": (column("pictures/checksum", lambda v: v[:1]), REFUSAL),
    "column_empty": (column("pictures/size_hw", lambda v: v[:0]), REFUSAL),
    "column_compound": (dataset("pictures/image_id", data=np.zeros(3, [("a", "i8")])), REFUSAL),
    "column_of_texts": (dataset("pictures/image_id", data=["a", "b", "c"]), REFUSAL),
    "column_of_references": (
        lambda f: dataset("pictures/image_id", data=[f.ref] * 3, dtype=h5py.ref_dtype)(f),
        REFUSAL,
    ),
    "column_null": (dataset("pictures/image_id", data=h5py.Empty("i8")), REFUSAL),
    "crc32_text": (lambda f: f["pictures/image_id"].attrs.update(crc32="x"), REFUSAL),
    "crc32_array": (lambda f: f["pictures/image_id"].attrs.update(crc32=[1, 2]), REFUSAL),
    "image_id_twice": (column("pictures/image_id", lambda v: v * 0 + 1), or_value(reported(FILE))),
    "data_end_beyond": (element("pictures/data_end", -1, 2**40), reported(FILE)),
    "data_end_decreasing": (column("pictures/data_end", lambda v: v[::-1]), reported(FILE)),
    "data_end_negative": (element("pictures/data_end", 0, -5), reported(FILE)),
    "people_end_beyond": (element("pictures/people_end", -1, 2**40), reported(FILE)),
    "people_end_decreasing": (element("pictures/people_end", 0, 1000), reported(FILE)),
    "people_end_negative": (element("pictures/people_end", 0, -1), reported(FILE)),
    "image_bytes_beyond": (element("pictures/image_bytes", -1, 2**40), reported(FILE)),
    "image_bytes_negative": (element("pictures/image_bytes", -1, -7), reported(FILE)),
    "size_negative": (column("pictures/size_hw", lambda v: -v), reported(FILE)),
    "size_0": (column("pictures/size_hw", lambda v: v * 0), reported(FILE)),
    "size_2_31": (column("pictures/size_hw", lambda v: v * 0 + (2**31 - 1)), reported(FILE)),
    "sample_image_beyond": (element("samples/picture", -1, 99), reported(FILE)),
    "sample_image_negative": (element("samples/picture", 0, -1), reported(FILE)),
    "sample_image_2_62": (element("samples/picture", 0, 2**62), reported(FILE)),
    "main_person_beyond": (element("samples/main_person", 0, 99), reported(FILE)),
    "main_person_negative": (element("samples/main_person", 0, -2), reported(FILE)),
    "main_person_none": (element("samples/main_person", 0, -1), or_value(reported(FILE))),
    "keypoints_nan": (people("people/keypoints", lambda v: v.fill(np.nan)), RECORD),
    "keypoints_x_nan": (people("people/keypoints", lambda v: v[..., 0].fill(np.nan)), RECORD),
    "keypoints_infinite": (people("people/keypoints", lambda v: v[..., 1].fill(np.inf)), RECORD),
    "keypoints_1e38": (people("people/keypoints", lambda v: v[..., 0].fill(3e38)), RECORD),
    "keypoints_v_7": (people("people/keypoints", lambda v: v[..., 2].fill(7)), RECORD),
    "keypoints_v_nan": (people("people/keypoints", lambda v: v[..., 2].fill(np.nan)), RECORD),
    "boxes_nan": (people("people/box_xywh", lambda v: v.fill(np.nan)), RECORD),
    "boxes_infinite": (people("people/box_xywh", lambda v: v[:, 2:].fill(np.inf)), RECORD),
    "boxes_0": (people("people/box_xywh", lambda v: v[:, 2:].fill(0)), RECORD),
    "boxes_1e_300": (people("people/box_xywh", lambda v: v[:, 2:].fill(1e-300)), RECORD),
    "boxes_negative": (people("people/box_xywh", lambda v: v[:, 2:].fill(-50)), RECORD),
    "keypoints_float64": (dataset("people/keypoints", data=np.ones((9, 17, 3))), REFUSAL),
    "keypoints_16_joints": (dataset("people/keypoints", data=np.ones((9, 16, 3), np.float32)), REFUSAL),
    "keypoints_1e9": (
        dataset("people/keypoints", shape=(10**9, 17, 3), dtype=np.float32, chunks=(1024, 17, 3)),
        reported(FILE),
    ),
    "joints_number": (attribute("joints", 5), REFUSAL),
    "joints_absent": (attribute("joints", None), REFUSAL),
    "joints_not_utf8": (attribute("joints", np.array([b"\xff\xfe"] * 17)), REFUSAL),
    "joints_escape": (attribute("joints", np.array([b"\x1b[31mred"] * 17)), or_value(reported(FILE))),
    "store_number": (attribute("store", 5), REFUSAL),
    "store_word": (attribute("store", np.bytes_("hidden")), REFUSAL),
    "version_text": (attribute("version", "\x1b[31m2"), REFUSAL),
    "version_array": (attribute("version", [2, 2]), REFUSAL),
    "issues_not_utf8": (column("remarks/kind", np.array([b"\xff\xfe"])), REFUSAL),
    "issues_number": (column("remarks/kind", np.array([5])), REFUSAL),
    "image_20000": (image_bytes(lambda: png_of_zeros(20_000, 20_000)), RECORD),
    "image_40000": (image_bytes(lambda: png_of_zeros(40_000, 40_000)), RECORD),
    "image_of_another_size": (image_bytes(image_of(".png", 5, 5, 3)), RECORD),
    "image_text": (image_bytes(lambda: b"this is text"), RECORD),
    "image_truncated": (image_bytes(lambda: image_of(".jpg", 240, 320, 3)()[:300]), RECORD),
    "image_gif": (image_bytes(lambda: b"GIF89a" + bytes(100)), RECORD),
    "masks_bomb": (image_bytes(old_image, zlib_bomb), RECORD),
    "masks_empty": (image_bytes(old_image, lambda: b""), RECORD),
    "masks_not_zlib": (image_bytes(old_image, lambda: b"text"), RECORD),
    "masks_no_runs": (image_bytes(old_image, masks_of([], b"")), RECORD),
    "masks_run_2_32": (image_bytes(old_image, masks_of([2**32 - 1] * 4, bytes(4))), RECORD),
    "masks_kind_255": (image_bytes(old_image, masks_of([240 * 320], b"\xff")), RECORD),
}


def published_sample(**entries: Any) -> Change:
    """Change entries of the first sample of a file in the published layout."""

    def change(file: h5py.File) -> None:
        sample = json.loads(file["dataset/0000000"][()])
        published_text(json.dumps({**sample, **entries}).encode())(file)

    return change


def published_text(text: Any) -> Change:
    """Replace the text of the first sample."""

    def change(file: h5py.File) -> None:
        del file["dataset/0000000"]
        file["dataset/0000000"] = text

    return change


KEY = f"{42:012d}"
PUBLISHED: dict[str, tuple[Change, Expected]] = {
    "text_empty": (published_text(b" "), reported(FILE)),
    "text_nested": (published_text(b"[" * 50_000), reported(FILE)),
    "text_not_utf8": (published_text(np.bytes_(b"\xff\xfe")), reported(FILE)),
    "text_list": (published_text(b"[1]"), reported(FILE)),
    "text_number": (published_text(5), reported(FILE)),
    "text_array": (published_text(np.arange(5)), reported(FILE)),
    "sample_group": (
        lambda f: (f.__delitem__("dataset/0000000"), f.create_group("dataset/0000000")),
        reported(FILE),
    ),
    "image_key_path": (published_sample(image="../dataset/0000001"), reported(FILE)),
    "image_key_number": (published_sample(image=42), reported(FILE)),
    "image_key_word": (published_sample(image="forty"), reported(FILE)),
    "image_key_missing": (published_sample(image=f"{43:012d}"), reported(FILE)),
    "image_key_2_70": (published_sample(image=str(2**70)), reported(FILE)),
    "joints_absent": (published_sample(joints=None), RECORD),
    "joints_empty": (published_sample(joints=[]), RECORD),
    "joints_ragged": (published_sample(joints=[[[1, 2, 1]] * 17, [[1, 2, 1]]]), RECORD),
    "joints_nan": (published_sample(joints=[[[float("nan"), 2, 1]] * 17] * 3), RECORD),
    "joints_infinite": (published_sample(joints=[[[float("inf"), 2, 1]] * 17] * 3), RECORD),
    "joints_16": (published_sample(joints=[[[1, 2, 1]] * 16] * 3), RECORD),
    "joints_words": (published_sample(joints="many"), RECORD),
    "objpos_empty": (published_sample(objpos=[]), RECORD),
    "objpos_nan": (published_sample(objpos=[[float("nan"), 1]] * 3), RECORD),
    "objpos_words": (published_sample(objpos="here"), RECORD),
    "scale_0": (published_sample(scale_provided=[0, 0, 0]), RECORD),
    "scale_negative": (published_sample(scale_provided=[-1, -1, -1]), RECORD),
    "scale_infinite": (published_sample(scale_provided=[float("inf")] * 3), RECORD),
    "scale_1e_300": (published_sample(scale_provided=[1e-300] * 3), RECORD),
    "scale_empty": (published_sample(scale_provided=[]), RECORD),
    "images_30000": (
        dataset(f"images/{KEY}", shape=(30_000, 30_000, 3), dtype=np.uint8, chunks=(1000, 1000, 3)),
        reported(FILE),
    ),
    "images_1e6": (
        dataset(f"images/{KEY}", shape=(10**6, 10**6, 3), dtype=np.uint8, chunks=(1000, 1000, 3)),
        reported(FILE),
    ),
    "images_gray": (dataset(f"images/{KEY}", data=np.zeros((48, 64), np.uint8)), reported(FILE)),
    "images_empty": (dataset(f"images/{KEY}", data=np.zeros((0, 0, 3), np.uint8)), reported(FILE)),
    "images_float": (dataset(f"images/{KEY}", data=np.zeros((48, 64, 3))), reported(FILE)),
    "images_scalar": (dataset(f"images/{KEY}", data=5), reported(FILE)),
    "images_text": (dataset(f"images/{KEY}", data="text"), reported(FILE)),
    "images_external_link": (linked(f"images/{KEY}", h5py.ExternalLink("fifo", "x")), reported(FILE)),
    "images_external_storage": (external(f"images/{KEY}", "/dev/zero"), reported(FILE)),
    "images_dangling": (linked(f"images/{KEY}", h5py.SoftLink("/nothing")), reported(FILE)),
    "masks_of_another_size": (dataset(f"masks/{KEY}", data=np.zeros((4, 6, 2), np.uint8)), reported(FILE)),
    "masks_1_channel": (dataset(f"masks/{KEY}", data=np.zeros((48, 64, 1), np.uint8)), reported(FILE)),
    "masks_2d": (dataset(f"masks/{KEY}", data=np.zeros((48, 64), np.uint8)), reported(FILE)),
    "masks_float": (dataset(f"masks/{KEY}", data=np.full((48, 64, 2), 0.5)), reported(FILE)),
    "masks_1e6": (
        dataset(f"masks/{KEY}", shape=(10**6, 10**6, 2), dtype=np.uint8, chunks=(1000, 1000, 2)),
        reported(FILE),
    ),
    "groups_external": (linked("images", h5py.ExternalLink("fifo", "/")), REFUSAL),
    "groups_dataset": (
        lambda f: (f.__delitem__("images"), f.create_dataset("images", data=[1])),
        reported(FILE),
    ),
    "no_samples": (lambda f: (f.__delitem__("dataset"), f.create_group("dataset")), REFUSAL),
}

# Changes that are also read by training: a hostile sample is replaced by another one, and named.
IN_TRAINING = (
    *("keypoints_nan", "image_20000", "masks_bomb", "image_of_another_size", "boxes_0", "boxes_1e_300"),
    *("main_person_beyond", "size_2_31", "keypoints_1e38"),
)
PUBLISHED_IN_TRAINING = ("joints_nan", "scale_0", "objpos_empty", "images_30000", "masks_of_another_size")

# Contents that are not a file of samples.
CONTENTS: dict[str, Callable[[Path], Any]] = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("this is text"),
    "signature_only": lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n"),
    "signature_and_noise": lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(range(256)) * 50),
    "no_datasets": lambda path: h5py.File(path, "w").close(),
    "truncated": lambda path: path.write_bytes(
        (path.parent.parent / "base/compressed.h5").read_bytes()[:-3000]
    ),
    "flipped": lambda path: path.write_bytes(
        bytes(
            b ^ (n % 997 == 0) for n, b in enumerate((path.parent.parent / "base/compressed.h5").read_bytes())
        )
    ),
    "fifo": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "folder": lambda path: path.mkdir(),
    "link_to_itself": lambda path: path.symlink_to(path.name),
}


def with_fifo(write: Write) -> Write:
    """Create a FIFO beside the file, for links to it."""

    def write_both(folder: Path) -> Sequence[str]:
        os.mkfifo(folder / "fifo")
        return write(folder)

    return write_both


def _hdf5_cases() -> list[Case]:
    cases = []
    for layout, faults, in_training in (
        ("compressed", NATIVE, IN_TRAINING),
        ("published", PUBLISHED, PUBLISHED_IN_TRAINING),
    ):
        for name, (change, expected) in faults.items():
            write = with_fifo(changed(layout, change))
            cases.append(Case(f"hdf5/{layout}/{name}", write, prepare_coco.main, expected))
        for name in in_training:
            write = changed(layout, faults[name][0], TRAIN)
            cases.append(Case(f"hdf5/train_{layout}/{name}", write, train.main, or_value(reported(FILE))))
        for name in in_training[:3]:
            write = changed(layout, faults[name][0], DRAW)
            cases.append(
                Case(f"hdf5/draw_{layout}/{name}", write, draw_targets.main, or_value(reported(FILE)))
            )
    for name, create in CONTENTS.items():
        cases.append(
            Case(f"hdf5/check/{name}", created(create, FILE, CHECK), prepare_coco.main, refusal(FILE))
        )
        if name in ("fifo", "device", "empty"):
            cases.append(Case(f"hdf5/train/{name}", created(create, FILE, TRAIN), train.main, refusal(FILE)))
    raw = changed("raw", column("pictures/size_hw", lambda v: v * 100))
    cases.append(Case("hdf5/raw/size_larger", raw, prepare_coco.main, reported(FILE)))
    return cases


CASES = _hdf5_cases()
