"""Tracking metrics: MOTA, MOTP (Bernardin & Stiefelhagen 2008), IDF1 (Ristani et al. 2016), HOTA.

HOTA (Luiten et al. 2021) is computed by the package trackeval, which is optional.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from scipy.optimize import linear_sum_assignment

from simplepose.people import NO_ID


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
        similarity: sum over all matches.
    """

    truth: int
    found: int
    misses: int
    false_positives: int
    switches: int
    id_matches: int
    similarity: float

    @property
    def mota(self) -> float:
        """1 - (misses + false_positives + switches) / truth: at most 1, can be negative; 0 for no people."""
        errors = self.misses + self.false_positives + self.switches
        return 1 - errors / self.truth if self.truth else 0.0

    @property
    def idf1(self) -> float:
        """2 id_matches / (truth + found), in [0, 1]; 0 if there are no true and no found people."""
        return 2 * self.id_matches / max(1, self.truth + self.found)

    @property
    def precision(self) -> float:
        """Fraction of the found people that have a match, in [0, 1]; 0 if there are none."""
        return (self.found - self.false_positives) / max(1, self.found)

    @property
    def recall(self) -> float:
        """Fraction of the true people that have a match, in [0, 1]; 0 if there are none."""
        return (self.truth - self.misses) / max(1, self.truth)

    @property
    def motp(self) -> float:
        """Mean similarity of the matches, in [0, 1]; larger is better; 0 without matches."""
        return self.similarity / max(1, self.truth - self.misses)


def compute_track_scores(frames: Iterable[FrameMatch], min_similarity: float = 0.5) -> TrackScores:
    """Compute the tracking metrics of a video.

    In each frame, a true person keeps the id of their last match, in any earlier frame, if that match is
    allowed. Of the others, as many as possible are matched, with the largest total similarity.

    Args:
        frames: in order.
        min_similarity: the smallest similarity of a match.
    """
    last_matches: dict[int, int] = {}
    truth = found = matched = switches = 0
    similarity = 0.0
    pair_counts: Counter[tuple[int, int]] = Counter()
    for frame in frames:
        allowed = frame.similarity >= min_similarity
        pairs = _match(frame, allowed, last_matches)
        matches = {int(frame.truth[row]): int(frame.found[column]) for row, column in pairs}
        switches += sum(
            last_matches.get(true_id, found_id) != found_id for true_id, found_id in matches.items()
        )
        last_matches.update(matches)
        similarity += sum(float(frame.similarity[pair]) for pair in pairs)
        truth, found, matched = truth + len(frame.truth), found + len(frame.found), matched + len(pairs)
        rows, columns = np.nonzero(allowed)
        pair_counts.update(zip(frame.truth[rows].tolist(), frame.found[columns].tolist(), strict=True))
    id_matches = _max_id_matches(pair_counts)
    return TrackScores(truth, found, truth - matched, found - matched, switches, id_matches, similarity)


def sum_scores(scores: Sequence[TrackScores]) -> TrackScores:
    """Add the scores of several videos."""
    return TrackScores(
        *(sum(getattr(score, field.name) for score in scores) for field in fields(TrackScores))
    )


def compute_hota(videos: Iterable[Iterable[FrameMatch]]) -> dict[str, float]:
    """Compute HOTA, DetA and AssA of several videos with the package trackeval.

    Args:
        videos: the frames of each video; ids of different videos are different people.

    Returns:
        "HOTA", "DetA" and "AssA", each in [0, 1]: means over the minimum similarities 0.05:0.05:0.95.

    Raises:
        ValueError: trackeval is not installed; states the command.
    """
    try:
        from trackeval.metrics.hota import HOTA
    except ImportError as error:
        raise ValueError(
            f"HOTA: expected the package trackeval, got: {error}; run: pip install 'simplepose[hota]'"
        ) from error
    true_rows: dict[tuple[int, int], int] = {}
    found_rows: dict[tuple[int, int], int] = {}
    truth, found, similarities = [], [], []
    for number, frames in enumerate(videos):
        for frame in frames:
            truth.append(_number_ids(frame.truth, number, true_rows))
            found.append(_number_ids(frame.found, number, found_rows))
            similarities.append(frame.similarity)
    result = HOTA().eval_sequence(
        {
            "num_gt_dets": sum(map(len, truth)),
            "num_tracker_dets": sum(map(len, found)),
            "num_gt_ids": len(true_rows),
            "num_tracker_ids": len(found_rows),
            "gt_ids": truth,
            "tracker_ids": found,
            "similarity_scores": similarities,
        }
    )
    return {name: float(np.mean(result[name])) for name in ("HOTA", "DetA", "AssA")}


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


def iou(truth_xywh: np.ndarray, found_xywh: np.ndarray) -> np.ndarray:
    """Compute the intersection over union of boxes.

    Args:
        truth_xywh: (G, 4) left, top, width, height.
        found_xywh: (P, 4).

    Returns:
        (G, P) float64 in [0, 1].
    """
    overlap = intersections(truth_xywh, found_xywh)
    union = truth_xywh[:, None, 2:].prod(2) + found_xywh[None, :, 2:].prod(2) - overlap
    result: np.ndarray = overlap / np.maximum(union, 1e-9)
    return result


def intersections(first_xywh: np.ndarray, second_xywh: np.ndarray) -> np.ndarray:
    """Compute the area of the intersection of each pair of boxes: (N, 4) and (M, 4) -> (N, M)."""
    first, second = first_xywh[:, None], second_xywh[None]
    low = np.maximum(first[..., :2], second[..., :2])
    high = np.minimum(first[..., :2] + first[..., 2:], second[..., :2] + second[..., 2:])
    area: np.ndarray = np.maximum(high - low, 0).prod(2)
    return area


def _number_ids(ids: np.ndarray, video: int, rows: dict[tuple[int, int], int]) -> np.ndarray:
    """Replace the ids of a video by rows from 0; a new id gets the next row."""
    return np.array([rows.setdefault((video, id_), len(rows)) for id_ in ids.tolist()], np.int64)


def _match(frame: FrameMatch, allowed: np.ndarray, last_matches: dict[int, int]) -> list[tuple[int, int]]:
    """Match true and found people: pairs of (row, column)."""
    free_columns = {found_id: column for column, found_id in enumerate(frame.found.tolist())}
    pairs = []
    for row, true_id in enumerate(frame.truth.tolist()):
        column = free_columns.get(last_matches.get(true_id, NO_ID), -1)
        if column >= 0 and allowed[row, column]:
            pairs.append((row, column))
            del free_columns[last_matches[true_id]]
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
    rows = {true_id: row for row, true_id in enumerate({true_id for true_id, _ in pair_counts})}
    columns = {found_id: column for column, found_id in enumerate({found_id for _, found_id in pair_counts})}
    counts = np.zeros((len(rows), len(columns)))
    for (true_id, found_id), count in pair_counts.items():
        counts[rows[true_id], columns[found_id]] = count
    return int(counts[linear_sum_assignment(counts, maximize=True)].sum())
