"""Tracking: ids are stable when people cross, hide each other and return."""

from dataclasses import replace

import numpy as np
import pytest
from custom_skeletons import POLE
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from synthetic_video import SyntheticVideo
from tracking_scenarios import BODY_SIZE_PX, count_id_switches, no_people, people_at, track_video

from simplepose import config
from simplepose.config import Settings, TrackingSettings
from simplepose.people import NO_ID, People
from simplepose.skeleton import COCO
from simplepose.tracking import Tracker


@pytest.mark.parametrize(("seed", "size_hw"), [(0, (720, 1280)), (3, (480, 640))])
def test_five_people_who_cross_and_occlude_each_other_keep_their_ids(seed, size_hw):
    video = SyntheticVideo(seed, 5, 300, size_hw)
    visible = np.array([(video.truth(number).keypoints[..., 2] == 2).sum(1) for number in range(300)])
    assert (visible < 3).any(0).sum() >= 2  # some are fully occluded for a while
    tracked_frames = track_video(Tracker(), video, seed, with_images=True)
    assert count_id_switches(tracked_frames) <= 1
    assert {person for person_indices, _, _ in tracked_frames for person in person_indices.tolist()} == {
        -1,
        0,
        1,
        2,
        3,
        4,
    }
    has_id = [ids[person_indices >= 0] != NO_ID for person_indices, ids, _ in tracked_frames]
    assert np.concatenate(has_id).mean() > 0.97


def test_ids_are_stable_without_images_in_most_unselected_videos():
    """Five people, 300 frames; the limits were set on other videos."""
    counts = [
        count_id_switches(track_video(Tracker(), SyntheticVideo(seed, 5, 300, (720, 1280)), seed))
        for seed in range(200, 210)
    ]
    assert np.mean(np.array(counts) <= 1) >= 0.6
    assert np.mean(counts) <= 1.5


@pytest.mark.parametrize("missing", [1, 4])
def test_an_ambiguous_person_has_no_id_and_gets_it_back_when_unambiguous(missing):
    """Two people stand at one position; one of them is found, with joints that fit both."""
    tracker = Tracker()
    for frame in range(20, 0, -1):
        first, second = tracker(
            people_at((-0.02 * BODY_SIZE_PX * frame, 0), (0.02 * BODY_SIZE_PX * frame, 0))
        ).ids.tolist()
    for _ in range(missing):
        assert tracker(people_at((0, 0), joints=[11, 12, 13, 14])).ids.tolist() == [NO_ID]
    for frame in range(missing + 1, 20):
        x = 0.02 * BODY_SIZE_PX * frame
        ids = tracker(people_at((x, 0), (-x, 0))).ids.tolist()
    assert ids == [first, second]


def test_ids_are_deterministic_and_independent_of_input_order():
    video = SyntheticVideo(1, 8, 60)
    plain, again = track_video(Tracker(), video, 4), track_video(Tracker(), video, 4)
    shuffled = track_video(Tracker(), video, 4, shuffle=np.random.default_rng(9))
    for (_, ids, _), (_, same, _), (_, mixed, _) in zip(plain, again, shuffled, strict=True):
        assert np.array_equal(ids, same)
        assert np.array_equal(ids, mixed)


def test_people_keep_their_order_keypoints_and_scores():
    people = people_at((0, 0), (300, 0), (600, 0))
    people = People(people.keypoints, np.array([0.2, 0.9, 0.01]), ids=np.array([7, 7, 7]))
    tracked = Tracker()(people)
    assert tracked.ids.tolist() == [1, 0, NO_ID]  # highest score first; one score is too low
    assert np.array_equal(tracked.keypoints, people.keypoints)
    assert np.array_equal(tracked.scores, people.scores)
    assert people.ids.tolist() == [7, 7, 7]


