"""Tracking: ids hold over people who cross, hide and come back, and depend on nothing that they must not."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from other_joints import POLE
from synthetic_video import Film
from walkers import SIZE, followed, nobody, people_at, switches

from simplepose import config
from simplepose.config import Settings, TrackingSettings
from simplepose.people import NO_ID, People
from simplepose.skeleton import COCO
from simplepose.tracking import Tracker


@pytest.mark.parametrize(("seed", "size_hw"), [(0, (720, 1280)), (3, (480, 640))])
def test_five_people_who_cross_and_hide_each_other_keep_their_ids(seed, size_hw):
    film = Film(seed, 5, 300, size_hw)
    visible = np.array([(film.shot(number).keypoints[..., 2] == 2).sum(1) for number in range(300)])
    assert (visible < 3).any(0).sum() >= 2  # some are quite hidden for a while, and come out again
    told = followed(Tracker(), film, seed, drawn=True)
    assert switches(told) <= 1
    assert {person for who, _, _ in told for person in who.tolist()} == {-1, 0, 1, 2, 3, 4}
    named = [ids[who >= 0] != NO_ID for who, ids, _ in told]
    assert np.concatenate(named).mean() > 0.97


def test_without_pictures_ids_hold_in_most_films_that_nobody_chose():
    """Five people, 300 frames; limits set on other films."""
    counts = [
        switches(followed(Tracker(), Film(seed, 5, 300, (720, 1280)), seed)) for seed in range(200, 210)
    ]
    assert np.mean(np.array(counts) <= 1) >= 0.6
    assert np.mean(counts) <= 1.5


@pytest.mark.parametrize("missing", [1, 4])
def test_whom_two_tracks_fit_alike_waits_and_is_known_again_when_it_is_clear(missing):
    """Two stand on one spot; one of them is found, and joints that could be either's tell nothing."""
    tracker = Tracker()
    for frame in range(20, 0, -1):
        first, second = tracker(people_at((-0.02 * SIZE * frame, 0), (0.02 * SIZE * frame, 0))).ids.tolist()
    for _ in range(missing):
        assert tracker(people_at((0, 0), joints=[11, 12, 13, 14])).ids.tolist() == [NO_ID]
    for frame in range(missing + 1, 20):
        x = 0.02 * SIZE * frame
        ids = tracker(people_at((x, 0), (-x, 0))).ids.tolist()
    assert ids == [first, second]


def test_ids_do_not_depend_on_the_order_of_people_and_repeat():
    film = Film(1, 8, 60)
    plain, again = followed(Tracker(), film, 4), followed(Tracker(), film, 4)
    shuffled = followed(Tracker(), film, 4, shuffle=np.random.default_rng(9))
    for (_, ids, _), (_, same, _), (_, mixed, _) in zip(plain, again, shuffled, strict=True):
        assert np.array_equal(ids, same)
        assert np.array_equal(ids, mixed)


def test_people_stay_as_they_are_in_the_order_in_which_they_come():
    people = people_at((0, 0), (300, 0), (600, 0))
    people = People(people.keypoints, np.array([0.2, 0.9, 0.01]), ids=np.array([7, 7, 7]))
    tracked = Tracker()(people)
    assert tracked.ids.tolist() == [1, 0, NO_ID]  # best first; one is too faint
    assert np.array_equal(tracked.keypoints, people.keypoints)
    assert np.array_equal(tracked.scores, people.scores)
    assert people.ids.tolist() == [7, 7, 7]


@pytest.mark.parametrize(("absent", "speed"), [(0, 0.0), (1, 0.02), (7, 0.0), (12, 0.02), (20, 0.04)])
def test_who_was_lost_for_few_frames_enough_is_found_again_and_not_after(absent, speed):
    for lost_frames, same in ((absent, True), (absent - 1, False)):
        if lost_frames < 0:
            continue
        tracker = Tracker(settings=TrackingSettings(lost_frames=lost_frames))
        before = [tracker(people_at((speed * SIZE * frame, 0))).ids[0] for frame in range(20)]
        for _ in range(absent):
            assert tracker(nobody()).ids.tolist() == []
        after = tracker(people_at((speed * SIZE * (20 + absent), 0))).ids[0]
        assert set(before) == {0}
        assert after == (0 if same else 1)


def test_who_stops_while_hidden_is_found_again():
    tracker = Tracker()
    for frame in range(30):
        tracker(people_at((0.02 * SIZE * frame, 0)))
    for _ in range(20):
        tracker(nobody())
    assert tracker(people_at((0.02 * SIZE * 30, 0))).ids.tolist() == [0]


