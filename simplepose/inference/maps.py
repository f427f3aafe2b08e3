"""Picture -> the network's stride-4 maps, flip-averaged and over several scales, in one frame.

The frame is the picture resized to the configured height: pixel x of it is picture pixel
(x + 0.5) * picture width / frame width - 0.5, and cell k of the maps lies at stride * k + stride / 2 - 0.5.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from simplepose import geometry
from simplepose.config import Inference
from simplepose.skeleton import Skeleton

MULTIPLE = 64
"""The network takes heights and widths that are multiples of this, its coarsest stride."""

PADDING = 128
"""Grey that a picture is padded with, right and below."""


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
    """Runs a network over pictures.

    Args:
        network: images (N, 3, H, W) -> for each stack maps at several scales, as `models.IMHN`.
        skeleton: the order of channels in a mirrored picture.
        settings: height, scales, flip.
        stride: of the finest maps, frame pixels a cell.
        device: where the network lies.
        dtype: torch.float32, or the type that the network's convolutions run in.
    """

    def __init__(
        self,
        network: nn.Module,
        skeleton: Skeleton,
        settings: Inference,
        stride: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.network, self.settings, self.stride = network, settings, stride
        self.device, self.dtype = device, dtype
        self.channel_flip = torch.as_tensor(skeleton.channel_flip, device=device)

    def __call__(self, image: np.ndarray) -> Maps:
        """Find the maps of one picture, (H, W, 3) uint8 BGR."""
        values, to_picture = self.on_device(image)
        return Maps(values.cpu().numpy(), to_picture)

    @torch.inference_mode()
    def on_device(self, image: np.ndarray) -> tuple[Tensor, np.ndarray]:
        """What `Maps` holds, its values still where the network lies."""
        picture = (image.shape[0], image.shape[1])
        frame = self._resized_size(picture, 1.0)
        total = torch.stack(
            [self._in_frame(image, picture, frame, scale) for scale in self.settings.scales]
        ).mean(0)
        return total, geometry.resizing(frame, picture)

    def _resized_size(self, picture: tuple[int, int], scale: float) -> tuple[int, int]:
        rows, columns = picture
        settings = self.settings
        factor = min(scale * settings.height / rows, settings.max_height / rows, settings.max_width / columns)
        return max(1, round(rows * factor)), max(1, round(columns * factor))

    def _in_frame(
        self, image: np.ndarray, picture: tuple[int, int], frame: tuple[int, int], scale: float
    ) -> Tensor:
        """(C, h, w) float32: the maps at one scale, brought to the frame's cells."""
        size = self._resized_size(picture, scale)
        maps = self._run(cv2.resize(image, size[::-1], interpolation=cv2.INTER_CUBIC))
        cells = (-(-frame[0] // self.stride), -(-frame[1] // self.stride))
        if size != frame:
            maps = _resample(maps, geometry.resizing(frame, size), cells, self.stride)
        return maps[:, : cells[0], : cells[1]].contiguous()

    def _run(self, image: np.ndarray) -> Tensor:
        """(H, W, 3) uint8 -> (C, h, w) float32, padding included."""
        rows, columns = geometry.padded_size((image.shape[0], image.shape[1]), MULTIPLE)
        border = (0, rows - image.shape[0], 0, columns - image.shape[1])
        padded = cv2.copyMakeBorder(image, *border, cv2.BORDER_CONSTANT, value=(PADDING,) * 3)
        x = torch.from_numpy(padded).to(self.device).permute(2, 0, 1)[None].float() / 255
        if self.settings.flip:
            x = torch.cat([x, x.flip(3)])
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            found: Tensor = self.network(x.contiguous(memory_format=torch.channels_last))[-1][0]
        maps = found.float()
        if self.settings.flip:
            return (maps[0] + maps[1].flip(2)[self.channel_flip]) / 2
        return maps[0]


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
