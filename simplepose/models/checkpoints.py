"""Networks from files and into files; nothing that is read can run code.

Three kinds are read: our released weights (safetensors, settings and skeleton in the header),
our training checkpoints, and checkpoints of the released SimplePose code (`published`).
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save_file
from torch import Tensor

from simplepose import config
from simplepose.config import Settings
from simplepose.models import importers
from simplepose.models.imhn import IMHN
from simplepose.models.importers import ImportedEncoder
from simplepose.skeleton import COCO, Skeleton
from simplepose.utils import atomic

TRAINING_FORMAT = "simplepose-training-2"
TRAINING_VALUES = (
    *("settings", "skeleton", "weights", "ema", "swa"),
    *("optimizer", "scaler", "progress", "meter", "random"),
)
WEIGHTS = ("auto", "raw", "ema", "swa")
"""Which weights of a training checkpoint; auto is the first that it has of swa, ema, raw."""

ENCODER_FORMAT = "simplepose-encoder-1"
ENCODER_PREFIX = "stem.encoder."
"""Of a pretrained encoder's tensors in an `IMHN`."""

SHOWN = 5
"""Entries that an error names at most, of each kind."""


@dataclass(frozen=True)
class Model:
    """A network with what belongs to it."""

    network: IMHN
    settings: Settings
    skeleton: Skeleton


def load(path: str | Path, device: str | torch.device = "cpu", weights: str = "auto") -> Model:
    """Read a network, in float32 and evaluation mode, from any of the three kinds of file.

    Args:
        path: of the file.
        device: where the network goes.
        weights: one of WEIGHTS; files of the other kinds have one set of weights, "raw".

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is broken, holds code, does not fit the network that it names, or has no such
            weights.
    """
    path = Path(path)
    if weights not in WEIGHTS:
        raise ValueError(f"weights {weights!r}: one of {', '.join(WEIGHTS)} expected")
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint {path} not found")
    released = path.suffix == ".safetensors"
    model = _read_released(path, weights) if released else _read_pickled(path, weights)
    model.network.to(device).eval()
    return model


def save_released(path: str | Path, model: Model, dtype: torch.dtype = torch.float32) -> None:
    """Write safetensors with settings and skeleton in the header; `dtype` of the floating-point tensors.

    Raises:
        ValueError: a tensor holds a value that is not finite, in the network or once it is of `dtype`.
    """
    state = model.network.state_dict()
    tensors = {name: (t.to(dtype) if t.is_floating_point() else t).contiguous() for name, t in state.items()}
    odd = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if odd:
        raise ValueError(
            f"{path} is not written: as {dtype}, {len(odd)} tensors hold values that are not finite: "
            f"{', '.join(odd[:SHOWN])}"
        )
    header = {"settings": config.to_text(model.settings), "skeleton": model.skeleton.to_text()}
    atomic.write(path, lambda temporary: save_file(tensors, temporary, header))


def save_encoder(path: str | Path, encoder: ImportedEncoder) -> None:
    """Write a pretrained encoder as safetensors, by its names in an `IMHN`, for `read_weights`."""
    tensors = {f"{ENCODER_PREFIX}{name}": tensor for name, tensor in encoder.state.items()}
    header = {"format": ENCODER_FORMAT, "source": encoder.source}
    atomic.write(path, lambda temporary: save_file(tensors, temporary, header))


def read_weights(path: str | Path) -> Mapping[str, Tensor]:
    """Read a network's or a pretrained encoder's weights, to begin training with, by names in an `IMHN`.

    Args:
        path: any file that `load` reads, or one that `save_encoder` wrote.

    Raises:
        FileNotFoundError, ValueError: as `load`.
    """
    path = Path(path)
    if path.is_file() and path.suffix == ".safetensors":
        header, state = _read_safetensors(path)
        if header.get("format") == ENCODER_FORMAT:
            return state
    return load(path).network.state_dict()


def without_coarse_heads(model: Model) -> Model:
    """The same network with heads at stride 4 alone: smaller, with equal maps there.

    The coarser heads only help training: what they find never reaches stride 4.
    """
    settings = replace(
        model.settings,
        model=replace(model.settings.model, scales=1),
        loss=replace(model.settings.loss, scale_weights=model.settings.loss.scale_weights[:1]),
    )
    network = _unfilled(settings.model, model.skeleton.channels)
    state = model.network.state_dict()
    network.load_state_dict({name: state[name] for name in network.state_dict()})
    return Model(network.eval(), settings, model.skeleton)


def read_training(path: Path) -> dict[str, Any]:
    """What training.engine.Trainer.state gave. Raises ValueError if the file is no training checkpoint."""
    values = read_plain(path)
    if values.get("format") != TRAINING_FORMAT:
        raise ValueError(
            f"{path}: a training checkpoint ({TRAINING_FORMAT}) expected, got {_first_names(values)}"
        )
    _require_whole(values, path)
    return values


def read_plain(path: Path) -> dict[str, Any]:
    """Read a torch file of plain tensors and values; anything else in it is refused."""
    try:
        values = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"{path}: refused, because it holds code or objects beside plain tensors and values ({reason})"
        ) from error
    except Exception as error:  # bytes that are no pickle make the unpickler raise anything
        raise ValueError(f"{path}: not a readable checkpoint, perhaps truncated: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path}: a dict with the network's weights expected, got {type(values).__name__}")
    return values


