"""Pictures -> the network's stride-4 maps, flip-averaged and over several scales, in one frame.

The frame is the picture resized to the configured height: pixel x of it is picture pixel
(x + 0.5) * picture width / frame width - 0.5, and cell k of the maps lies at stride * k + stride / 2 - 0.5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from simplepose import geometry
from simplepose.config import InferenceSettings
from simplepose.inference.preprocess import Framed
from simplepose.skeleton import Skeleton


@dataclass(frozen=True, eq=False)
class Maps:
    """What the network sees in one picture.

    Attributes:
        values: (C, h, w) float32, cells over the frame (the padding is cut off).
        to_picture: (2, 3) float64 matrix from frame pixels to picture pixels.
    """

    values: np.ndarray
    to_picture: np.ndarray


class MapMaker:
    """Runs a network over framed pictures. Safe to call from several threads at once, if the network is.

    Args:
        network: (N, H, W, 3) uint8 BGR -> (N, C, H / stride, W / stride) maps.
        skeleton: the order of channels in a mirrored picture.
        settings: scales and flip.
        stride: of the maps, frame pixels a cell.
        device: where the network lies.
    """

    def __init__(
        self,
        network: Callable[[Tensor], Tensor],
        skeleton: Skeleton,
        settings: InferenceSettings,
        stride: int,
        device: torch.device,
    ) -> None:
        self._network, self._settings, self._stride, self._device = network, settings, stride, device
        self._channel_flip = torch.as_tensor(skeleton.channel_flip, device=device)

    @torch.inference_mode()
    def __call__(self, pictures: Sequence[Framed]) -> list[Tensor]:
        """For each picture its (C, h, w) float32 maps, where the network lies; all have the same `shape`."""
        scales = [self._run(np.stack(padded)) for padded in zip(*(p.padded for p in pictures), strict=True)]
        return [
            self._mean([maps[number] for maps in scales], picture) for number, picture in enumerate(pictures)
        ]

    def _run(self, padded: np.ndarray) -> Tensor:
        """(N, H, W, 3) uint8 -> (N, C, h, w) float32, the padding still in it."""
        images = torch.from_numpy(padded)
        if self._device.type == "cuda":
            images = images.pin_memory().to(self._device, non_blocking=True)
        if not self._settings.flip:
            return self._network(images).float()
        maps, mirrored = self._network(torch.cat([images, images.flip(2)])).float().chunk(2)
        return (maps + mirrored.flip(3)[:, self._channel_flip]) / 2

    def _mean(self, scales: Sequence[Tensor], picture: Framed) -> Tensor:
        """One picture's maps at each scale -> their mean in its frame."""
        cells = (-(-picture.frame[0] // self._stride), -(-picture.frame[1] // self._stride))
        total: Tensor | None = None
        for maps, size in zip(scales, picture.sizes, strict=True):
            if size != picture.frame:
                maps = _resample(maps, geometry.resizing(picture.frame, size), cells, self._stride)
            part = maps[:, : cells[0], : cells[1]]
            total = part if total is None else total + part
        assert total is not None
        return (total / len(scales)).contiguous() if len(scales) > 1 else total.contiguous()


def _resample(maps: Tensor, matrix: np.ndarray, cells: tuple[int, int], stride: int) -> Tensor:
    """Cubic interpolation of (C, h, w) at other cells.

    Args:
        maps: over the pixels of one resized picture.
        matrix: (2, 3) from the wanted frame's pixels to that picture's, without rotation.
        cells: rows and columns wanted.
        stride: of both.
    """
    offset = stride / 2 - 0.5
    axes = []
    for axis, (wanted, given) in enumerate(zip(cells[::-1], (maps.shape[2], maps.shape[1]), strict=True)):
        pixels = (np.arange(wanted) * stride + offset) * matrix[axis, axis] + matrix[axis, 2]
        centre = (pixels - offset) / stride
        axes.append(torch.as_tensor((2 * centre + 1) / given - 1, dtype=maps.dtype, device=maps.device))
    grid = torch.stack(torch.meshgrid(axes[0], axes[1], indexing="xy"), -1)
    found = functional.grid_sample(
        maps[None], grid[None], mode="bicubic", padding_mode="border", align_corners=False
    )
    return found[0]
