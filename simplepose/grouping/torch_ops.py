"""Maps reduced where they lie, a GPU for example: joints and limbs are found there, and only they are copied.

Peaks: the device picks the cells that nothing beside them exceeds; the kernels place peaks between the
cells, from the few values around each, as they do with whole maps. Limbs: csrc/limbs.cpp once more, for
all pairs of peaks at once, with the same arithmetic in the same order.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from simplepose.config import GroupingSettings
from simplepose.grouping import _grouping
from simplepose.skeleton import Skeleton

SAMPLES = 1 << 21
"""Limb maps are read at so many places at once, to bound the memory that it takes."""

_REACH = 2  # cells within so many steps place a peak (csrc/tops.h)
_NEAR = [
    (dy, dx) for dy in range(-_REACH, _REACH + 1) for dx in range(abs(dy) - _REACH, _REACH - abs(dy) + 1)
]


@torch.no_grad()
def group(maps: Tensor, skeleton: Skeleton, settings: GroupingSettings) -> tuple[np.ndarray, np.ndarray]:
    """People, by our rules, in maps on any device.

    Args:
        maps: (C, h, w) float32, float16 or bfloat16; channels as in `simplepose.grouping.group`.
        skeleton: names the channels, and which joints a limb connects.
        settings: thresholds and the maps' stride.

    Returns:
        (P, J, 3) float32 x, y in picture pixels and score of the network joints; (P,) float32 scores.
    """
    limb_ends = skeleton.limb_ends.reshape(-1, 2)
    peaks, counts = find_peaks(maps[skeleton.keypoint_channels], settings)
    ends, scores = connect_limbs(maps[skeleton.limb_channels], peaks, counts, limb_ends, settings)
    keypoints, person_scores = _grouping.assemble(peaks, counts, ends, scores, limb_ends, settings)
    return keypoints, person_scores


def find_peaks(maps: Tensor, settings: GroupingSettings) -> tuple[np.ndarray, np.ndarray]:
    """The joints in keypoint maps (J, h, w).

    Returns:
        (N, 3) float64 x, y in cells and score, joint after joint, best first; (J,) int32: how many of each.
    """
    values = maps.float().nan_to_num(0, 0, 0)
    highest = functional.max_pool2d(values, 3, stride=1, padding=1)
    tops = ((values == highest) & (values >= float(np.float32(settings.peak_threshold)))).nonzero()
    if len(tops) * (3 + len(_NEAR)) > maps.numel():  # the maps are the smaller thing to copy
        peaks, counts = _grouping.peaks_of_maps(maps.cpu().float().numpy(), settings)
        return peaks, counts
    ring = functional.pad(values, (_REACH,) * 4)
    joint, y, x = tops[:, :, None].unbind(1)
    dy, dx = torch.tensor(_NEAR).to(maps.device).T
    near = ring[joint, y + dy + _REACH, x + dx + _REACH]
    peaks, counts = _grouping.peaks_of_tops(*_to_cpu(tops, near), *maps.shape, settings)
    return peaks, counts


def connect_limbs(
    maps: Tensor, peaks: np.ndarray, counts: np.ndarray, limb_ends: np.ndarray, settings: GroupingSettings
) -> tuple[np.ndarray, np.ndarray]:
    """The limbs that may lie between peaks.

    Args:
        maps: (L, h, w) limb maps.
        peaks: (N, 3) and counts: (J,) as `find_peaks` gives them.
        limb_ends: (L, 2) the joints that each limb connects.

    Returns:
        (M, 3) int32 limb, and indices among the peaks of its first and second joint; (M,) float64 scores.
    """
    first, pairs = np.cumsum(counts) - counts, np.prod(counts[limb_ends], 1, dtype=np.int64)
    end = np.cumsum(pairs)
    table = np.stack([end, end - pairs, counts[limb_ends[:, 1]], *first[limb_ends.T]])
    of_limb, places = torch.from_numpy(table).to(maps.device), torch.from_numpy(peaks).to(maps.device)
    most = min(settings.limb_samples, maps.shape[1] + maps.shape[2] + 1)  # no limb is longer
    total, step = int(pairs.sum()), max(SAMPLES // most, 1)
    ends = torch.empty(0, 3, dtype=torch.int64, device=maps.device)
    scores = torch.empty(0, dtype=torch.float64, device=maps.device)
    for start in range(0, total, step):
        numbers = torch.arange(start, min(start + step, total), device=maps.device)
        found = _possible(numbers, of_limb, places, maps.shape[1], settings)
        found_scores = found.sure * _support(maps, found, most, settings) + found.penalty
        kept = (found_scores > 0).nonzero()[:, 0]
        ends, scores = torch.cat([ends, found.ends[kept]]), torch.cat([scores, found_scores[kept]])
        ends, scores = _best(ends, scores, settings.max_connections)
    ends_there, scores_there = _to_cpu(ends, scores[:, None])
    return ends_there, scores_there[:, 0]


class _Pairs(NamedTuple):
    """Pairs of peaks: ends (n, 3) limb, from, to; start and stop (n, 3) x, y, score; the others (n,)."""

    ends: Tensor
    start: Tensor
    stop: Tensor
    length: Tensor
    sure: Tensor
    penalty: Tensor


def _possible(
    numbers: Tensor, of_limb: Tensor, peaks: Tensor, height: int, settings: GroupingSettings
) -> _Pairs:
    """Those of the pairs with these numbers that a limb of 1 everywhere could connect.

    Pairs are numbered limb by limb, and of a limb first peak by first peak. of_limb (5, L): the numbers at
    which its pairs end and begin, how many peaks its second joint has, and where in `peaks` those of its two
    joints begin.
    """
    limb = torch.searchsorted(of_limb[0], numbers, right=True)
    begin, others, first_from, first_to = of_limb[1:, limb]
    i, j = (numbers - begin) // others, (numbers - begin) % others
    start, stop = peaks[first_from + i], peaks[first_to + j]
    length = (stop - start)[:, :2].square().sum(1).sqrt()
    # Tensors, not numbers: a GPU may multiply by a number's inverse where it should divide.
    half_height, sure_peak = (torch.full_like(length, n) for n in (0.5 * height, settings.sure_peak))
    sure = (torch.minimum(start[:, 2], stop[:, 2]) / sure_peak).clamp(max=1)
    penalty = (half_height / length - 1).clamp(max=0)
    possible = ((length > 0) & (sure + penalty > 0)).nonzero()[:, 0]
    parts = (torch.stack([limb, i, j], 1), start, stop, length, sure, penalty)
    return _Pairs(*(part[possible] for part in parts))


def _support(maps: Tensor, pairs: _Pairs, most: int, settings: GroupingSettings) -> Tensor:
    """(n,) the value that enough samples between two peaks reach, 0 if that is not above the threshold."""
    samples = (pairs.length + 0.5).floor().clamp(1, settings.limb_samples - 1) + 1
    needed = (settings.limb_support * samples).ceil().long()
    step = (pairs.stop - pairs.start)[:, :2] / (samples - 1)[:, None]
    number = torch.arange(most, device=maps.device)
    x, y = (pairs.start[:, :2, None] + number * step[:, :, None]).unbind(1)
    values = _interpolated(maps, pairs.ends[:, :1], x, y).clamp(max=1)
    values = values.masked_fill(number >= samples[:, None], -torch.inf)
    reached = values.sort(descending=True).values.gather(1, needed[:, None] - 1)[:, 0]
    return torch.where(reached > settings.limb_threshold, reached, 0)


def _interpolated(maps: Tensor, limb: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """(n, S) float64: bilinear, beyond the border the border's value; 0 where that is not finite."""
    height, width = maps.shape[1:]
    x, y = x.clamp(0, width - 1), y.clamp(0, height - 1)
    left, top = x.long(), y.long()
    right, bottom = (left + 1).clamp(max=width - 1), (top + 1).clamp(max=height - 1)
    a, b = x - left, y - top
    above = maps[limb, top, left].double() * (1 - a) + maps[limb, top, right].double() * a
    below = maps[limb, bottom, left].double() * (1 - a) + maps[limb, bottom, right].double() * a
    return (above * (1 - b) + below * b).nan_to_num(0, 0, 0)


def _best(ends: Tensor, scores: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """The `most` best connections of each limb; of equals, those that come first."""
    if len(scores) <= most:
        return ends, scores
    order = scores.sort(descending=True, stable=True).indices
    limb, by_limb = ends[order, 0].sort(stable=True)
    rank = torch.arange(len(limb), device=limb.device) - torch.searchsorted(limb, limb)
    kept = order[by_limb[rank < most]]
    return ends[kept], scores[kept]


def _to_cpu(indices: Tensor, values: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """(N, k) as int32 and (N, m) float32 or float64, in one copy: each waits for the device."""
    rows = torch.cat([indices.int(), values.view(torch.int32)], 1).cpu().numpy()
    dtype = np.float64 if values.dtype == torch.float64 else np.float32
    split = indices.shape[1]
    return rows[:, :split].copy(), rows[:, split:].copy().view(dtype)
