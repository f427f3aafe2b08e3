"""Load and save networks; loading never runs code from a file.

Three kinds of files are loaded: this project's safetensors (settings and skeleton in the header), its
training checkpoints, and checkpoints of the published SimplePose and AlphaPose code (see `importers`).
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
from simplepose.config import AugmentSettings, FastPoseSettings, Settings
from simplepose.models import importers
from simplepose.models.fastpose import FastPose
from simplepose.models.imhn import IMHN
from simplepose.models.importers import ImportedEncoder
from simplepose.skeleton import COCO, Skeleton
from simplepose.utils import atomic

TRAINING_FORMAT = "simplepose-training-2"
TRAINING_KEYS = (
    *("settings", "skeleton", "weights", "ema", "swa"),
    *("optimizer", "scaler", "progress", "meter", "random"),
)
WEIGHT_SETS = ("auto", "raw", "ema", "swa")
"""Sets of weights in a training checkpoint; auto: the first available of swa, ema, raw."""

ENCODER_FORMAT = "simplepose-encoder-1"
ENCODER_PREFIX = "stem.encoder."
"""Name prefix of a pretrained encoder's tensors in a network."""

V02_CROP_SIZE, MASTER_CROP_SIZE = (320, 256), (256, 192)
"""Height and width of the crops of AlphaPose's published networks: of v0.2.0, and of master."""

CROP_FRACTION = 1 / 1.25
"""Size of a box in its crop: AlphaPose widens boxes by 1.25."""

MAX_NAMES_IN_ERROR = 5
"""Largest number of entries of each kind that an error message lists."""


@dataclass(frozen=True)
class Model:
    """A network with its settings and skeleton."""

    network: IMHN | FastPose
    settings: Settings
    skeleton: Skeleton


def build_network(settings: Settings, skeleton: Skeleton) -> IMHN | FastPose:
    """Build the network that the settings select, with random weights."""
    if settings.network == "fastpose":
        return FastPose.from_settings(settings.fastpose, len(skeleton.annotated))
    return IMHN.from_settings(settings.model, skeleton.channels)


def load(path: str | Path, device: str | torch.device = "cpu", weights: str = "auto") -> Model:
    """Load a network, in float32 and evaluation mode, from any of the three kinds of file.

    Args:
        path: path of the file.
        device: device of the network.
        weights: one of WEIGHT_SETS; only training checkpoints have weights other than "raw".

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is damaged, contains code, does not match its network, or lacks the requested
            weights.
    """
    path = Path(path)
    if weights not in WEIGHT_SETS:
        raise ValueError(f"weights: expected one of {', '.join(WEIGHT_SETS)}, got {weights!r}")
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint {path} not found")
    load_file = _load_safetensors if path.suffix == ".safetensors" else _load_pickled
    model = load_file(path, weights)
    model.network.to(device).eval()
    return model


def save_safetensors(path: str | Path, model: Model, dtype: torch.dtype = torch.float32) -> None:
    """Save a network as safetensors with settings and skeleton in the header.

    Args:
        path: path of the file.
        model: the network with its settings and skeleton.
        dtype: of the floating-point tensors in the file.

    Raises:
        ValueError: a tensor has NaN or infinite values, in the network or after conversion to `dtype`.
    """
    state = model.network.state_dict()
    tensors = {name: (t.to(dtype) if t.is_floating_point() else t).contiguous() for name, t in state.items()}
    non_finite = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if non_finite:
        raise ValueError(
            f"{path}: expected finite weights in {dtype}, got NaN or infinity in {len(non_finite)} tensors: "
            f"{', '.join(non_finite[:MAX_NAMES_IN_ERROR])}; the file is not written"
        )
    header = {"settings": config.to_text(model.settings), "skeleton": model.skeleton.to_yaml()}
    atomic.write(path, lambda temporary: save_file(tensors, temporary, header))


def save_encoder(path: str | Path, encoder: ImportedEncoder) -> None:
    """Save a pretrained encoder as safetensors, under its names in a network, for `load_weights`."""
    tensors = {f"{ENCODER_PREFIX}{name}": tensor for name, tensor in encoder.state.items()}
    header = {"format": ENCODER_FORMAT, "source": encoder.source}
    atomic.write(path, lambda temporary: save_file(tensors, temporary, header))


