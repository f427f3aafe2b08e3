"""Import checkpoints of other projects: published SimplePose, AlphaPose, torchvision and MoveNet.

A published SimplePose checkpoint is a pickled dict with the network's state under `weights`. The names have
the prefix `posenet.`, and `module.` before it if the network was wrapped for several GPUs. Such files are
read and written with unchanged tensors.

A published checkpoint of AlphaPose's FastPose (`duc_se.pth` of v0.2.0, `fast_res50_256x192.pth` of master)
and torchvision's of a ResNet are pickled state dicts. These networks read RGB; the imported ones read BGR.

A TensorFlow.js graph model is a JSON file and binary files. `modelTopology.node` lists the operations,
`weightsManifest` the names, shapes and dtypes of the constants, which are stored one after another in the
binary files (little endian). A constant with `quantization.dtype` float16 is stored as float16. The importer
needs only json and numpy.
"""

from __future__ import annotations

import json
import math
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from simplepose.models.encoders import BLOCKS, RESNET_BLOCKS, MobileNetV2, ResNetName
from simplepose.models.fastpose import FastPose
from simplepose.models.imhn import IMHN

WEIGHTS_KEY = "weights"
_PREFIX = "posenet."
_PARALLEL_PREFIX = "module."

_PUBLISHED_NAME_PATTERNS = (
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


def to_published_name(name: str) -> str:
    """Convert this project's name of a state entry to the published name."""
    for pattern, replacement in _PUBLISHED_NAME_PATTERNS:
        name = re.sub(pattern, replacement, name)
    return _PREFIX + name


def from_published_state(weights: Mapping[str, Tensor], network: IMHN) -> dict[str, Tensor]:
    """Rename the entries of a published checkpoint to this project's names.

    An entry that the network does not have keeps its name, so that loading can report it.
    """
    names = {to_published_name(name): name for name in network.state_dict()}
    state = {name.removeprefix(_PARALLEL_PREFIX): tensor for name, tensor in weights.items()}
    return {names.get(name, name): tensor for name, tensor in state.items()}


def save_published(path: str | Path, state: Mapping[str, Tensor]) -> None:
    """Save this project's state as a checkpoint of the published code."""
    torch.save(
        {WEIGHTS_KEY: {to_published_name(name): tensor.clone() for name, tensor in state.items()}}, path
    )


_BOTTLENECK_NAME_PATTERNS = (
    (r"^stem\.encoder\.conv\.(conv|bn)\.", r"\g<1>1."),
    (r"^stem\.encoder\.layers\.(\d)\.", lambda match: f"layer{int(match[1]) + 1}."),
    (r"\.reduce\.(conv|bn)\.", r".\g<1>1."),
    (r"\.middle\.(conv|bn)\.", r".\g<1>2."),
    (r"\.expand\.(conv|bn)\.", r".\g<1>3."),
    (r"\.squeeze\.reduce\.", r".se.fc.0."),
    (r"\.squeeze\.expand\.", r".se.fc.2."),
    (r"\.skip\.conv\.", r".downsample.0."),
    (r"\.skip\.bn\.", r".downsample.1."),
)
_FASTPOSE_NAME_PATTERNS = (
    (r"^(duc\d)\.conv\.(conv|bn)\.", r"\1.\2."),
    (r"^maps\.", r"conv_out."),
)
FASTPOSE_PREFIX = "preact."
"""Name prefix of the ResNet in a checkpoint of FastPose; torchvision's names have none."""

V02_CHANNELS = 33
"""Number of heatmaps of AlphaPose v0.2.0: COCO's 17, then those of other data sets."""

_RESNET_FIRST_CONV = "conv1.weight"
_BLOCK_NAME = re.compile(r"layer(\d)\.(\d+)\.")


def is_fastpose(values: Mapping[Any, Any]) -> bool:
    """Return whether a file's values are a published checkpoint of FastPose."""
    return f"{FASTPOSE_PREFIX}{_RESNET_FIRST_CONV}" in _strip_parallel(values)


def has_v02_channels(weights: Mapping[Any, Any]) -> bool:
    """Return whether a checkpoint of FastPose has the 33 heatmaps of v0.2.0, of which 17 are COCO's."""
    state = _strip_parallel(weights)
    outputs = [getattr(state.get(f"conv_out.{part}"), "shape", ()) for part in ("weight", "bias")]
    return all(shape[:1] == (V02_CHANNELS,) for shape in outputs)


def is_torchvision_resnet(values: Mapping[Any, Any]) -> bool:
    """Return whether a file's values are torchvision's state of a ResNet."""
    return _RESNET_FIRST_CONV in values and "fc.weight" in values


def find_resnet(weights: Mapping[Any, Any]) -> ResNetName | None:
    """Return the name of the ResNet that has the blocks of a state, as in `RESNET_BLOCKS`, or None."""
    matches = [_BLOCK_NAME.search(str(name)) for name in weights]
    blocks = {(int(match[1]), int(match[2])) for match in matches if match}
    counts = tuple(sum(layer == one for one, _ in blocks) for layer in (1, 2, 3, 4))
    return next((name for name, expected in RESNET_BLOCKS.items() if expected == counts), None)


def to_fastpose_name(name: str) -> str:
    """Convert this project's name of a state entry of a ResNet FastPose to the published name."""
    encoder = name.startswith("stem.encoder.")
    for pattern, replacement in _BOTTLENECK_NAME_PATTERNS if encoder else _FASTPOSE_NAME_PATTERNS:
        name = re.sub(pattern, replacement, name)
    return FASTPOSE_PREFIX + name if encoder else name


def from_fastpose_state(weights: Mapping[str, Tensor], network: FastPose) -> dict[str, Tensor]:
    """Rename the entries of a published FastPose to this project's names, for BGR images.

    Of the 33 heatmaps of v0.2.0 the first ones are used, which are COCO's 17. An entry that the network does
    not have keeps its name, so that loading can report it.
    """
    names = {to_fastpose_name(name): name for name in network.state_dict()}
    state = {names.get(name, name): tensor for name, tensor in _strip_parallel(weights).items()}
    if has_v02_channels(weights):
        for name in ("maps.weight", "maps.bias"):
            state[name] = state[name][: network.maps.out_channels]
    return _swap_first_conv(state)


def from_torchvision_state(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the entries of torchvision's ResNet to those of a FastPose's encoder, for BGR images.

    The last, fully connected layer is left out.

    Raises:
        ValueError: it has other blocks than a ResNet-50, -101 or -152.
    """
    encoder = find_resnet(weights)
    if encoder is None:
        raise ValueError(f"expected a ResNet of {', '.join(RESNET_BLOCKS)}, got other blocks")
    with torch.device("meta"):
        network = FastPose(encoder=encoder)
    names = {to_fastpose_name(name).removeprefix(FASTPOSE_PREFIX): name for name in network.state_dict()}
    state = {names[name]: tensor for name, tensor in weights.items() if name in names}
    return _swap_first_conv(state)


def _strip_parallel(weights: Mapping[Any, Any]) -> dict[Any, Any]:
    """Remove the prefix of a network that was wrapped for several GPUs."""
    return {
        name.removeprefix(_PARALLEL_PREFIX) if isinstance(name, str) else name: value
        for name, value in weights.items()
    }


def _swap_first_conv(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Exchange red and blue in the first convolution."""
    name = "stem.encoder.conv.conv.weight"
    if name in state and state[name].ndim == 4:
        state[name] = state[name].flip(1).contiguous()
    return state


TFJS_DTYPES = {"float32": "<f4", "float16": "<f2", "int32": "<i4", "uint8": "u1", "bool": "u1"}
"""Dtypes of constants -> NumPy dtypes."""

MAX_MODEL_FILE_BYTES = 1 << 30
"""Largest size of a model file; larger files are an error."""

MAX_DIMENSIONS = 8
"""Largest number of dimensions of a constant; more are an error."""

MAX_NAMES_IN_ERROR = 3
MAX_REPR = 120
"""Largest number of names in an error message, and of characters of a quoted JSON value."""

MOVENET_SCOPE = "StatefulPartitionedCall/"
ENCODER_SCOPE = f"{MOVENET_SCOPE}center_net_mobile_net_v2fpn_feature_extractor/model_1/"
"""Name prefixes of MoveNet MultiPose's graph and of its encoder."""

MOVENET_WIDTH_MULTIPLIERS = {32: 1.0, 48: 1.5, 56: 1.75}
"""Channels of the first convolution -> width multiplier, of SinglePose Lightning, MultiPose Lightning and
SinglePose Thunder."""

_FIRST_CONV = f"{ENCODER_SCOPE}model/Conv1/Conv2D_weights"
_HEAD_SCOPES = ("kpt_heatmap_0", "kpt_regress_0")


@dataclass(frozen=True)
class ImportedEncoder:
    """An encoder's weights.

    Attributes:
        state: float32 tensors by `MobileNetV2`'s names.
        multiplier: width multiplier.
        source: name of the file.
        unused: constants of the file that the encoder does not use.
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
    """Import the encoder of a MoveNet: MultiPose Lightning, SinglePose Thunder or Lightning.

    Args:
        path: the JSON file of the TensorFlow.js graph model; its binary files are in the same folder.

    Raises:
        FileNotFoundError: the JSON file or a binary file is missing.
        ValueError: it is another model (names, shapes, dtypes or sizes differ), or a weight is not finite.
    """
    path = Path(path)
    constants = read_graph_model(path)
    multiplier = _find_multiplier(path, constants)
    with torch.device("meta"):
        expected = MobileNetV2(multiplier).state_dict()
    names = dict(_map_tensor_names(constants))
    missing = [name for name in names.values() if name not in constants]
    if missing:
        raise ValueError(
            f"{path}: expected MoveNet's encoder, but {len(missing)} of its {len(names)} constants "
            f"are missing, for example {', '.join(missing[:MAX_NAMES_IN_ERROR])}"
        )
    state = {}
    for name, constant in names.items():
        tensor = _to_torch(constants[constant], depthwise="depthwise" in name)
        if tensor.shape != expected[name].shape:
            raise ValueError(
                f"{path}: {constant}: expected shape {tuple(expected[name].shape)} for {name}, "
                f"got {tuple(tensor.shape)}"
            )
        if tensor.dtype != torch.float32:
            raise ValueError(
                f"{path}: {constant}: expected dtype float32 or float16, got {constants[constant].dtype}"
            )
        if not tensor.isfinite().all():
            raise ValueError(f"{path}: {constant}: expected finite weights, got NaN or infinity")
        state[name] = tensor
    state["conv.weight"] = state["conv.weight"].flip(1).contiguous()  # RGB -> BGR
    assert state.keys() == expected.keys()
    used = set(names.values())
    return ImportedEncoder(
        state, multiplier, path.name, tuple(name for name in constants if name not in used)
    )


def _find_multiplier(path: Path, constants: Mapping[str, np.ndarray]) -> float:
    """Return the width multiplier that the first convolution's shape shows.

    Raises:
        ValueError: there is no such constant, or no MoveNet has its width.
    """
    shape = constants[_FIRST_CONV].shape if _FIRST_CONV in constants else ()
    if shape[-1:] and shape[-1] in MOVENET_WIDTH_MULTIPLIERS:
        return MOVENET_WIDTH_MULTIPLIERS[shape[-1]]
    raise ValueError(
        f"{path}: {_FIRST_CONV}: expected a MoveNet's first convolution, shape (3, 3, 3, C) with C in "
        f"{', '.join(map(str, MOVENET_WIDTH_MULTIPLIERS))}, got {shape or 'no such constant'}"
    )


def read_graph_model(path: Path) -> dict[str, np.ndarray]:
    """Read all constants of a TensorFlow.js graph model by name; float32, int32, uint8 or bool.

    Raises:
        FileNotFoundError: the JSON file or a binary file is missing.
        ValueError: the JSON file is not a graph model, a constant's dtype is not supported, or the size of
            the binary files differs from the JSON file.
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
                f"{path}: expected {offset:,} bytes of weights, got {len(data):,} in the binary files"
            )
    return constants


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} not found; expected the JSON file of a TensorFlow.js graph model")
    if path.stat().st_size > MAX_MODEL_FILE_BYTES:
        raise ValueError(
            f"{path}: expected at most {MAX_MODEL_FILE_BYTES:,} bytes, got {path.stat().st_size:,}"
        )
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not a readable JSON file: {error}") from error
    if not (isinstance(content, dict) and content.get("format") == "graph-model"):
        raise ValueError(f'{path}: expected a TensorFlow.js model with "format": "graph-model"')
    manifest = content.get("weightsManifest")
    if not isinstance(manifest, list):
        raise ValueError(f"{path}: expected weightsManifest to be a list, got {type(manifest).__name__}")
    for number, group in enumerate(manifest):
        _check_group(f"{path}: weightsManifest[{number}]", group)
    return content


