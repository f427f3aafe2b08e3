"""Load and save networks; loading never runs code from a file.

Three kinds of files are loaded: this project's safetensors (settings and skeleton in the header), its
training checkpoints, and checkpoints of the published SimplePose and AlphaPose code (see `importers`).
"""

from __future__ import annotations

import collections
import functools
import io
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

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
from simplepose.utils.files import check_regular_file, printable

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

N = TypeVar("N", bound=torch.nn.Module)

MAX_NAMES_IN_ERROR = 5
"""Largest number of entries of each kind that an error message lists."""


MAX_HEADER_BYTES = 8 * 2**20
"""Largest header of a safetensors file; that of the published network has 0.3 MB."""


ZIP_START = b"PK\x03\x04"

# Files of torch < 1.6 are no zip files: four pickles (this number, the protocol, the byte order, the
# content), then the bytes of the storages.
LEGACY_MAGIC, LEGACY_PICKLES = 0x1950A86A20F9469CFC6C, 4

# A larger pickle has no place in a checkpoint: tensors are stored beside it.
MAX_PICKLE_BYTES = 64 * 2**20

# Bytes of an item in each type of storage.
STORAGE_ITEM_BYTES = {
    "torch.DoubleStorage": 8,
    "torch.FloatStorage": 4,
    "torch.HalfStorage": 2,
    "torch.BFloat16Storage": 2,
    "torch.LongStorage": 8,
    "torch.IntStorage": 4,
    "torch.ShortStorage": 2,
    "torch.CharStorage": 1,
    "torch.ByteStorage": 1,
    "torch.BoolStorage": 1,
    "torch.ComplexFloatStorage": 8,
    "torch.ComplexDoubleStorage": 16,
    "torch.storage.UntypedStorage": 1,
}

ALLOWED_GLOBALS = frozenset(
    {
        *STORAGE_ITEM_BYTES,
        "collections.OrderedDict",
        "torch._utils._rebuild_parameter",
        "torch._utils._rebuild_tensor",
        "torch._utils._rebuild_tensor_v2",
        "torch.Size",
        "torch.device",
        *(str(dtype) for dtype in vars(torch).values() if isinstance(dtype, torch.dtype)),
    }
)


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
    if not path.exists():
        raise FileNotFoundError(f"checkpoint {path} not found")
    check_regular_file(path)
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
    network = _build_without_memory(settings, model.skeleton).to_empty(device="cpu")
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
    _check_torch_file(path)
    try:
        values = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises any type of exception on invalid bytes
        raise ValueError(f"{path}: not a readable torch checkpoint, perhaps truncated") from error
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
    check_state(network, state, source)
    network.load_state_dict(dict(state))


def check_state(network: torch.nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Check that a state dict matches a network, which may be without memory (on the device `meta`).

    Args and Raises: see `load_state_strictly`.
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
        f"{len(names)} {kind}: {printable(', '.join(names[:MAX_NAMES_IN_ERROR]))}"
        for kind, names in mismatches.items()
        if names
    ]
    if messages:
        raise ValueError(f"{source} is a checkpoint of another network: {'; '.join(messages)}")


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
    """Read header and tensors of a safetensors file; the library checks all sizes against the file's."""
    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
    if header_bytes > min(MAX_HEADER_BYTES, path.stat().st_size):
        raise ValueError(
            f"{path}: not a readable safetensors file, perhaps truncated: expected a header within the file "
            f"of at most {MAX_HEADER_BYTES:,} bytes, got {header_bytes:,}"
        )
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path}: not a readable safetensors file, perhaps truncated") from error


def _load_pickled(path: Path, weights: str) -> Model:
    values = load_plain_values(path)
    if values.get("format") == TRAINING_FORMAT:
        _check_complete(values, path)
        state = _select_weights(_collect_weight_sets(values, path), weights, path)
        return _build_model(values["settings"], values["skeleton"], state, path)
    if "format" in values:
        raise ValueError(f"{path}: expected format {TRAINING_FORMAT!r}, got {str(values['format'])[:100]!r}")
    if importers.is_fastpose(values):
        return _build_published_fastpose(_select_weights({"raw": values}, weights, path), path)
    if importers.WEIGHTS_KEY not in values:
        raise ValueError(f"{path}: expected the key {importers.WEIGHTS_KEY!r}, got {_format_keys(values)}")
    state = _select_weights({"raw": values[importers.WEIGHTS_KEY]}, weights, path)
    _check_tensors(state, str(path))
    settings = Settings()
    network = _build_without_memory(settings, COCO)
    assert isinstance(network, IMHN)
    return Model(_fill(network, importers.from_published_state(state, network), path), settings, COCO)


