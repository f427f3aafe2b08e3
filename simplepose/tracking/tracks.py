"""What is known of those who are followed, row by row."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

MEMORY = 12.0
"""Frames for which a body carries on a joint that is not found while others are; then it is forgotten."""


@dataclass(frozen=True, eq=False)
class Sights:
    """P people as one frame shows them.

    Attributes:
        xy: (P, J, 2) float64 pixels.
        found: (P, J) bool.
        colours: (P, S, 3) float64 of the body's spots, as `colours.colours_of` gives them.
        clear: (P, S) bool: the spots whose colour is known.
    """

    xy: np.ndarray
    found: np.ndarray
    colours: np.ndarray
    clear: np.ndarray

    def __len__(self) -> int:
        return len(self.xy)

    def where(self, rows: np.ndarray) -> Sights:
        """Those rows: indices, or (P,) bool."""
        return Sights(*(getattr(self, field.name)[rows] for field in fields(self)))


@dataclass(eq=False)
class Tracks:
    """T tracks, row by row; all lie where they were when each was last seen.

    Attributes:
        ids: (T,) int64; NO_ID of one that is not sure enough to be told.
        sureness: (T,) float64: the sum over its sights of the share of its joints that were found.
        xy: (T, J, 2) float64 pixels; where joints are taken to be: their sights, filtered; a joint that was
            not found then lies where the body has carried it.
        swing: (T, J, 2) float64 pixels a frame: the velocity of each joint on its body.
        pxx, pxv, pvv: (T, J) float64: covariance of the joint's place and swing
            direction, the body's place given.
        showing: (T, J) float64 in (0, 1): how often each joint was found of late.
        sights: (T, J) float64: the time when each joint was last found; -inf for never.
        seen: (T,) float64: the time of the last sight of the track. Times are in frames.
        sightings: (T,) int64: in how many frames it was seen.
        sizes: (T,) float64 pixels: how large the body is; see `body_sizes`.
        velocity: (T, 2) float64 pixels a frame, of the body.
        variance: (T,) float64 of the velocity in each direction, (body sizes a frame) squared.
        colours: (T, S, 3) float64 of the body's spots, as `Sights` has them.
        colour_sights: (T, S) float64: in how many frames each was seen, about; 0 for never.
        smooth_xy, smooth_velocity: (T, J, 2) float64: the state of `smoothing`.
    """

    ids: np.ndarray
    sureness: np.ndarray
    xy: np.ndarray
    swing: np.ndarray
    pxx: np.ndarray
    pxv: np.ndarray
    pvv: np.ndarray
    showing: np.ndarray
    sights: np.ndarray
    seen: np.ndarray
    sightings: np.ndarray
    sizes: np.ndarray
    velocity: np.ndarray
    variance: np.ndarray
    colours: np.ndarray
    colour_sights: np.ndarray
    smooth_xy: np.ndarray
    smooth_velocity: np.ndarray

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
