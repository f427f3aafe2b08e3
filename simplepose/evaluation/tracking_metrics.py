"""Tracking metrics: MOTA (Bernardin & Stiefelhagen 2008) and IDF1 (Ristani et al. 2016)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment


@dataclass(frozen=True, eq=False)
class FrameMatch:
    """The true and the found people of one frame, and their similarity.

    Attributes:
        truth: (G,) int64 ids of the true people, each once.
        found: (P,) int64 ids of the found people, each once.
        similarity: (G, P) in [0, 1], for example `oks`.

    Raises:
        ValueError: the shapes do not fit together, or an id is repeated.
    """

    truth: np.ndarray
    found: np.ndarray
    similarity: np.ndarray

    def __post_init__(self) -> None:
        if self.similarity.shape != (len(self.truth), len(self.found)):
            raise ValueError(
                f"expected similarity of shape {len(self.truth), len(self.found)}, "
                f"got {self.similarity.shape}"
            )
        for name, ids in (("truth", self.truth), ("found", self.found)):
            if len(set(ids.tolist())) < len(ids):
                raise ValueError(f"expected unique ids in a frame, got {name} {ids.tolist()}")


@dataclass(frozen=True)
class TrackScores:
    """Counts over all frames.

    Attributes:
        truth, found: number of true and found people, counted in each frame.
        misses: true people without a match.
        false_positives: found people without a match.
        switches: matches of a true person with another found id than at that person's previous match.
        id_matches: matches that agree with the one-to-one assignment of true to found ids that maximizes
            their number.
    """

    truth: int
    found: int
    misses: int
    false_positives: int
    switches: int
    id_matches: int

    @property
    def mota(self) -> float:
        """1 - (misses + false_positives + switches) / truth: at most 1, can be negative; 0 for no people."""
        errors = self.misses + self.false_positives + self.switches
        return 1 - errors / self.truth if self.truth else 0.0

    @property
    def idf1(self) -> float:
        """2 id_matches / (truth + found), in [0, 1]; 0 if there are no true and no found people."""
        return 2 * self.id_matches / max(1, self.truth + self.found)


def compute_track_scores(frames: Iterable[FrameMatch], min_similarity: float = 0.5) -> TrackScores:
    """Compute the tracking metrics of a video.

    In each frame, pairs that were matched in the previous frame keep their match if it is still allowed. Of
    the others, as many as possible are matched, with the largest total similarity.

    Args:
        frames: in order.
        min_similarity: the smallest similarity of a match.
    """
    last_matches: dict[int, int] = {}
    previous: dict[int, int] = {}
    truth = found = matched = switches = 0
    pair_counts: Counter[tuple[int, int]] = Counter()
    for frame in frames:
        allowed = frame.similarity >= min_similarity
        pairs = _match(frame, allowed, previous)
        previous = {int(frame.truth[row]): int(frame.found[column]) for row, column in pairs}
        switches += sum(
            last_matches.get(true_id, found_id) != found_id for true_id, found_id in previous.items()
        )
        last_matches.update(previous)
        truth, found, matched = truth + len(frame.truth), found + len(frame.found), matched + len(pairs)
        rows, columns = np.nonzero(allowed)
        pair_counts.update(zip(frame.truth[rows].tolist(), frame.found[columns].tolist(), strict=True))
    id_matches = _max_id_matches(pair_counts)
    return TrackScores(truth, found, truth - matched, found - matched, switches, id_matches)


def oks(
    truth: np.ndarray, areas: np.ndarray, found_xy: np.ndarray, found: np.ndarray, sigmas: np.ndarray
) -> np.ndarray:
    """Compute COCO's object keypoint similarity, with 0 for keypoints that were not found.

    Args:
        truth: (G, J, 3) x, y, v; keypoints with v = 0 are ignored. A person without other keypoints has
            similarity 0 to all people.
        areas: (G,) area of each true person in pixels squared.
        found_xy: (P, J, 2).
        found: (P, J) bool.
        sigmas: (J,) of the skeleton.

    Returns:
        (G, P) float64 in [0, 1].
    """
    labeled = truth[:, None, :, 2] > 0
    squared_distances = ((truth[:, None, :, :2].astype(np.float64) - found_xy[None]) ** 2).sum(3)
    scales = 2 * (2 * np.asarray(sigmas)) ** 2 * np.maximum(areas, 1e-9)[:, None, None]
    total = np.where(labeled & found[None], np.exp(-squared_distances / scales), 0).sum(2)
    similarity: np.ndarray = total / np.maximum(labeled.sum(2), 1)
    return similarity


def _match(frame: FrameMatch, allowed: np.ndarray, previous: dict[int, int]) -> list[tuple[int, int]]:
    """Match true and found people: pairs of (row, column)."""
    columns = {found_id: column for column, found_id in enumerate(frame.found.tolist())}
    candidates = (
        (row, columns.get(previous.get(true_id, -1), -1)) for row, true_id in enumerate(frame.truth.tolist())
    )
    pairs = [(row, column) for row, column in candidates if column >= 0 and allowed[row, column]]
    # Maximizes the number of matches first, then their similarity.
    value = np.where(allowed, 1 + frame.similarity / (1 + sum(allowed.shape)), 0)
    for row, column in pairs:
        value[row], value[:, column] = 0, 0
    rows, assigned = linear_sum_assignment(value, maximize=True)
    return pairs + [
        (row, column) for row, column in zip(rows, assigned, strict=True) if value[row, column] > 0
    ]


def _max_id_matches(pair_counts: Counter[tuple[int, int]]) -> int:
    """Return the largest number of matches under a one-to-one assignment of true to found ids."""
    true_ids = sorted({true_id for true_id, _ in pair_counts})
    found_ids = sorted({found_id for _, found_id in pair_counts})
    counts = np.zeros((len(true_ids), len(found_ids)))
    for (true_id, found_id), count in pair_counts.items():
        counts[true_ids.index(true_id), found_ids.index(found_id)] = count
    return int(counts[linear_sum_assignment(counts, maximize=True)].sum())
