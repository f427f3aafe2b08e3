"""The three-line API: load a model, call it on a picture, get People."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import overload

import numpy as np
import torch

from simplepose import config, geometry, grouping
from simplepose.inference.concurrency import passes
from simplepose.inference.heatmaps import MapMaker, Maps
from simplepose.inference.preprocess import Framed, framed
from simplepose.models import checkpoints
from simplepose.models.backends import Runtime, build_backend
from simplepose.models.checkpoints import Model
from simplepose.models.layers import DTYPES
from simplepose.models.run_modes import Run
from simplepose.people import People

ASSETS = Path(__file__).parent.parent / "assets"
"""Where the networks that ship with the package lie."""

REPLACED = {"imhn_tiny": "imhn_mobile"}
"""Networks that former versions shipped, and those that replaced them."""

DEVICES = ("cpu", "cuda")
"""Kinds of devices that pictures are brought to, and maps are grouped on."""

BATCH = {"cuda": 8}
"""Pictures that go through the network together on such a device, where nothing else is said; else 1."""

OVERRIDABLE = ("inference", "grouping", "tracking")
"""The parts of the settings that are not the checkpoint's own."""


class Predictor:
    """Finds the people in pictures. Safe to call from several threads at once.

    Args:
        model: a network in float32 with its settings and skeleton, on `device`.
        device: where the network lies: "cpu", "cuda", "cuda:1", ...
        precision: fp32, bf16 or fp16.
        stacks: how many of the network's stacks are run, fewer are faster; None: all.
        batch: pictures of one shape that go through the network together, at most; None: 8 on a GPU, 1 on a
            CPU, which more do not help.
        run: how the network is run, as `models.for_use` says; others than eager take a while at the first
            picture of each shape.
        runtime: "torch", "openvino", "onnx", or "auto": the fastest that is installed, as
            `models.backends.build_backend` says.

    Attributes:
        network: the plain network in float32 with all its heads.
        settings: as the checkpoint states them, with overrides.
        skeleton: the joints; `People` come in its annotated order.
        device, batch: as above.
        runtime, precision: that the network runs in.
        passes: so many calls of `see` at once, each in a thread with its share of the cores
            (`passes.share`), get most done.
    """

    def __init__(
        self,
        model: Model,
        device: str | torch.device = "cpu",
        precision: str = "fp32",
        stacks: int | None = None,
        batch: int | None = None,
        run: Run = "eager",
        runtime: Runtime = "auto",
    ) -> None:
        if precision not in DTYPES:
            raise ValueError(f"precision {precision!r}: one of {', '.join(DTYPES)} expected")
        self.device = device = torch.device(device)
        if device.type not in DEVICES:
            raise ValueError(f"device {str(device)!r}: {' or '.join(DEVICES)} expected")
        if batch is not None and batch < 1:
            raise ValueError(f"a batch of at least 1 picture expected, got {batch}")
        self.network, self.settings, self.skeleton = model.network, model.settings, model.skeleton
        self.batch = batch or BATCH.get(device.type, 1)
        self.passes = passes(device)
        backend = build_backend(model.network, runtime, precision, stacks=stacks, device=device, run=run)
        self.runtime, self.precision = backend.runtime, backend.precision
        self._make = MapMaker(
            backend.network,
            self.skeleton,
            self.settings.inference,
            self.settings.targets.stride,
            device,
        )

    @classmethod
    def from_checkpoint(
        cls,
        path: str | Path,
        device: str | torch.device = "cpu",
        precision: str = "fp32",
        overrides: Iterable[str] = (),
        weights: str = "auto",
        stacks: int | None = None,
        batch: int | None = None,
        run: Run = "eager",
        preset: str = "default",
        runtime: Runtime = "auto",
    ) -> Predictor:
        """Load any file that `models.checkpoints.load` reads.

        That is done in a thread that ends with it, and with it the OpenMP threads that torch begins for
        it. Of more such threads than cores libgomp lets none wait awake: those that run the network,
        perhaps in a thread of a pipeline, would then be woken anew for each of its hundred layers.

        Args:
            path: of the file.
            device: "cpu", "cuda", "cuda:1", ...
            precision: see the class.
            overrides: settings as "key.key=value", for example "inference.scales=[0.5, 1, 1.5]". They replace
                those of the preset.
            weights: of a training checkpoint: raw, ema, swa, or auto: the first that it has of swa, ema, raw.
            stacks, batch, run, runtime: see the class.
            preset: fast, default or accurate: the inference settings that `config.PRESETS` names. They
                replace those of the file.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file, an override or the preset is not usable, and why.
        """
        made = partial(
            cls, device=device, precision=precision, stacks=stacks, batch=batch, run=run, runtime=runtime
        )
        with ThreadPoolExecutor(1, "loads a network") as thread:
            return thread.submit(lambda: made(_read(path, device, overrides, weights, preset))).result()

    def maps(self, image: np.ndarray) -> Maps:
        """The network's maps of one picture, (H, W, 3) uint8 BGR.

        Raises:
            ValueError: the array is no such picture.
        """
        picture = self.frame(image)
        (values,) = self.see([picture])
        return Maps(values.cpu().numpy(), picture.to_picture)

    @overload
    def __call__(self, images: np.ndarray) -> People: ...

    @overload
    def __call__(self, images: Sequence[np.ndarray]) -> list[People]: ...

    def __call__(self, images: np.ndarray | Sequence[np.ndarray]) -> People | list[People]:
        """The people in one picture, or in several.

        Args:
            images: (H, W, 3) uint8 BGR; or a list of such pictures of any sizes, or an array (N, H, W, 3):
                those that have the same shape once resized and padded go through the network together.

        Returns:
            People, best first, x and y in the picture's pixels; of several pictures a list, in their order.

        Raises:
            ValueError: an array is no such picture.
        """
        if isinstance(images, np.ndarray) and images.ndim != 4:
            return self._people([images])[0]
        if not isinstance(images, np.ndarray | list | tuple):
            raise ValueError(
                f"a picture, a list of pictures or an array expected, got {type(images).__name__}"
            )
        return self._people(images)

    def frame(self, image: np.ndarray) -> Framed:
        """The first of three steps to people: a picture, made ready for the network.

        Raises:
            ValueError: the array is no picture, (H, W, 3) uint8.
        """
        _check(image)
        return framed(image, self.settings.inference)

    def see(self, pictures: Sequence[Framed]) -> list[torch.Tensor]:
        """The second step: for each picture its (C, h, w) maps, where the network lies; of one `shape`."""
        return self._make(pictures)

    def group(self, maps: torch.Tensor, picture: Framed) -> People:
        """The third step: the maps of a picture -> its people."""
        found = grouping.group(maps, self.skeleton, self.settings.grouping)
        keypoints = found.keypoints.copy()
        keypoints[..., :2] = geometry.apply_to_points(picture.to_picture, keypoints[..., :2])
        return People(np.where(found.found[..., None], keypoints, 0), found.scores)

    def _people(self, images: Sequence[np.ndarray] | np.ndarray) -> list[People]:
        pictures = [self.frame(image) for image in images]
        people: dict[int, People] = {}
        for batch in _batches(pictures, self.batch):
            for number, maps in zip(batch, self.see([pictures[number] for number in batch]), strict=True):
                people[number] = self.group(maps, pictures[number])
        return [people[number] for number in range(len(pictures))]


