"""Draw training targets: joints -> limb maps and heatmaps, for a batch on any torch device.

`draw` draws all people of an image, for the bottom-up network; `draw_crops` one person, for FastPose.

The center of cell k of the maps is at k * stride + stride / 2 - 0.5 input pixels. Only the cells near a joint
or a limb are computed: a joint's window is 15 x 15 cells of a 128 x 128 map.
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

    The joints and limbs to draw are selected on the joints' device and then copied to the mask's device. With
    joints on the CPU, as the loader returns them, this function never synchronizes with a GPU.

    Args:
        joints: (N, P, J, 3) float32 x, y in input pixels and v, padded with people of v = 0.
            A joint with v > 0 is labeled (occluded joints are drawn too). A joint with a value that is not
            finite is unlabeled.
        person_mask: (N, h, w) float32 in [0, 1], the fraction of a cell that people cover.
        skeleton: defines the channels.
        settings: standard deviations and thresholds.

    Returns:
        (N, C, h, w) float32 in [0, 1], channels in the skeleton's order.
    """
    joints = _drop_non_finite(joints)
    maps = person_mask.new_zeros(len(joints), skeleton.channels, *person_mask.shape[-2:])
    _draw_limbs(maps, joints, skeleton, settings)
    _draw_keypoints(maps, joints, skeleton.keypoint_channels.start, settings)
    maps[:, skeleton.person_mask_channel] = _erode(_erode(person_mask, 1), 2)
    keypoints = maps[:, skeleton.keypoint_channels]
    torch.amax(keypoints, 1, out=maps[:, skeleton.keypoint_maximum_channel])
    return maps


