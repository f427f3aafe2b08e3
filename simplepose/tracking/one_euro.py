"""The one-euro filter (Casiez, Roussel, Vogel, CHI 2012): steady at rest, quick in motion."""

from __future__ import annotations

import numpy as np

VELOCITY_CUTOFF = 0.04
"""Cycles a frame: of the filter of the velocity, the paper's 1 Hz at 25 frames a second."""


def one_euro(
    xy: np.ndarray,
    last_xy: np.ndarray,
    last_velocity: np.ndarray,
    gone: np.ndarray,
    sizes: np.ndarray,
    cutoff: float,
    speed: float,
) -> tuple[np.ndarray, np.ndarray]:
    """One step of the filter for each joint.

    The cutoff is that of the paper with the speed in body sizes, so that near and far people are smoothed
    alike. After a long absence little of the past remains; a joint seen for the first time stays as it is.

    Args:
        xy: (P, J, 2) pixels.
        last_xy, last_velocity: (P, J, 2) what this gave for the joint's last sight; pixels, pixels a frame.
        gone: (P, J) frames since then, above 0; inf for a joint that was never seen.
        sizes: (P,) pixels, of the bodies.
        cutoff: cycles a frame, of a joint at rest.
        speed: what is added to the cutoff for each body size a frame.

    Returns:
        (P, J, 2) smoothed pixels, and (P, J, 2) pixels a frame.
    """
    steps = np.isfinite(gone)[..., None] * (xy - last_xy) / np.where(np.isfinite(gone), gone, 1)[..., None]
    velocity = last_velocity + _share(VELOCITY_CUTOFF, gone)[..., None] * (steps - last_velocity)
    pace = np.linalg.norm(velocity, axis=2) / sizes[:, None]
    share = _share(cutoff + speed * pace, gone)[..., None]
    return last_xy + share * (xy - last_xy), velocity


def _share(cutoff: np.ndarray | float, gone: np.ndarray) -> np.ndarray:
    """How much of a new value counts after so many frames: the paper's alpha."""
    share: np.ndarray = 1 - 1 / (1 + 2 * np.pi * cutoff * gone)
    return share
