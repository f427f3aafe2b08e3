"""Poses of drawn people: by chance within the limits of a body, or as a file has them."""

import json

import numpy as np
import pytest

from simplepose.skeleton import COCO
from simplepose.synthetic import poses
from simplepose.synthetic.figures import FACE, FOREARM, SHIN, THIGH, UPPER_ARM
from simplepose.synthetic.poses import PoseFile, lift
from simplepose.synthetic.scenes import draw_scene

ROW = {name: row for row, name in enumerate(COCO.annotated)}
BELOW_HEAD = slice(5, None)


def labelled(figure, size=150.0, x=200.0, y=300.0):
    """(17, 3) keypoints in pixels, as somebody who sees the figure labels them."""
    joints, shows = figure.annotated()
    keypoints = np.column_stack([joints[:, :2] * size + (x, y), np.full(17, 2.0)])
    keypoints[~shows] = 0
    return keypoints


def figures(count, start=0):
    return [poses.draw_figure(np.random.default_rng(seed)) for seed in range(start, start + count)]


@pytest.fixture
def pose_file(tmp_path):
    """write(keypoints) -> the path of an .npz."""

    def write(keypoints, **more):
        path = tmp_path / "poses.npz"
        np.savez(path, keypoints=keypoints, **more)
        return path

    return write


def test_limbs_keep_their_lengths_and_knees_bend_back():
    lengths = {("shoulder", "elbow"): UPPER_ARM, ("elbow", "wrist"): FOREARM, ("hip", "knee"): THIGH}
    lengths["knee", "ankle"] = SHIN
    for seed in range(200):
        figure = poses.draw_figure(np.random.default_rng(seed))
        joints = figure.joints
        across = joints["left_hip"] - joints["right_hip"]
        for side in ("left", "right"):
            for (a, b), length in lengths.items():
                limb = joints[f"{side}_{b}"] - joints[f"{side}_{a}"]
                assert np.linalg.norm(limb) == pytest.approx(length, rel=1e-6)
            thigh, shin = (
                joints[f"{side}_{b}"] - joints[f"{side}_{a}"] for a, b in (("hip", "knee"), ("knee", "ankle"))
            )
            assert np.cross(thigh, shin) @ across >= -1e-3 * THIGH * SHIN


def test_left_is_left():
    """Whoever faces the viewer has their left on the picture's right; from behind it is the other way."""
    for seed in range(200):
        figure = poses.draw_figure(np.random.default_rng(seed))
        assert np.linalg.det(figure.trunk) == pytest.approx(1, abs=0.1)
        assert np.linalg.det(figure.head_axes) == pytest.approx(1)
        if figure.trunk[1, 1] < -0.7 and abs(figure.trunk[2, 2]) > 0.5:
            right_of_picture = figure.joints["left_shoulder"][0] - figure.joints["right_shoulder"][0]
            assert (right_of_picture > 0) == (figure.trunk[2, 2] < 0)
        joints, _ = figure.annotated()
        ears = joints[ROW["left_ear"]] - joints[ROW["right_ear"]]
        assert ears @ (joints[ROW["left_shoulder"]] - joints[ROW["right_shoulder"]]) > -1e-3


def test_a_lifted_pose_has_its_joints_where_they_were_labelled():
    for seed, figure in enumerate(figures(100)):
        keypoints = labelled(figure)
        joints, _ = lift(keypoints).annotated()
        middle = keypoints[[ROW["left_hip"], ROW["right_hip"]], :2].mean(0)
        fitted, *_ = np.linalg.lstsq(
            joints[BELOW_HEAD, :2].reshape(-1, 1), (keypoints[BELOW_HEAD, :2] - middle).ravel(), rcond=None
        )
        again = joints[:, :2] * fitted + middle
        assert np.allclose(again[BELOW_HEAD], keypoints[BELOW_HEAD, :2], atol=1e-6), seed


def test_the_head_of_a_lifted_pose_is_turned_as_it_was_labelled():
    apart, same_side = [], []
    for figure in figures(100):
        keypoints = labelled(figure)
        if not (keypoints[:5, 2] > 0).any():
            continue
        lifted = lift(keypoints)
        _, shows = lifted.annotated()
        size = figure.head_size / lifted.head_size
        apart.append(np.abs(labelled(lifted, 150.0)[:5] - keypoints[:5])[keypoints[:5, 2] > 0].max() / 150)
        same_side.append((shows[:5] == (keypoints[:5, 2] > 0)).mean())
        assert 0.4 < size < 2.5
    assert np.median(apart) < 0.03
    assert np.mean(same_side) > 0.9


def test_an_unlabelled_face_looks_away_and_unlabelled_limbs_go_straight_on():
    figure = next(f for f in figures(200) if f.trunk[1, 1] < -0.95 and f.trunk[2, 2] < -0.95)
    keypoints = labelled(figure)
    keypoints[:5] = 0
    for name in ("left_elbow", "left_wrist", "right_ankle"):
        keypoints[ROW[name]] = 0
    lifted = lift(keypoints)
    assert lifted.head_axes[2, 2] > 0.9
    assert not lifted.annotated()[1][[ROW["nose"], ROW["left_eye"], ROW["right_eye"]]].any()
    arm = lifted.joints["left_wrist"] - lifted.joints["left_shoulder"]
    assert np.linalg.norm(arm) == pytest.approx(UPPER_ARM + FOREARM)
    assert arm[1] > 0.95 * (UPPER_ARM + FOREARM)
    assert lifted.joints["right_ankle"][1] > lifted.joints["right_knee"][1]


