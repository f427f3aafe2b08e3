"""Smoothing: less jitter at rest, little lag in motion, and missing joints stay missing."""

import numpy as np
from synthetic_video import SyntheticVideo
from tracking_scenarios import BODY_SIZE_PX, STANDING_XY, people_at, track_video

from simplepose.config import TrackingSettings
from simplepose.people import NO_ID
from simplepose.tracking import Tracker


def test_smoothing_reduces_jitter_at_rest_with_little_lag_in_motion(rng):
    smoothing = TrackingSettings(smoothing=True)
    noise = rng.normal(0, 0.01 * BODY_SIZE_PX, (100, 17, 2))
    still, moving = Tracker(settings=smoothing), Tracker(settings=smoothing)
    raw, smoothed, lag = [], [], []
    for frame in range(100):
        noisy_people = people_at((0, 0), shape=STANDING_XY + noise[frame])
        raw.append(noisy_people.keypoints[0, :, :2])
        smoothed.append(still(noisy_people).keypoints[0, :, :2])
        walking = people_at((0.03 * BODY_SIZE_PX * frame, 0))
        lag.append(walking.keypoints[0, :, 0] - moving(walking).keypoints[0, :, 0])
    jitter = [np.abs(np.diff(np.array(xy)[20:], axis=0)).mean() for xy in (raw, smoothed)]
    assert jitter[1] < 0.5 * jitter[0]
    assert np.abs(np.array(lag)[20:]).max() < 0.03 * BODY_SIZE_PX  # a lag of less than a frame
    assert np.abs(np.array(smoothed)[20:].mean(0) - STANDING_XY).max() < 0.01 * BODY_SIZE_PX


def test_people_without_an_id_are_not_smoothed():
    tracker = Tracker(settings=TrackingSettings(smoothing=True, min_observations=2.5))
    for frame in range(4):
        people = people_at((7.0 * (frame % 2), 0))
        tracked = tracker(people)
        assert np.array_equal(tracked.keypoints, people.keypoints) == (frame < 2)
        assert (tracked.ids[0] == NO_ID) == (frame < 2)


def test_smoothing_does_not_change_ids_or_missing_joints():
    video = SyntheticVideo(2, 4, 60)
    plain = track_video(Tracker(), video, 0)
    smooth = track_video(Tracker(settings=TrackingSettings(smoothing=True)), video, 0)
    moved = 0
    for (_, ids, keypoints), (_, same, smoothed) in zip(plain, smooth, strict=True):
        assert np.array_equal(ids, same)
        assert np.array_equal(keypoints[..., 2], smoothed[..., 2])
        assert not smoothed[keypoints[..., 2] == 0].any()
        assert np.array_equal(keypoints[ids == NO_ID], smoothed[ids == NO_ID])
        moved += np.abs(keypoints - smoothed).max() > 0
    assert moved > 40


def test_a_joint_found_again_does_not_lag_from_its_old_position():
    tracker = Tracker(settings=TrackingSettings(smoothing=True))
    for frame in range(10):
        tracker(people_at((0.02 * BODY_SIZE_PX * frame, 0)))
    for frame in range(10, 30):
        tracker(people_at((0.02 * BODY_SIZE_PX * frame, 0), joints=slice(0, 9)))
    back = people_at((0.02 * BODY_SIZE_PX * 30, 0))
    errors = np.abs(tracker(back).keypoints[..., :2] - back.keypoints[..., :2])
    assert errors.max() < 0.03 * BODY_SIZE_PX
