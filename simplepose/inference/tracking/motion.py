"""How a tracked body moves: at a constant velocity that changes a little, and its joints with it.

One velocity serves all joints of a body: limbs swing, and a joint's own velocity would carry it away while
it is hidden. The velocity is the state of a Kalman filter whose measurement is how far the body went between
two sights of it. Lengths are in body sizes where noted, so that near and far people are treated alike.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

WANDER = 2e-5
"""Variance of the velocity that a frame adds, (body sizes a frame) squared: people speed up and turn."""
FIRST_SPREAD = 0.04
"""Deviation of the velocity of somebody just seen, body sizes a frame: about a quick walk at 25 a second."""
SIGHT_SPREAD = 0.01
"""Deviation of how far a body seems to go in a frame beyond its joints' noise, body sizes: limbs swing."""
MEMORY = 12.0
"""Frames for which a body carries on a joint that is not found while others are; then it is forgotten."""
SHRINKING = 0.005
"""Share of its size that a body of whom less is seen loses in a frame."""
LEAST_SIZE = 32.0
"""Pixels of a body of whom too little is seen to tell its size."""


@dataclass(eq=False)
class Tracks:
    """T tracks, row by row; all lie where they were when each was last seen.

    Attributes:
        ids: (T,) int64.
        xy: (T, J, 2) float64 pixels; a joint that was not found then lies where the body has carried it.
        sights: (T, J) float64: the time when each joint was last found; -inf for never.
        seen: (T,) float64: the time of the last sight of the track. Times are in frames.
        sightings: (T,) int64: in how many frames it was seen.
        sizes: (T,) float64 pixels: how large the body is; see `body_sizes`.
        velocity: (T, 2) float64 pixels a frame.
        variance: (T,) float64 of the velocity in each direction, (body sizes a frame) squared.
        smooth_xy, smooth_velocity: (T, J, 2) float64: the state of `smoothing`.
    """

    ids: np.ndarray
    xy: np.ndarray
    sights: np.ndarray
    seen: np.ndarray
    sightings: np.ndarray
    sizes: np.ndarray
    velocity: np.ndarray
    variance: np.ndarray
    smooth_xy: np.ndarray
    smooth_velocity: np.ndarray

    @classmethod
    def begin(cls, ids: np.ndarray, xy: np.ndarray, found: np.ndarray, time: float) -> Tracks:
        """Tracks of people just seen for the first time; xy (T, J, 2) and found (T, J)."""
        count = len(ids)
        return cls(
            ids=ids,
            xy=xy.copy(),
            sights=np.where(found, time, -np.inf),
            seen=np.full(count, time),
            sightings=np.ones(count, np.int64),
            sizes=body_sizes(xy, found),
            velocity=np.zeros((count, 2)),
            variance=np.full(count, FIRST_SPREAD**2),
            smooth_xy=xy.copy(),
            smooth_velocity=np.zeros_like(xy),
        )

    def __len__(self) -> int:
        return len(self.ids)

    def where(self, rows: np.ndarray) -> Tracks:
        """A copy of those rows: indices, or (T,) bool."""
        return Tracks(*(getattr(self, field.name)[rows] for field in fields(self)))

    def followed_by(self, others: Tracks) -> Tracks:
        """These and those."""
        pairs = ((getattr(self, field.name), getattr(others, field.name)) for field in fields(self))
        return Tracks(*(np.concatenate(pair) for pair in pairs))

    def replace(self, rows: np.ndarray, others: Tracks) -> None:
        """Overwrite rows, given as indices."""
        for field in fields(self):
            getattr(self, field.name)[rows] = getattr(others, field.name)

    @property
    def known(self) -> np.ndarray:
        """(T, J) bool: the joints that were found at the last sight or not long before."""
        return self.sights >= self.seen[:, None] - MEMORY


@dataclass(frozen=True, eq=False)
class Forecast:
    """Where T tracks should be at some time.

    Attributes:
        xy: (T, J, 2) float64 pixels.
        known: (T, J) bool: the joints that it tells of.
        ages: (T, J) float64 frames since each was found; inf for never.
        boxes_xyxy: (T, 4) around the joints that are known.
        sizes: (T,) pixels, of the bodies.
        spread: (T,) pixels: deviation of the body's place in each direction.
    """

    xy: np.ndarray
    known: np.ndarray
    ages: np.ndarray
    boxes_xyxy: np.ndarray
    sizes: np.ndarray
    spread: np.ndarray

    def where(self, rows: np.ndarray) -> Forecast:
        """Those rows, given as indices."""
        return Forecast(*(getattr(self, field.name)[rows] for field in fields(self)))


def boxes_around(xy: np.ndarray, there: np.ndarray) -> np.ndarray:
    """(P, J, 2) and (P, J) bool -> (P, 4) x, y, x, y around the joints that are there; 0 where none is."""
    low = np.where(there[..., None], xy, np.inf).min(1, initial=np.inf)
    high = np.where(there[..., None], xy, -np.inf).max(1, initial=-np.inf)
    boxes = np.concatenate([low, high], 1)
    return np.where(np.isfinite(boxes), boxes, 0)


def body_sizes(xy: np.ndarray, found: np.ndarray) -> np.ndarray:
    """(P, J, 2) and (P, J) bool -> (P,) pixels: the longer side of the box around what was found."""
    boxes = boxes_around(xy, found)
    sizes: np.ndarray = np.maximum((boxes[:, 2:] - boxes[:, :2]).max(1), LEAST_SIZE)
    return sizes


def forecast(tracks: Tracks, time: float) -> Forecast:
    """Where tracks should be at a time after the last sight of each."""
    gone = time - tracks.seen
    xy = tracks.xy + (tracks.velocity * gone[:, None])[:, None]
    known, ages = tracks.known, time - tracks.sights
    variance = tracks.variance * gone**2 + WANDER * gone**3 / 3
    spread = tracks.sizes * np.sqrt(variance)
    return Forecast(xy, known, ages, boxes_around(xy, known), tracks.sizes, spread)


def seen_again(
    tracks: Tracks,
    expected: Forecast,
    xy: np.ndarray,
    found: np.ndarray,
    joint_variances: np.ndarray,
    time: float,
) -> Tracks:
    """The same tracks after a sight of each.

    Args:
        tracks: T of them.
        expected: their forecast for this time.
        xy, found: (T, J, 2) and (T, J): the people that were seen.
        joint_variances: (T, J) pixels squared: of where a joint should be, its body's place given.
        time: now.
    """
    gone = time - tracks.seen
    weights = np.where(found & expected.known, 1 / joint_variances, 0)
    total = weights.sum(1)
    measured = total > 0
    total = np.where(measured, total, 1)
    shift = (weights[..., None] * (xy - expected.xy)).sum(1) / total[:, None]
    noise = 1 / total / expected.sizes**2 + SIGHT_SPREAD**2
    variance = tracks.variance + WANDER * gone
    gain = np.where(measured, variance / (variance + noise / gone**2), 0)
    return Tracks(
        ids=tracks.ids,
        xy=np.where(found[..., None], xy, expected.xy + shift[:, None]),
        sights=np.where(found, time, tracks.sights),
        seen=np.full(len(tracks), time),
        sightings=tracks.sightings + 1,
        sizes=np.maximum(body_sizes(xy, found), tracks.sizes * (1 - SHRINKING) ** gone),
        velocity=tracks.velocity + (gain / gone)[:, None] * shift,
        variance=(1 - gain) * variance,
        smooth_xy=tracks.smooth_xy,
        smooth_velocity=tracks.smooth_velocity,
    )
