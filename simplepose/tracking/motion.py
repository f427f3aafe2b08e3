"""The motion of tracked people: a Kalman filter of the body and its joints, and the One Euro filter.

A body moves at a constant velocity that changes a little; its joints swing on it. The body's velocity is
the state of a Kalman filter that measures how far the body went between two observations. The position and
swing of each joint (its velocity relative to the body) are the state of another filter. The swing decays,
so that it does not carry a joint away while it is hidden. Lengths are in body sizes where noted, so that
near and far people are treated alike.

The One Euro filter (Casiez, Roussel, Vogel, CHI 2012) smooths keypoints: steady at rest, quick in motion.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from simplepose.people import NO_ID, boxes_around
from simplepose.tracking.tracks import Sights, Tracks

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


WANDER = 2e-5
"""Variance of the velocity that a frame adds, (body sizes a frame) squared: people speed up and turn."""
FIRST_SPREAD = 0.04
"""Deviation of the velocity of somebody just seen, body sizes a frame: about a quick walk at 25 a second."""
SIGHT_SPREAD = 0.01
"""Deviation of how far a body seems to go in a frame beyond its joints' noise, body sizes: limbs swing."""
SWING = 0.02
"""Deviation of a joint's velocity on its body, body sizes a frame."""
SWING_FRAMES = 6.0
"""Frames in which a joint's velocity on its body falls to a third."""
SWING_MOST = 12.0
"""After so many frames a joint's place on its body is no less certain: limbs swing to and fro."""
OUTLYING = 3.0
"""Deviations from which on a joint counts less the farther it lies: some are guessed."""
SHOWING = 0.35
"""Share by which what is found of a joint in a frame changes how often it is expected to be found."""
SHOWING_FRAMES = 8.0
"""Frames unseen in which what was found of a body falls to a third of its worth."""
SHRINKING = 0.005
"""Share of its size that a body of whom less is seen loses in a frame."""
LEAST_SIZE = 32.0
"""Pixels of a body of whom too little is seen to tell its size."""
SCALE = 0.4
"""OKS's scale, the root of the covered area, in body sizes: 0.53 (COCO's bodies in their boxes) of a box
that is 0.3 as wide as high."""


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
        variances: (T, J) pixels squared: of where a joint should be seen, its body's place given.
        swing, pxx, pxv, pvv, showing: (T, J) or (T, J, 2) the state of the joints, as `Tracks` has it.
    """

    xy: np.ndarray
    known: np.ndarray
    ages: np.ndarray
    boxes_xyxy: np.ndarray
    sizes: np.ndarray
    spread: np.ndarray
    variances: np.ndarray
    swing: np.ndarray
    pxx: np.ndarray
    pxv: np.ndarray
    pvv: np.ndarray
    showing: np.ndarray

    def where(self, rows: np.ndarray) -> Forecast:
        """Those rows, given as indices."""
        return Forecast(*(getattr(self, field.name)[rows] for field in fields(self)))


def body_sizes(xy: np.ndarray, found: np.ndarray) -> np.ndarray:
    """(P, J, 2) and (P, J) bool -> (P,) pixels: the longer side of the box around what was found."""
    boxes = boxes_around(xy, found)
    sizes: np.ndarray = np.maximum((boxes[:, 2:] - boxes[:, :2]).max(1), LEAST_SIZE)
    return sizes


def sight_variances(sizes: np.ndarray, sigmas: np.ndarray) -> np.ndarray:
    """(T, J) pixels squared: how far from a joint it is seen; COCO's sigmas are what annotators differ by."""
    return (1.1 * sigmas * (SCALE * sizes)[:, None]) ** 2 + (0.008 * sizes[:, None]) ** 2


def begin(sights: Sights, sigmas: np.ndarray, time: float) -> Tracks:
    """Tracks of people just seen for the first time."""
    xy, found, count = sights.xy, sights.found, len(sights)
    sizes = body_sizes(xy, found)
    return Tracks(
        ids=np.full(count, NO_ID, np.int64),
        sureness=found.mean(1),
        xy=xy.copy(),
        swing=np.zeros_like(xy),
        pxx=sight_variances(sizes, sigmas),
        pxv=np.zeros(found.shape),
        pvv=np.repeat((SWING * sizes[:, None]) ** 2, found.shape[1], 1),
        showing=np.where(found, 0.7, 0.3),
        sights=np.where(found, time, -np.inf),
        seen=np.full(count, time),
        sightings=np.ones(count, np.int64),
        sizes=sizes,
        velocity=np.zeros((count, 2)),
        variance=np.full(count, FIRST_SPREAD**2),
        colours=sights.colours,
        colour_sights=sights.clear.astype(np.float64),
        smooth_xy=xy.copy(),
        smooth_velocity=np.zeros_like(xy),
    )


