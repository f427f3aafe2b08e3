"""The public API: load a model, call it on an image, get `People`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import overload

import numpy as np
import torch

from simplepose import config, geometry, grouping
from simplepose.config import GroupingSettings
from simplepose.frames import Frame
from simplepose.inference.concurrency import max_concurrent_forwards, require_own_threads
from simplepose.inference.heatmaps import Maps, MultiScaleNetwork
from simplepose.inference.preprocess import ModelInput, check_image, preprocess
from simplepose.models import checkpoints
from simplepose.models.backends import Runtime, build_backend
from simplepose.models.checkpoints import Model
from simplepose.models.layers import DTYPES
from simplepose.models.run_modes import RunMode
from simplepose.people import People
from simplepose.skeleton import Skeleton

# Folder of the models that ship with the package.
ASSETS = Path(__file__).parent.parent / "assets"

# Models that earlier versions shipped -> the models that replaced them.
REPLACED_MODELS = {"imhn_tiny": "imhn_mobile"}

# Supported device types.
DEVICE_TYPES = ("cpu", "cuda")

# Default batch of a device type, images; 1 for all others.
DEFAULT_BATCH = {"cuda": 8}

# Parts of the settings that do not belong to the checkpoint.
OVERRIDABLE_SECTIONS = ("inference", "grouping", "topdown", "tracking")


class Predictor:
    """Finds the people in images. Safe to call from several threads at once.

    Processes that are forked after a prediction raise RuntimeError; start them by spawn or forkserver.

    Args:
        model: a network in float32 with its settings and skeleton, on `device`.
        device: device of the network: "cpu", "cuda", "cuda:1", ...
        precision: fp32, bf16 or fp16.
        stacks: number of the network's stacks to run; fewer are faster. None: all.
        batch: maximum number of images of one shape in a batch. None: 8 on a GPU, 1 on a CPU, where larger
            batches are not faster.
        run: how torch runs the network, see `models.fuse`. All but "eager" take a while at the first image of
            each shape.
        runtime: "torch", "openvino", "onnx", or "auto", the fastest one that is installed; see
            `models.backends.build_backend`.

    Attributes:
        network: the network in float32 with all its heads, not fused.
        settings: the checkpoint's settings, with overrides.
        skeleton: the joints; `People` come in its annotated order.
        device, batch: see Args.
        runtime, precision: of the network that runs.
        max_concurrent_forwards: number of concurrent calls of `infer` with the highest throughput, each in a
            thread with its part of the cores (`concurrency.limit_torch_threads`).
    """

    def __init__(
        self,
        model: Model,
        device: str | torch.device = "cpu",
        precision: str = "fp32",
        stacks: int | None = None,
        batch: int | None = None,
        run: RunMode = "eager",
        runtime: Runtime = "auto",
    ) -> None:
        require_own_threads(uses_network=False)
        if precision not in DTYPES:
            raise ValueError(f"precision: expected one of {', '.join(DTYPES)}, got {precision!r}")
        self.device = device = torch.device(device)
        if device.type not in DEVICE_TYPES:
            raise ValueError(f"device: expected {' or '.join(DEVICE_TYPES)}, got {str(device)!r}")
        if batch is not None and batch < 1:
            raise ValueError(f"batch: expected at least 1 image, got {batch}")
        if model.settings.network == "fastpose":
            raise ValueError(
                "expected a bottom-up network, got FastPose, which needs the box of each person; "
                "use simplepose.load"
            )
        self.network, self.settings, self.skeleton = model.network, model.settings, model.skeleton
        self.batch = batch or DEFAULT_BATCH.get(device.type, 1)
        self.max_concurrent_forwards = max_concurrent_forwards(device)
        backend = build_backend(model.network, runtime, precision, stacks=stacks, device=device, run=run)
        self.runtime, self.precision = backend.runtime, backend.precision
        self._compute_maps = MultiScaleNetwork(
            backend.network,
            self.skeleton,
            self.settings.inference,
            self.settings.targets.stride,
            device,
        )

    def maps(self, image: np.ndarray) -> Maps:
        """Compute the network's maps of one image, (H, W, 3) uint8 BGR.

        Raises:
            ValueError: the array is not such an image.
        """
        model_input = self.preprocess(image)
        (values,) = self.infer([model_input])
        return Maps(values.cpu().numpy(), model_input.to_image)

    @overload
    def __call__(self, images: np.ndarray) -> People: ...

    @overload
    def __call__(self, images: Sequence[np.ndarray]) -> list[People]: ...

    def __call__(self, images: np.ndarray | Sequence[np.ndarray]) -> People | list[People]:
        """Find the people in one or several images.

        Args:
            images: (H, W, 3) uint8 BGR; or a list of such images of any sizes, or an array (N, H, W, 3).
                Images that have the same shape after resizing and padding share batches.

        Returns:
            People, best first, x and y in pixels of the image; for several images a list, in their order.

        Raises:
            ValueError: an array is not such an image.
        """
        if isinstance(images, np.ndarray) and images.ndim != 4:
            return self._predict([images])[0]
        if not isinstance(images, np.ndarray | list | tuple):
            raise ValueError(f"expected an image, a list of images or an array, got {type(images).__name__}")
        return self._predict(images)

    def preprocess(self, image: np.ndarray) -> ModelInput:
        """Prepare an image for the network: the first of three steps.

        Raises:
            ValueError: the array is not an image, (H, W, 3) uint8.
            RuntimeError: this process was forked after a prediction.
        """
        require_own_threads(uses_network=True)
        check_image(image)
        return preprocess(image, self.settings.inference)

    def preprocess_frame(self, frame: Frame) -> ModelInput:
        """Prepare the image of a frame: `preprocess`."""
        return self.preprocess(frame.image)

    def infer(self, inputs: Sequence[ModelInput]) -> list[torch.Tensor]:
        """Compute the (C, h, w) maps of each input, on the network's device: the second step.

        Args:
            inputs: model inputs of the same `shape`.
        """
        return self._compute_maps(inputs)

    def group(self, maps: torch.Tensor, model_input: ModelInput) -> People:
        """Group the maps of an image into people: the third step."""
        return group_maps(maps, model_input.to_image, self.skeleton, self.settings.grouping)

    def _predict(self, images: Sequence[np.ndarray] | np.ndarray) -> list[People]:
        inputs = [self.preprocess(image) for image in images]
        people: dict[int, People] = {}
        for batch in _batches(inputs, self.batch):
            for index, maps in zip(batch, self.infer([inputs[index] for index in batch]), strict=True):
                people[index] = self.group(maps, inputs[index])
        return [people[index] for index in range(len(inputs))]


def group_maps(
    maps: torch.Tensor, to_image: np.ndarray, skeleton: Skeleton, settings: GroupingSettings
) -> People:
    """Group the (C, h, w) maps of an image into people.

    Args:
        maps: float32; cells over the base image.
        to_image: (2, 3) matrix from base pixels to image pixels, in which the people come.
        skeleton: the joints.
        settings: of the grouping.
    """
    grouped = grouping.group(maps, skeleton, settings)
    keypoints = grouped.keypoints.copy()
    keypoints[..., :2] = geometry.apply_to_points(to_image, keypoints[..., :2])
    return People(np.where(grouped.found[..., None], keypoints, 0), grouped.scores)


def load_model(
    path: str | Path, device: str | torch.device, overrides: Iterable[str], weights: str, preset: str
) -> Model:
    """Load the model in a file, and replace its settings by the preset's, and those by the overrides."""
    if isinstance(overrides, str):  # a string is an iterable of its characters
        raise ValueError(f"settings: expected a list, for example [{overrides!r}], got {overrides!r}")
    model = checkpoints.load(path, device, weights)
    with_preset = config.apply_preset(model.settings, preset)
    settings = config.apply_overrides(with_preset, overrides, str(path))
    sections = [section.name for section in fields(settings) if section.name not in OVERRIDABLE_SECTIONS]
    changed = [name for name in sections if getattr(settings, name) != getattr(model.settings, name)]
    if changed:
        raise ValueError(
            f"settings of {', '.join(changed)} belong to the checkpoint and cannot be overridden; "
            "inference.*, grouping.*, topdown.* and tracking.* can"
        )
    return replace(model, settings=settings)


