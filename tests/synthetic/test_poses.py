"""Poses of synthetic people: random within the limits of a body, or read from a file."""

import json

import numpy as np
import pytest

from simplepose.skeleton import COCO
from simplepose.synthetic import poses
from simplepose.synthetic.figures import FACE_KEYPOINTS, FOREARM, SHIN, THIGH, UPPER_ARM
from simplepose.synthetic.poses import PoseFile, lift_to_3d
from simplepose.synthetic.scenes import draw_scene

KEYPOINT_INDEX = {name: row for row, name in enumerate(COCO.annotated)}
BODY_KEYPOINTS = slice(5, None)


def label_figure(figure, size=150.0, x=200.0, y=300.0):
    """(17, 3) keypoints in pixels, as an annotator labels the figure."""
    joints, shows = figure.coco_keypoints()
    keypoints = np.column_stack([joints[:, :2] * size + (x, y), np.full(17, 2.0)])
    keypoints[~shows] = 0
    return keypoints


def figures(count, start=0):
    return [poses.sample_figure(np.random.default_rng(seed)) for seed in range(start, start + count)]


@pytest.fixture
def pose_file(tmp_path):
    """write(keypoints) -> the path of an .npz file."""

    def write(keypoints, **more):
        path = tmp_path / "poses.npz"
        np.savez(path, keypoints=keypoints, **more)
        return path

    return write


def test_limbs_keep_their_lengths_and_knees_bend_backward():
    lengths = {("shoulder", "elbow"): UPPER_ARM, ("elbow", "wrist"): FOREARM, ("hip", "knee"): THIGH}
    lengths["knee", "ankle"] = SHIN
    for seed in range(200):
        figure = poses.sample_figure(np.random.default_rng(seed))
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


def test_left_and_right_are_consistent():
    """The left of a person who faces the viewer is the image's right; from behind it is the image's left."""
    for seed in range(200):
        figure = poses.sample_figure(np.random.default_rng(seed))
        assert np.linalg.det(figure.trunk) == pytest.approx(1, abs=0.1)
        assert np.linalg.det(figure.head_axes) == pytest.approx(1)
        if figure.trunk[1, 1] < -0.7 and abs(figure.trunk[2, 2]) > 0.5:
            left_to_right = figure.joints["left_shoulder"][0] - figure.joints["right_shoulder"][0]
            assert (left_to_right > 0) == (figure.trunk[2, 2] < 0)
        joints, _ = figure.coco_keypoints()
        ears = joints[KEYPOINT_INDEX["left_ear"]] - joints[KEYPOINT_INDEX["right_ear"]]
        assert (
            ears @ (joints[KEYPOINT_INDEX["left_shoulder"]] - joints[KEYPOINT_INDEX["right_shoulder"]])
            > -1e-3
        )


def test_a_lifted_pose_projects_to_its_labeled_joints():
    for seed, figure in enumerate(figures(100)):
        keypoints = label_figure(figure)
        joints, _ = lift_to_3d(keypoints).coco_keypoints()
        middle = keypoints[[KEYPOINT_INDEX["left_hip"], KEYPOINT_INDEX["right_hip"]], :2].mean(0)
        fitted, *_ = np.linalg.lstsq(
            joints[BODY_KEYPOINTS, :2].reshape(-1, 1),
            (keypoints[BODY_KEYPOINTS, :2] - middle).ravel(),
            rcond=None,
        )
        again = joints[:, :2] * fitted + middle
        assert np.allclose(again[BODY_KEYPOINTS], keypoints[BODY_KEYPOINTS, :2], atol=1e-6), seed


def test_the_head_of_a_lifted_pose_has_the_labeled_direction():
    distances, same_side = [], []
    for figure in figures(100):
        keypoints = label_figure(figure)
        if not (keypoints[:5, 2] > 0).any():
            continue
        lifted = lift_to_3d(keypoints)
        _, shows = lifted.coco_keypoints()
        size = figure.head_size / lifted.head_size
        distances.append(
            np.abs(label_figure(lifted, 150.0)[:5] - keypoints[:5])[keypoints[:5, 2] > 0].max() / 150
        )
        same_side.append((shows[:5] == (keypoints[:5, 2] > 0)).mean())
        assert 0.4 < size < 2.5
    assert np.median(distances) < 0.03
    assert np.mean(same_side) > 0.9


def test_an_unlabeled_face_looks_away_and_unlabeled_limbs_are_straight():
    figure = next(f for f in figures(200) if f.trunk[1, 1] < -0.95 and f.trunk[2, 2] < -0.95)
    keypoints = label_figure(figure)
    keypoints[:5] = 0
    for name in ("left_elbow", "left_wrist", "right_ankle"):
        keypoints[KEYPOINT_INDEX[name]] = 0
    lifted = lift_to_3d(keypoints)
    assert lifted.head_axes[2, 2] > 0.9
    assert not lifted.coco_keypoints()[1][
        [KEYPOINT_INDEX["nose"], KEYPOINT_INDEX["left_eye"], KEYPOINT_INDEX["right_eye"]]
    ].any()
    arm = lifted.joints["left_wrist"] - lifted.joints["left_shoulder"]
    assert np.linalg.norm(arm) == pytest.approx(UPPER_ARM + FOREARM)
    assert arm[1] > 0.95 * (UPPER_ARM + FOREARM)
    assert lifted.joints["right_ankle"][1] > lifted.joints["right_knee"][1]


