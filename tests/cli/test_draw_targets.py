"""The command `draw-targets`: every mask, joint and map is drawn at its position."""

import cv2
import numpy as np
import pytest
from repo_paths import CONFIGS

from simplepose.cli import draw_targets, run_command
from simplepose.data.hdf5.reader import SampleFile
from simplepose.skeleton import COCO
from simplepose.visualize import maps
from simplepose.visualize.drawing import person_color

GRAY = np.full((96, 128, 3), 100, np.uint8)
NOSE = COCO.joints.index("nose")


def people(*places, v=2.0):
    """Joints (P, J, 3) of people who have only a nose, at these x, y."""
    joints = np.zeros((len(places), len(COCO.joints), 3), np.float32)
    for person, place in enumerate(places):
        joints[person, NOSE] = *place, v
    return joints


def row(joints=None, mask_miss=None, person_mask=None, target=None):
    """The tiles of a sample that is empty except for the arguments."""
    tiles = maps.draw_sample(
        GRAY,
        np.full((24, 32), 255, np.uint8) if mask_miss is None else mask_miss,
        np.zeros((24, 32), np.uint8) if person_mask is None else person_mask,
        people() if joints is None else joints,
        np.zeros((COCO.channels, 24, 32), np.float32) if target is None else target,
        stride=4,
    )
    return list(tiles.values())


def test_an_empty_sample_shows_only_the_image():
    sample, joints, masks, limbs, keypoints = row()
    for tile in (sample, masks, limbs, keypoints):
        assert np.array_equal(tile, GRAY)
    assert len(np.unique(joints)) == 1


@pytest.mark.parametrize("v", [1, 2])
def test_a_joint_is_drawn_at_its_position_and_white_if_hidden(v):
    tile = row(people((40, 30), (90, 60), v=v))[1]
    for person, (x, y) in enumerate(((40, 30), (90, 60))):
        assert tuple(tile[y, x]) == ((255, 255, 255) if v == 1 else person_color(person))
        around = tile[y - 3 : y + 4, x - 3 : x + 4].astype(int) - person_color(person)
        assert np.abs(around).max(2).min() < 40
    ys, xs = np.nonzero((tile != tile[0, 0]).any(2))
    assert (np.minimum(np.hypot(xs - 40, ys - 30), np.hypot(xs - 90, ys - 60)) < 5).all()


def test_a_bone_to_a_hidden_joint_is_dotted():
    keypoints = np.zeros((1, 17, 3))
    shoulder, elbow = (COCO.annotated.index(name) for name in ("left_shoulder", "left_elbow"))
    keypoints[0, [shoulder, elbow]] = (20, 50, 2), (110, 50, 2)
    drawn = []
    for v in (2, 1):
        keypoints[0, elbow, 2] = v
        tile = maps.draw_joints(GRAY, keypoints)
        drawn.append((tile[50, 25:105] != tile[0, 0]).any(1))
    assert drawn[0].all()
    assert 0.3 < drawn[1].mean() < 0.8


def test_unlabeled_distant_and_nan_joints_are_not_drawn():
    joints = people((40, 30), (1e9, 5), (np.nan, 5))
    joints[0, NOSE, 2] = 0
    assert len(np.unique(row(joints)[1])) == 1


def test_masks_are_tinted_at_their_positions():
    mask_miss, person_mask = np.full((24, 32), 255, np.uint8), np.zeros((24, 32), np.uint8)
    mask_miss[2, 3] = 0
    person_mask[10:12, 20] = 255
    tile = row(mask_miss=mask_miss, person_mask=person_mask)[2].astype(int)
    expected = np.zeros((96, 128), bool)
    expected[8:12, 12:16] = expected[40:48, 80:84] = True
    assert np.array_equal((tile != 100).any(2), expected)
    assert tile[9, 13, 2] > tile[9, 13, 1]
    assert tile[44, 81, 1] > tile[44, 81, 2]


def test_limb_and_keypoint_maps_are_drawn_over_their_cells():
    target = np.zeros((COCO.channels, 24, 32), np.float32)
    target[3, 5, 6] = target[COCO.keypoint_channels.start + 2, 18, 25] = 1
    _, _, _, limbs, keypoints = row(target=target)
    for tile, (y, x) in ((limbs, (5, 6)), (keypoints, (18, 25))):
        ys, xs = np.nonzero((tile != GRAY).any(2))
        assert (ys.mean(), xs.mean()) == pytest.approx((4 * y + 1.5, 4 * x + 1.5))


def run(samples_file, output, *more):
    args = ["--config", str(CONFIGS / "smoke.yaml"), "--samples", str(samples_file), "--output", str(output)]
    return run_command(draw_targets.main, [*args, *more])


def test_a_sheet_has_a_row_for_each_sample(samples_file, tmp_path, capsys):
    sizes = ("--set", "augment.size=[64,128]")
    assert run(samples_file, tmp_path / "a.png", "--count", "3", "--height", "80", *sizes) == 0
    assert f"3 of {len(SampleFile(samples_file))}" in capsys.readouterr().out
    assert cv2.imread(str(tmp_path / "a.png")).shape == (3 * 80 + 2 * 4, 5 * 160 + 4 * 4, 3)
    assert run(samples_file, tmp_path / "b.png", "--count", "1000", "--height", "80", *sizes) == 0
    rows = len(SampleFile(samples_file))
    assert cv2.imread(str(tmp_path / "b.png")).shape[0] == rows * 80 + (rows - 1) * 4


def test_a_sheet_is_reproducible_and_differs_between_epochs(samples_file, tmp_path):
    sheets = []
    for number, more in enumerate(((), (), ("--epoch", "1"), ("--plain",))):
        path = tmp_path / f"{number}.png"
        assert run(samples_file, path, "--height", "64", "--count", "2", *more) == 0
        sheets.append(path.read_bytes())
    assert sheets[0] == sheets[1]
    assert len(set(sheets)) == 3


def test_invalid_arguments_are_reported(samples_file, tmp_path, capsys):
    assert run(samples_file, tmp_path / "a.txt") == 2
    assert "expected a name that ends in .png" in capsys.readouterr().err
    assert run(tmp_path / "no.h5", tmp_path / "a.png") == 2
    assert "no.h5" in capsys.readouterr().err
    assert run(samples_file, tmp_path / "nowhere/a.png") == 2
    assert "nowhere" in capsys.readouterr().err