def forecast(tracks: Tracks, sigmas: np.ndarray, time: float) -> Forecast:
    """Where tracks should be at a time after the last sight of each."""
    gone = time - tracks.seen
    swung = np.minimum(gone, SWING_MOST)[:, None]
    kept = np.exp(-swung / SWING_FRAMES)
    far = SWING_FRAMES * (1 - kept)
    power = (SWING * tracks.sizes[:, None]) ** 2
    xy = tracks.xy + (tracks.velocity * gone[:, None])[:, None] + tracks.swing * far[..., None]
    pxx = tracks.pxx + 2 * far * tracks.pxv + far**2 * tracks.pvv
    pxx = pxx + power * SWING_FRAMES**2 * (2 * swung / SWING_FRAMES - 3 + 4 * kept - kept**2)
    pxv = kept * (tracks.pxv + far * tracks.pvv) + power * SWING_FRAMES * (1 - kept) ** 2
    pvv = kept**2 * tracks.pvv + power * (1 - kept**2)
    known, ages = tracks.known, time - tracks.sights
    variance = tracks.variance * gone**2 + WANDER * gone**3 / 3
    spread = tracks.sizes * np.sqrt(variance)
    kept_showing = np.exp(-(gone - 1).clip(0) / SHOWING_FRAMES)[:, None]
    return Forecast(
        xy,
        known,
        ages,
        boxes_around(xy, known),
        tracks.sizes,
        spread,
        pxx + sight_variances(tracks.sizes, sigmas),
        tracks.swing * kept[..., None],
        pxx,
        pxv,
        pvv,
        0.5 + (tracks.showing - 0.5) * kept_showing,
    )


def seen_again(tracks: Tracks, expected: Forecast, sights: Sights, sigmas: np.ndarray, time: float) -> Tracks:
    """The same tracks after a sight of each.

    Args:
        tracks: T of them.
        expected: their forecast for this time.
        sights: T people, one of each.
        time: now.
    """
    xy, found = sights.xy, sights.found
    gone = time - tracks.seen
    both, place = found & expected.known, expected.spread**2
    off = xy - expected.xy
    far = (off**2).sum(2) / (expected.variances + place[:, None])
    variances = expected.variances * np.maximum(1, far / OUTLYING**2)
    weights = np.where(both, 1 / variances, 0)
    total = np.where(both.any(1), weights.sum(1), 1)
    mean = (weights[..., None] * off).sum(1) / total[:, None]
    noise = 1 / total / expected.sizes**2 + SIGHT_SPREAD**2
    variance = tracks.variance + WANDER * gone
    gain = np.where(both.any(1), variance / (variance + noise / gone**2), 0)
    shift = mean * (place / (place + 1 / total))[:, None]
    sizes = np.maximum(body_sizes(xy, found), tracks.sizes * (1 - SHRINKING) ** gone)
    joints = _joints_seen(expected, shift, xy, found, weights, sizes, sigmas)
    return Tracks(
        ids=tracks.ids,
        sureness=tracks.sureness + found.mean(1),
        **joints,
        showing=expected.showing + SHOWING * (found - expected.showing),
        sights=np.where(found, time, tracks.sights),
        seen=np.full(len(tracks), time),
        sightings=tracks.sightings + 1,
        sizes=sizes,
        velocity=tracks.velocity + (gain / gone)[:, None] * mean,
        variance=(1 - gain) * variance,
        colours=tracks.colours,
        colour_sights=tracks.colour_sights,
        smooth_xy=tracks.smooth_xy,
        smooth_velocity=tracks.smooth_velocity,
    )


def _joints_seen(
    expected: Forecast,
    shift: np.ndarray,
    xy: np.ndarray,
    found: np.ndarray,
    weights: np.ndarray,
    sizes: np.ndarray,
    sigmas: np.ndarray,
) -> dict[str, np.ndarray]:
    """The state of the joints after a sight; bodies moved by shift (T, 2), weights (T, J) of what was seen.

    A joint that nothing was known of begins where it is found.
    """
    pull, pull_swing = expected.pxx * weights, expected.pxv * weights
    rest, fresh = xy - expected.xy - shift[:, None], found & ~expected.known
    swing = np.where(expected.known[..., None], expected.swing + pull_swing[..., None] * rest, 0)
    carried = expected.xy + shift[:, None] + pull[..., None] * rest
    return {
        "xy": np.where(fresh[..., None], xy, carried),
        "swing": swing,
        "pxx": np.where(fresh, sight_variances(sizes, sigmas), (1 - pull) * expected.pxx),
        "pxv": np.where(fresh, 0, (1 - pull) * expected.pxv),
        "pvv": np.where(fresh, (SWING * sizes[:, None]) ** 2, expected.pvv - pull_swing * expected.pxv),
    }