def load_weights(path: str | Path) -> Mapping[str, Tensor]:
    """Load a network's or a pretrained encoder's weights to initialize training, by their names in a network.

    Args:
        path: a file for `load`, a file from `save_encoder`, or torchvision's file of a ResNet.

    Raises:
        FileNotFoundError, ValueError: as `load`.
    """
    path = Path(path)
    if path.is_file() and path.suffix != ".safetensors":
        values = load_plain_values(path)
        if importers.is_torchvision_resnet(values):
            _check_tensors(values, str(path))
            return importers.from_torchvision_state(values)
    if path.is_file() and path.suffix == ".safetensors":
        header, state = _read_safetensors(path)
        if header.get("format") == ENCODER_FORMAT:
            return state
    return load(path).network.state_dict()


def remove_coarse_heads(model: Model) -> Model:
    """Copy a network without its heads at strides above 4: smaller, with the same maps at stride 4.

    The coarse heads only help training: their outputs never reach stride 4. FastPose has none.
    """
    if isinstance(model.network, FastPose):
        return model
    settings = replace(
        model.settings,
        model=replace(model.settings.model, scales=1),
        loss=replace(model.settings.loss, scale_weights=model.settings.loss.scale_weights[:1]),
    )
    network = _build_uninitialized(settings, model.skeleton)
    state = model.network.state_dict()
    network.load_state_dict({name: state[name] for name in network.state_dict()})
    return Model(network.eval(), settings, model.skeleton)


def load_training_checkpoint(path: Path) -> dict[str, Any]:
    """Load a training checkpoint, as `training.trainer.Trainer.state` returns it.

    Raises:
        ValueError: the file is not a training checkpoint, or lacks entries.
    """
    values = load_plain_values(path)
    if values.get("format") != TRAINING_FORMAT:
        raise ValueError(
            f"{path}: expected a training checkpoint ({TRAINING_FORMAT}), got {_format_keys(values)}"
        )
    _check_complete(values, path)
    return values


def load_plain_values(path: Path) -> dict[str, Any]:
    """Load a dict of plain tensors and values from a torch file.

    Raises:
        ValueError: the file is damaged, is not a dict, or contains code or other objects.
    """
    try:
        values = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"{path}: expected only plain tensors and values, got code or other objects ({reason})"
        ) from error
    except Exception as error:  # the unpickler raises any type of exception on invalid bytes
        raise ValueError(f"{path}: not a readable checkpoint, perhaps truncated: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path}: expected a dict with the network's weights, got {type(values).__name__}")
    return values


