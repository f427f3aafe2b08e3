"""Data of detections and tracks, one row for each person."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np

# Frames for which a joint that is not found moves with its observed body; after that its position is
# dropped.
JOINT_MEMORY_FRAMES = 12.0

RowsT = TypeVar("RowsT", bound="RowArrays")


class RowArrays:
    """Base of dataclasses whose fields are all arrays with one row for each element."""

    def select(self: RowsT, rows: np.ndarray) -> RowsT:
        """Copy the rows selected by index or bool mask."""
        return type(self)(**{name: array[rows] for name, array in vars(self).items()})


@dataclass(frozen=True, eq=False)
class Detections(RowArrays):
    """P people detected in one frame.

    Attributes:
        xy: (P, J, 2) float64 pixels.
        found: (P, J) bool.
        colors: (P, S, 3) float64 colors of the body's S samples, see `appearance.sample_colors`.
        color_known: (P, S) bool: the samples whose color is known.
    """

    xy: np.ndarray
    found: np.ndarray
    colors: np.ndarray
    color_known: np.ndarray

    def __len__(self) -> int:
        return len(self.xy)


@dataclass(eq=False)
class Tracks(RowArrays):
    """The state of T tracks at the last observation of each. Times are in frames.

    Attributes:
        ids: (T,) int64; NO_ID for a track whose confidence is too low for an id.
        confidence: (T,) float64: the fraction of found joints, summed over the track's observations.
        xy: (T, J, 2) float64 filtered joint positions in pixels; a joint that was not found moves with the
            body.
        relative_velocity: (T, J, 2) float64 velocity of each joint relative to the body, pixels per frame.
        pxx, pxv, pvv: (T, J) float64 covariance of the joint's position and relative velocity in each
            direction, given the body's position.
        detection_rates: (T, J) float64 in (0, 1): how often each joint was found recently.
        last_found: (T, J) float64 time when each joint was last found; -inf if it never was.
        last_seen: (T,) float64 time of the track's last observation.
        observation_counts: (T,) int64 number of frames in which the track was observed.
        sizes: (T,) float64 body sizes in pixels, see `motion.body_sizes`.
        velocity: (T, 2) float64 velocity of the body, pixels per frame.
        velocity_variance: (T,) float64 variance of the velocity in each direction, (body sizes per frame)^2.
        colors: (T, S, 3) float64 colors of the body's samples, as in `Detections`.
        color_counts: (T, S) float64 approximate number of observations of each sample; 0 if there was none.
        smooth_xy, smooth_velocity: (T, J, 2) float64 state of the smoothing filter.
    """

    ids: np.ndarray
    confidence: np.ndarray
    xy: np.ndarray
    relative_velocity: np.ndarray
    pxx: np.ndarray
    pxv: np.ndarray
    pvv: np.ndarray
    detection_rates: np.ndarray
    last_found: np.ndarray
    last_seen: np.ndarray
    observation_counts: np.ndarray
    sizes: np.ndarray
    velocity: np.ndarray
    velocity_variance: np.ndarray
    colors: np.ndarray
    color_counts: np.ndarray
    smooth_xy: np.ndarray
    smooth_velocity: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def concatenate(self, others: Tracks) -> Tracks:
        """Append the rows of other tracks to a copy of these."""
        pairs = ((getattr(self, field.name), getattr(others, field.name)) for field in fields(self))
        return Tracks(*(np.concatenate(pair) for pair in pairs))

    def replace(self, rows: np.ndarray, others: Tracks) -> None:
        """Overwrite rows, given by index."""
        for field in fields(self):
            getattr(self, field.name)[rows] = getattr(others, field.name)

    @property
    def known(self) -> np.ndarray:
        """(T, J) bool: the joints found within JOINT_MEMORY_FRAMES before the last observation."""
        return self.last_found >= self.last_seen[:, None] - JOINT_MEMORY_FRAMES
