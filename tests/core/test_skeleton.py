"""Skeleton: orders of joints, limbs and channels, and validation."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from simplepose import skeleton
from simplepose.skeleton import COCO


def test_channel_layout_is_the_published_one():
    assert (len(COCO.joints), len(COCO.limbs), COCO.channels, len(COCO.annotated)) == (18, 30, 50, 17)
    assert COCO.limb_channels == slice(0, 30)
    assert COCO.keypoint_channels == slice(30, 48)
    assert (COCO.person_mask_channel, COCO.keypoint_maximum_channel) == (48, 49)


@pytest.mark.parametrize("order", ["joint_flip", "annotated_flip", "limb_flip", "channel_flip"])
def test_flipping_twice_changes_nothing(order):
    flip = getattr(COCO, order)
    assert (flip[flip] == np.arange(len(flip))).all()
    assert (flip != np.arange(len(flip))).any()


def test_flipped_limbs_connect_flipped_joints():
    mirrored = COCO.joint_flip[COCO.limb_ends]
    assert [set(ends) for ends in COCO.limb_ends[COCO.limb_flip].tolist()] == [
        set(e) for e in mirrored.tolist()
    ]


def test_orders_agree_with_the_reference(shared, monkeypatch):
    monkeypatch.syspath_prepend(shared / "reference")
    import scenes

    assert COCO.limb_ends.T.tolist() == [scenes.LIMB_FROM, scenes.LIMB_TO]
    assert [None if i < 0 else i for i in COCO.annotated_of_joint.tolist()] == scenes.TO_COCO
    assert COCO.joint_flip.tolist() == scenes.MIRROR


def test_sigmas_agree_with_pycocotools():
    from pycocotools.cocoeval import Params

    assert np.allclose(Params("keypoints").kpt_oks_sigmas, COCO.sigmas)


def test_neck_is_the_midpoint_of_labeled_shoulders(rng):
    keypoints = rng.uniform(1, 99, (4, 17, 3)).astype(np.float32)
    keypoints[..., 2] = 2
    left, right, neck = COCO.annotated.index("left_shoulder"), COCO.annotated.index("right_shoulder"), 1
    keypoints[1, left] = 0
    keypoints[2, right, 2] = 1
    keypoints[3, :, 2] = 0
    joints = COCO.to_network(keypoints)
    assert joints.shape == (4, 18, 3)
    assert np.allclose(joints[0, neck, :2], (keypoints[0, left, :2] + keypoints[0, right, :2]) / 2)
    assert joints[:, neck, 2].tolist() == [2, 0, 1, 0]
    assert not joints[3].any()
    assert np.array_equal(COCO.to_annotated(joints)[0], keypoints[0])


def test_to_network_accepts_no_people():
    assert COCO.to_network(np.zeros((0, 17, 3))).shape == (0, 18, 3)


def test_yaml_round_trip_gives_the_same_skeleton(tmp_path):
    path = tmp_path / "body.yaml"
    path.write_text(COCO.to_yaml())
    assert skeleton.load(str(path)) == COCO
    assert skeleton.load("coco") is COCO
    with pytest.raises(
        FileNotFoundError, match=f"'cocoo': expected 'coco' or .* no file at {Path.cwd()}/cocoo"
    ):
        skeleton.load("cocoo")
    path.write_bytes(b"name: caf\xe9")
    with pytest.raises(ValueError, match=r"body\.yaml: expected a UTF-8 text file"):
        skeleton.load(str(path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sigmas": [0.1]}, "expected 17 positive sigmas"),
        ({"limbs": [["nose", "nose"]]}, "two different joints"),
        ({"limbs": [["nose", "tail"]]}, "tail"),
        ({"limbs": [["nose", "left_eye"]]}, "has no mirrored limb"),
        (
            {"limbs": [["neck", "nose"]]},
            "all joints; not connected to nose: .'left_ankle', 'left_ear', ",
        ),
        ({"mirrored": [["left_ear", "right_ear"], ["left_ear", "left_eye"]]}, "in more than one pair"),
        ({"joints": ["nose"]}, "annotated or a midpoint"),
        ({"midpoints": []}, "neck"),
        ({"color": "red"}, "color"),
        ({"limbs": 3}, "limbs: expected a list"),
    ],
)
def test_inconsistent_skeleton_is_rejected(tmp_path, change, message):
    path = tmp_path / "body.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(COCO.to_yaml()) | change))
    with pytest.raises(ValueError, match=message) as error:
        skeleton.load(str(path))
    assert str(path) in str(error.value)


def test_missing_keys_are_reported(tmp_path):
    path = tmp_path / "body.yaml"
    path.write_text("name: half\njoints: [nose]\n")
    with pytest.raises(ValueError, match="missing keys: annotated, limbs, mirrored, sigmas"):
        skeleton.load(str(path))