@pytest.mark.parametrize(("absent_frames", "speed"), [(0, 0.0), (1, 0.02), (7, 0.0), (12, 0.02), (20, 0.04)])
def test_a_lost_person_gets_the_id_back_within_lost_frames_only(absent_frames, speed):
    for max_lost_frames, expect_same_id in ((absent_frames, True), (absent_frames - 1, False)):
        if max_lost_frames < 0:
            continue
        tracker = Tracker(settings=TrackingSettings(max_lost_frames=max_lost_frames))
        before = [tracker(people_at((speed * BODY_SIZE_PX * frame, 0))).ids[0] for frame in range(20)]
        for _ in range(absent_frames):
            assert tracker(no_people()).ids.tolist() == []
        after = tracker(people_at((speed * BODY_SIZE_PX * (20 + absent_frames), 0))).ids[0]
        assert set(before) == {0}
        assert after == (0 if expect_same_id else 1)


def test_a_person_who_stops_while_occluded_keeps_the_id():
    tracker = Tracker()
    for frame in range(30):
        tracker(people_at((0.02 * BODY_SIZE_PX * frame, 0)))
    for _ in range(20):
        tracker(no_people())
    assert tracker(people_at((0.02 * BODY_SIZE_PX * 30, 0))).ids.tolist() == [0]


def test_an_observed_track_is_preferred_to_a_lost_one():
    """The lost person could be anywhere by now, but the other one was here in the previous frame."""
    tracker = Tracker()
    for _ in range(10):
        first, _second = tracker(people_at((0, 0), (0.1 * BODY_SIZE_PX, 0))).ids.tolist()
    for frame in range(28):
        x = min(0.02 * frame, 0.08) * BODY_SIZE_PX
        assert tracker(people_at((x, 0))).ids.tolist() == [first]


def test_boxes_decide_when_no_joint_is_common():
    some, others = [5, 8, 11, 14, 15], [6, 7, 12, 13, 16]
    for box_weight, ids in ((5, [1, 0]), (0, [3, 2])):
        tracker = Tracker(settings=TrackingSettings(min_observations=0, box_weight=box_weight))
        tracker(people_at((0, 0), (3 * BODY_SIZE_PX, 0), joints=some))
        assert tracker(people_at((3 * BODY_SIZE_PX, 0), (0, 0), joints=others)).ids.tolist() == ids
    assert Tracker(settings=TrackingSettings(min_observations=0))(
        people_at((0, 0), joints=others)
    ).ids.tolist() == [0]


def test_skipped_frames_count_as_time():
    whole, sparse = Tracker(), Tracker()
    for frame in range(0, 60, 4):
        for step in range(4):
            plain = whole(people_at((0.02 * BODY_SIZE_PX * (frame + step), 0)))
        left_out = sparse(people_at((0.02 * BODY_SIZE_PX * (frame + 3), 0)), frames=4)
        assert plain.ids.tolist() == left_out.ids.tolist() == [0]
    assert sparse(people_at((0.02 * BODY_SIZE_PX * 59, 0)), frames=1000).ids.tolist() == [1]


@pytest.mark.parametrize("frame_step", [2, 10, 31])
def test_ids_are_stable_when_most_frames_are_skipped(frame_step):
    tracker = Tracker()
    assert [tracker(people_at((0, 0)), frame_step).ids[0] for _ in range(5)] == [0] * 5


def test_a_track_with_one_observation_is_removed_soon():
    tracker = Tracker(settings=TrackingSettings(max_lost_ratio=2))
    tracker(people_at((0, 0)))
    for _ in range(2):
        tracker(no_people())
    assert tracker(people_at((0, 0))).ids.tolist() == [0]  # missed in two frames
    tracker = Tracker(settings=TrackingSettings(max_lost_ratio=2))
    tracker(people_at((0, 0)))
    for _ in range(3):
        tracker(no_people())
    assert tracker(people_at((0, 0))).ids.tolist() == [1]


