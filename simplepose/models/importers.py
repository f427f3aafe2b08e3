"""Read checkpoints of other projects: the released SimplePose code, and MoveNet's TensorFlow.js models.

A SimplePose checkpoint is a pickled dict with the network's state under `weights`. The names have the
prefix `posenet.`, and `module.` before it when the network was wrapped for several GPUs. Such files are
read and written with unchanged tensors.

A TensorFlow.js graph model is a json and binary files: `modelTopology.node` lists the operations,
`weightsManifest` the names, shapes and types of the constants, which are stored one after another in the
files (little endian). A constant with `quantization.dtype` float16 is stored as float16. It is read with
json and numpy alone.
"""

from __future__ import annotations

import json
import math
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from simplepose.models.encoders import BLOCKS, MobileNetV2
from simplepose.models.imhn import IMHN

WEIGHTS = "weights"
_PREFIX = "posenet."
_PARALLEL_PREFIX = "module."

_RENAMES = (
    (r"^stem\.conv\.(conv|bn)\.", r"pre.\g<1>1."),
    (r"^stem\.residual(\d)\.", r"pre.res\1."),
    (r"^stem\.dilated\.", r"pre.dilation."),
    (r"^hourglasses\.(\d)\.levels\.(\d)\.up\.", r"hourglass.\1.hg.\2.0."),
    (r"^hourglasses\.(\d)\.levels\.(\d)\.down\.", r"hourglass.\1.hg.\2.1."),
    (r"^hourglasses\.(\d)\.levels\.(\d)\.back\.", r"hourglass.\1.hg.\2.2."),
    (r"^hourglasses\.(\d)\.levels\.(\d)\.merge\.", r"hourglass.\1.hg.\2.3."),
    (r"^hourglasses\.(\d)\.levels\.(\d)\.innermost\.", r"hourglass.\1.hg.\2.4."),
    (r"\.reduce\.conv\.", r".convBlock.0."),
    (r"\.reduce\.bn\.", r".convBlock.1."),
    (r"\.middle\.conv\.", r".convBlock.3."),
    (r"\.middle\.bn\.", r".convBlock.4."),
    (r"\.expand\.conv\.", r".convBlock.6."),
    (r"\.expand\.bn\.", r".convBlock.7."),
    (r"\.skip\.conv\.", r".skipConv.0."),
    (r"\.skip\.bn\.", r".skipConv.1."),
    (r"^heads\.(\d)\.(\d)\.conv1\.", r"features.\1.before_regress.\2.0."),
    (r"^heads\.(\d)\.(\d)\.conv2\.", r"features.\1.before_regress.\2.1."),
    (r"^heads\.(\d)\.(\d)\.squeeze\.reduce\.", r"features.\1.before_regress.\2.2.fc.0."),
    (r"^heads\.(\d)\.(\d)\.squeeze\.expand\.", r"features.\1.before_regress.\2.2.fc.2."),
    (r"^heads\.(\d)\.(\d)\.maps\.", r"outs.\1.\2.conv."),
    (r"^merges\.(\d)\.(\d)\.maps\.", r"merge_preds.\1.\2.conv."),
    (r"^merges\.(\d)\.(\d)\.features\.", r"merge_features.\1.\2.conv."),
)


def published_name(name: str) -> str:
    """Our name of a state entry -> the released code's."""
    for pattern, replacement in _RENAMES:
        name = re.sub(pattern, replacement, name)
    return _PREFIX + name


def to_ours(weights: Mapping[str, Tensor], network: IMHN) -> dict[str, Tensor]:
    """The entries of a published checkpoint under our names.

    An entry that the network does not know keeps its name, so that loading can tell of it.
    """
    ours = {published_name(name): name for name in network.state_dict()}
    bare = {name.removeprefix(_PARALLEL_PREFIX): tensor for name, tensor in weights.items()}
    return {ours.get(name, name): tensor for name, tensor in bare.items()}


def save(path: str | Path, state: Mapping[str, Tensor]) -> None:
    """Write our state as the released code expects it."""
    torch.save({WEIGHTS: {published_name(name): tensor.clone() for name, tensor in state.items()}}, path)


DTYPES = {"float32": "<f4", "float16": "<f2", "int32": "<i4", "uint8": "u1", "bool": "u1"}
"""Types that constants have, as NumPy writes them."""

MAX_BYTES = 1 << 30
"""A model file larger than this is refused."""

MAX_DIMENSIONS = 8
"""A constant with more is refused."""

MAX_NAMES_IN_ERROR = 3
MAX_REPR = 120
"""Names in an error, and characters of a value of the json, at most."""

GRAPH = "StatefulPartitionedCall/"
ROOT = f"{GRAPH}center_net_mobile_net_v2fpn_feature_extractor/model_1/"
"""Where MoveNet MultiPose's encoder lies in its graph."""

MULTIPLIER = 1.5
"""Of MobileNetV2's channels, as the constants' shapes have it (48, 24, 40, 48, 96, 144, 240, 480)."""