def _batches(inputs: Sequence[ModelInput], max_size: int) -> Iterator[list[int]]:
    """Yield the indices of the inputs in each batch: at most `max_size`, all of one shape."""
    by_shape: dict[object, list[int]] = {}
    for index, model_input in enumerate(inputs):
        by_shape.setdefault(model_input.shape, []).append(index)
    for indices in by_shape.values():
        yield from (indices[first : first + max_size] for first in range(0, len(indices), max_size))


def find_model(name_or_path: str | Path) -> Path:
    """Return the path of a model that ships with the package, or of a file.

    Raises:
        FileNotFoundError: neither exists; for a model that earlier versions shipped, the message names the
            model that replaced it.
    """
    path = Path(name_or_path)
    shipped = ASSETS / f"{name_or_path}.safetensors"
    if not path.is_file() and str(name_or_path) in REPLACED_MODELS:
        successor = REPLACED_MODELS[str(name_or_path)]
        raise FileNotFoundError(
            f"model {str(name_or_path)!r} was replaced by {successor!r} and no longer ships; use {successor}"
        )
    if not path.is_file() and not shipped.is_file():
        names = ", ".join(sorted(file.stem for file in ASSETS.glob("*.safetensors")))
        raise FileNotFoundError(
            f"model {str(name_or_path)!r}: expected a file or one of the models that ship ({names})"
        )
    return path if path.is_file() else shipped