def test_ids_are_never_reused():
    tracker, all_ids = Tracker(settings=TrackingSettings(max_lost_frames=0)), []
    for frame in range(10):
        all_ids += tracker(people_at((0, 0), (400, 0))).ids.tolist()
        tracker(no_people(), frames=50 + frame)
    assert all_ids == list(range(20))


def test_low_score_people_only_continue_existing_tracks():
    tracker = Tracker()
    assert tracker(people_at((0, 0), score=0.05)).ids.tolist() == [NO_ID]
    assert tracker(people_at((0, 0), score=0.7)).ids.tolist() == [0]
    assert tracker(people_at((0, 0), (500, 0), score=0.05)).ids.tolist() == [0, NO_ID]


def test_confident_people_are_assigned_before_low_score_ones():
    tracker = Tracker()
    tracker(people_at((0, 0)))
    both = people_at((0, 0), (0.03 * BODY_SIZE_PX, 0))
    assert tracker(People(both.keypoints, np.array([0.1, 0.9]))).ids.tolist() == [NO_ID, 0]


def test_a_duplicate_detection_starts_no_track():
    tracker = Tracker()
    tracker(people_at((0, 0)))
    twice = tracker(people_at((0, 0), (2, 2)))
    assert sorted(twice.ids.tolist()) == [NO_ID, 0]


def test_two_people_who_pass_each_other_keep_their_ids():
    """They are at one position in the middle frame, and only their motion distinguishes them."""
    tracker = Tracker()
    positions = np.linspace(-1.5 * BODY_SIZE_PX, 1.5 * BODY_SIZE_PX, 101)
    for number, x in enumerate(positions):
        tracked = tracker(people_at((x, 0), (-x, 0)))
        if number == 0:
            first = tracked.ids.tolist()
    assert tracked.ids.tolist() == first


@pytest.mark.parametrize("joints", [[0], [5, 6]])
def test_people_with_one_or_two_joints_are_tracked(joints):
    tracker, needed = (
        Tracker(settings=TrackingSettings(min_observations=0.5)),
        int(np.ceil(0.5 * 17 / len(joints))),
    )
    ids = [tracker(people_at((frame, 0), joints=joints)).ids[0] for frame in range(12)]
    assert ids == [NO_ID] * (needed - 1) + [0] * (13 - needed)


def test_an_id_is_assigned_after_enough_observations_and_ids_are_consecutive():
    tracker = Tracker(settings=TrackingSettings(min_observations=0.8))
    assert tracker(people_at((0, 0), joints=slice(5, 11))).ids.tolist() == [NO_ID]
    tracker(no_people(), frames=50)  # the track is removed
    ids = [
        tracker(People(np.concatenate([whole.keypoints, part.keypoints]), np.ones(2))).ids.tolist()
        for whole, part in [(people_at((600, 0)), people_at((0, 0), joints=slice(5, 11)))] * 4
    ]
    assert ids == [[0, NO_ID], [0, NO_ID], [0, 1], [0, 1]]  # 6 of 17 joints: in the third frame


def test_people_without_joints_have_no_id():
    tracker = Tracker()
    tracker(people_at((0, 0)))
    empty = People(np.zeros((3, 17, 3)), np.ones(3))
    assert tracker(empty).ids.tolist() == [NO_ID] * 3
    assert tracker(people_at((0, 0))).ids.tolist() == [0]


def test_a_missing_joint_moves_with_the_body():
    """Only the legs are found, then only the arms: the body's motion connects them."""
    tracker, legs, arms = Tracker(), slice(11, 17), slice(5, 11)
    for frame in range(5):
        tracker(people_at((3 * frame, 0)))
    for frame in range(5, 10):
        assert tracker(people_at((3 * frame, 0), joints=legs)).ids.tolist() == [0]
    for frame in range(10, 15):
        assert tracker(people_at((3 * frame, 0), joints=arms)).ids.tolist() == [0]