@dataclass(frozen=True)
class ImportedEncoder:
    """An encoder's weights.

    Attributes:
        state: tensors by `MobileNetV2`'s names, float32.
        multiplier: of its channels.
        source: the file's name.
        unused: constants of the file that are not of the encoder.
    """

    state: dict[str, Tensor]
    multiplier: float
    source: str
    unused: tuple[str, ...]

    def __str__(self) -> str:
        count = sum(tensor.numel() for tensor in self.state.values())
        return (
            f"{self.source}: {len(self.state)} tensors of the MobileNetV2 x {self.multiplier:g} encoder and "
            f"its feature pyramid, {count:,} parameters; {len(self.unused)} other constants not used"
        )


def import_movenet(path: str | Path) -> ImportedEncoder:
    """Read the encoder of MoveNet MultiPose Lightning.

    Args:
        path: the json of the TensorFlow.js graph model; its binary files lie beside it.

    Raises:
        FileNotFoundError: the json or a binary file is missing.
        ValueError: it is no such model (names, shapes, types or sizes differ from what is expected), or a
            weight is not finite.
    """
    path = Path(path)
    constants = read_graph_model(path)
    with torch.device("meta"):
        expected = MobileNetV2(MULTIPLIER).state_dict()
    names = dict(_tensor_names())
    missing = [name for name in names.values() if name not in constants]
    if missing:
        raise ValueError(
            f"{path}: expected MoveNet MultiPose's encoder, but {len(missing)} of its {len(names)} constants "
            f"are missing, for example {', '.join(missing[:MAX_NAMES_IN_ERROR])}"
        )
    state = {}
    for ours, theirs in names.items():
        tensor = _to_torch(constants[theirs], depthwise="depthwise" in ours)
        if tensor.shape != expected[ours].shape:
            raise ValueError(
                f"{path}: {theirs}: expected shape {tuple(expected[ours].shape)} for {ours}, "
                f"got {tuple(tensor.shape)}"
            )
        if tensor.dtype != torch.float32:
            raise ValueError(
                f"{path}: {theirs}: expected dtype float32 or float16, got {constants[theirs].dtype}"
            )
        if not tensor.isfinite().all():
            raise ValueError(f"{path}: {theirs}: expected finite weights, got NaN or infinity")
        state[ours] = tensor
    state["conv.weight"] = state["conv.weight"].flip(1).contiguous()  # RGB there, BGR here
    assert state.keys() == expected.keys()
    used = set(names.values())
    return ImportedEncoder(
        state, MULTIPLIER, path.name, tuple(name for name in constants if name not in used)
    )


def read_graph_model(path: Path) -> dict[str, np.ndarray]:
    """Read all constants of a TensorFlow.js graph model by name; float32, int32, uint8 or bool.

    Raises:
        FileNotFoundError: the json or a binary file is missing.
        ValueError: the json is no graph model, a constant's type is not supported, or the binary files have
            another size than the json states.
    """
    content = _read_json(path)
    constants = {}
    for group in content["weightsManifest"]:
        data = b"".join(_read_binary(path, name) for name in group["paths"])
        offset = 0
        for entry in group["weights"]:
            array, offset = _read_constant(path, entry, data, offset)
            if entry["name"] in constants:
                raise ValueError(f"{path}: {entry['name']}: expected one constant of this name, got two")
            constants[entry["name"]] = array
        if offset != len(data):
            raise ValueError(
                f"{path}: its weights take {offset:,} bytes, its binary files hold {len(data):,}"
            )
    return constants


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} not found; expected the json of a TensorFlow.js graph model")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path}: expected at most {MAX_BYTES:,} bytes, got {path.stat().st_size:,}")
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not a readable json file: {error}") from error
    if not (isinstance(content, dict) and content.get("format") == "graph-model"):
        raise ValueError(f'{path}: expected a TensorFlow.js model with "format": "graph-model"')
    manifest = content.get("weightsManifest")
    if not isinstance(manifest, list):
        raise ValueError(f"{path}: expected weightsManifest to be a list, got {type(manifest).__name__}")
    for number, group in enumerate(manifest):
        _check_group(f"{path}: weightsManifest[{number}]", group)
    return content


def _check_group(source: str, group: Any) -> None:
    """Raise ValueError unless a group of constants has the form that `read_graph_model` reads."""
    if not (
        isinstance(group, dict)
        and isinstance(group.get("paths"), list)
        and all(isinstance(name, str) for name in group["paths"])
        and isinstance(group.get("weights"), list)
    ):
        raise ValueError(f"{source}: expected paths (file names) and weights (a list), got {_repr(group)}")
    for number, entry in enumerate(group["weights"]):
        if not _is_entry(entry):
            raise ValueError(
                f"{source}.weights[{number}]: expected a name, a shape (up to {MAX_DIMENSIONS} integers "
                f">= 0) and a dtype, got {_repr(entry)}"
            )


