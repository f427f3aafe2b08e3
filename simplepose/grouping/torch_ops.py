"""Grouping for maps on a GPU: peaks and connections are found on the device, and only they are copied.

Peaks: the device finds the cells without a higher neighbor. The C++ kernels refine their positions from the
few values around each of them, as they do with complete maps. Limbs: the algorithm of csrc/limbs.cpp for all
pairs of peaks at once, with the same arithmetic in the same order.
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

MAX_SAMPLES_PER_STEP = 1 << 21
"""Largest number of samples of limb maps in one step; it bounds the memory use."""

_REACH = 2  # refinement reads the cells within this many steps, in Manhattan distance (csrc/local_maxima.h)
_NEIGHBORHOOD = [
    (dy, dx) for dy in range(-_REACH, _REACH + 1) for dx in range(abs(dy) - _REACH, _REACH - abs(dy) + 1)
]


@torch.no_grad()
def group(maps: Tensor, skeleton: Skeleton, settings: GroupingSettings) -> tuple[np.ndarray, np.ndarray]:
    """Find people in maps on any device, with this project's rules (`rules="simplepose"`).

    Args:
        maps: (C, h, w) float32, float16 or bfloat16; channels as in `simplepose.grouping.group`.
        skeleton: defines the channels and the joints of each limb.
        settings: thresholds and the stride of the maps.

    Returns:
        (P, J, 3) float32 x, y in pixels of the network's input and score of the network joints; (P,) float32
        scores.
    """
    limb_ends = skeleton.limb_ends
    peaks, counts = find_peaks(maps[skeleton.keypoint_channels], settings)
    ends, scores = connect_limbs(maps[skeleton.limb_channels], peaks, counts, limb_ends, settings)
    keypoints, person_scores = _grouping.assemble_poses(
        peaks, counts, ends, scores, limb_ends, *maps.shape[1:], settings
    )
    return keypoints, person_scores


def find_peaks(maps: Tensor, settings: GroupingSettings) -> tuple[np.ndarray, np.ndarray]:
    """Find the peaks of heatmaps (J, h, w).

    Returns:
        (N, 3) float64 x, y in cells and score, joint after joint, best first; (J,) int32 number of peaks of
        each joint.
    """
    values = maps.float().nan_to_num(0, 0, 0)
    highest = functional.max_pool2d(values, 3, stride=1, padding=1)
    maxima = ((values == highest) & (values >= float(np.float32(settings.peak_threshold)))).nonzero()
    if len(maxima) * (3 + len(_NEIGHBORHOOD)) > maps.numel():  # the maps are smaller than the neighborhoods
        peaks, counts = _grouping.find_peaks(maps.cpu().float().numpy(), settings)
        return peaks, counts
    padded = functional.pad(values, (_REACH,) * 4)
    joint, y, x = maxima[:, :, None].unbind(1)
    dy, dx = torch.tensor(_NEIGHBORHOOD).to(maps.device).T
    neighborhoods = padded[joint, y + dy + _REACH, x + dx + _REACH]
    peaks, counts = _grouping.refine_maxima(*_to_cpu(maxima, neighborhoods), *maps.shape, settings)
    return peaks, counts


def connect_limbs(
    maps: Tensor, peaks: np.ndarray, counts: np.ndarray, limb_ends: np.ndarray, settings: GroupingSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Find candidate limbs between pairs of peaks.

    Args:
        maps: (L, h, w) limb maps.
        peaks, counts: (N, 3) and (J,), as `find_peaks` returns them.
        limb_ends: (L, 2) the two joints of each limb.
        settings: thresholds and limits.

    Returns:
        (M, 3) int32: limb, index of the first joint's peak and index of the second joint's peak; (M,) float64
        scores.
    """
    first, pairs = np.cumsum(counts) - counts, np.prod(counts[limb_ends], 1, dtype=np.int64)
    end = np.cumsum(pairs)
    table = np.stack([end, end - pairs, counts[limb_ends[:, 1]], *first[limb_ends.T]])
    limb_table, device_peaks = (torch.from_numpy(array).to(maps.device) for array in (table, peaks))
    max_samples = min(settings.limb_samples, maps.shape[1] + maps.shape[2] + 1)  # no limb is longer
    total, step = int(pairs.sum()), max(MAX_SAMPLES_PER_STEP // max_samples, 1)
    ends = torch.empty(0, 3, dtype=torch.int64, device=maps.device)
    scores = torch.empty(0, dtype=torch.float64, device=maps.device)
    for start in range(0, total, step):
        numbers = torch.arange(start, min(start + step, total), device=maps.device)
        candidates = _select_candidates(numbers, limb_table, device_peaks, maps.shape[1], settings)
        support = _compute_support(maps, candidates, max_samples, settings)
        new_scores = candidates.confidence * support + candidates.penalty
        kept = (new_scores > 0).nonzero()[:, 0]
        ends, scores = torch.cat([ends, candidates.ends[kept]]), torch.cat([scores, new_scores[kept]])
        ends, scores = _keep_best(ends, scores, settings.max_connections)
    ends_array, scores_array = _to_cpu(ends, scores[:, None])
    return ends_array, scores_array[:, 0]


class _Pairs(NamedTuple):
    """Pairs of peaks.

    Attributes:
        ends: (n, 3) limb, index of the first and of the second peak.
        start, stop: (n, 3) x, y, score of the first and of the second peak.
        length: (n,) distance in cells.
        confidence: (n,) in (0, 1], from the weaker peak's score.
        penalty: (n,) at most 0, for long limbs.
    """

    ends: Tensor
    start: Tensor
    stop: Tensor
    length: Tensor
    confidence: Tensor
    penalty: Tensor


def _select_candidates(
    numbers: Tensor, limb_table: Tensor, peaks: Tensor, height: int, settings: GroupingSettings
) -> _Pairs:
    """Select the pairs with these numbers that have a positive score if the limb map is 1 everywhere.

    Pairs are numbered limb by limb, and within a limb by first peak, then by second peak.

    Args:
        numbers: (n,) numbers of pairs.
        limb_table: (5, L) for each limb: end and begin of its pairs' numbers, number of peaks of its second
            joint, index in `peaks` of the first peak of its first joint and of its second joint.
        peaks: (N, 3) x, y, score.
        height: height of the maps.
        settings: thresholds.
    """
    limb = torch.searchsorted(limb_table[0], numbers, right=True)
    begin, num_second, first_from, first_to = limb_table[1:, limb]
    i, j = (numbers - begin) // num_second, (numbers - begin) % num_second
    start, stop = peaks[first_from + i], peaks[first_to + j]
    length = (stop - start)[:, :2].square().sum(1).sqrt()
    # Tensors instead of numbers: for a number, a GPU may multiply by the inverse instead of dividing.
    half_height, confident_peak = (
        torch.full_like(length, n) for n in (0.5 * height, settings.confident_peak)
    )
    confidence = (torch.minimum(start[:, 2], stop[:, 2]) / confident_peak).clamp(max=1)
    penalty = (half_height / length - 1).clamp(max=0)
    selected = ((length > 0) & (confidence + penalty > 0)).nonzero()[:, 0]
    fields = (torch.stack([limb, i, j], 1), start, stop, length, confidence, penalty)
    return _Pairs(*(field[selected] for field in fields))


def _compute_support(maps: Tensor, pairs: _Pairs, max_samples: int, settings: GroupingSettings) -> Tensor:
    """Compute the value that enough samples between two peaks reach, (n,); 0 if it is below the threshold."""
    samples = (pairs.length + 0.5).floor().clamp(1, settings.limb_samples - 1) + 1
    needed = (settings.limb_support * samples).ceil().long()
    step = (pairs.stop - pairs.start)[:, :2] / (samples - 1)[:, None]
    number = torch.arange(max_samples, device=maps.device)
    x, y = (pairs.start[:, :2, None] + number * step[:, :, None]).unbind(1)
    values = _interpolate(maps, pairs.ends[:, :1], x, y).clamp(max=1)
    values = values.masked_fill(number >= samples[:, None], -torch.inf)
    reached = values.sort(descending=True).values.gather(1, needed[:, None] - 1)[:, 0]
    return torch.where(reached > settings.limb_threshold, reached, 0)


def _interpolate(maps: Tensor, limb: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Interpolate bilinearly, (n, S) float64, clamped at the border; values that are not finite are 0."""
    height, width = maps.shape[1:]
    x, y = x.clamp(0, width - 1), y.clamp(0, height - 1)
    left, top = x.long(), y.long()
    right, bottom = (left + 1).clamp(max=width - 1), (top + 1).clamp(max=height - 1)
    a, b = x - left, y - top
    above = maps[limb, top, left].double() * (1 - a) + maps[limb, top, right].double() * a
    below = maps[limb, bottom, left].double() * (1 - a) + maps[limb, bottom, right].double() * a
    return (above * (1 - b) + below * b).nan_to_num(0, 0, 0)


def _keep_best(ends: Tensor, scores: Tensor, max_count: int) -> tuple[Tensor, Tensor]:
    """Keep the best `max_count` connections of each limb; of equal ones, the first."""
    if len(scores) <= max_count:
        return ends, scores
    order = scores.sort(descending=True, stable=True).indices
    limb, by_limb = ends[order, 0].sort(stable=True)
    rank = torch.arange(len(limb), device=limb.device) - torch.searchsorted(limb, limb)
    kept = order[by_limb[rank < max_count]]
    return ends[kept], scores[kept]


def _to_cpu(indices: Tensor, values: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Copy (N, k) as int32 and (N, m) float32 or float64 together, because each copy synchronizes."""
    rows = torch.cat([indices.int(), values.view(torch.int32)], 1).cpu().numpy()
    dtype = np.float64 if values.dtype == torch.float64 else np.float32
    split = indices.shape[1]
    return rows[:, :split].copy(), rows[:, split:].copy().view(dtype)