def test_custom_skeletons():
    shape = np.array([(0, 200), (0, 150), (0, 100), (0, 50), (0, 0)], float)  # a shape without width
    tracker = Tracker(POLE)
    for frame in range(20):
        ids = tracker(people_at((3 * frame, 0), (200 - 3 * frame, 60), shape=shape)).ids
        assert ids.tolist() == [0, 1] or frame == 0
    with pytest.raises(ValueError, match="expected people with 5 joints"):
        tracker(no_people(17))


@pytest.mark.parametrize("where", [(0, 0, 0), (0, 5, 1), (1, 16, 2)])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_non_finite_values_are_rejected_and_leave_the_tracks_unchanged(where, value):
    tracker, people = Tracker(), people_at((0, 0), (300, 0))
    before = tracker(people).ids.tolist()
    broken = people.keypoints.copy()
    broken[where] = value
    with pytest.raises(ValueError, match="expected finite"):
        tracker(People(broken, people.scores))
    with pytest.raises(ValueError, match="expected finite"):
        tracker(People(people.keypoints, np.array([value, 1])))
    assert tracker(people).ids.tolist() == before


@pytest.mark.parametrize("frames", [0, -1, np.nan, np.inf])
def test_elapsed_frames_must_be_positive(frames):
    with pytest.raises(ValueError, match="expected a finite number > 0"):
        Tracker()(no_people(), frames)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**32 - 1),
    counts=st.lists(st.integers(0, 12), min_size=1, max_size=12),
    spread=st.sampled_from([0.0, 1.0, 30.0, 1e4, 1e30]),
    smoothing=st.booleans(),
)
def test_ids_are_unique_in_a_frame_and_new_ids_count_up_for_any_input(seed, counts, spread, smoothing):
    rng, tracker, known = (
        np.random.default_rng(seed),
        Tracker(settings=TrackingSettings(smoothing=smoothing)),
        set(),
    )
    for count in counts:
        keypoints = rng.normal(0, spread, (count, 17, 3))
        keypoints[..., 2] = rng.uniform(-0.5, 1, (count, 17))
        keypoints[rng.random((count, 17)) < rng.random()] = 0
        people = People(keypoints, rng.uniform(-1, 1, count))
        tracked = tracker(people, frames=float(rng.choice([0.01, 1, 1.5, 40])))
        ids = tracked.ids[tracked.ids != NO_ID].tolist()
        assert len(set(ids)) == len(ids)
        assert (tracked.ids >= NO_ID).all()
        assert sorted(set(ids) - known) == list(range(len(known), len(known | set(ids))))
        assert np.isfinite(tracked.keypoints).all()
        assert np.array_equal(tracked.found, people.found)
        known |= set(ids)


def test_two_hundred_people_keep_their_ids(rng):
    positions = np.array([(x, y) for x in range(20) for y in range(10)]) * BODY_SIZE_PX * 0.6
    tracker = Tracker()
    first = tracker(people_at(*positions)).ids
    order = rng.permutation(len(positions))
    assert np.array_equal(tracker(people_at(*(positions + 2)[order])).ids, first[order])
    assert sorted(first.tolist()) == list(range(200))


def test_settings_files_without_tracking_are_read():
    text = config.to_text(Settings())
    before = text[: text.index("tracking:")]
    assert config.from_text(before, "an old checkpoint") == Settings()
    changed = replace(Settings(), tracking=TrackingSettings(max_lost_frames=5.0, smoothing=True))
    assert config.from_text(config.to_text(changed), "new") == changed


@pytest.mark.parametrize(
    "values",
    [{"min_similarity": 0.0}, {"min_similarity": 1.1}, {"max_lost_frames": -1}, {"max_lost_ratio": 0.5}],
)
def test_invalid_settings_are_rejected(values):
    with pytest.raises(ValueError, match=next(iter(values))):
        TrackingSettings(**values)


def test_the_default_skeleton_is_coco():
    assert Tracker()(no_people(len(COCO.annotated))).ids.shape == (0,)