def _repr(value: Any) -> str:
    """A value of the json, shortened."""
    return textwrap.shorten(repr(value), MAX_REPR, placeholder=" ...")


def _is_entry(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("name"), str)
        and isinstance(entry.get("shape"), list)
        and len(entry["shape"]) <= MAX_DIMENSIONS
        and all(type(side) is int and 0 <= side < 1 << 31 for side in entry["shape"])
        and isinstance(entry.get("dtype"), str)
        and isinstance(entry.get("quantization", {}), dict)
    )


def _read_binary(path: Path, name: str) -> bytes:
    if name in ("", ".", "..") or Path(name).name != name:
        raise ValueError(f"{path}: expected a binary file beside it, got the path {name!r}")
    file = path.parent / name
    if not file.is_file():
        raise FileNotFoundError(f"{file} not found; {path.name} names it as its weights")
    if file.stat().st_size > MAX_BYTES:
        raise ValueError(f"{file}: expected at most {MAX_BYTES:,} bytes, got {file.stat().st_size:,}")
    return file.read_bytes()


def _read_constant(path: Path, entry: Mapping[str, Any], data: bytes, offset: int) -> tuple[np.ndarray, int]:
    """One constant, and where the next begins."""
    stored = entry["dtype"]
    if "quantization" in entry:
        quantized = entry["quantization"].get("dtype")
        if (stored, quantized) != ("float32", "float16"):
            raise ValueError(
                f"{path}: {entry['name']}: expected float32 quantized as float16, got {stored} quantized as "
                f"{quantized}; convert the model again with float16 quantization or with none"
            )
        stored = "float16"
    if stored not in DTYPES:
        raise ValueError(f"{path}: {entry['name']}: expected dtype {', '.join(DTYPES)}, got {stored}")
    dtype = np.dtype(DTYPES[stored])
    count = math.prod(entry["shape"])
    end = offset + count * dtype.itemsize
    if end > len(data):
        raise ValueError(
            f"{path}: {entry['name']} needs bytes {offset:,} to {end:,}, the binary files hold {len(data):,};"
            " truncated?"
        )
    array = np.frombuffer(data, dtype, count, offset).reshape(entry["shape"])
    return array.astype(np.float32) if dtype.kind == "f" else array, end


def _to_torch(kernel: np.ndarray, depthwise: bool) -> Tensor:
    """From TensorFlow's H x W x in x out, or depthwise H x W x channels x 1; biases stay as they are."""
    if kernel.ndim == 4:
        kernel = kernel.transpose((2, 3, 0, 1) if depthwise else (3, 2, 0, 1))
    return torch.from_numpy(np.ascontiguousarray(kernel))


def _tensor_names() -> Iterator[tuple[str, str]]:
    """`MobileNetV2`'s names, and the constants' names in MoveNet's graph."""
    body = f"{ROOT}model/"
    yield from _folded("conv", f"{body}Conv1/Conv2D")
    for block in range(sum(count for _, count, _ in BLOCKS)):
        name = f"{body}block_{block}_" if block else f"{body}expanded_conv_"
        if block:
            yield from _folded(f"blocks.{block}.expand", f"{name}expand/Conv2D")
        yield from _folded(f"blocks.{block}.depthwise", f"{name}depthwise/depthwise")
        yield from _folded(f"blocks.{block}.project", f"{name}project/Conv2D")
    yield from _folded("last", f"{body}Conv_1/Conv2D")
    for level, name in enumerate(("conv2d_3", "conv2d_2", "conv2d_1", "conv2d")):
        yield f"laterals.{level}.weight", f"{ROOT}{name}/Conv2D/ReadVariableOp"
        yield f"laterals.{level}.bias", f"{ROOT}{name}/BiasAdd/ReadVariableOp"
    for level, name in enumerate(("separable_conv2d_2", "separable_conv2d_1", "separable_conv2d")):
        yield f"smooth.{level}.depthwise.weight", f"{ROOT}{name}/separable_conv2d/ReadVariableOp"
        yield f"smooth.{level}.pointwise.weight", f"{ROOT}{name}/separable_conv2d_weights"
        yield f"smooth.{level}.pointwise.bias", f"{ROOT}{name}/separable_conv2d_bn_offset"
    for head, name in enumerate(("kpt_heatmap_0/separable_conv2d_6", "kpt_regress_0/separable_conv2d_7")):
        yield f"heads.{head}.depthwise.weight", f"{GRAPH}{name}/separable_conv2d/ReadVariableOp"
        yield f"heads.{head}.pointwise.weight", f"{GRAPH}{name}/separable_conv2d/ReadVariableOp_1"
        yield f"heads.{head}.pointwise.bias", f"{GRAPH}{name}/BiasAdd/ReadVariableOp"


def _folded(ours: str, theirs: str) -> Iterator[tuple[str, str]]:
    yield f"{ours}.weight", f"{theirs}_weights"
    yield f"{ours}.bias", f"{theirs}_bn_offset"