def test_who_is_seen_goes_on_beside_somebody_who_was_lost():
    """The lost one could be anywhere by now, here too, but the other was here a frame ago."""
    tracker = Tracker()
    for _ in range(10):
        first, _second = tracker(people_at((0, 0), (0.1 * SIZE, 0))).ids.tolist()
    for frame in range(28):
        x = min(0.02 * frame, 0.08) * SIZE
        assert tracker(people_at((x, 0))).ids.tolist() == [first]


def test_boxes_tell_where_no_joint_was_seen_before():
    some, others = [5, 8, 11, 14, 15], [6, 7, 12, 13, 16]
    for box_weight, ids in ((5, [1, 0]), (0, [3, 2])):
        tracker = Tracker(settings=TrackingSettings(sure_sights=0, box_weight=box_weight))
        tracker(people_at((0, 0), (3 * SIZE, 0), joints=some))
        assert tracker(people_at((3 * SIZE, 0), (0, 0), joints=others)).ids.tolist() == ids
    assert Tracker(settings=TrackingSettings(sure_sights=0))(
        people_at((0, 0), joints=others)
    ).ids.tolist() == [0]


def test_frames_left_out_count_as_time():
    whole, sparse = Tracker(), Tracker()
    for frame in range(0, 60, 4):
        for step in range(4):
            plain = whole(people_at((0.02 * SIZE * (frame + step), 0)))
        left_out = sparse(people_at((0.02 * SIZE * (frame + 3), 0)), frames=4)
        assert plain.ids.tolist() == left_out.ids.tolist() == [0]
    assert sparse(people_at((0.02 * SIZE * 59, 0)), frames=1000).ids.tolist() == [1]


@pytest.mark.parametrize("every", [2, 10, 31])
def test_ids_hold_where_most_frames_are_left_out(every):
    tracker = Tracker()
    assert [tracker(people_at((0, 0)), every).ids[0] for _ in range(5)] == [0] * 5


def test_a_false_person_seen_once_is_soon_forgotten():
    tracker = Tracker(settings=TrackingSettings(trust=2))
    tracker(people_at((0, 0)))
    for _ in range(2):
        tracker(nobody())
    assert tracker(people_at((0, 0))).ids.tolist() == [0]  # missed twice
    tracker = Tracker(settings=TrackingSettings(trust=2))
    tracker(people_at((0, 0)))
    for _ in range(3):
        tracker(nobody())
    assert tracker(people_at((0, 0))).ids.tolist() == [1]


def test_ids_are_never_used_again():
    tracker, seen = Tracker(settings=TrackingSettings(lost_frames=0)), []
    for frame in range(10):
        seen += tracker(people_at((0, 0), (400, 0))).ids.tolist()
        tracker(nobody(), frames=50 + frame)
    assert seen == list(range(20))


def test_faint_people_go_on_with_known_tracks_only():
    tracker = Tracker()
    assert tracker(people_at((0, 0), score=0.05)).ids.tolist() == [NO_ID]
    assert tracker(people_at((0, 0), score=0.7)).ids.tolist() == [0]
    assert tracker(people_at((0, 0), (500, 0), score=0.05)).ids.tolist() == [0, NO_ID]


def test_sure_people_choose_before_faint_ones():
    tracker = Tracker()
    tracker(people_at((0, 0)))
    both = people_at((0, 0), (0.03 * SIZE, 0))
    assert tracker(People(both.keypoints, np.array([0.1, 0.9]))).ids.tolist() == [NO_ID, 0]


def test_a_second_sight_of_one_body_is_nobody_new():
    tracker = Tracker()
    tracker(people_at((0, 0)))
    twice = tracker(people_at((0, 0), (2, 2)))
    assert sorted(twice.ids.tolist()) == [NO_ID, 0]


def test_two_who_pass_keep_their_velocities():
    """They stand at one place in the middle frame, and only their motion tells them apart."""
    tracker = Tracker()
    places = np.linspace(-1.5 * SIZE, 1.5 * SIZE, 101)
    for number, x in enumerate(places):
        tracked = tracker(people_at((x, 0), (-x, 0)))
        if number == 0:
            first = tracked.ids.tolist()
    assert tracked.ids.tolist() == first


@pytest.mark.parametrize("joints", [[0], [5, 6]])
def test_people_of_one_joint_or_two_are_followed(joints):
    tracker, needed = (
        Tracker(settings=TrackingSettings(sure_sights=0.5)),
        int(np.ceil(0.5 * 17 / len(joints))),
    )
    ids = [tracker(people_at((frame, 0), joints=joints)).ids[0] for frame in range(12)]
    assert ids == [NO_ID] * (needed - 1) + [0] * (13 - needed)


