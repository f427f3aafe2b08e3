"""Joints -> the maps that the network learns, for a whole batch on any torch device.

Cell k of the maps lies at k * stride + stride / 2 - 0.5 input pixels. Only the cells that a
joint or a limb reaches are computed: a joint's window is 15 x 15 cells of a 128 x 128 map.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from simplepose.config import Targets
from simplepose.skeleton import Skeleton


def draw(joints: Tensor, person_mask: Tensor, skeleton: Skeleton, settings: Targets) -> Tensor:
    """Draw all maps of a batch.

    Joints on the CPU and maps on a GPU: then nothing waits for it.

    Args:
        joints: (N, P, J, 3) float32 x, y in input pixels and v, people padded with v = 0;
            a joint with v > 0 is labelled (hidden ones are drawn too); one that is not finite is not.
        person_mask: (N, h, w) float32 in [0, 1], the share of a cell that people cover, on the device where
            the maps are drawn.
        skeleton: names the channels.
        settings: spreads and cuts.

    Returns:
        (N, C, h, w) float32 in [0, 1], channels in the skeleton's order.
    """
    joints = torch.where(joints.isfinite().all(-1, keepdim=True), joints, 0.0)
    limb_ends = torch.as_tensor(skeleton.limb_ends, device=joints.device).long()
    keypoints = draw_keypoints(joints, person_mask, settings)
    limbs = draw_limbs(joints, limb_ends, person_mask, settings)
    mask = -functional.max_pool2d(-person_mask[:, None], 3, stride=1, padding=1)  # erosion, 3 x 3
    maximum = keypoints.amax(1, keepdim=True)
    return torch.cat([limbs, keypoints, mask, maximum], 1).clamp(0, 1)


def draw_keypoints(joints: Tensor, like: Tensor, settings: Targets) -> Tensor:
    """A Gaussian on each labelled joint, cut to a square window; people by maximum.

    Args and Returns as in `draw`; `like` is (N, h, w), of the size and device of the result, (N, J, h, w).
    """
    kinds, (height, width) = joints.shape[2], like.shape[-2:]
    labelled = joints[..., 2] > 0
    sample, _, kind = labelled.nonzero(as_tuple=True)
    centre, channel = _sent(like.device, joints[labelled][:, :2], (sample * kinds + kind)[:, None, None])
    reach = math.ceil(
        settings.keypoint_sigma * math.sqrt(-2 * math.log(settings.threshold)) / settings.stride
    )
    window = torch.arange(-reach, reach + 1, device=like.device)
    columns, rows = (torch.round(centre[:, axis, None] / settings.stride).long() + window for axis in (0, 1))
    bell_x = _gaussian(_pixels(columns, settings) - centre[:, :1], settings.keypoint_sigma)
    bell_y = _gaussian(_pixels(rows, settings) - centre[:, 1:], settings.keypoint_sigma)
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
    total = len(joints) * kinds * height * width
    cells = torch.where(inside, (channel * height + rows[:, :, None]) * width + columns[:, None, :], total)
    maps = like.new_zeros(total + 1)  # the last takes what lies outside
    maps.scatter_reduce_(0, cells.flatten(), (bell_y[:, :, None] * bell_x[:, None, :]).flatten(), "amax")
    return maps[:-1].view(len(joints), kinds, height, width)


def draw_limbs(joints: Tensor, limb_ends: Tensor, like: Tensor, settings: Targets) -> Tensor:
    """A Gaussian band along each limb with two labelled ends, within the ends' box; people by mean.

    Args and Returns as in `draw_keypoints`; `limb_ends` is (L, 2) int64 and the result (N, L, h, w).
    """
    height, width = like.shape[-2:]
    a, b = joints[:, :, limb_ends[:, 0]], joints[:, :, limb_ends[:, 1]]
    exists = (a[..., 2] > 0) & (b[..., 2] > 0) & (a[..., :2] != b[..., :2]).any(-1)
    sample, _, limb = exists.nonzero(as_tuple=True)
    a, b = a[exists][:, :2], b[exists][:, :2]
    first, extent = _boxes(torch.minimum(a, b), torch.maximum(a, b), (height, width), settings)
    cells = int(extent.prod(1).sum())
    a, b, first, extent, channel = _sent(like.device, a, b, first, extent, sample * len(limb_ends) + limb)
    owner, columns, rows = _cells_of_boxes(first, extent, cells)
    normal = torch.stack([a[:, 1] - b[:, 1], b[:, 0] - a[:, 0]], 1)
    normal = normal / normal.norm(dim=1, keepdim=True)
    distance = (_pixels(columns, settings) - a[owner, 0]) * normal[owner, 0]
    distance += (_pixels(rows, settings) - a[owner, 1]) * normal[owner, 1]
    band = _gaussian(distance, settings.limb_sigma)
    band = torch.where(band <= settings.threshold, settings.limb_floor, band)
    place = (channel[owner] * height + rows) * width + columns
    total = like.new_zeros(len(joints) * len(limb_ends) * height * width)
    count = torch.zeros_like(total).index_add_(0, place, (band > 0).float())
    total.index_add_(0, place, band)
    return (total / count.clamp_(min=1)).view(len(joints), len(limb_ends), height, width)


def _boxes(
    low_xy: Tensor, high_xy: Tensor, size: tuple[int, int], settings: Targets
) -> tuple[Tensor, Tensor]:
    """The cells of K boxes, widened by one and cut to the map.

    Args:
        low_xy, high_xy: (K, 2) corners in input pixels.

    Returns:
        first cell and number of cells along x and y, (K, 2) int64 each.
    """
    stride = settings.stride
    last = torch.tensor([size[1] - 1, size[0] - 1], device=low_xy.device)
    first = torch.round((low_xy - stride) / stride).long().clamp(min=0)
    extent = (torch.minimum(torch.round((high_xy + stride) / stride).long(), last) - first + 1).clamp(min=0)
    return first, extent


def _cells_of_boxes(first: Tensor, extent: Tensor, cells: int) -> tuple[Tensor, Tensor, Tensor]:
    """All cells of `_boxes`, `cells` in all: the owner, column and row of each, (cells,) int64."""
    areas = extent.prod(1)
    owner = torch.repeat_interleave(torch.arange(len(areas), device=areas.device), areas, output_size=cells)
    rank = torch.arange(cells, device=areas.device) - (areas.cumsum(0) - areas)[owner]
    columns = first[owner, 0] + rank % extent[owner, 0]
    rows = first[owner, 1] + rank // extent[owner, 0]
    return owner, columns, rows


def _sent(device: torch.device, *tensors: Tensor) -> tuple[Tensor, ...]:
    """Copies on the device, which nobody waits for: that takes pinned memory."""
    if device.type == "cuda" and tensors[0].device.type == "cpu":
        tensors = tuple(tensor.pin_memory() for tensor in tensors)
    return tuple(tensor.to(device, non_blocking=True) for tensor in tensors)


def _gaussian(distance: Tensor, sigma: float) -> Tensor:
    return torch.exp(-(distance**2) / (2 * sigma**2))


def _pixels(index: Tensor, settings: Targets) -> Tensor:
    return index * settings.stride + (settings.stride / 2 - 0.5)