def test_mirrored_labels_give_the_mirrored_figure():
    for figure in figures(40):
        keypoints = label_figure(figure)
        mirrored = keypoints[COCO.annotated_flip] * (-1, 1, 1)
        joints, _ = lift_to_3d(keypoints).coco_keypoints()
        again, _ = lift_to_3d(mirrored).coco_keypoints()
        back = again[COCO.annotated_flip] * (-1, 1, 1)
        assert np.allclose(back[BODY_KEYPOINTS, :2], joints[BODY_KEYPOINTS, :2], atol=1e-9)


def test_people_are_drawn_in_the_poses_of_a_file(pose_file):
    figure = next(
        f for f in figures(300) if f.trunk[2, 2] < -0.9 and f.coco_keypoints()[1].all() and not f.seated
    )
    given = label_figure(figure)
    source = PoseFile(pose_file(given[None]))
    for seed in range(12):
        drawn = draw_scene(np.random.default_rng(seed), (400, 400), 1, figure=source).keypoints[0]
        if (drawn[BODY_KEYPOINTS, 2] > 0).all():
            break
    choices = []
    for pose in (given, given[COCO.annotated_flip] * (-1, 1, 1)):
        a, b = (k[BODY_KEYPOINTS, :2] - k[BODY_KEYPOINTS, :2].mean(0) for k in (pose, drawn))
        choices.append(np.abs(a * ((a * b).sum() / (a * a).sum()) - b).max() / np.ptp(b[:, 1]))
    assert min(choices) < 1e-3


def test_json_and_npz_files_give_the_same_poses(tmp_path, pose_file):
    keypoints = np.array([label_figure(figure) for figure in figures(6)]).round(2)
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


def test_incomplete_and_tiny_poses_are_skipped(pose_file):
    keypoints = np.array([label_figure(figure) for figure in figures(5)])
    keypoints[0, KEYPOINT_INDEX["left_hip"]] = 0
    keypoints[1, :, :2] = 7  # all joints at one position
    keypoints[2, KEYPOINT_INDEX["nose"], 0] = np.nan
    assert np.array_equal(PoseFile(pose_file(keypoints)).keypoints, keypoints[3:])
    with pytest.raises(ValueError, match="no pose with both shoulders and hips"):
        PoseFile(pose_file(keypoints[:3]))


@pytest.mark.parametrize("pose", ["one position except for the trunk", "outside the image", "huge", "tiny"])
def test_extreme_poses_are_drawn_without_errors(pose_file, pose):
    keypoints = label_figure(figures(1)[0])
    if pose == "one position except for the trunk":
        keypoints[:5, :2] = keypoints[KEYPOINT_INDEX["left_shoulder"], :2]
        keypoints[7:11, :2] = keypoints[KEYPOINT_INDEX["left_shoulder"], :2]
    keypoints[:, :2] *= {"huge": 1e5, "tiny": 0.1}.get(pose, 1)
    keypoints[:, :2] -= 5e4 if pose == "outside the image" else 0
    source = PoseFile(pose_file(keypoints[None]))
    for seed in range(5):
        scene = draw_scene(np.random.default_rng(seed), (120, 90), 2, figure=source)
        assert np.isfinite(scene.keypoints).all()


def test_files_of_another_format_are_rejected(tmp_path, pose_file):
    with pytest.raises(FileNotFoundError, match=r"missing\.npz"):
        PoseFile(tmp_path / "missing.npz")
    with pytest.raises(FileNotFoundError, match=r"missing\.json"):
        PoseFile(tmp_path / "missing.json")
    with pytest.raises(ValueError, match=r"\(P, 17, 3\)|`keypoints`"):
        PoseFile(pose_file(np.zeros((3, 18, 3))))
    with pytest.raises(ValueError, match=r"not an \.npz file of numbers"):
        PoseFile(pose_file(np.array([{}, {}])))
    cut = pose_file(np.zeros((3, 17, 3)))
    cut.write_bytes(cut.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"not an \.npz file of numbers"):
        PoseFile(cut)
    bad = {"images": [], "annotations": [{"image_id": 1, "keypoints": [1, 2, 3]}]}
    (tmp_path / "bad.json").write_text(json.dumps(bad))
    with pytest.raises(ValueError, match="expected 51 keypoint values"):
        PoseFile(tmp_path / "bad.json")


def test_face_keypoints_are_in_coco_order():
    assert tuple(FACE_KEYPOINTS) == COCO.annotated[:5]