def _check_group(source: str, group: Any) -> None:
    """Raise ValueError if a group of constants is malformed."""
    if not (
        isinstance(group, dict)
        and isinstance(group.get("paths"), list)
        and all(isinstance(name, str) for name in group["paths"])
        and isinstance(group.get("weights"), list)
    ):
        raise ValueError(
            f"{source}: expected paths (file names) and weights (a list), got {_shorten_repr(group)}"
        )
    for number, entry in enumerate(group["weights"]):
        if not _is_valid_entry(entry):
            raise ValueError(
                f"{source}.weights[{number}]: expected a name, a shape (up to {MAX_DIMENSIONS} integers "
                f">= 0) and a dtype, got {_shorten_repr(entry)}"
            )


def _shorten_repr(value: Any) -> str:
    """Format a JSON value, shortened."""
    return textwrap.shorten(repr(value), MAX_REPR, placeholder=" ...")


def _is_valid_entry(entry: Any) -> bool:
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
        raise ValueError(f"{path}: expected a binary file in the same folder, got the path {name!r}")
    file = path.parent / name
    if not file.is_file():
        raise FileNotFoundError(f"{file} not found; {path.name} lists it as a weights file")
    if file.stat().st_size > MAX_MODEL_FILE_BYTES:
        raise ValueError(
            f"{file}: expected at most {MAX_MODEL_FILE_BYTES:,} bytes, got {file.stat().st_size:,}"
        )
    return file.read_bytes()