def fill(network: torch.nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load every entry of `state`, strictly; floating-point tensors of any width become the network's.

    Raises:
        ValueError: names the missing, extra and misshapen entries, and those that are no tensor.
    """
    _require_tensors(state, source)
    wanted = network.state_dict()
    shapes = [
        f"{name} is {tuple(state[name].shape)}, expected {tuple(wanted[name].shape)}"
        for name in wanted
        if name in state and state[name].shape != wanted[name].shape
    ]
    faults = {
        "missing": [name for name in wanted if name not in state],
        "extra": [name for name in state if name not in wanted],
        "misshapen": shapes,
    }
    told = [f"{len(names)} {kind}: {', '.join(names[:SHOWN])}" for kind, names in faults.items() if names]
    if told:
        raise ValueError(f"{source} is a checkpoint of another network: {'; '.join(told)}")
    network.load_state_dict(dict(state))


def _read_released(path: Path, weights: str) -> Model:
    header, state = _read_safetensors(path)
    if header.get("format") == ENCODER_FORMAT:
        raise ValueError(
            f"{path} is an encoder alone; expected a whole network; begin training with --init-from"
        )
    if not {"settings", "skeleton"} <= set(header):
        raise ValueError(
            f"{path}: its header lacks settings and skeleton; it was not written by this project"
        )
    return _build(header["settings"], header["skeleton"], _chosen({"raw": state}, weights, path), path)


def _read_safetensors(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Header and tensors."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path}: not a readable safetensors file, perhaps truncated: {error}") from error


def _read_pickled(path: Path, weights: str) -> Model:
    values = read_plain(path)
    if values.get("format") == TRAINING_FORMAT:
        _require_whole(values, path)
        state = _chosen(_sets_of_weights(values, path), weights, path)
        return _build(values["settings"], values["skeleton"], state, path)
    if "format" in values:
        raise ValueError(f"{path}: {values['format']!r} cannot be read; {TRAINING_FORMAT!r} expected")
    if importers.WEIGHTS not in values:
        raise ValueError(
            f"{path}: no {importers.WEIGHTS!r} in it, as a checkpoint has; found {_first_names(values)}"
        )
    state = _chosen({"raw": values[importers.WEIGHTS]}, weights, path)
    _require_tensors(state, str(path))
    settings = Settings()
    network = _unfilled(settings.model, COCO.channels)
    fill(network, importers.to_ours(state, network), str(path))
    return Model(network, settings, COCO)


def _sets_of_weights(values: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Those that a training checkpoint has; an average that has taken nothing in yet is none."""
    sets = {"raw": values["weights"]}
    for name in ("ema", "swa"):
        average = values[name]
        if average is None:
            continue
        if not (isinstance(average, Mapping) and {"state", "updates"} <= average.keys()):
            raise ValueError(f"{path}: {name}: state and updates expected, got {type(average).__name__}")
        if average["updates"]:
            sets[name] = average["state"]
    return sets


def _chosen(sets: Mapping[str, Any], weights: str, path: Path) -> Any:
    name = next(name for name in ("swa", "ema", "raw") if name in sets) if weights == "auto" else weights
    if name not in sets:
        raise ValueError(f"{path} has no {name} weights; it has {', '.join(sets)}")
    return sets[name]


def _build(settings_yaml: str, skeleton_yaml: str, state: Mapping[str, Tensor], path: Path) -> Model:
    """A model from what its file says of itself; settings that this version does not know are left out."""
    if not (isinstance(settings_yaml, str) and isinstance(skeleton_yaml, str)):
        raise ValueError(f"{path}: texts of its settings and its skeleton expected, got other values")
    settings = config.from_text(settings_yaml, f"{path} (settings)", unknown="warn")
    skeleton = Skeleton.from_text(skeleton_yaml, f"{path} (skeleton)")
    network = _unfilled(settings.model, skeleton.channels)
    fill(network, state, str(path))
    return Model(network, settings, skeleton)


def _unfilled(settings: config.ModelSettings, channels: int) -> IMHN:
    """A network whose weights are still to come: drawing 129 M of them by chance takes seconds."""
    with torch.device("meta"):
        network = IMHN.from_settings(settings, channels)
    return network.to_empty(device="cpu")


def _require_whole(values: Mapping[str, Any], path: Path) -> None:
    lacking = [name for name in TRAINING_VALUES if name not in values]
    if lacking:
        raise ValueError(f"{path}: a training checkpoint that lacks {', '.join(lacking)}")


def _require_tensors(state: Any, source: str) -> None:
    if not isinstance(state, Mapping):
        raise ValueError(f"{source}: weights by name expected, got {type(state).__name__}")
    odd = [
        f"{name} ({type(value).__name__})"
        for name, value in state.items()
        if not (isinstance(name, str) and torch.is_tensor(value))
    ]
    if odd:
        raise ValueError(f"{source}: weights that are no named tensors: {', '.join(odd[:SHOWN])}")


def _first_names(values: Mapping[Any, Any]) -> str:
    return ", ".join(sorted(map(str, values))[:SHOWN]) or "nothing"
