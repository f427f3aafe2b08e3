"""Hostile checkpoints: safetensors, pickles, training checkpoints and TensorFlow.js models."""

from __future__ import annotations

import io
import itertools
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from base_inputs import SMALL_INPUT
from case import Case, or_value, refusal, value
from image_files import BOMB_BYTES, deflated_zeros
from safetensors import safe_open
from safetensors.torch import save_file

from simplepose.cli import convert_checkpoint, demo_image, train
from simplepose.models import importers
from simplepose.skeleton import COCO

Write = Callable[[Path], Sequence[str]]

BILLION_LAUGHS = (
    "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10))
    + "loss: {scale_weights: *a9}\n"
)


def read_network(folder: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    """Return the header and the tensors of the healthy network; `folder` is that of a case."""
    with safe_open(folder.parent / "base/network.safetensors", framework="pt") as file:
        return file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def convert(name: str, *more: str) -> list[str]:
    """Arguments that convert a checkpoint."""
    return [name, "out.safetensors", *more]


def demo(name: str) -> list[str]:
    """Arguments that run a checkpoint on an image."""
    image = "../base/images/000000000001.jpg"
    return [image, "--model", name, "--runtime", "torch", "--output", "out", "--no-draw"]


def with_settings(arguments: Sequence[str], **sections: dict[str, Any]) -> Write:
    """Return a function that writes the healthy network with changed settings in its header."""

    def write(folder: Path) -> Sequence[str]:
        header, tensors = read_network(folder)
        settings = yaml.safe_load(header["settings"])
        for section, entries in sections.items():
            settings[section].update(entries)
        save_file(tensors, folder / "a.safetensors", {**header, "settings": yaml.safe_dump(settings)})
        return arguments

    return write


def with_header(**entries: str) -> Write:
    """Return a function that writes the healthy network with these texts in its header."""

    def write(folder: Path) -> Sequence[str]:
        header, tensors = read_network(folder)
        save_file(tensors, folder / "a.safetensors", {**header, **entries})
        return convert("a.safetensors")

    return write


def with_tensors(change: Callable[[dict[str, torch.Tensor]], Any]) -> Write:
    """Return a function that writes the healthy network with changed tensors."""

    def write(folder: Path) -> Sequence[str]:
        header, tensors = read_network(folder)
        change(tensors)
        save_file(tensors, folder / "a.safetensors", header)
        return convert("a.safetensors")

    return write


def with_skeleton(change: Callable[[dict[str, Any]], Any]) -> Write:
    """Return a function that writes the healthy network with a changed skeleton."""
    skeleton = yaml.safe_load(COCO.to_yaml())
    change(skeleton)
    return with_header(skeleton=yaml.safe_dump(skeleton))


def raw_safetensors(header: bytes, data: bytes = b"", length: int | None = None) -> Write:
    """Return a function that writes a safetensors file of these bytes."""
    content = struct.pack("<Q", len(header) if length is None else length) + header + data
    return write_bytes("a.safetensors", content)


def json_safetensors(entries: Any, data: bytes = b"") -> Write:
    """Return a function that writes a safetensors file with this header."""
    return raw_safetensors(json.dumps(entries).encode(), data)


def write_bytes(name: str, content: bytes, arguments: Sequence[str] | None = None) -> Write:
    """Return a function that writes a file of these bytes."""

    def write(folder: Path) -> Sequence[str]:
        (folder / name).write_bytes(content)
        return convert(name) if arguments is None else arguments

    return write


def special(name: str, create: Callable[[Path], Any], arguments: Sequence[str] | None = None) -> Write:
    """Return a function that creates a special file."""

    def write(folder: Path) -> Sequence[str]:
        create(folder / name)
        return convert(name) if arguments is None else arguments

    return write


def torch_file(values: Callable[[], Any], **options: Any) -> Write:
    """Return a function that saves values with torch."""

    def write(folder: Path) -> Sequence[str]:
        torch.save(values(), folder / "a.pth", **options)
        return convert("a.pth")

    return write


def training(change: Callable[[dict[str, Any]], Any], *more: str) -> Write:
    """Return a function that writes the healthy training checkpoint, changed."""

    def write(folder: Path) -> Sequence[str]:
        values = torch.load(folder.parent / "base/training.pt", weights_only=True)
        change(values)
        torch.save(values, folder / "a.pt")
        return convert("a.pt", *more)

    return write


def training_settings(text: str) -> Write:
    """Return a function that writes the healthy training checkpoint with other settings."""
    return training(lambda values: values.update(settings=text))


class Code:
    """An object whose unpickling would create a folder."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("created_by_a_checkpoint",)


def zip_bomb(entry: str) -> Write:
    """Return a function that writes a torch archive in which one entry is gigabytes of zeros, compressed."""

    def write(folder: Path) -> Sequence[str]:
        content, path = deflated_zeros(BOMB_BYTES), folder / "a.pth"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/version", "3")
            archive.writestr("archive/byteorder", "little")
            if entry != "data.pkl":
                archive.writestr("archive/data.pkl", pickle.dumps({"weights": {}}, 2))
            archive.writestr(f"archive/{entry}", content)
        stored, name = bytearray(path.read_bytes()), f"archive/{entry}".encode()
        # Positions of method and uncompressed size before the name, in the entry's two headers.
        for start, method, size in ((stored.index(name), 22, 8), (stored.rindex(name), 36, 22)):
            struct.pack_into("<H", stored, start - method, zipfile.ZIP_DEFLATED)
            struct.pack_into("<I", stored, start - size, BOMB_BYTES)
        path.write_bytes(stored)
        return convert("a.pth")

    return write


def storage_of(size: int) -> Write:
    """Return a function that writes a torch archive whose pickle states a larger storage than it has."""

    def write(folder: Path) -> Sequence[str]:
        buffer = io.BytesIO()
        torch.save({"weights": {"a": torch.zeros(3)}}, buffer)
        with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(folder / "a.pth", "w") as target:
            for name in source.namelist():
                content = source.read(name)
                if name.endswith("data.pkl"):  # BININT1 3, the number of elements -> LONG1
                    content = content.replace(b"K\x03t", b"\x8a\x08" + struct.pack("<q", size) + b"t", 1)
                target.writestr(name, content)
        return convert("a.pth")

    return write


def nested(depth: int) -> Any:
    """A list in a list in a list ..."""
    values: list[Any] = []
    for _ in range(depth):
        values = [values]
    return values


def expanded(*shape: int) -> torch.Tensor:
    """One element that is repeated to a large tensor, without memory."""
    return torch.zeros(1).expand(*shape)


def many_joints(count: int) -> Callable[[dict[str, Any]], None]:
    """Change a skeleton to a chain of joints."""

    def change(skeleton: dict[str, Any]) -> None:
        names = [f"joint{n}" for n in range(count)]
        pairs = [list(pair) for pair in itertools.pairwise(names)]
        skeleton.update(joints=names, annotated=names, limbs=pairs, bones=pairs, mirrored=[], midpoints=[])
        skeleton["sigmas"] = [0.1] * count

    return change


def tfjs(manifest: Any, name: str = "weights.bin", data: bytes = b"") -> Write:
    """Return a function that writes a TensorFlow.js model."""

    def write(folder: Path) -> Sequence[str]:
        model = {"format": "graph-model", "modelTopology": {"node": []}, "weightsManifest": manifest}
        (folder / "model.json").write_text(json.dumps(model))
        if name == "fifo.bin":
            os.mkfifo(folder / name)
        else:
            (folder / name).write_bytes(data)
        return convert("model.json")

    return write


def tfjs_weight(paths: Sequence[Any] = ("weights.bin",), **entries: Any) -> list[Any]:
    """A manifest of one weight, of a name that the encoder needs."""
    (_, constant), *_ = importers._map_tensor_names(())
    return [
        {
            "paths": list(paths),
            "weights": [{"name": constant, "shape": [2, 2], "dtype": "float32", **entries}],
        }
    ]


FILE = "a.safetensors"
MODEL_FAULTS: dict[str, dict[str, Any]] = {
    "width_1e6": {"width": 10**6},
    "width_2_62": {"width": 2**62},
    "width_1e30": {"width": 10**30},
    "stem_width_1e7": {"stem_width": 10**7},
    "head_width_1e6": {"head_width": 10**6},
    "growth_1e6": {"growth": 10**6},
    "growth_negative": {"growth": -2},
    "stacks_1e5": {"stacks": 10**5},
    "stacks_2_40": {"stacks": 2**40},
    "reduction_1e9": {"reduction": 10**9},
    "dilations_1e5": {"dilations": [1] * 100_000},
    "dilation_1e9": {"dilations": [10**9]},
    "dilation_2_40": {"dilations": [2**40]},
    "scales_6": {"scales": 6},
    "encoder_multiplier_1e6": {"encoder": "mobilenet_v2", "encoder_multiplier": 1e6},
    "encoder_multiplier_1e300": {"encoder": "mobilenet_v2", "encoder_multiplier": 1e300},
    "encoder_multiplier_1e_300": {"encoder": "mobilenet_v2", "encoder_multiplier": 1e-300},
    "encoder_multiplier_nan": {"encoder": "mobilenet_v2", "encoder_multiplier": float("nan")},
}
USE_FAULTS: dict[str, tuple[str, dict[str, Any]]] = {
    "height_1e6": ("inference", {"height": 10**6, "max_height": 10**6, "max_width": 10**6}),
    "height_2_62": ("inference", {"height": 2**62}),
    "scales_infinite": ("inference", {"scales": [float("inf")]}),
    "scales_nan": ("inference", {"scales": [float("nan")]}),
    "scales_1e6": ("inference", {"scales": [1e6]}),
    "scales_10000": ("inference", {"scales": [1.0] * 10_000}),
    "max_peaks_2_31": ("grouping", {"max_peaks": 2**31}),
    "max_peaks_2_62": ("grouping", {"max_peaks": 2**62}),
    "max_peaks_1e9": ("grouping", {"max_peaks": 10**9, "peak_threshold": 1e-6}),
    "limb_samples_2_31": ("grouping", {"limb_samples": 2**31}),
    "limb_samples_1e9": ("grouping", {"limb_samples": 10**9, "peak_threshold": 1e-6}),
    "max_connections_2_40": ("grouping", {"max_connections": 2**40}),
    "min_person_keypoints_2_31": ("grouping", {"min_person_keypoints": 2**31}),
    "max_unassigned_keypoints_2_31": ("grouping", {"max_unassigned_keypoints": 2**31}),
    "score_area_exponent_1e308": ("grouping", {"score_area_exponent": 1e308}),
    "unassigned_reach_infinite": ("grouping", {"unassigned_reach": float("inf")}),
    "limb_threshold_nan": ("grouping", {"limb_threshold": float("nan")}),
    "confident_peak_infinite": ("grouping", {"confident_peak": float("inf")}),
}

FAULTS: dict[str, tuple[Write, Any]] = {
    # The structure of a safetensors file
    "empty": (write_bytes(FILE, b""), refusal(FILE)),
    "text": (write_bytes(FILE, b"this is text"), refusal(FILE)),
    "html": (write_bytes(FILE, b"<!DOCTYPE html><html>404: Not Found</html>"), refusal(FILE)),
    "git_lfs_pointer": (write_bytes(FILE, b"version https://git-lfs.github.com/spec/v1\n"), refusal(FILE)),
    "header_length_2_63": (raw_safetensors(b"{}", length=2**63), refusal(FILE)),
    "header_length_1e8": (raw_safetensors(b"{}", length=10**8), refusal(FILE)),
    "header_list": (raw_safetensors(b"[]"), refusal(FILE)),
    "header_nested": (raw_safetensors(b'{"a":' * 50_000 + b"1" + b"}" * 50_000), refusal(FILE)),
    "header_not_utf8": (raw_safetensors(b'{"\xff\xfe": 1}'), refusal(FILE)),
    "header_escape": (raw_safetensors(b'{"\x1b[31m": 1}'), refusal(FILE)),
    "metadata_list": (json_safetensors({"__metadata__": []}), refusal(FILE)),
    "metadata_of_numbers": (json_safetensors({"__metadata__": {"settings": 1}}), refusal(FILE)),
    "metadata_absent": (json_safetensors({}), refusal(FILE, "settings")),
    "dtype_unknown": (
        json_safetensors({"a": {"dtype": "X9", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
        refusal(FILE),
    ),
    "shape_overflow": (
        json_safetensors({"a": {"dtype": "F32", "shape": [2**32, 2**32], "data_offsets": [0, 4]}}, bytes(4)),
        refusal(FILE),
    ),
    "shape_negative": (
        json_safetensors({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, bytes(4)),
        refusal(FILE),
    ),
    "shape_1e12": (
        json_safetensors({"a": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}}),
        refusal(FILE),
    ),
    "offsets_overlap": (
        json_safetensors({n: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for n in "ab"}, bytes(4)),
        refusal(FILE),
    ),
    "tensors_none": (with_tensors(lambda tensors: tensors.clear()), refusal(FILE, "missing")),
    "tensor_escape": (
        with_tensors(lambda t: t.update({"\x1b[31mred\n": torch.zeros(1)})),
        refusal(FILE, "extra"),
    ),
    "tensor_long_name": (
        with_tensors(lambda t: t.update({"x" * 100_000: torch.zeros(1)})),
        refusal(FILE, "extra"),
    ),
    "tensors_100000": (
        with_tensors(lambda t: t.update({f"x{n}": torch.zeros(1) for n in range(100_000)})),
        refusal(FILE, "extra"),
    ),
    "tensor_nan": (with_tensors(lambda t: t["stem.conv.bn.bias"].fill_(float("nan"))), refusal("NaN|finite")),
    "tensor_bool": (
        with_tensors(lambda t: t.update({"stem.conv.bn.bias": t["stem.conv.bn.bias"] > 0})),
        or_value(refusal(FILE, "stem.conv.bn.bias")),
    ),
    "tensor_scalar": (
        with_tensors(lambda t: t.update({"stem.conv.bn.bias": torch.tensor(0.0)})),
        refusal(FILE, "stem.conv.bn.bias"),
    ),
    "tensor_empty": (
        with_tensors(lambda t: t.update({"stem.conv.bn.bias": torch.zeros(0, 3)})),
        refusal(FILE, "stem.conv.bn.bias"),
    ),
    # Settings and skeleton in the header
    "settings_empty": (with_header(settings=""), refusal(FILE)),
    "settings_list": (with_header(settings="[]"), refusal(FILE, "settings")),
    "settings_laughs": (with_header(settings=BILLION_LAUGHS), refusal(FILE, "settings")),
    "settings_of_itself": (with_header(settings="loss: &a {scale_weights: *a}"), refusal(FILE, "settings")),
    "settings_nested": (with_header(settings="[" * 100_000), refusal(FILE, "settings")),
    "settings_code": (
        with_header(settings="train: !!python/object/apply:os.mkdir [made]"),
        refusal(FILE, "settings"),
    ),
    "settings_escape": (with_header(settings='"\\x1b[31mred": 1'), refusal(FILE)),
    "settings_long": (with_header(settings="x" * 5_000_000), refusal(FILE, "settings")),
    "settings_long_number": (
        with_header(settings="train: {epochs: " + "9" * 1_000_000 + "}"),
        refusal(FILE, "settings"),
    ),
    "settings_merge_of_itself": (with_header(settings="train: &a\n  <<: *a\n"), refusal(FILE, "settings")),
    "skeleton_empty": (with_header(skeleton=""), refusal(FILE, "skeleton")),
    "skeleton_of_numbers": (with_header(skeleton="{name: 1, joints: [1]}"), refusal(FILE, "skeleton")),
    "skeleton_joints_none": (with_skeleton(many_joints(0)), refusal(FILE)),
    "skeleton_joints_1": (with_skeleton(many_joints(1)), refusal(FILE)),
    "skeleton_joints_5000": (with_skeleton(many_joints(5_000)), refusal(FILE)),
    "skeleton_joints_50000": (with_skeleton(many_joints(50_000)), refusal(FILE)),
    "skeleton_sigma_nan": (
        with_skeleton(lambda s: s.update(sigmas=[float("nan")] * 17)),
        refusal(FILE, "sigma"),
    ),
    "skeleton_sigma_infinite": (
        with_skeleton(lambda s: s.update(sigmas=[float("inf")] * 17)),
        refusal(FILE, "sigma"),
    ),
    "skeleton_escape": (
        with_skeleton(lambda s: s.update(name="\x1b[31mred", sigmas=[])),
        refusal(FILE),
    ),
    "skeleton_long_name": (
        with_skeleton(lambda s: s.update(name="x" * 100_000, sigmas=[])),
        refusal(FILE),
    ),
    # Pickles
    "pth_empty": (write_bytes("a.pth", b""), refusal("a.pth")),
    "pth_code": (torch_file(lambda: {"weights": Code()}), refusal("a.pth", "code")),
    "pth_code_plain": (write_bytes("a.pth", pickle.dumps({"weights": Code()})), refusal("a.pth", "code")),
    "pth_numpy": (
        torch_file(lambda: {"weights": {"a": torch.zeros(2)}, "train_loss": np.float64(1.5)}),
        refusal("a.pth", "numpy|float64", "train_loss"),
    ),
    "pth_legacy": (
        torch_file(lambda: {"weights": {"a": torch.zeros(2)}}, _use_new_zipfile_serialization=False),
        refusal("a.pth"),
    ),
    "pth_list": (torch_file(lambda: [1, 2]), refusal("a.pth", "dict")),
    "pth_tensor": (torch_file(lambda: torch.zeros(3)), refusal("a.pth", "dict")),
    "pth_weights_list": (torch_file(lambda: {"weights": [torch.zeros(1)]}), refusal("a.pth", "list")),
    "pth_weights_nested": (torch_file(lambda: {"weights": nested(200)}), refusal("a.pth")),
    "pth_keys_escape": (torch_file(lambda: {"\x1b[31mred\n": 1}), refusal("a.pth", "weights")),
    "pth_keys_long": (torch_file(lambda: {"x" * 1_000_000: 1}), refusal("a.pth", "weights")),
    "pth_format_list": (torch_file(lambda: {"format": ["\x1b[31m"] * 10_000}), refusal("a.pth", "format")),
    "pth_deep_pickle": (write_bytes("a.pth", b"\x80\x02" + b"(" * 5_000_000), refusal("a.pth")),
    "pth_memo_of_itself": (write_bytes("a.pth", b"\x80\x02]q\x00h\x00a."), refusal("a.pth")),
    "pth_bomb_data": (zip_bomb("data/0"), refusal("a.pth")),
    "pth_bomb_pickle": (zip_bomb("data.pkl"), refusal("a.pth")),
    "pth_storage_1e12": (storage_of(10**12), refusal("a.pth")),
    "pth_storage_negative": (storage_of(-1), refusal("a.pth")),
    "pth_expanded": (
        torch_file(lambda: {"weights": {"a": expanded(10**6, 10**6)}}),
        refusal("a.pth", r"\ba\b"),
    ),
    "pth_sparse": (
        torch_file(lambda: {"weights": {"a": torch.sparse_coo_tensor([[0]], [1.0], (10**12,))}}),
        refusal("a.pth", r"\ba\b|sparse"),
    ),
    "pth_gzip": (write_bytes("a.pth", b"\x1f\x8b\x08" + bytes(100)), refusal("a.pth")),
    "pth_zip_of_text": (
        special("a.pth", lambda p: zipfile.ZipFile(p, "w").writestr("readme.txt", "x")),
        refusal("a.pth"),
    ),
    # Training checkpoints
    "training_settings_number": (training(lambda v: v.update(settings=3)), refusal("a.pt", "settings")),
    "training_settings_laughs": (training_settings(BILLION_LAUGHS), refusal("a.pt", "settings")),
    "training_settings_stacks": (training_settings("model: {stacks: 100000}"), refusal("a.pt", "stacks")),
    "training_weights_none": (
        training(lambda v: v.update(weights=None, ema=None, swa=None)),
        refusal("a.pt"),
    ),
    "training_weights_expanded": (
        training(lambda v: v["weights"].update({"stem.conv.bn.bias": expanded(10**6, 10**6)})),
        refusal("a.pt", "stem.conv.bn.bias"),
    ),
    "training_weights_of_stride_0": (
        training(
            lambda v: v["weights"].update(
                {k: torch.zeros(()).expand(t.shape) for k, t in v["weights"].items()}
            )
        ),
        value(),
    ),
    "training_weights_complex": (
        training(lambda v: v["weights"].update({"stem.conv.bn.bias": torch.zeros(4, dtype=torch.complex64)})),
        refusal("a.pt", "stem.conv.bn.bias"),
    ),
    "training_weights_sparse": (
        training(lambda v: v["weights"].update({"stem.conv.bn.bias": torch.zeros(4).to_sparse()})),
        or_value(refusal("a.pt", "stem.conv.bn.bias")),
    ),
    "training_weights_meta": (
        training(lambda v: v["weights"].update({"stem.conv.bn.bias": torch.zeros(4, device="meta")})),
        refusal("a.pt", "stem.conv.bn.bias|meta"),
    ),
    "training_ema_number": (training(lambda v: v.update(ema=3)), refusal("a.pt", "ema")),
    "training_ema_updates_text": (
        training(lambda v: v.update(ema={"state": {}, "updates": "x"})),
        refusal("a.pt"),
    ),
    "training_ema_state_none": (
        training(lambda v: v.update(ema={"state": None, "updates": 5})),
        refusal("a.pt"),
    ),
    "training_swa_tensor": (
        training(lambda v: v.update(swa={"state": {}, "updates": torch.zeros(2, 2)})),
        refusal("a.pt"),
    ),
    # Special files
    "fifo": (special(FILE, os.mkfifo), refusal(FILE)),
    "device": (special(FILE, lambda path: path.symlink_to("/dev/zero")), refusal(FILE)),
    "folder": (special(FILE, lambda path: path.mkdir()), refusal(FILE)),
    "link_to_itself": (special(FILE, lambda path: path.symlink_to(path.name)), refusal(FILE)),
    "pth_fifo": (special("a.pth", os.mkfifo), refusal("a.pth")),
    "pth_device": (special("a.pth", lambda path: path.symlink_to("/dev/zero")), refusal("a.pth")),
    "name_escape": (write_bytes("\x1b[31mred\n.pth", b"x"), refusal("red")),
    "name_long": (lambda folder: convert("x" * 5000 + ".pth"), refusal("xxx")),
    "target_fifo": (
        lambda folder: (
            os.mkfifo(folder / "t.safetensors"),
            ["../base/network.safetensors", "t.safetensors"],
        )[1],
        refusal("t.safetensors"),
    ),
    "target_device": (
        lambda folder: (
            (folder / "t.safetensors").symlink_to("/dev/full"),
            ["../base/network.safetensors", "t.safetensors"],
        )[1],
        refusal("t.safetensors"),
    ),
    # TensorFlow.js models
    "tfjs_not_json": (write_bytes("model.json", b"\x00"), refusal("model.json")),
    "tfjs_nested": (write_bytes("model.json", b"[" * 200_000), refusal("model.json")),
    "tfjs_manifest_number": (tfjs(5), refusal("model.json")),
    "tfjs_manifest_of_null": (tfjs([None]), refusal("model.json")),
    "tfjs_shape_1e12": (tfjs(tfjs_weight(shape=[10**6, 10**6])), refusal("model.json|weights.bin")),
    "tfjs_shape_negative": (tfjs(tfjs_weight(shape=[-2, -2]), data=bytes(16)), refusal("model.json")),
    "tfjs_shape_word": (tfjs(tfjs_weight(shape="large")), refusal("model.json")),
    "tfjs_dtype_text": (tfjs(tfjs_weight(dtype="string"), data=bytes(16)), refusal("model.json")),
    "tfjs_path_above": (tfjs(tfjs_weight(["../../../../../../../../etc/passwd"])), refusal("model.json")),
    "tfjs_path_device": (tfjs(tfjs_weight(["/dev/zero"])), refusal("model.json|/dev/zero")),
    "tfjs_path_number": (tfjs(tfjs_weight([5])), refusal("model.json")),
    "tfjs_path_fifo": (tfjs(tfjs_weight(["fifo.bin"]), "fifo.bin"), refusal("fifo.bin")),
    "tfjs_fifo": (special("model.json", os.mkfifo), refusal("model.json")),
}


def _write_resumed(change: Callable[[dict[str, Any]], Any]) -> Write:
    """Return a function that writes a run folder with a hostile checkpoint, and resumes it."""

    def write(folder: Path) -> Sequence[str]:
        training(change)(folder)
        (folder / "run").mkdir()
        (folder / "a.pt").rename(folder / "run/checkpoint_00000001.pt")
        return [*_train_arguments(), "--resume"]

    return write


def _train_arguments() -> list[str]:
    samples = ["--config", "../base/settings.yaml", "--train", "../base/compressed.h5"]
    return [*samples, "--output", "run", "--device", "cpu"]


RESUMED: dict[str, Callable[[dict[str, Any]], Any]] = {
    "progress_none": lambda v: v.update(progress=None),
    "progress_words": lambda v: v.update(progress=dict.fromkeys(v["progress"], "many")),
    "optimizer_list": lambda v: v.update(optimizer=[1]),
    "random_number": lambda v: v.update(random=3),
    "meter_word": lambda v: v.update(meter="x"),
    "settings_laughs": lambda v: v.update(settings=BILLION_LAUGHS),
}


def _checkpoint_cases() -> list[Case]:
    main, cases = convert_checkpoint.main, []
    for name, entries in MODEL_FAULTS.items():
        write = with_settings(convert(FILE), model=entries)
        cases.append(Case(f"checkpoint/model/{name}", write, main, refusal(FILE)))
    for name, (section, entries) in USE_FAULTS.items():
        write = with_settings(demo(FILE), **{section: entries})
        cases.append(
            Case(f"checkpoint/use/{name}", write, demo_image.main, refusal(FILE, next(iter(entries))))
        )
    for name, (write, expected) in FAULTS.items():
        cases.append(Case(f"checkpoint/convert/{name}", write, main, expected))
    for name, change in RESUMED.items():
        cases.append(
            Case(
                f"checkpoint/resume/{name}",
                _write_resumed(change),
                train.main,
                refusal("checkpoint_00000001"),
            )
        )
    init = write_bytes("a.pth", b"\x80\x02", [*_train_arguments(), "--init-from", "a.pth"])
    cases.append(Case("checkpoint/train/init_from", init, train.main, refusal("a.pth")))
    set_large = write_bytes(
        "unused", b"", [*demo("../base/network.safetensors"), *SMALL_INPUT, "grouping.max_peaks=2147483648"]
    )
    cases.append(Case("checkpoint/use/set_max_peaks", set_large, demo_image.main, refusal("max_peaks")))
    return cases


CASES = _checkpoint_cases()
