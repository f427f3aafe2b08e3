"""The sheet of what a network is taught: every part lies where it is taught."""

import cv2
import numpy as np
import pytest
from places import CONFIGS

from simplepose.cli import door, draw_targets
from simplepose.data.hdf5.reader import SampleFile
from simplepose.skeleton import COCO
from simplepose.visualize import maps
from simplepose.visualize.drawing import person_colour

GREY = np.full((96, 128, 3), 100, np.uint8)
NOSE = COCO.joints.index("nose")


def people(*places, v=2.0):
    """(P, J, 3): somebody's nose at each x, y."""
    joints = np.zeros((len(places), len(COCO.joints), 3), np.float32)
    for person, place in enumerate(places):
        joints[person, NOSE] = *place, v
    return joints


def row(joints=None, mask_miss=None, person_mask=None, target=None):
    """The pictures of a sample in which nothing is but what is given."""
    pictures = maps.row(
        GREY,
        np.full((24, 32), 255, np.uint8) if mask_miss is None else mask_miss,
        np.zeros((24, 32), np.uint8) if person_mask is None else person_mask,
        people() if joints is None else joints,
        np.zeros((COCO.channels, 24, 32), np.float32) if target is None else target,
        stride=4,
    )
    return list(pictures.values())


def test_nothing_taught_shows_the_picture_alone():
    sample, joints, masks, limbs, keypoints = row()
    for shown in (sample, masks, limbs, keypoints):
        assert np.array_equal(shown, GREY)
    assert len(np.unique(joints)) == 1


@pytest.mark.parametrize("v", [1, 2])
def test_a_joint_is_drawn_where_it_is_and_white_if_hidden(v):
    shown = row(people((40, 30), (90, 60), v=v))[1]
    for person, (x, y) in enumerate(((40, 30), (90, 60))):
        assert tuple(shown[y, x]) == ((255, 255, 255) if v == 1 else person_colour(person))
        around = shown[y - 3 : y + 4, x - 3 : x + 4].astype(int) - person_colour(person)
        assert np.abs(around).max(2).min() < 40
    ys, xs = np.nonzero((shown != shown[0, 0]).any(2))
    assert (np.minimum(np.hypot(xs - 40, ys - 30), np.hypot(xs - 90, ys - 60)) < 5).all()


def test_a_bone_to_a_hidden_joint_is_dotted():
    keypoints = np.zeros((1, 17, 3))
    shoulder, elbow = (COCO.annotated.index(name) for name in ("left_shoulder", "left_elbow"))
    keypoints[0, [shoulder, elbow]] = (20, 50, 2), (110, 50, 2)
    drawn = []
    for v in (2, 1):
        keypoints[0, elbow, 2] = v
        shown = maps.draw_joints(GREY, keypoints)
        drawn.append((shown[50, 25:105] != shown[0, 0]).any(1))
    assert drawn[0].all()
    assert 0.3 < drawn[1].mean() < 0.8


def test_unlabelled_and_far_and_odd_joints_are_left_out():
    joints = people((40, 30), (1e9, 5), (np.nan, 5))
    joints[0, NOSE, 2] = 0
    assert len(np.unique(row(joints)[1])) == 1


def test_masks_are_tinted_where_they_lie():
    mask_miss, person_mask = np.full((24, 32), 255, np.uint8), np.zeros((24, 32), np.uint8)
    mask_miss[2, 3] = 0
    person_mask[10:12, 20] = 255
    shown = row(mask_miss=mask_miss, person_mask=person_mask)[2].astype(int)
    expected = np.zeros((96, 128), bool)
    expected[8:12, 12:16] = expected[40:48, 80:84] = True
    assert np.array_equal((shown != 100).any(2), expected)
    assert shown[9, 13, 2] > shown[9, 13, 1]
    assert shown[44, 81, 1] > shown[44, 81, 2]


def test_maps_lie_over_their_cells_each_kind_in_its_picture():
    target = np.zeros((COCO.channels, 24, 32), np.float32)
    target[3, 5, 6] = target[COCO.keypoint_channels.start + 2, 18, 25] = 1
    _, _, _, limbs, keypoints = row(target=target)
    for shown, (y, x) in ((limbs, (5, 6)), (keypoints, (18, 25))):
        ys, xs = np.nonzero((shown != GREY).any(2))
        assert (ys.mean(), xs.mean()) == pytest.approx((4 * y + 1.5, 4 * x + 1.5))


def run(samples_file, output, *more):
    args = ["--config", str(CONFIGS / "smoke.yaml"), "--samples", str(samples_file), "--output", str(output)]
    return door(draw_targets.main, [*args, *more])


def test_a_sheet_has_a_row_for_each_sample(samples_file, tmp_path, capsys):
    sizes = ("--set", "augment.size=[64,128]")
    assert run(samples_file, tmp_path / "a.png", "--count", "3", "--height", "80", *sizes) == 0
    assert f"3 of {len(SampleFile(samples_file))}" in capsys.readouterr().out
    assert cv2.imread(str(tmp_path / "a.png")).shape == (3 * 80 + 2 * 4, 5 * 160 + 4 * 4, 3)
    assert run(samples_file, tmp_path / "b.png", "--count", "1000", "--height", "80", *sizes) == 0
    rows = len(SampleFile(samples_file))
    assert cv2.imread(str(tmp_path / "b.png")).shape[0] == rows * 80 + (rows - 1) * 4


def test_an_epoch_shows_the_same_and_another_shows_others(samples_file, tmp_path):
    sheets = []
    for number, more in enumerate(((), (), ("--epoch", "1"), ("--plain",))):
        path = tmp_path / f"{number}.png"
        assert run(samples_file, path, "--height", "64", "--count", "2", *more) == 0
        sheets.append(path.read_bytes())
    assert sheets[0] == sheets[1]
    assert len(set(sheets)) == 3


def test_mistakes_are_told(samples_file, tmp_path, capsys):
    assert run(samples_file, tmp_path / "a.txt") == 2
    assert "a name that ends in .png" in capsys.readouterr().err
    assert run(tmp_path / "no.h5", tmp_path / "a.png") == 2
    assert "no.h5" in capsys.readouterr().err
    assert run(samples_file, tmp_path / "nowhere/a.png") == 2
    assert "nowhere" in capsys.readouterr().err
