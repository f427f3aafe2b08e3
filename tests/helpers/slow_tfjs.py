"""Evaluate a TensorFlow.js graph model node by node in NumPy: slow, and independent of the importer.

It reads the files itself and supports only the operations of MoveNet's encoder, as TensorFlow defines them.
"""

from __future__ import annotations

import base64
import json
import math
from pathlib import Path

import numpy as np


class SlowGraphModel:
    """The graph of one model; `evaluate` computes the values of nodes for an image."""

    def __init__(self, path: Path) -> None:
        model = json.loads(path.read_text())
        self.nodes = {node["name"]: node for node in model["modelTopology"]["node"]}
        self.constants = _read_constants(path, model["weightsManifest"])

    def evaluate(self, image: np.ndarray, names: list[str]) -> list[np.ndarray]:
        """(H, W, 3) RGB in [0, 255] -> float64 values of the named nodes, (1, h, w, C) for images."""
        values: dict[str, np.ndarray] = {}
        return [self._value(name, image, values) for name in names]

    def _value(self, name: str, image: np.ndarray, values: dict[str, np.ndarray]) -> np.ndarray:
        if name not in values:
            node = self.nodes[name]
            if node["op"] == "Const":
                values[name] = self.constants[name]
            elif node["op"] == "Placeholder":
                values[name] = image[None]
            else:
                inputs = [self._value(other, image, values) for other in node["input"]]
                values[name] = OPERATIONS[node["op"]](node.get("attr", {}), *inputs)
        return values[name]


def _read_constants(path: Path, manifest: list) -> dict[str, np.ndarray]:
    constants = {}
    for group in manifest:
        with open(path.parent / group["paths"][0], "rb") as file:
            for entry in group["weights"]:
                kind = entry.get("quantization", entry)["dtype"]
                size = {"float16": 2, "float32": 4, "int32": 4}[kind]
                content = file.read(size * math.prod(entry["shape"]))
                values = np.frombuffer(content, {"float16": "<f2", "float32": "<f4", "int32": "<i4"}[kind])
                wide = np.int64 if kind == "int32" else np.float64
                constants[entry["name"]] = values.astype(wide).reshape(entry["shape"])
    return constants


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Compute TensorFlow's SAME padding before and after; the smaller half is before."""
    outputs = -(-size // stride)
    total = max((outputs - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _windows(attr: dict, x: np.ndarray, kernel: np.ndarray):
    """Yield for each position in a kernel its weights and its inputs (1, h, w, C)."""
    padding = base64.b64decode(attr["padding"]["s"])
    assert padding == b"SAME" or (padding == b"VALID" and kernel.shape[:2] == (1, 1))  # the same for 1x1
    assert base64.b64decode(attr["data_format"]["s"]) == b"NHWC"
    assert attr["dilations"]["list"]["i"] == ["1"] * 4
    stride = int(attr["strides"]["list"]["i"][1])
    height, width = kernel.shape[:2]
    rows, columns = same_padding(x.shape[1], height, stride), same_padding(x.shape[2], width, stride)
    padded = np.pad(x, ((0, 0), rows, columns, (0, 0)))
    h, w = -(-x.shape[1] // stride), -(-x.shape[2] // stride)
    for i in range(height):
        for j in range(width):
            yield kernel[i, j], padded[:, i : i + h * stride : stride, j : j + w * stride : stride][:, :h, :w]


def _fused(attr: dict, x: np.ndarray, inputs: tuple[np.ndarray, ...]) -> np.ndarray:
    """Apply the bias and activation that are fused into a convolution node."""
    rest = list(inputs)
    for operation in attr.get("fused_ops", {"list": {"s": []}})["list"]["s"]:
        x = {
            b"BiasAdd": lambda x: x + rest.pop(0),
            b"Relu": lambda x: np.maximum(x, 0),
            b"Relu6": lambda x: np.clip(x, 0, 6),
        }[base64.b64decode(operation)](x)
    assert not rest
    return x


def _convolve(attr: dict, x: np.ndarray, kernel: np.ndarray, *inputs: np.ndarray) -> np.ndarray:
    """Kernel: (h, w, inputs, outputs)."""
    return _fused(attr, sum(part @ weights for weights, part in _windows(attr, x, kernel)), inputs)


def _convolve_depthwise(attr: dict, x: np.ndarray, kernel: np.ndarray, *inputs: np.ndarray) -> np.ndarray:
    """Kernel: (h, w, channels, 1)."""
    assert kernel.shape[3] == 1
    return _fused(attr, sum(part * weights[:, 0] for weights, part in _windows(attr, x, kernel)), inputs)


def _resize(attr: dict, x: np.ndarray, size: np.ndarray) -> np.ndarray:
    assert attr["half_pixel_centers"]["b"]
    assert not attr["align_corners"]["b"]
    for axis, outputs in ((1, int(size[0])), (2, int(size[1]))):
        inputs = x.shape[axis]
        positions = (np.arange(outputs) + 0.5) * inputs / outputs - 0.5
        before = np.floor(positions).astype(int)
        fraction = (positions - before).reshape([-1 if i == axis else 1 for i in range(4)])
        first, second = (np.take(x, np.clip(p, 0, inputs - 1), axis) for p in (before, before + 1))
        x = first * (1 - fraction) + second * fraction
    return x


def _slice(attr: dict, x: np.ndarray, begin: np.ndarray, end: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Slice a vector."""
    masks = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")
    assert all(attr[mask]["i"] == "0" for mask in masks)
    return x[begin[0] : end[0] : step[0]]


OPERATIONS = {
    "Cast": lambda attr, x: x.astype(np.float64),
    "Mul": lambda attr, a, b: a * b,
    "Sub": lambda attr, a, b: a - b,
    "AddV2": lambda attr, a, b: a + b,
    "Shape": lambda attr, x: np.array(x.shape),
    "StridedSlice": _slice,
    "ResizeBilinear": _resize,
    "_FusedConv2D": _convolve,
    "FusedDepthwiseConv2dNative": _convolve_depthwise,
    "DepthwiseConv2dNative": _convolve_depthwise,
}
