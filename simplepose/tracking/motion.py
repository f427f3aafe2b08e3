"""Motion models of tracked people: a Kalman filter for the body and its joints, and the One Euro filter.

The body moves at a nearly constant velocity. That velocity is the state of a Kalman filter whose
measurement is the displacement of the body between two observations. Each joint moves relative to the body.
The joint's position and relative velocity are the state of a second filter. The relative velocity decays,
so that it does not carry an occluded joint away. Lengths are in body sizes where noted, so that near and
far people are treated the same.

The One Euro filter (Casiez, Roussel, Vogel, CHI 2012) smooths keypoints: strongly at rest, weakly in motion.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simplepose.people import NO_ID, boxes_around
from simplepose.tracking.tracks import Detections, RowArrays, Tracks

# Cutoff of the velocity filter, cycles per frame: the paper's 1 Hz at 25 frames per second.
VELOCITY_CUTOFF = 0.04


def one_euro(
    xy: np.ndarray,
    last_xy: np.ndarray,
    last_velocity: np.ndarray,
    elapsed: np.ndarray,
    sizes: np.ndarray,
    cutoff: float,
    speed: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Apply one step of the One Euro filter to each joint.

    The cutoff is that of the paper, with the speed in body sizes, so that near and far people are smoothed
    equally. After a long absence the past has little weight. A joint found for the first time is not changed.

    Args:
        xy: (P, J, 2) pixels.
        last_xy, last_velocity: (P, J, 2) outputs of this function at the joint's last observation, in pixels
            and pixels per frame.
        elapsed: (P, J) frames since that observation, > 0; inf for a joint that was never found.
        sizes: (P,) body sizes in pixels.
        cutoff: cutoff of a joint at rest, cycles per frame.
        speed: increase of the cutoff for each body size per frame.

    Returns:
        (P, J, 2) smoothed positions in pixels, and (P, J, 2) velocities in pixels per frame.
    """
    frame_velocity = (
        np.isfinite(elapsed)[..., None]
        * (xy - last_xy)
        / np.where(np.isfinite(elapsed), elapsed, 1)[..., None]
    )
    velocity = last_velocity + _smoothing_factor(VELOCITY_CUTOFF, elapsed)[..., None] * (
        frame_velocity - last_velocity
    )
    relative_speed = np.linalg.norm(velocity, axis=2) / sizes[:, None]
    factor = _smoothing_factor(cutoff + speed * relative_speed, elapsed)[..., None]
    return last_xy + factor * (xy - last_xy), velocity


def _smoothing_factor(cutoff: np.ndarray | float, elapsed: np.ndarray) -> np.ndarray:
    """Compute the weight of a new value after `elapsed` frames: the paper's alpha."""
    factor: np.ndarray = 1 - 1 / (1 + 2 * np.pi * cutoff * elapsed)
    return factor


# Variance added to the body velocity per frame, (body sizes per frame)^2: people accelerate and turn.
VELOCITY_NOISE = 2e-5
# Standard deviation of a new track's velocity, body sizes per frame: about a brisk walk at 25 frames per
# second.
INITIAL_VELOCITY_STD = 0.04
# Standard deviation of the measured body displacement per frame beyond joint noise, body sizes: limbs
# swing.
DISPLACEMENT_STD = 0.01
# Standard deviation of a joint's velocity relative to the body, body sizes per frame.
RELATIVE_VELOCITY_STD = 0.02
# Frames after which a joint's relative velocity has decayed to 1 / e.
RELATIVE_VELOCITY_DECAY_FRAMES = 6.0
# Frames after which a joint's uncertainty relative to the body no longer grows: limbs swing back and forth.
MAX_RELATIVE_MOTION_FRAMES = 12.0
# Standard deviations beyond which a joint's weight decreases with its distance: some joints are guessed.
OUTLIER_STDS = 3.0
# Weight of one frame in a joint's running detection rate.
DETECTION_RATE_GAIN = 0.35
# Frames without observation after which the detection rates have decayed to 1 / e of their distance from
# 0.5.
DETECTION_RATE_DECAY_FRAMES = 8.0
# Maximum decrease of a body's size per frame, as a fraction: fewer found joints give a smaller box.
MAX_SHRINK_RATE = 0.005
# Size of a body with too few found joints to measure it, pixels.
MIN_BODY_SIZE_PX = 32.0
# OKS's scale (the square root of the body's area) in body sizes: the area is 0.53 of the bounding box, as
# in COCO, and the box is 0.3 times as wide as high.
OKS_SCALE_RATIO = 0.4


