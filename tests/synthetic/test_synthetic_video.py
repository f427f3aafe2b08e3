"""Synthetic videos and their ground truth, and the errors of simulated detections."""

import capsule_occlusion
import numpy as np
import pytest
import simulated_detector
from simulated_detector import DetectorErrors
from synthetic_video import SyntheticVideo
from walking import MAX_TURN_RAD, sample_walk, sample_walker

SIZE_HW = (120, 160)


@pytest.fixture(scope="module")
def video():
    return SyntheticVideo(3, 5, 80)


def test_shapes_and_ids_for_any_number_of_people():
    for people in (0, 1, 7):
        truth = SyntheticVideo(0, people, 2, SIZE_HW).truth(1)
        assert (truth.keypoints.shape, truth.keypoints.dtype) == ((people, 17, 3), np.float32)
        assert truth.ids.tolist() == list(range(people))
        assert truth.areas.shape == (people,)
        scene, ids = SyntheticVideo(0, people, 2, SIZE_HW).draw(1)
        assert scene.image.shape == (*SIZE_HW, 3)
        assert sorted(ids.tolist()) == list(range(people))


def test_equal_seeds_give_equal_videos(video):
    again, other = SyntheticVideo(3, 5, 80), SyntheticVideo(4, 5, 80)
    assert np.array_equal(video.truth(40).keypoints, again.truth(40).keypoints)
    assert np.array_equal(video.draw(40)[0].image, again.draw(40)[0].image)
    assert not np.array_equal(video.truth(40).keypoints, other.truth(40).keypoints)


@pytest.mark.parametrize("number", [-1, 80])
def test_frame_indices_out_of_range_are_rejected(video, number):
    with pytest.raises(ValueError, match="expected a frame from 0 to 79"):
        video.truth(number)


def test_drawn_keypoints_equal_the_ground_truth(video):
    agree = []
    for number in (0, 30, 60):
        truth, (scene, ids) = video.truth(number), video.draw(number)
        labeled = scene.keypoints[..., 2] > 0
        expected = truth.keypoints[ids]
        assert np.abs(scene.keypoints - expected)[labeled][:, :2].max() < 0.01
        agree.append((scene.keypoints[..., 2] == expected[..., 2])[labeled].mean())
    assert np.mean(agree) > 0.75  # capsules approximate bodies and ignore self-occlusion


def test_people_move_steadily_turn_slowly_and_occlude_each_other(video, rng):
    truths = np.array([video.truth(number).keypoints for number in range(80)])
    steps = np.linalg.norm(np.diff(truths[..., :2], axis=0), axis=3)
    assert 1 < steps.max() < 0.1 * 480
    assert steps.mean() > 0.3
    assert (truths[..., 2] == 1).any()
    walk = sample_walk(rng, sample_walker(rng), video.ground, 200)
    assert np.abs(np.diff(walk.yaws)).max() <= MAX_TURN_RAD + 1e-9
    assert ((walk.efforts >= 0) & (walk.efforts <= 1)).all()


def test_people_keep_their_appearance_between_frames(video):
    """Mean colors of a body differ less between frames than between bodies."""
    colors = []
    for number in (10, 12):
        scene, ids = video.draw(number)
        colors.append(
            {i: scene.image[m].mean(0) for i, m in zip(ids.tolist(), scene.masks, strict=True) if m.any()}
        )
    same = [np.abs(colors[0][i] - colors[1][i]).max() for i in colors[0].keys() & colors[1].keys()]
    first = list(colors[0].values())
    assert np.mean(same) < 0.5 * np.mean([np.abs(a - b).max() for a in first for b in first if a is not b])


def test_only_nearer_people_occlude_joints_behind_them():
    joints = np.zeros((2, 17, 2)) + SyntheticVideo(0, 1, 1).truth(0).keypoints[0, :, :2]
    sizes = np.array([200.0, 300.0])
    assert capsule_occlusion.find_occluded(joints, sizes)[0].all()
    assert not capsule_occlusion.find_occluded(joints, sizes)[1].any()
    assert not capsule_occlusion.find_occluded(joints, sizes[:1].repeat(2)).any()
    joints[1] += (1000, 0)
    assert not capsule_occlusion.find_occluded(joints, sizes).any()


def test_without_errors_the_visible_joints_are_found_exactly(video, rng):
    truth = video.truth(20)
    people, person_indices = simulated_detector.simulate_detections(
        rng, truth.keypoints, truth.areas, video.size_hw, DetectorErrors(min_joints=1)
    )
    visible = truth.keypoints[..., 2] == 2
    assert sorted(person_indices.tolist()) == np.flatnonzero(visible.any(1)).tolist()
    assert np.array_equal(people.found, visible[person_indices])
    assert np.array_equal(
        people.keypoints[people.found][:, :2], truth.keypoints[person_indices][visible[person_indices]][:, :2]
    )


def test_each_error_rate_has_its_effect(video, rng):
    truth, size_hw = video.truth(20), video.size_hw
    many = [
        simulated_detector.simulate_detections(
            rng, truth.keypoints, truth.areas, size_hw, DetectorErrors(missed_people=0.5, min_joints=1)
        )[1]
        for _ in range(200)
    ]
    visible_count = (truth.keypoints[..., 2] == 2).any(1).sum()
    assert 0.4 < np.mean([len(person_indices) for person_indices in many]) / visible_count < 0.6
    false = [
        (
            simulated_detector.simulate_detections(
                rng, truth.keypoints, truth.areas, size_hw, DetectorErrors(false_people=2.0)
            )[1]
            < 0
        ).sum()
        for _ in range(200)
    ]
    assert 1.6 < np.mean(false) < 2.4
    few = simulated_detector.simulate_detections(
        rng, truth.keypoints, truth.areas, size_hw, DetectorErrors(missed_joints=1.0)
    )
    assert len(few[0]) == 0
    empty = simulated_detector.simulate_detections(
        rng, truth.keypoints[:0], truth.areas[:0], size_hw, simulated_detector.TYPICAL_ERRORS
    )
    assert len(empty[0]) == 0
