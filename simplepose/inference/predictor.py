"""The three-line API: load a model, call it on a picture, get People."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import torch

from simplepose import config, geometry, grouping
from simplepose.inference.maps import MapMaker, Maps
from simplepose.models import checkpoints
from simplepose.models.checkpoints import Model
from simplepose.models.precision import DTYPES
from simplepose.people import People

ASSETS = Path(__file__).parent.parent / "assets"
"""Where the networks that ship with the package lie."""

OVERRIDABLE = ("inference", "grouping")
"""The parts of the settings that are not the checkpoint's own."""


class Predictor:
    """Finds the people in pictures.

    Args:
        model: a network in float32 with its settings and skeleton, on `device`.
        device: where the network lies.
        precision: fp32, bf16 or fp16: what convolutions run in.

    Attributes:
        network: the plain network in float32 with all its heads.
        settings: as the checkpoint states them, with overrides.
        skeleton: the joints; `People` come in its annotated order.
    """

    def __init__(self, model: Model, device: str | torch.device = "cpu", precision: str = "fp32") -> None:
        if precision not in DTYPES:
            raise ValueError(f"precision {precision!r}: one of {', '.join(DTYPES)} expected")
        self.network, self.settings, self.skeleton = model.network, model.settings, model.skeleton
        self._maps = MapMaker(
            self.network,
            self.skeleton,
            self.settings.inference,
            self.settings.targets.stride,
            torch.device(device),
            DTYPES[precision],
        )

    @classmethod
    def from_checkpoint(
        cls,
        path: str | Path,
        device: str | torch.device = "cpu",
        precision: str = "fp32",
        overrides: Iterable[str] = (),
        weights: str = "auto",
    ) -> Predictor:
        """Load any file that `models.checkpoints.load` reads.

        Args:
            path: of the file.
            device: "cpu", "cuda", "cuda:1", ...
            precision: see the class.
            overrides: settings as "key.key=value", for example "inference.scales=[0.5, 1, 1.5]".
            weights: of a training checkpoint: raw, ema, swa, or auto: the first that it has of swa, ema, raw.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file or an override is not usable, and why.
        """
        model = checkpoints.load(path, device, weights)
        settings = config.from_text(config.to_text(model.settings), str(path), overrides)
        fixed = [part.name for part in fields(settings) if part.name not in OVERRIDABLE]
        changed = [name for name in fixed if getattr(settings, name) != getattr(model.settings, name)]
        if changed:
            raise ValueError(
                f"settings of {', '.join(changed)} belong to the checkpoint and cannot be overridden; "
                "inference.* and grouping.* can"
            )
        return cls(replace(model, settings=settings), device, precision)

    def maps(self, image: np.ndarray) -> Maps:
        """The network's maps of one picture, (H, W, 3) uint8 BGR.

        Raises:
            ValueError: the array is no such picture.
        """
        _check(image)
        return self._maps(image)

    def __call__(self, image: np.ndarray) -> People:
        """The people in one picture, (H, W, 3) uint8 BGR, best first; x and y in its pixels.

        Raises:
            ValueError: the array is no such picture.
        """
        _check(image)
        maps, to_picture = self._maps.on_device(image)
        found = grouping.group(maps, self.skeleton, self.settings.grouping)
        keypoints = found.keypoints.copy()
        keypoints[..., :2] = geometry.apply_to_points(to_picture, keypoints[..., :2])
        return People(np.where(found.found[..., None], keypoints, 0), found.scores)


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
) -> Predictor:
    """A predictor from a network that ships with the package ("imhn_tiny") or from a file.

    Args and Raises as in `Predictor.from_checkpoint`.
    """
    return Predictor.from_checkpoint(find(name_or_path), device, precision, settings_overrides, weights)


def find(name_or_path: str | Path) -> Path:
    """The file of a network that ships with the package, or the file that a path names.

    Raises:
        FileNotFoundError: there is neither.
    """
    path = Path(name_or_path)
    shipped = ASSETS / f"{name_or_path}.safetensors"
    if not path.is_file() and not shipped.is_file():
        names = ", ".join(sorted(file.stem for file in ASSETS.glob("*.safetensors")))
        raise FileNotFoundError(
            f"model {str(name_or_path)!r}: no such file, and not one of those that ship: {names}"
        )
    return path if path.is_file() else shipped