def test_an_id_is_told_once_enough_was_seen_and_ids_count_those_that_are_told():
    tracker = Tracker(settings=TrackingSettings(sure_sights=0.8))
    assert tracker(people_at((0, 0), joints=slice(5, 11))).ids.tolist() == [NO_ID]
    tracker(nobody(), frames=50)  # it was nothing
    told = [
        tracker(People(np.concatenate([whole.keypoints, part.keypoints]), np.ones(2))).ids.tolist()
        for whole, part in [(people_at((600, 0)), people_at((0, 0), joints=slice(5, 11)))] * 4
    ]
    assert told == [[0, NO_ID], [0, NO_ID], [0, 1], [0, 1]]  # 6 of 17 joints: at the third sight


def test_people_without_joints_have_no_id():
    tracker = Tracker()
    tracker(people_at((0, 0)))
    empty = People(np.zeros((3, 17, 3)), np.ones(3))
    assert tracker(empty).ids.tolist() == [NO_ID] * 3
    assert tracker(people_at((0, 0))).ids.tolist() == [0]


def test_a_joint_that_comes_back_lies_where_the_body_carried_it():
    """Only the legs are seen, then only the arms: the body tells that it is the same person."""
    tracker, legs, arms = Tracker(), slice(11, 17), slice(5, 11)
    for frame in range(5):
        tracker(people_at((3 * frame, 0)))
    for frame in range(5, 10):
        assert tracker(people_at((3 * frame, 0), joints=legs)).ids.tolist() == [0]
    for frame in range(10, 15):
        assert tracker(people_at((3 * frame, 0), joints=arms)).ids.tolist() == [0]


def test_other_skeletons():
    shape = np.array([(0, 200), (0, 150), (0, 100), (0, 50), (0, 0)], float)  # no width at all
    tracker = Tracker(POLE)
    for frame in range(20):
        ids = tracker(people_at((3 * frame, 0), (200 - 3 * frame, 60), shape=shape)).ids
        assert ids.tolist() == [0, 1] or frame == 0
    with pytest.raises(ValueError, match="5 joints a person expected"):
        tracker(nobody(17))


@pytest.mark.parametrize("where", [(0, 0, 0), (0, 5, 1), (1, 16, 2)])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused_and_leave_the_tracks_as_they_are(where, value):
    tracker, people = Tracker(), people_at((0, 0), (300, 0))
    before = tracker(people).ids.tolist()
    broken = people.keypoints.copy()
    broken[where] = value
    with pytest.raises(ValueError, match="not finite"):
        tracker(People(broken, people.scores))
    with pytest.raises(ValueError, match="not finite"):
        tracker(People(people.keypoints, np.array([value, 1])))
    assert tracker(people).ids.tolist() == before


@pytest.mark.parametrize("frames", [0, -1, np.nan, np.inf])
def test_time_must_pass(frames):
    with pytest.raises(ValueError, match="above 0 expected"):
        Tracker()(nobody(), frames)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**32 - 1),
    counts=st.lists(st.integers(0, 12), min_size=1, max_size=12),
    spread=st.sampled_from([0.0, 1.0, 30.0, 1e4, 1e30]),
    smoothing=st.booleans(),
)
def test_whatever_comes_ids_are_unique_in_a_frame_and_new_ones_count_up(seed, counts, spread, smoothing):
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
    places = np.array([(x, y) for x in range(20) for y in range(10)]) * SIZE * 0.6
    tracker = Tracker()
    first = tracker(people_at(*places)).ids
    order = rng.permutation(len(places))
    assert np.array_equal(tracker(people_at(*(places + 2)[order])).ids, first[order])
    assert sorted(first.tolist()) == list(range(200))


def test_settings_written_before_there_was_tracking_are_read():
    text = config.to_text(Settings())
    before = text[: text.index("tracking:")]
    assert config.from_text(before, "an old checkpoint") == Settings()
    changed = replace(Settings(), tracking=TrackingSettings(lost_frames=5.0, smoothing=True))
    assert config.from_text(config.to_text(changed), "new") == changed


@pytest.mark.parametrize(
    "values", [{"least_similarity": 0.0}, {"least_similarity": 1.1}, {"lost_frames": -1}, {"trust": 0.5}]
)
def test_settings_that_cannot_be_are_refused(values):
    with pytest.raises(ValueError, match=next(iter(values))):
        TrackingSettings(**values)


def test_the_tracker_of_the_default_skeleton_is_cocos():
    assert Tracker()(nobody(len(COCO.annotated))).ids.shape == (0,)
