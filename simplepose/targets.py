"""Joints -> the maps that the network learns, for a whole batch on any torch device.

Cell k of the maps lies at k * stride + stride / 2 - 0.5 input pixels. Only the cells that a
joint or a limb reaches are computed: a joint's window is 15 x 15 cells of a 128 x 128 map.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from simplepose.config import TargetSettings
from simplepose.skeleton import Skeleton


def draw(joints: Tensor, person_mask: Tensor, skeleton: Skeleton, settings: TargetSettings) -> Tensor:
    """Draw all maps of a batch, on the device of the mask.

    What there is to draw is found where the joints are, and only then sent to the device: where the joints
    are on the CPU, as the loader has them, nothing here waits for a GPU.

    Args:
        joints: (N, P, J, 3) float32 x, y in input pixels and v, people padded with v = 0;
            a joint with v > 0 is labelled (hidden ones are drawn too); one that is not finite is not.
        person_mask: (N, h, w) float32 in [0, 1], the share of a cell that people cover.
        skeleton: names the channels.
        settings: spreads and cuts.

    Returns:
        (N, C, h, w) float32 in [0, 1], channels in the skeleton's order.
    """
    joints = torch.where(joints.isfinite().all(-1, keepdim=True), joints, 0.0)
    maps = person_mask.new_zeros(len(joints), skeleton.channels, *person_mask.shape[-2:])
    _draw_limbs(maps, joints, skeleton, settings)
    _draw_keypoints(maps, joints, skeleton, settings)
    maps[:, skeleton.person_mask_channel] = _eroded(_eroded(person_mask, 1), 2)
    keypoints = maps[:, skeleton.keypoint_channels]
    torch.amax(keypoints, 1, out=maps[:, skeleton.keypoint_maximum_channel])
    return maps


def _eroded(mask: Tensor, axis: int) -> Tensor:
    """The least of each cell and its two neighbours on an axis."""
    least, inner = mask.clone(), mask.shape[axis] - 1
    for here, there in ((0, 1), (1, 0)):
        part = least.narrow(axis, here, inner)
        torch.minimum(part, mask.narrow(axis, there, inner), out=part)
    return least


def _draw_keypoints(maps: Tensor, joints: Tensor, skeleton: Skeleton, settings: TargetSettings) -> None:
    """A Gaussian on each labelled joint, cut to a square window; people by maximum."""
    channels, height, width = maps.shape[1:]
    sample, person, kind = (joints[..., 2] > 0).nonzero(as_tuple=True)
    plane = sample * channels + skeleton.keypoint_channels.start + kind
    centre, plane = _sent([joints[sample, person, kind, :2], plane], maps.device)
    reach = math.ceil(
        settings.keypoint_sigma * math.sqrt(-2 * math.log(settings.threshold)) / settings.stride
    )
    window = torch.arange(-reach, reach + 1, device=maps.device)
    columns, rows = (torch.round(centre[:, axis, None] / settings.stride).long() + window for axis in (0, 1))
    bell_x = _gaussian(_pixels(columns, settings) - centre[:, :1], settings.keypoint_sigma)
    bell_y = _gaussian(_pixels(rows, settings) - centre[:, 1:], settings.keypoint_sigma)
    bell_x *= (columns >= 0) & (columns < width)  # a 0 leaves the cell that it falls on as it is
    bell_y *= (rows >= 0) & (rows < height)
    rows = plane[:, None] * height + rows.clamp_(0, height - 1)
    cells = rows[:, :, None] * width + columns.clamp_(0, width - 1)[:, None, :]
    bells = bell_y[:, :, None] * bell_x[:, None, :]
    maps.view(-1).scatter_reduce_(0, cells.view(-1), bells.view(-1), "amax")


def _draw_limbs(maps: Tensor, joints: Tensor, skeleton: Skeleton, settings: TargetSettings) -> None:
    """A Gaussian band along each limb with two labelled ends, within the ends' box; people by mean."""
    channels, height, width = maps.shape[1:]
    ends = torch.as_tensor(skeleton.limb_ends, device=joints.device).long()
    a, b = joints[:, :, ends[:, 0]], joints[:, :, ends[:, 1]]
    exists = (a[..., 2] > 0) & (b[..., 2] > 0) & (a[..., :2] != b[..., :2]).any(-1)
    sample, person, limb = exists.nonzero(as_tuple=True)
    a, b = a[sample, person, limb, :2], b[sample, person, limb, :2]
    first, extent = _boxes(torch.minimum(a, b), torch.maximum(a, b), (height, width), settings)
    areas = extent.prod(1)
    count = int(areas.sum())
    plane = sample * channels + skeleton.limb_channels.start + limb
    a, b, first, extent, areas, plane = _sent([a, b, first, extent, areas, plane], maps.device)
    normal = torch.stack([a[:, 1] - b[:, 1], b[:, 0] - a[:, 0]], 1)
    normal = normal / normal.norm(dim=1, keepdim=True)
    owner = torch.arange(len(areas), device=maps.device).repeat_interleave(areas, output_size=count)

    def of_cell(values: Tensor) -> Tensor:
        """Each cell's limb's."""
        return values.index_select(0, owner)

    rank = torch.arange(count, device=maps.device) - of_cell(areas.cumsum(0) - areas)
    wide = of_cell(extent[:, 0])
    row = rank // wide
    column = rank - row * wide + of_cell(first[:, 0])
    row += of_cell(first[:, 1])
    distance = (_pixels(column, settings) - of_cell(a[:, 0])) * of_cell(normal[:, 0])
    distance += (_pixels(row, settings) - of_cell(a[:, 1])) * of_cell(normal[:, 1])
    band = _gaussian(distance, settings.limb_sigma)
    band = torch.where(band <= settings.threshold, min(settings.limb_floor, 1.0), band)
    cells = (of_cell(plane) * height + row) * width + column
    drawn = torch.zeros(maps.numel(), dtype=torch.int16, device=maps.device)
    drawn.index_add_(0, cells, (band > 0).short())
    maps.view(-1).index_add_(0, cells, band / drawn.index_select(0, cells).clamp_(min=1))


def _boxes(
    low_xy: Tensor, high_xy: Tensor, size: tuple[int, int], settings: TargetSettings
) -> tuple[Tensor, Tensor]:
    """The cells of K boxes, widened by one cell and cut to the map.

    Args:
        low_xy, high_xy: (K, 2) corners in input pixels.

    Returns:
        The first column and row, and the number of columns and rows, (K, 2) int64 each.
    """
    stride = settings.stride
    last = torch.tensor([size[1] - 1, size[0] - 1], device=low_xy.device)
    first = torch.round((low_xy - stride) / stride).long().clamp(min=0)
    extent = (torch.minimum(torch.round((high_xy + stride) / stride).long(), last) - first + 1).clamp(min=0)
    return first, extent


def _sent(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Small tensors on another device, without a wait for it."""
    pinned = [t.pin_memory() if t.device.type == "cpu" and device.type == "cuda" else t for t in tensors]
    return [tensor.to(device, non_blocking=True) for tensor in pinned]


def _gaussian(distance: Tensor, sigma: float) -> Tensor:
    return torch.exp(-(distance**2) / (2 * sigma**2))


def _pixels(index: Tensor, settings: TargetSettings) -> Tensor:
    return index * settings.stride + (settings.stride / 2 - 0.5)