def _collect_weight_sets(values: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Collect a training checkpoint's sets of weights by name, without averages that have no updates yet."""
    sets = {"raw": values["weights"]}
    for name in ("ema", "swa"):
        average = values[name]
        if average is None:
            continue
        if not (isinstance(average, Mapping) and {"state", "updates"} <= average.keys()):
            raise ValueError(f"{path}: {name}: expected state and updates, got {type(average).__name__}")
        if not (isinstance(average["updates"], int) and average["updates"] >= 0):
            raise ValueError(f"{path}: {name}.updates: expected an integer >= 0")
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
    network = _build_without_memory(settings, skeleton)
    return Model(_fill(network, state, path), settings, skeleton)


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
    network = _build_without_memory(settings, COCO)
    assert isinstance(network, FastPose)
    return Model(_fill(network, importers.from_fastpose_state(state, network), path), settings, COCO)


def _build_without_memory(settings: Settings, skeleton: Skeleton) -> IMHN | FastPose:
    """Build a network whose weights have shapes, but no memory and values."""
    with torch.device("meta"):
        return build_network(settings, skeleton)


def _fill(network: N, state: Mapping[str, Tensor], path: Path) -> N:
    """Allocate a network's weights and load them; they must match the file's, and fit into its size."""
    check_state(network, state, str(path))
    size, file_bytes = sum(tensor.nbytes for tensor in state.values()), path.stat().st_size
    if size > file_bytes:
        raise ValueError(
            f"{path}: expected tensors of at most {file_bytes:,} bytes, the file's, got {size:,}"
        )
    network.to_empty(device="cpu").load_state_dict(dict(state))
    return network


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
    invalid += [
        f"{name} ({value.dtype})"
        for name, value in state.items()
        if torch.is_tensor(value) and value.is_complex()
    ]
    if invalid:
        names = printable(", ".join(invalid[:MAX_NAMES_IN_ERROR]))
        raise ValueError(f"{source}: expected named tensors, got {names}")


def _format_keys(values: Mapping[Any, Any]) -> str:
    return printable(", ".join(sorted(map(str, values))[:MAX_NAMES_IN_ERROR])) or "no keys"


def _check_torch_file(path: Path) -> None:
    """Check, before torch loads it, that a torch file has only plain tensors that fit into its size.

    torch allocates whatever sizes a file states. This check reads only the pickle, without running code: each
    object of it is a placeholder.

    Raises:
        ValueError: the file contains other objects, compressed entries or larger tensors, or is not readable.
    """
    with path.open("rb") as file:
        start = file.read(len(ZIP_START))
        file.seek(0)
        scan = _scan_zip if start == ZIP_START else _scan_legacy
        try:
            content, foreign = scan(path, file)
        except _ContentError as error:
            raise ValueError(f"{path}: {error}") from error
        except Exception as error:  # unpicklers raise any type of exception on invalid bytes
            raise ValueError(f"{path}: not a readable torch checkpoint, perhaps truncated") from error
    if foreign:
        entry, name = _find_foreign(content) or ("the file", foreign[0])
        raise ValueError(
            f"{path}: expected only plain tensors and values, got code or other objects: {entry} contains "
            f"{name!r}; save the checkpoint again without it, or with plain numbers"
        )


class _ContentError(ValueError):
    """The file asks for more than it has."""


class _Object:
    """Placeholder of an object in a pickle."""

    name, is_allowed = "", True

    def __new__(cls, *args: Any) -> _Object:
        self = super().__new__(cls)
        self.args = args
        return self

    def __init__(self, *args: Any) -> None:
        self.args: tuple[Any, ...] = args

    def __setstate__(self, state: Any) -> None:
        """Ignore the state."""

    def __setitem__(self, key: Any, value: Any) -> None:
        """Ignore an item."""

    def append(self, value: Any) -> None:
        """Ignore a value."""


class _Scanner(pickle.Unpickler):
    """Unpickles to plain values and placeholders.

    Args:
        file: the pickle.
        storage_bytes: number of bytes of each storage in a zip file; None if the file has them at its end.
        max_bytes: of all storages together.

    Attributes:
        foreign: names of the globals that a plain file does not have.
    """

    def __init__(self, file: BinaryIO, storage_bytes: dict[str, int] | None, max_bytes: int) -> None:
        super().__init__(file, encoding="utf-8")
        self.foreign: list[str] = []
        self._storage_bytes, self._max_bytes = storage_bytes, max_bytes
        self._sizes: dict[str, int] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Return a placeholder of a class or function."""
        full_name = f"{module}.{name}"
        if full_name == "collections.OrderedDict":
            return collections.OrderedDict
        if full_name not in ALLOWED_GLOBALS:
            self.foreign.append(full_name)
        return _placeholder_type(full_name)

    def persistent_load(self, pid: Any) -> Any:
        """Check the size of a storage."""
        kind, storage_type, key, _, count = pid[:5]
        if kind != "storage" or not isinstance(count, int) or count < 0:
            raise _ContentError("not a readable torch checkpoint: a storage has no valid size")
        self._sizes[key] = count * STORAGE_ITEM_BYTES[storage_type.name]
        stored = self._max_bytes if self._storage_bytes is None else self._storage_bytes.get(key, 0)
        if self._sizes[key] > stored or sum(self._sizes.values()) > self._max_bytes:
            raise _ContentError(
                f"storage {key!r}: expected at most the {stored:,} bytes in the file, "
                f"got a size of {self._sizes[key]:,} bytes"
            )
        return None


@functools.lru_cache(maxsize=1000)
def _placeholder_type(full_name: str) -> type[_Object]:
    return type("_Object", (_Object,), {"name": full_name, "is_allowed": full_name in ALLOWED_GLOBALS})


def _scan_zip(path: Path, file: BinaryIO) -> tuple[Any, list[str]]:
    """Scan a file of torch >= 1.6: a zip file, whose entries are not compressed."""
    size = path.stat().st_size
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        names = {entry.filename for entry in entries}
        plain = all(e.compress_type == zipfile.ZIP_STORED and e.compress_size == e.file_size for e in entries)
        total = sum(entry.file_size for entry in entries)
        if not plain or total > size or len(names) != len(entries):
            raise _ContentError(
                f"expected distinct, uncompressed entries of at most {size:,} bytes, as torch.save writes "
                f"them, got {total:,} bytes in {len(entries):,} entries"
            )
        pickles = [entry for entry in entries if entry.filename.endswith("/data.pkl")]
        if len(pickles) != 1 or pickles[0].file_size > MAX_PICKLE_BYTES:
            raise _ContentError(f"expected one data.pkl of at most {MAX_PICKLE_BYTES:,} bytes")
        data = f"{pickles[0].filename.removesuffix('data.pkl')}data/"
        storages = {
            e.filename.removeprefix(data): e.file_size for e in entries if e.filename.startswith(data)
        }
        scanner = _Scanner(io.BytesIO(archive.read(pickles[0])), storages, size)
        return scanner.load(), scanner.foreign


def _scan_legacy(path: Path, file: BinaryIO) -> tuple[Any, list[str]]:
    """Scan a file of torch < 1.6: pickles one after another, then the storages."""
    foreign: list[str] = []
    content = None
    for number in range(LEGACY_PICKLES):
        scanner = _Scanner(file, None, path.stat().st_size)
        content = scanner.load()
        foreign += scanner.foreign
        if foreign or (number == 0 and content != LEGACY_MAGIC):
            break
    else:
        return content, foreign
    if not foreign:
        raise _ContentError("not a readable torch checkpoint, perhaps truncated")
    return content, foreign


def _find_foreign(content: Any) -> tuple[str, str] | None:
    """Find the first object that a plain file does not have: the path of its entry, and its type."""
    visited: set[int] = set()
    pending: list[tuple[str, Any]] = [("the file", content)]
    while pending:
        entry, value = pending.pop()
        if id(value) in visited:
            continue
        visited.add(id(value))
        placeholder = value if isinstance(value, type) else type(value)
        if issubclass(placeholder, _Object) and not placeholder.is_allowed:
            return entry, placeholder.name
        if isinstance(value, dict):
            prefix = "" if entry == "the file" else f"{entry}."
            pending += [
                (f"{prefix}{key if isinstance(key, str) else repr(key)}", v) for key, v in value.items()
            ]
        elif isinstance(value, list | tuple | _Object):
            pending += [(entry, item) for item in (value.args if isinstance(value, _Object) else value)]
    return None
