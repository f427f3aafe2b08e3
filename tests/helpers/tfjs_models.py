"""Write TensorFlow.js graph models for tests: a JSON file and one or several binary files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from simplepose.models import importers
from simplepose.models.encoders import MobileNetV2


def make_entry(name: str, array: np.ndarray) -> dict[str, Any]:
    """Build a constant's manifest entry; float16 arrays become quantized float32."""
    entry = {"name": name, "shape": list(array.shape), "dtype": array.dtype.name}
    if array.dtype == np.float16:
        entry |= {"dtype": "float32", "quantization": {"dtype": "float16", "original_dtype": "float32"}}
    return entry


def write(folder: Path, constants: Mapping[str, np.ndarray], cuts: Sequence[int] = ()) -> Path:
    """Write model.json and its binary files, split at each byte of `cuts`; return the JSON file's path."""
    content = b"".join(array.tobytes() for array in constants.values())
    bounds = [0, *cuts, len(content)]
    paths = [f"part{number}.bin" for number in range(len(bounds) - 1)]
    for name, begin, end in zip(paths, bounds[:-1], bounds[1:], strict=True):
        (folder / name).write_bytes(content[begin:end])
    group = {"paths": paths, "weights": [make_entry(name, array) for name, array in constants.items()]}
    return write_json(folder, [group])


def write_json(folder: Path, manifest: Any) -> Path:
    """Write only model.json."""
    path = folder / "model.json"
    model = {"format": "graph-model", "modelTopology": {"node": []}, "weightsManifest": manifest}
    path.write_text(json.dumps(model))
    return path


def movenet(
    rng: np.random.Generator, multiplier: float = 1.5
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Build random constants: by MoveNet's names for TensorFlow, and by `MobileNetV2`'s names for torch."""
    with torch.device("meta"):
        shapes = {name: tuple(t.shape) for name, t in MobileNetV2(multiplier).state_dict().items()}
    constants: dict[str, np.ndarray] = {"StatefulPartitionedCall/size": np.array([2, 2], np.int32)}
    state = {}
    for name, constant in importers._map_tensor_names(()):
        array = rng.standard_normal(shapes[name], np.float32).astype(np.float16)
        state[name] = array.astype(np.float32)
        if array.ndim == 4:
            order = (2, 3, 0, 1) if "depthwise" in name else (2, 3, 1, 0)
            array = array[:, ::-1] if name == "conv.weight" else array  # BGR -> RGB
            array = array.transpose(order)
        constants[constant] = array
    return constants, state