def _read_constant(path: Path, entry: Mapping[str, Any], data: bytes, offset: int) -> tuple[np.ndarray, int]:
    """Read one constant; return it and the offset of the next one."""
    stored = entry["dtype"]
    if "quantization" in entry:
        quantized = entry["quantization"].get("dtype")
        if (stored, quantized) != ("float32", "float16"):
            raise ValueError(
                f"{path}: {entry['name']}: expected float32 quantized as float16, got {stored} quantized as "
                f"{quantized}; convert the model again with float16 quantization or without quantization"
            )
        stored = "float16"
    if stored not in TFJS_DTYPES:
        raise ValueError(f"{path}: {entry['name']}: expected dtype {', '.join(TFJS_DTYPES)}, got {stored}")
    dtype = np.dtype(TFJS_DTYPES[stored])
    count = math.prod(entry["shape"])
    end = offset + count * dtype.itemsize
    if end > len(data):
        raise ValueError(
            f"{path}: {entry['name']}: expected bytes {offset:,} to {end:,}, got {len(data):,} bytes in the "
            "binary files; truncated?"
        )
    array = np.frombuffer(data, dtype, count, offset).reshape(entry["shape"])
    return array.astype(np.float32) if dtype.kind == "f" else array, end


def _to_torch(kernel: np.ndarray, depthwise: bool) -> Tensor:
    """Convert a TensorFlow kernel, H x W x in x out or depthwise H x W x channels x 1; keep biases."""
    if kernel.ndim == 4:
        kernel = kernel.transpose((2, 3, 0, 1) if depthwise else (3, 2, 0, 1))
    return torch.from_numpy(np.ascontiguousarray(kernel))


