"""Images -> the network's stride-4 maps, averaged over mirroring and scales, in one coordinate frame.

The coordinate frame is that of the base image, which is the image resized to the configured height. Pixel x
of the base image is image pixel (x + 0.5) * image width / base width - 0.5. Cell k of the maps lies at base
pixel stride * k + stride / 2 - 0.5.
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
from simplepose.inference.preprocess import ModelInput
from simplepose.skeleton import Skeleton


@dataclass(frozen=True, eq=False)
class Maps:
    """The network's heatmaps and limb maps of one image.

    Attributes:
        values: (C, h, w) float32; cells over the base image, without the padding.
        to_image: (2, 3) float64 matrix from base pixels to image pixels.
    """

    values: np.ndarray
    to_image: np.ndarray


class MultiScaleNetwork:
    """Runs a network at each scale, with or without mirroring, and averages its maps.

    Safe to call from several threads at once if the network is.

    Args:
        network: (N, H, W, 3) uint8 BGR -> (N, C, H / stride, W / stride) maps.
        skeleton: gives the order of the channels in a mirrored image.
        settings: scales and mirroring.
        stride: of the maps, base pixels per cell.
        device: device of the network.
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
    def __call__(self, inputs: Sequence[ModelInput]) -> list[Tensor]:
        """Return the (C, h, w) float32 maps of each input, on the network's device.

        Args:
            inputs: model inputs of the same `shape`.
        """
        scales = [
            self._average_flip(np.stack(padded)) for padded in zip(*(i.padded for i in inputs), strict=True)
        ]
        return [
            self._average_scales([maps[index] for maps in scales], model_input)
            for index, model_input in enumerate(inputs)
        ]

    def _average_flip(self, padded: np.ndarray) -> Tensor:
        """Run the network; with `flip`, also on the mirrored images, and average both.

        (N, H, W, 3) uint8 -> (N, C, h, w) float32, with the padding.
        """
        images = torch.from_numpy(padded)
        if self._device.type == "cuda":
            images = images.pin_memory().to(self._device, non_blocking=True)
        if not self._settings.flip:
            return self._network(images).float()
        maps, mirrored = self._network(torch.cat([images, images.flip(2)])).float().chunk(2)
        return (maps + mirrored.flip(3)[:, self._channel_flip]) / 2

    def _average_scales(self, scales: Sequence[Tensor], model_input: ModelInput) -> Tensor:
        """Average one image's maps of all scales over the base image."""
        base_size = model_input.base_size
        cells = (-(-base_size[0] // self._stride), -(-base_size[1] // self._stride))
        total: Tensor | None = None
        for maps, size in zip(scales, model_input.sizes, strict=True):
            if size != base_size:
                maps = _resample(maps, geometry.resizing(base_size, size), cells, self._stride)
            cropped = maps[:, : cells[0], : cells[1]]
            total = cropped if total is None else total + cropped
        assert total is not None
        return (total / len(scales)).contiguous() if len(scales) > 1 else total.contiguous()


def _resample(maps: Tensor, matrix: np.ndarray, cells: tuple[int, int], stride: int) -> Tensor:
    """Interpolate (C, h, w) maps at other cells (cubic).

    Args:
        maps: cells over a resized image.
        matrix: (2, 3) from the target's pixels to that image's pixels, without rotation.
        cells: rows and columns of the target.
        stride: pixels per cell, of both.
    """
    offset = stride / 2 - 0.5
    axes = []
    for axis, (target, length) in enumerate(zip(cells[::-1], (maps.shape[2], maps.shape[1]), strict=True)):
        pixels = (np.arange(target) * stride + offset) * matrix[axis, axis] + matrix[axis, 2]
        centers = (pixels - offset) / stride
        axes.append(torch.as_tensor((2 * centers + 1) / length - 1, dtype=maps.dtype, device=maps.device))
    grid = torch.stack(torch.meshgrid(axes[0], axes[1], indexing="xy"), -1)
    resampled = functional.grid_sample(
        maps[None], grid[None], mode="bicubic", padding_mode="border", align_corners=False
    )
    return resampled[0]