def draw_crops(
    joints: Tensor, size: tuple[int, int], skeleton: Skeleton, settings: TargetSettings, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Draw the heatmaps of the main person of each crop.

    Args:
        joints: (N, P, J, 3) as in `draw`; the first person is the main person.
        size: height and width of the maps.
        skeleton: defines the joints; a heatmap belongs to an annotated joint.
        settings: standard deviation and threshold.
        device: where to draw.

    Returns:
        (N, A, h, w) float32 heatmaps in [0, 1]; and (N, A, h, w) float32 weights, 1 for labeled joints whose
        center is in the crop, else 0.
    """
    main = _drop_non_finite(joints[:, :1, skeleton.joint_of_annotated])
    limits = torch.tensor([size[1], size[0]], device=joints.device) * settings.stride - 0.5
    inside = ((main[..., :2] >= -0.5) & (main[..., :2] < limits)).all(-1) & (main[..., 2] > 0)
    maps = torch.zeros(len(main), main.shape[2], *size, device=device)
    _draw_keypoints(maps, torch.where(inside[..., None], main, 0.0), 0, settings)
    (weights,) = _send_to_device([inside.any(1).float()], device)
    return maps, weights[:, :, None, None].expand_as(maps)


def _drop_non_finite(joints: Tensor) -> Tensor:
    """Make joints with a value that is not finite unlabeled."""
    return torch.where(joints.isfinite().all(-1, keepdim=True), joints, 0.0)


def _erode(mask: Tensor, axis: int) -> Tensor:
    """Compute the minimum of each cell and its two neighbors along an axis."""
    eroded, inner = mask.clone(), mask.shape[axis] - 1
    for start, neighbor_start in ((0, 1), (1, 0)):
        part = eroded.narrow(axis, start, inner)
        torch.minimum(part, mask.narrow(axis, neighbor_start, inner), out=part)
    return eroded


def _draw_keypoints(maps: Tensor, joints: Tensor, first_channel: int, settings: TargetSettings) -> None:
    """Draw a Gaussian in a square window on each labeled joint; people are combined by maximum."""
    channels, height, width = maps.shape[1:]
    sample, person, joint = (joints[..., 2] > 0).nonzero(as_tuple=True)
    plane = sample * channels + first_channel + joint
    center, plane = _send_to_device([joints[sample, person, joint, :2], plane], maps.device)
    radius = math.ceil(
        settings.keypoint_sigma * math.sqrt(-2 * math.log(settings.threshold)) / settings.stride
    )
    window = torch.arange(-radius, radius + 1, device=maps.device)
    columns, rows = (torch.round(center[:, axis, None] / settings.stride).long() + window for axis in (0, 1))
    gaussian_x = _gaussian(_to_pixels(columns, settings) - center[:, :1], settings.keypoint_sigma)
    gaussian_y = _gaussian(_to_pixels(rows, settings) - center[:, 1:], settings.keypoint_sigma)
    gaussian_x *= (columns >= 0) & (
        columns < width
    )  # 0 outside: the maximum leaves the border cell unchanged
    gaussian_y *= (rows >= 0) & (rows < height)
    rows = plane[:, None] * height + rows.clamp_(0, height - 1)
    cells = rows[:, :, None] * width + columns.clamp_(0, width - 1)[:, None, :]
    gaussians = gaussian_y[:, :, None] * gaussian_x[:, None, :]
    maps.view(-1).scatter_reduce_(0, cells.view(-1), gaussians.view(-1), "amax")


def _draw_limbs(maps: Tensor, joints: Tensor, skeleton: Skeleton, settings: TargetSettings) -> None:
    """Draw a Gaussian band in the box of each limb with two labeled ends; people are combined by mean."""
    channels, height, width = maps.shape[1:]
    ends = torch.as_tensor(skeleton.limb_ends, device=joints.device).long()
    a, b = joints[:, :, ends[:, 0]], joints[:, :, ends[:, 1]]
    exists = (a[..., 2] > 0) & (b[..., 2] > 0) & (a[..., :2] != b[..., :2]).any(-1)
    sample, person, limb = exists.nonzero(as_tuple=True)
    a, b = a[sample, person, limb, :2], b[sample, person, limb, :2]
    first, extent = _compute_cell_boxes(torch.minimum(a, b), torch.maximum(a, b), (height, width), settings)
    areas = extent.prod(1)
    count = int(areas.sum())
    plane = sample * channels + skeleton.limb_channels.start + limb
    a, b, first, extent, areas, plane = _send_to_device([a, b, first, extent, areas, plane], maps.device)
    normal = torch.stack([a[:, 1] - b[:, 1], b[:, 0] - a[:, 0]], 1)
    normal = normal / normal.norm(dim=1, keepdim=True)
    owner = torch.arange(len(areas), device=maps.device).repeat_interleave(areas, output_size=count)

    def select_by_cell(values: Tensor) -> Tensor:
        """Select the value of each cell's limb."""
        return values.index_select(0, owner)

    rank = torch.arange(count, device=maps.device) - select_by_cell(areas.cumsum(0) - areas)
    num_columns = select_by_cell(extent[:, 0])
    row = rank // num_columns
    column = rank - row * num_columns + select_by_cell(first[:, 0])
    row += select_by_cell(first[:, 1])
    distance = (_to_pixels(column, settings) - select_by_cell(a[:, 0])) * select_by_cell(normal[:, 0])
    distance += (_to_pixels(row, settings) - select_by_cell(a[:, 1])) * select_by_cell(normal[:, 1])
    band = _gaussian(distance, settings.limb_sigma)
    band = torch.where(band <= settings.threshold, min(settings.limb_floor, 1.0), band)
    cells = (select_by_cell(plane) * height + row) * width + column
    counts = torch.zeros(maps.numel(), dtype=torch.int16, device=maps.device)
    counts.index_add_(0, cells, (band > 0).short())
    maps.view(-1).index_add_(0, cells, band / counts.index_select(0, cells).clamp_(min=1))


def _compute_cell_boxes(
    low_xy: Tensor, high_xy: Tensor, size: tuple[int, int], settings: TargetSettings
) -> tuple[Tensor, Tensor]:
    """Compute the cells of K boxes, padded by one cell and clipped to the map.

    Args:
        low_xy, high_xy: (K, 2) corners in input pixels.
        size: height and width of the map.
        settings: the map's stride.

    Returns:
        The first column and row, and the number of columns and rows, (K, 2) int64 each.
    """
    stride = settings.stride
    last = torch.tensor([size[1] - 1, size[0] - 1], device=low_xy.device)
    first = torch.round((low_xy - stride) / stride).long().clamp(min=0)
    extent = (torch.minimum(torch.round((high_xy + stride) / stride).long(), last) - first + 1).clamp(min=0)
    return first, extent


def _send_to_device(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Copy small tensors to a device without synchronizing with it."""
    pinned = [t.pin_memory() if t.device.type == "cpu" and device.type == "cuda" else t for t in tensors]
    return [tensor.to(device, non_blocking=True) for tensor in pinned]


def _gaussian(distance: Tensor, sigma: float) -> Tensor:
    return torch.exp(-(distance**2) / (2 * sigma**2))


def _to_pixels(index: Tensor, settings: TargetSettings) -> Tensor:
    return index * settings.stride + (settings.stride / 2 - 0.5)
