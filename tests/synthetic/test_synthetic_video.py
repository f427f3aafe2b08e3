"""Films of drawn people: they walk, are the same drawn or not, and what is found of them has its faults."""

import finding
import hiding
import numpy as np
import pytest
from finding import Faults
from synthetic_video import Film
from walking import MOST_TURN, draw_walk, draw_walker

SIZE_HW = (120, 160)


@pytest.fixture(scope="module")
def film():
    return Film(3, 5, 80)


def test_shapes_and_ids_whatever_the_number_of_people():
    for people in (0, 1, 7):
        shot = Film(0, people, 2, SIZE_HW).shot(1)
        assert (shot.keypoints.shape, shot.keypoints.dtype) == ((people, 17, 3), np.float32)
        assert shot.ids.tolist() == list(range(people))
        assert shot.areas.shape == (people,)
        scene, ids = Film(0, people, 2, SIZE_HW).draw(1)
        assert scene.image.shape == (*SIZE_HW, 3)
        assert sorted(ids.tolist()) == list(range(people))


def test_the_same_seed_gives_the_same_film_and_another_does_not(film):
    again, other = Film(3, 5, 80), Film(4, 5, 80)
    assert np.array_equal(film.shot(40).keypoints, again.shot(40).keypoints)
    assert np.array_equal(film.draw(40)[0].image, again.draw(40)[0].image)
    assert not np.array_equal(film.shot(40).keypoints, other.shot(40).keypoints)


@pytest.mark.parametrize("number", [-1, 80])
def test_frames_that_are_not_there_are_refused(film, number):
    with pytest.raises(ValueError, match="from 0 to 79"):
        film.shot(number)


def test_the_drawn_frame_has_the_joints_of_the_shot(film):
    agree = []
    for number in (0, 30, 60):
        shot, (scene, ids) = film.shot(number), film.draw(number)
        labelled = scene.keypoints[..., 2] > 0
        truth = shot.keypoints[ids]
        assert np.abs(scene.keypoints - truth)[labelled][:, :2].max() < 0.01
        agree.append((scene.keypoints[..., 2] == truth[..., 2])[labelled].mean())
    assert np.mean(agree) > 0.75  # sticks hide about as bodies do; what a body hides of itself they do not


def test_people_move_steadily_turn_slowly_and_hide_each_other(film, rng):
    shots = np.array([film.shot(number).keypoints for number in range(80)])
    steps = np.linalg.norm(np.diff(shots[..., :2], axis=0), axis=3)
    assert 1 < steps.max() < 0.1 * 480
    assert steps.mean() > 0.3
    assert (shots[..., 2] == 1).any()
    walk = draw_walk(rng, draw_walker(rng), film.ground, 200)
    assert np.abs(np.diff(walk.yaws)).max() <= MOST_TURN + 1e-9
    assert ((walk.efforts >= 0) & (walk.efforts <= 1)).all()


def test_people_look_alike_from_frame_to_frame(film):
    """Mean colours of a body change less from frame to frame than from body to body."""
    colours = []
    for number in (10, 12):
        scene, ids = film.draw(number)
        colours.append(
            {i: scene.image[m].mean(0) for i, m in zip(ids.tolist(), scene.masks, strict=True) if m.any()}
        )
    same = [np.abs(colours[0][i] - colours[1][i]).max() for i in colours[0].keys() & colours[1].keys()]
    first = list(colours[0].values())
    assert np.mean(same) < 0.5 * np.mean([np.abs(a - b).max() for a in first for b in first if a is not b])


def test_only_the_nearer_hides_and_only_what_lies_behind():
    joints = np.zeros((2, 17, 2)) + Film(0, 1, 1).shot(0).keypoints[0, :, :2]
    sizes = np.array([200.0, 300.0])
    assert hiding.hidden(joints, sizes)[0].all()
    assert not hiding.hidden(joints, sizes)[1].any()
    assert not hiding.hidden(joints, sizes[:1].repeat(2)).any()
    joints[1] += (1000, 0)
    assert not hiding.hidden(joints, sizes).any()


def test_without_faults_the_visible_joints_are_found_exactly(film, rng):
    shot = film.shot(20)
    people, who = finding.find(rng, shot.keypoints, shot.areas, film.size_hw, Faults(least_joints=1))
    visible = shot.keypoints[..., 2] == 2
    assert sorted(who.tolist()) == np.flatnonzero(visible.any(1)).tolist()
    assert np.array_equal(people.found, visible[who])
    assert np.array_equal(people.keypoints[people.found][:, :2], shot.keypoints[who][visible[who]][:, :2])


def test_each_fault_does_what_it_says(film, rng):
    shot, size_hw = film.shot(20), film.size_hw
    many = [
        finding.find(rng, shot.keypoints, shot.areas, size_hw, Faults(missed_people=0.5, least_joints=1))[1]
        for _ in range(200)
    ]
    seen = (shot.keypoints[..., 2] == 2).any(1).sum()
    assert 0.4 < np.mean([len(who) for who in many]) / seen < 0.6
    false = [
        (finding.find(rng, shot.keypoints, shot.areas, size_hw, Faults(false_people=2.0))[1] < 0).sum()
        for _ in range(200)
    ]
    assert 1.6 < np.mean(false) < 2.4
    few = finding.find(rng, shot.keypoints, shot.areas, size_hw, Faults(missed_joints=1.0))
    assert len(few[0]) == 0
    empty = finding.find(rng, shot.keypoints[:0], shot.areas[:0], size_hw, finding.USUAL)
    assert len(empty[0]) == 0
