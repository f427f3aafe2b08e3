"""Smoothing: still people jitter less, moving ones lag little, and joints that are not there stay so."""

import numpy as np
from synthetic_video import Film
from walkers import SIZE, STANDING, followed, people_at

from simplepose.config import TrackingSettings
from simplepose.people import NO_ID
from simplepose.tracking import Tracker


def test_a_still_person_jitters_less_and_a_moving_one_lags_little(rng):
    smoothing = TrackingSettings(smoothing=True)
    noise = rng.normal(0, 0.01 * SIZE, (100, 17, 2))
    still, moving = Tracker(settings=smoothing), Tracker(settings=smoothing)
    rough, smooth, lag = [], [], []
    for frame in range(100):
        noisy = people_at((0, 0), shape=STANDING + noise[frame])
        rough.append(noisy.keypoints[0, :, :2])
        smooth.append(still(noisy).keypoints[0, :, :2])
        walking = people_at((0.03 * SIZE * frame, 0))
        lag.append(walking.keypoints[0, :, 0] - moving(walking).keypoints[0, :, 0])
    jitter = [np.abs(np.diff(np.array(xy)[20:], axis=0)).mean() for xy in (rough, smooth)]
    assert jitter[1] < 0.5 * jitter[0]
    assert np.abs(np.array(lag)[20:]).max() < 0.03 * SIZE  # less than a frame late
    assert np.abs(np.array(smooth)[20:].mean(0) - STANDING).max() < 0.01 * SIZE


def test_joints_of_somebody_without_an_id_are_left_as_they_are():
    tracker = Tracker(settings=TrackingSettings(smoothing=True, sure_sights=2.5))
    for frame in range(4):
        people = people_at((7.0 * (frame % 2), 0))
        tracked = tracker(people)
        assert np.array_equal(tracked.keypoints, people.keypoints) == (frame < 2)
        assert (tracked.ids[0] == NO_ID) == (frame < 2)


def test_smoothing_leaves_ids_and_joints_that_are_not_there_alone():
    film = Film(2, 4, 60)
    plain = followed(Tracker(), film, 0)
    smooth = followed(Tracker(settings=TrackingSettings(smoothing=True)), film, 0)
    moved = 0
    for (_, ids, keypoints), (_, same, smoothed) in zip(plain, smooth, strict=True):
        assert np.array_equal(ids, same)
        assert np.array_equal(keypoints[..., 2], smoothed[..., 2])
        assert not smoothed[keypoints[..., 2] == 0].any()
        assert np.array_equal(keypoints[ids == NO_ID], smoothed[ids == NO_ID])
        moved += np.abs(keypoints - smoothed).max() > 0
    assert moved > 40


def test_a_joint_that_was_away_does_not_come_back_from_where_it_was():
    tracker = Tracker(settings=TrackingSettings(smoothing=True))
    for frame in range(10):
        tracker(people_at((0.02 * SIZE * frame, 0)))
    for frame in range(10, 30):
        tracker(people_at((0.02 * SIZE * frame, 0), joints=slice(0, 9)))
    back = people_at((0.02 * SIZE * 30, 0))
    apart = np.abs(tracker(back).keypoints[..., :2] - back.keypoints[..., :2])
    assert apart.max() < 0.03 * SIZE