def _read(
    path: str | Path, device: str | torch.device, overrides: Iterable[str], weights: str, preset: str
) -> Model:
    """The model in a file, its settings replaced by the preset's, and those by the overrides."""
    if isinstance(overrides, str):  # whose letters would be taken one by one
        raise ValueError(f"a list of settings expected, [{overrides!r}] perhaps; got {overrides!r}")
    model = checkpoints.load(path, device, weights)
    chosen = config.apply_preset(model.settings, preset)
    settings = config.from_text(config.to_text(chosen), str(path), overrides)
    fixed = [part.name for part in fields(settings) if part.name not in OVERRIDABLE]
    changed = [name for name in fixed if getattr(settings, name) != getattr(model.settings, name)]
    if changed:
        raise ValueError(
            f"settings of {', '.join(changed)} belong to the checkpoint and cannot be overridden; "
            "inference.*, grouping.* and tracking.* can"
        )
    return replace(model, settings=settings)


def _batches(pictures: Sequence[Framed], most: int) -> Iterator[list[int]]:
    """Which pictures go through the network together: at most so many, of one shape."""
    alike: dict[object, list[int]] = {}
    for number, picture in enumerate(pictures):
        alike.setdefault(picture.shape, []).append(number)
    for numbers in alike.values():
        yield from (numbers[first : first + most] for first in range(0, len(numbers), most))


def _check(image: object) -> None:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        got = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ValueError(f"a picture is an H x W x 3 uint8 array in BGR, as cv2.imread gives it; got {got}")
    if image.size == 0:
        raise ValueError(f"a picture of at least 1 x 1 pixel expected, got {image.shape}")


def load(
    name_or_path: str | Path,
    device: str | torch.device = "cpu",
    precision: str = "fp32",
    settings_overrides: Iterable[str] = (),
    weights: str = "auto",
    stacks: int | None = None,
    batch: int | None = None,
    run: Run = "eager",
    preset: str = "default",
    runtime: Runtime = "auto",
) -> Predictor:
    """A predictor from a network that ships with the package ("imhn_mobile") or from a file.

    Args and Raises as in `Predictor.from_checkpoint`.
    """
    return Predictor.from_checkpoint(
        find(name_or_path),
        device,
        precision,
        settings_overrides,
        weights,
        stacks,
        batch,
        run,
        preset,
        runtime,
    )


def find(name_or_path: str | Path) -> Path:
    """The file of a network that ships with the package, or the file that a path names.

    Raises:
        FileNotFoundError: there is neither; of a network that former versions shipped, names its successor.
    """
    path = Path(name_or_path)
    shipped = ASSETS / f"{name_or_path}.safetensors"
    if not path.is_file() and str(name_or_path) in REPLACED:
        successor = REPLACED[str(name_or_path)]
        raise FileNotFoundError(
            f"model {str(name_or_path)!r} was replaced by {successor!r} and no longer ships; use {successor}"
        )
    if not path.is_file() and not shipped.is_file():
        names = ", ".join(sorted(file.stem for file in ASSETS.glob("*.safetensors")))
        raise FileNotFoundError(
            f"model {str(name_or_path)!r}: no such file, and not one of those that ship: {names}"
        )
    return path if path.is_file() else shipped