def _map_tensor_names(constants: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield pairs of a name in `MobileNetV2` and the constant's name in MoveNet's graph.

    The numbers of the heads' layers differ among the models: they are those of `constants`.
    """
    body = f"{ENCODER_SCOPE}model/"
    yield from _map_conv_names("conv", f"{body}Conv1/Conv2D")
    for block in range(sum(count for _, count, _ in BLOCKS)):
        name = f"{body}block_{block}_" if block else f"{body}expanded_conv_"
        if block:
            yield from _map_conv_names(f"blocks.{block}.expand", f"{name}expand/Conv2D")
        yield from _map_conv_names(f"blocks.{block}.depthwise", f"{name}depthwise/depthwise")
        yield from _map_conv_names(f"blocks.{block}.project", f"{name}project/Conv2D")
    yield from _map_conv_names("last", f"{body}Conv_1/Conv2D")
    for level, name in enumerate(("conv2d_3", "conv2d_2", "conv2d_1", "conv2d")):
        yield f"laterals.{level}.weight", f"{ENCODER_SCOPE}{name}/Conv2D/ReadVariableOp"
        yield f"laterals.{level}.bias", f"{ENCODER_SCOPE}{name}/BiasAdd/ReadVariableOp"
    for level, name in enumerate(("separable_conv2d_2", "separable_conv2d_1", "separable_conv2d")):
        yield f"smooth.{level}.depthwise.weight", f"{ENCODER_SCOPE}{name}/separable_conv2d/ReadVariableOp"
        yield f"smooth.{level}.pointwise.weight", f"{ENCODER_SCOPE}{name}/separable_conv2d_weights"
        yield f"smooth.{level}.pointwise.bias", f"{ENCODER_SCOPE}{name}/separable_conv2d_bn_offset"
    for head, scope in enumerate(_HEAD_SCOPES):
        name = f"{MOVENET_SCOPE}{scope}/separable_conv2d"
        name += next((match[1] for key in constants if (match := re.match(rf"{name}(_\d+)/", key))), "")
        yield f"heads.{head}.depthwise.weight", f"{name}/separable_conv2d/ReadVariableOp"
        yield f"heads.{head}.pointwise.weight", f"{name}/separable_conv2d/ReadVariableOp_1"
        yield f"heads.{head}.pointwise.bias", f"{name}/BiasAdd/ReadVariableOp"


def _map_conv_names(name: str, constant: str) -> Iterator[tuple[str, str]]:
    yield f"{name}.weight", f"{constant}_weights"
    yield f"{name}.bias", f"{constant}_bn_offset"
