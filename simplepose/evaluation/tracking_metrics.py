"""How well ids hold: MOTA (Bernardin & Stiefelhagen 2008) and IDF1 (Ristani et al. 2016)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment


@dataclass(frozen=True, eq=False)
class Judged:
    """One frame: who is there, who was found, and how alike they are.

    Attributes:
        truth: (G,) int64 ids of the people who are there, each once.
        found: (P,) int64 ids of those found, each once.
        likeness: (G, P) in [0, 1], for example `oks`.

    Raises:
        ValueError: the shapes do not fit together, or an id stands twice.
    """

    truth: np.ndarray
    found: np.ndarray
    likeness: np.ndarray

    def __post_init__(self) -> None:
        if self.likeness.shape != (len(self.truth), len(self.found)):
            raise ValueError(
                f"likeness of shape {len(self.truth), len(self.found)} expected, got {self.likeness.shape}"
            )
        for name in ("truth", "found"):
            ids = getattr(self, name)
            if len(set(ids.tolist())) < len(ids):
                raise ValueError(f"each id once in a frame expected, got {name} {ids.tolist()}")


@dataclass(frozen=True)
class TrackScores:
    """Counts over all frames.

    Attributes:
        truth, found: people there and found, one for each frame in which they are.
        misses: people there whom nobody found matches.
        false: people found who match nobody there.
        switches: matches of somebody under another id than at that person's last match.
        same: matches that hold under the one-to-one naming of truth by found ids that makes them most.
    """

    truth: int
    found: int
    misses: int
    false: int
    switches: int
    same: int

    @property
    def mota(self) -> float:
        """1 - (misses + false + switches) / truth: at most 1, below 0 for much that is false; 0 of nobody."""
        return 1 - (self.misses + self.false + self.switches) / self.truth if self.truth else 0.0

    @property
    def idf1(self) -> float:
        """2 same / (truth + found), in [0, 1]; 0 where nobody is there or found."""
        return 2 * self.same / max(1, self.truth + self.found)


def track_scores(frames: Iterable[Judged], least: float = 0.5) -> TrackScores:
    """Judge the ids of a video.

    In each frame those who matched in the frame before and still may keep their match; of the others as many
    match as can, the most alike first in sum.

    Args:
        frames: in order.
        least: likeness from which on somebody found may be somebody there.
    """
    last: dict[int, int] = {}
    before: dict[int, int] = {}
    truth = found = matched = switches = 0
    together: Counter[tuple[int, int]] = Counter()
    for frame in frames:
        allowed = frame.likeness >= least
        pairs = _match(frame, allowed, before)
        before = {int(frame.truth[row]): int(frame.found[column]) for row, column in pairs}
        switches += sum(last.get(person, name) != name for person, name in before.items())
        last.update(before)
        truth, found, matched = truth + len(frame.truth), found + len(frame.found), matched + len(pairs)
        rows, columns = np.nonzero(allowed)
        together.update(zip(frame.truth[rows].tolist(), frame.found[columns].tolist(), strict=True))
    return TrackScores(truth, found, truth - matched, found - matched, switches, _most_same(together))


def oks(
    truth: np.ndarray, areas: np.ndarray, found_xy: np.ndarray, found: np.ndarray, sigmas: np.ndarray
) -> np.ndarray:
    """COCO's object keypoint similarity, with 0 for joints that were not found.

    Args:
        truth: (G, J, 3) x, y, v; joints of v 0 are not judged, and somebody without any is like nobody.
        areas: (G,) pixels squared that each covers.
        found_xy: (P, J, 2).
        found: (P, J) bool.
        sigmas: (J,) the skeleton's.

    Returns:
        (G, P) float64 in [0, 1].
    """
    labelled = truth[:, None, :, 2] > 0
    distances = ((truth[:, None, :, :2].astype(np.float64) - found_xy[None]) ** 2).sum(3)
    scales = 2 * (2 * np.asarray(sigmas)) ** 2 * np.maximum(areas, 1e-9)[:, None, None]
    alike = np.where(labelled & found[None], np.exp(-distances / scales), 0).sum(2)
    return alike / np.maximum(labelled.sum(2), 1)


def _match(frame: Judged, allowed: np.ndarray, before: dict[int, int]) -> list[tuple[int, int]]:
    """(row, column) of those who match."""
    columns = {name: column for column, name in enumerate(frame.found.tolist())}
    held = ((row, columns.get(before.get(name, -1), -1)) for row, name in enumerate(frame.truth.tolist()))
    pairs = [(row, column) for row, column in held if column >= 0 and allowed[row, column]]
    value = np.where(allowed, 1 + frame.likeness / (1 + sum(allowed.shape)), 0)  # number first, then likeness
    for row, column in pairs:
        value[row], value[:, column] = 0, 0
    rows, given = linear_sum_assignment(value, maximize=True)
    return pairs + [(row, column) for row, column in zip(rows, given, strict=True) if value[row, column] > 0]


def _most_same(together: Counter[tuple[int, int]]) -> int:
    """The largest number of matches under a one-to-one naming."""
    people = sorted({person for person, _ in together})
    names = sorted({name for _, name in together})
    counts = np.zeros((len(people), len(names)))
    for (person, name), count in together.items():
        counts[people.index(person), names.index(name)] = count
    return int(counts[linear_sum_assignment(counts, maximize=True)].sum())