@dataclass(frozen=True, eq=False)
class Forecast(RowArrays):
    """The predicted state of T tracks at a given time.

    Attributes:
        xy: (T, J, 2) float64 pixels.
        known: (T, J) bool: the joints with a predicted position.
        ages: (T, J) float64 frames since each joint was found; inf if it never was.
        boxes_xyxy: (T, 4) bounding boxes of the known joints.
        sizes: (T,) body sizes in pixels.
        body_std: (T,) standard deviation of the body's position in each direction, pixels.
        joint_variances: (T, J) variance of a joint's observed position given the body's position, pixels^2.
        relative_velocity, pxx, pxv, pvv, detection_rates: (T, J) or (T, J, 2) the state of the joints, as in
            `Tracks`.
    """

    xy: np.ndarray
    known: np.ndarray
    ages: np.ndarray
    boxes_xyxy: np.ndarray
    sizes: np.ndarray
    body_std: np.ndarray
    joint_variances: np.ndarray
    relative_velocity: np.ndarray
    pxx: np.ndarray
    pxv: np.ndarray
    pvv: np.ndarray
    detection_rates: np.ndarray


def body_sizes(xy: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Compute body sizes: the longer side of the bounding box of the found joints.

    Args:
        xy: (P, J, 2) pixels.
        found: (P, J) bool.

    Returns:
        (P,) pixels.
    """
    boxes = boxes_around(xy, found)
    sizes: np.ndarray = np.maximum((boxes[:, 2:] - boxes[:, :2]).max(1), MIN_BODY_SIZE_PX)
    return sizes


def observation_variances(sizes: np.ndarray, sigmas: np.ndarray) -> np.ndarray:
    """Compute the variance of an observed joint position, (T, J) pixels^2.

    COCO's sigmas are the deviations between annotators.
    """
    return (1.1 * sigmas * (OKS_SCALE_RATIO * sizes)[:, None]) ** 2 + (0.008 * sizes[:, None]) ** 2


def start_tracks(detections: Detections, sigmas: np.ndarray, time: float) -> Tracks:
    """Start a track for each of P detections."""
    xy, found, count = detections.xy, detections.found, len(detections)
    sizes = body_sizes(xy, found)
    return Tracks(
        ids=np.full(count, NO_ID, np.int64),
        confidence=found.mean(1),
        xy=xy.copy(),
        relative_velocity=np.zeros_like(xy),
        pxx=observation_variances(sizes, sigmas),
        pxv=np.zeros(found.shape),
        pvv=np.repeat((RELATIVE_VELOCITY_STD * sizes[:, None]) ** 2, found.shape[1], 1),
        detection_rates=np.where(found, 0.7, 0.3),
        last_found=np.where(found, time, -np.inf),
        last_seen=np.full(count, time),
        observation_counts=np.ones(count, np.int64),
        sizes=sizes,
        velocity=np.zeros((count, 2)),
        velocity_variance=np.full(count, INITIAL_VELOCITY_STD**2),
        colors=detections.colors,
        color_counts=detections.color_known.astype(np.float64),
        smooth_xy=xy.copy(),
        smooth_velocity=np.zeros_like(xy),
    )


def forecast(tracks: Tracks, sigmas: np.ndarray, time: float) -> Forecast:
    """Predict the state of tracks at a time after the last observation of each."""
    elapsed = time - tracks.last_seen
    motion_frames = np.minimum(elapsed, MAX_RELATIVE_MOTION_FRAMES)[:, None]
    tau = RELATIVE_VELOCITY_DECAY_FRAMES
    decay = np.exp(-motion_frames / tau)
    displacement_gain = tau * (1 - decay)
    noise_variance = (RELATIVE_VELOCITY_STD * tracks.sizes[:, None]) ** 2
    xy = (
        tracks.xy
        + (tracks.velocity * elapsed[:, None])[:, None]
        + tracks.relative_velocity * displacement_gain[..., None]
    )
    pxx = tracks.pxx + 2 * displacement_gain * tracks.pxv + displacement_gain**2 * tracks.pvv
    pxx = pxx + noise_variance * tau**2 * (2 * motion_frames / tau - 3 + 4 * decay - decay**2)
    pxv = decay * (tracks.pxv + displacement_gain * tracks.pvv) + noise_variance * tau * (1 - decay) ** 2
    pvv = decay**2 * tracks.pvv + noise_variance * (1 - decay**2)
    known, ages = tracks.known, time - tracks.last_found
    displacement_variance = tracks.velocity_variance * elapsed**2 + VELOCITY_NOISE * elapsed**3 / 3
    body_std = tracks.sizes * np.sqrt(displacement_variance)
    rate_decay = np.exp(-(elapsed - 1).clip(0) / DETECTION_RATE_DECAY_FRAMES)[:, None]
    return Forecast(
        xy,
        known,
        ages,
        boxes_around(xy, known),
        tracks.sizes,
        body_std,
        pxx + observation_variances(tracks.sizes, sigmas),
        tracks.relative_velocity * decay[..., None],
        pxx,
        pxv,
        pvv,
        0.5 + (tracks.detection_rates - 0.5) * rate_decay,
    )


def update(
    tracks: Tracks, expected: Forecast, detections: Detections, sigmas: np.ndarray, time: float
) -> Tracks:
    """Update tracks with one detection each.

    Args:
        tracks: T tracks.
        expected: their forecast for this time.
        detections: T detections, one for each track.
        sigmas: (J,) COCO's sigmas.
        time: the current time in frames.
    """
    xy, found = detections.xy, detections.found
    elapsed = time - tracks.last_seen
    common, body_variance = found & expected.known, expected.body_std**2
    offsets = xy - expected.xy
    distances = (offsets**2).sum(2) / (expected.joint_variances + body_variance[:, None])
    variances = expected.joint_variances * np.maximum(1, distances / OUTLIER_STDS**2)
    weights = np.where(common, 1 / variances, 0)
    total = np.where(common.any(1), weights.sum(1), 1)
    mean_offset = (weights[..., None] * offsets).sum(1) / total[:, None]
    noise = 1 / total / expected.sizes**2 + DISPLACEMENT_STD**2
    velocity_variance = tracks.velocity_variance + VELOCITY_NOISE * elapsed
    gain = np.where(common.any(1), velocity_variance / (velocity_variance + noise / elapsed**2), 0)
    body_shift = mean_offset * (body_variance / (body_variance + 1 / total))[:, None]
    sizes = np.maximum(body_sizes(xy, found), tracks.sizes * (1 - MAX_SHRINK_RATE) ** elapsed)
    joints = _update_joints(expected, body_shift, xy, found, weights, sizes, sigmas)
    return Tracks(
        ids=tracks.ids,
        confidence=tracks.confidence + found.mean(1),
        **joints,
        detection_rates=expected.detection_rates + DETECTION_RATE_GAIN * (found - expected.detection_rates),
        last_found=np.where(found, time, tracks.last_found),
        last_seen=np.full(len(tracks), time),
        observation_counts=tracks.observation_counts + 1,
        sizes=sizes,
        velocity=tracks.velocity + (gain / elapsed)[:, None] * mean_offset,
        velocity_variance=(1 - gain) * velocity_variance,
        colors=tracks.colors,
        color_counts=tracks.color_counts,
        smooth_xy=tracks.smooth_xy,
        smooth_velocity=tracks.smooth_velocity,
    )


def _update_joints(
    expected: Forecast,
    body_shift: np.ndarray,
    xy: np.ndarray,
    found: np.ndarray,
    weights: np.ndarray,
    sizes: np.ndarray,
    sigmas: np.ndarray,
) -> dict[str, np.ndarray]:
    """Compute the state of the joints after an observation.

    A joint without a forecast starts where it is found.

    Args:
        body_shift: (T, 2) correction of the body's position, pixels.
        weights: (T, J) inverse variances of the observed joints, 1 / pixels^2.
    """
    position_gain, velocity_gain = expected.pxx * weights, expected.pxv * weights
    residuals, is_new = xy - expected.xy - body_shift[:, None], found & ~expected.known
    relative_velocity = np.where(
        expected.known[..., None], expected.relative_velocity + velocity_gain[..., None] * residuals, 0
    )
    corrected_xy = expected.xy + body_shift[:, None] + position_gain[..., None] * residuals
    return {
        "xy": np.where(is_new[..., None], xy, corrected_xy),
        "relative_velocity": relative_velocity,
        "pxx": np.where(is_new, observation_variances(sizes, sigmas), (1 - position_gain) * expected.pxx),
        "pxv": np.where(is_new, 0, (1 - position_gain) * expected.pxv),
        "pvv": np.where(
            is_new, (RELATIVE_VELOCITY_STD * sizes[:, None]) ** 2, expected.pvv - velocity_gain * expected.pxv
        ),
    }