def load_state_strictly(network: torch.nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load a state dict that must match the network exactly; floating-point dtypes are converted.

    Args:
        network: changed in place.
        state: tensors by name.
        source: name of the source, for error messages.

    Raises:
        ValueError: entries are missing, extra, of another shape, or not tensors; the message lists them.
    """
    _check_tensors(state, source)
    expected = network.state_dict()
    mismatches = {
        "missing": [name for name in expected if name not in state],
        "extra": [name for name in state if name not in expected],
        "of another shape": [
            f"{name} is {tuple(state[name].shape)}, expected {tuple(expected[name].shape)}"
            for name in expected
            if name in state and state[name].shape != expected[name].shape
        ],
    }
    messages = [
        f"{len(names)} {kind}: {', '.join(names[:MAX_NAMES_IN_ERROR])}"
        for kind, names in mismatches.items()
        if names
    ]
    if messages:
        raise ValueError(f"{source} is a checkpoint of another network: {'; '.join(messages)}")
    network.load_state_dict(dict(state))


def _load_safetensors(path: Path, weights: str) -> Model:
    header, state = _read_safetensors(path)
    if header.get("format") == ENCODER_FORMAT:
        raise ValueError(
            f"{path}: expected a complete network, got only an encoder; use it with --init-from for training"
        )
    if not {"settings", "skeleton"} <= set(header):
        raise ValueError(
            f"{path}: expected settings and skeleton in the header, got neither or one; "
            "the file was not written by this project"
        )
    return _build_model(
        header["settings"], header["skeleton"], _select_weights({"raw": state}, weights, path), path
    )


def _read_safetensors(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Read header and tensors of a safetensors file."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path}: not a readable safetensors file, perhaps truncated: {error}") from error


def _load_pickled(path: Path, weights: str) -> Model:
    values = load_plain_values(path)
    if values.get("format") == TRAINING_FORMAT:
        _check_complete(values, path)
        state = _select_weights(_collect_weight_sets(values, path), weights, path)
        return _build_model(values["settings"], values["skeleton"], state, path)
    if "format" in values:
        raise ValueError(f"{path}: expected format {TRAINING_FORMAT!r}, got {values['format']!r}")
    if importers.is_fastpose(values):
        return _build_published_fastpose(_select_weights({"raw": values}, weights, path), path)
    if importers.WEIGHTS_KEY not in values:
        raise ValueError(f"{path}: expected the key {importers.WEIGHTS_KEY!r}, got {_format_keys(values)}")
    state = _select_weights({"raw": values[importers.WEIGHTS_KEY]}, weights, path)
    _check_tensors(state, str(path))
    settings = Settings()
    network = _build_uninitialized(settings, COCO)
    assert isinstance(network, IMHN)
    load_state_strictly(network, importers.from_published_state(state, network), str(path))
    return Model(network, settings, COCO)


def _collect_weight_sets(values: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Collect a training checkpoint's sets of weights by name, without averages that have no updates yet."""
    sets = {"raw": values["weights"]}
    for name in ("ema", "swa"):
        average = values[name]
        if average is None:
            continue
        if not (isinstance(average, Mapping) and {"state", "updates"} <= average.keys()):
            raise ValueError(f"{path}: {name}: expected state and updates, got {type(average).__name__}")
        if average["updates"]:
            sets[name] = average["state"]
    return sets


def _select_weights(sets: Mapping[str, Any], weights: str, path: Path) -> Any:
    name = next(name for name in ("swa", "ema", "raw") if name in sets) if weights == "auto" else weights
    if name not in sets:
        raise ValueError(f"{path} has no {name} weights; it has {', '.join(sets)}")
    return sets[name]


def _build_model(settings_yaml: str, skeleton_yaml: str, state: Mapping[str, Tensor], path: Path) -> Model:
    """Build a model from its file's settings and skeleton; unknown settings are ignored with a warning."""
    if not (isinstance(settings_yaml, str) and isinstance(skeleton_yaml, str)):
        raise ValueError(f"{path}: expected settings and skeleton as YAML text, got other values")
    source = f"{path} (settings)"
    settings = config.from_text(settings_yaml, source, unknown="warn", log_deprecated=False)
    skeleton = Skeleton.from_yaml(skeleton_yaml, f"{path} (skeleton)")
    network = _build_uninitialized(settings, skeleton)
    load_state_strictly(network, state, str(path))
    return Model(network, settings, skeleton)


def _build_published_fastpose(state: Mapping[str, Tensor], path: Path) -> Model:
    """Build a model from a published checkpoint of FastPose; its encoder follows from the names."""
    _check_tensors(state, str(path))
    encoder = importers.find_resnet(state)
    if encoder is None:
        raise ValueError(f"{path}: expected FastPose with a ResNet-50, -101 or -152, got other blocks")
    size = V02_CROP_SIZE if importers.has_v02_channels(state) else MASTER_CROP_SIZE
    settings = Settings(
        network="fastpose",
        fastpose=FastPoseSettings(encoder=encoder, origin=0.0),
        augment=AugmentSettings(size=size, framing="crop", person_height=CROP_FRACTION),
    )
    network = _build_uninitialized(settings, COCO)
    assert isinstance(network, FastPose)
    load_state_strictly(network, importers.from_fastpose_state(state, network), str(path))
    return Model(network, settings, COCO)


def _build_uninitialized(settings: Settings, skeleton: Skeleton) -> IMHN | FastPose:
    """Build a network with uninitialized weights: random initialization of 129 M weights takes seconds."""
    with torch.device("meta"):
        network = build_network(settings, skeleton)
    return network.to_empty(device="cpu")


def _check_complete(values: Mapping[str, Any], path: Path) -> None:
    missing = [name for name in TRAINING_KEYS if name not in values]
    if missing:
        raise ValueError(f"{path}: the training checkpoint lacks {', '.join(missing)}")


def _check_tensors(state: Any, source: str) -> None:
    if not isinstance(state, Mapping):
        raise ValueError(f"{source}: expected weights by name, got {type(state).__name__}")
    invalid = [
        f"{name} ({type(value).__name__})"
        for name, value in state.items()
        if not (isinstance(name, str) and torch.is_tensor(value))
    ]
    if invalid:
        raise ValueError(f"{source}: expected named tensors, got {', '.join(invalid[:MAX_NAMES_IN_ERROR])}")


def _format_keys(values: Mapping[Any, Any]) -> str:
    return ", ".join(sorted(map(str, values))[:MAX_NAMES_IN_ERROR]) or "no keys"