def test_mirrored_labels_give_the_mirrored_figure():
    for figure in figures(40):
        keypoints = labelled(figure)
        mirrored = keypoints[COCO.annotated_flip] * (-1, 1, 1)
        joints, _ = lift(keypoints).annotated()
        again, _ = lift(mirrored).annotated()
        back = again[COCO.annotated_flip] * (-1, 1, 1)
        assert np.allclose(back[BELOW_HEAD, :2], joints[BELOW_HEAD, :2], atol=1e-9)


def test_people_are_drawn_in_the_poses_of_a_file(pose_file):
    figure = next(f for f in figures(300) if f.trunk[2, 2] < -0.9 and f.annotated()[1].all() and not f.sits)
    given = labelled(figure)
    source = PoseFile(pose_file(given[None]))
    for seed in range(12):
        drawn = draw_scene(np.random.default_rng(seed), (400, 400), 1, figure=source).keypoints[0]
        if (drawn[BELOW_HEAD, 2] > 0).all():
            break
    choices = []
    for pose in (given, given[COCO.annotated_flip] * (-1, 1, 1)):
        a, b = (k[BELOW_HEAD, :2] - k[BELOW_HEAD, :2].mean(0) for k in (pose, drawn))
        choices.append(np.abs(a * ((a * b).sum() / (a * a).sum()) - b).max() / np.ptp(b[:, 1]))
    assert min(choices) < 1e-3


def test_a_json_and_an_npz_give_the_same_poses(tmp_path, pose_file):
    keypoints = np.array([labelled(figure) for figure in figures(6)]).round(2)
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": 9, "width": 9}],
        "annotations": [
            {"image_id": 1, "category_id": 1, "keypoints": k.ravel().tolist()} for k in keypoints
        ],
    }
    content["annotations"].append({"image_id": 1, "category_id": 1})  # a person without keypoints
    (tmp_path / "poses.json").write_text(json.dumps(content))
    from_json, from_npz = PoseFile(tmp_path / "poses.json"), PoseFile(pose_file(keypoints))
    assert np.array_equal(from_json.keypoints, from_npz.keypoints)
    assert len(from_npz.keypoints) == 6


def test_poses_that_tell_too_little_are_left_out(pose_file):
    keypoints = np.array([labelled(figure) for figure in figures(5)])
    keypoints[0, ROW["left_hip"]] = 0
    keypoints[1, :, :2] = 7  # all joints in one place
    keypoints[2, ROW["nose"], 0] = np.nan
    assert np.array_equal(PoseFile(pose_file(keypoints)).keypoints, keypoints[3:])
    with pytest.raises(ValueError, match="no pose with both shoulders and hips"):
        PoseFile(pose_file(keypoints[:3]))


@pytest.mark.parametrize("pose", ["one place but the trunk", "beyond the picture", "huge", "tiny"])
def test_odd_poses_are_drawn_without_a_fault(pose_file, pose):
    keypoints = labelled(figures(1)[0])
    if pose == "one place but the trunk":
        keypoints[:5, :2] = keypoints[ROW["left_shoulder"], :2]
        keypoints[7:11, :2] = keypoints[ROW["left_shoulder"], :2]
    keypoints[:, :2] *= {"huge": 1e5, "tiny": 0.1}.get(pose, 1)
    keypoints[:, :2] -= 5e4 if pose == "beyond the picture" else 0
    source = PoseFile(pose_file(keypoints[None]))
    for seed in range(5):
        scene = draw_scene(np.random.default_rng(seed), (120, 90), 2, figure=source)
        assert np.isfinite(scene.keypoints).all()


def test_a_file_of_another_form_is_refused(tmp_path, pose_file):
    with pytest.raises(FileNotFoundError, match=r"missing\.npz"):
        PoseFile(tmp_path / "missing.npz")
    with pytest.raises(FileNotFoundError, match=r"missing\.json"):
        PoseFile(tmp_path / "missing.json")
    with pytest.raises(ValueError, match=r"\(P, 17, 3\)|`keypoints`"):
        PoseFile(pose_file(np.zeros((3, 18, 3))))
    with pytest.raises(ValueError, match=r"no \.npz of numbers"):
        PoseFile(pose_file(np.array([{}, {}])))
    cut = pose_file(np.zeros((3, 17, 3)))
    cut.write_bytes(cut.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"no \.npz of numbers"):
        PoseFile(cut)
    bad = {"images": [], "annotations": [{"image_id": 1, "keypoints": [1, 2, 3]}]}
    (tmp_path / "bad.json").write_text(json.dumps(bad))
    with pytest.raises(ValueError, match="17 x"):
        PoseFile(tmp_path / "bad.json")


def test_the_face_is_in_the_data_sets_order():
    assert tuple(FACE) == COCO.annotated[:5]
