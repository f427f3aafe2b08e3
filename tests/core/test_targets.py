"""Targets: equal to the published maps and to a slow implementation."""

import math

import numpy as np
import pytest
import torch
from fake_device import DEVICE, FakeDevice

from simplepose import targets
from simplepose.config import TargetSettings
from simplepose.skeleton import COCO

PUBLISHED = TargetSettings()


def draw(joints, size=(32, 48), mask=None, settings=PUBLISHED):
    mask = torch.zeros(len(joints), *size) if mask is None else mask
    return targets.draw(torch.as_tensor(joints, dtype=torch.float32), mask, COCO, settings).numpy()


def sample_joints(rng, batch=2, persons=3, size=(32, 48)):
    joints = np.zeros((batch, persons, 18, 3), np.float32)
    joints[..., 0] = rng.uniform(-20, 4 * size[1] + 20, (batch, persons, 18))
    joints[..., 1] = rng.uniform(-20, 4 * size[0] + 20, (batch, persons, 18))
    joints[..., 2] = rng.integers(0, 3, (batch, persons, 18))
    joints[joints[..., 2] == 0] = 0
    return joints


def draw_slowly(joints, size):
    """Draw the maps of one sample cell by cell."""

    def pixel(k):
        return 4 * k + 1.5

    keypoints, limbs = np.zeros((18, *size)), np.zeros((30, *size))
    counts = np.zeros((30, *size))
    reach = math.ceil(math.sqrt(-2 * 81 * math.log(0.015)) / 4)
    for person in joints:
        for row, column in np.ndindex(*size):
            x, y = pixel(column), pixel(row)
            for j, (jx, jy, v) in enumerate(person):
                if v > 0 and abs(column - round(jx / 4)) <= reach and abs(row - round(jy / 4)) <= reach:
                    value = math.exp(-((x - jx) ** 2 + (y - jy) ** 2) / (2 * 81))
                    keypoints[j, row, column] = max(keypoints[j, row, column], value)
            for k, (a, b) in enumerate(COCO.limb_ends):
                (ax, ay, av), (bx, by, bv) = person[a].tolist(), person[b].tolist()
                if av <= 0 or bv <= 0 or (ax, ay) == (bx, by):
                    continue
                if not round((min(ax, bx) - 4) / 4) <= column <= round((max(ax, bx) + 4) / 4):
                    continue
                if not round((min(ay, by) - 4) / 4) <= row <= round((max(ay, by) + 4) / 4):
                    continue
                across = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / math.hypot(bx - ax, by - ay)
                value = math.exp(-(across**2) / (2 * 49))
                limbs[k, row, column] += value if value > 0.015 else 0.01
                counts[k, row, column] += 1
    return np.concatenate([limbs / np.maximum(counts, 1), keypoints])


def test_maps_equal_the_published_maps(shared):
    with np.load(shared / "reference/targets.npz") as expected:
        for name in {key.split("_")[0] for key in expected.files}:
            joints = expected[f"{name}_joints18"].copy()
            joints[..., 2] = joints[..., 2] < 2
            maps = draw(joints[None], (128, 128))[0]
            assert np.abs(maps - expected[f"{name}_maps"]).max() < 1e-4


def test_maps_equal_the_slow_implementation(rng):
    joints = sample_joints(rng, batch=2, persons=2, size=(14, 22))
    maps = draw(joints, (14, 22))
    for sample, found in zip(joints, maps, strict=True):
        assert np.abs(found[:48] - draw_slowly(sample, (14, 22))).max() < 1e-5
        assert np.array_equal(found[49], found[30:48].max(0))


def test_samples_of_a_batch_are_independent(rng):
    joints = sample_joints(rng, batch=3)
    batched = draw(joints)
    separate = np.concatenate([draw(sample[None]) for sample in joints])
    assert np.allclose(batched, separate, atol=1e-6)


def test_padding_people_do_not_change_the_maps(rng):
    joints = sample_joints(rng)
    padded = np.concatenate([joints, np.zeros_like(joints)], 1)
    assert np.array_equal(draw(joints), draw(padded))


@pytest.mark.parametrize("persons", [0, 2])
def test_no_people_give_empty_maps(persons):
    maps = draw(np.zeros((2, persons, 18, 3)))
    assert maps.shape == (2, 50, 32, 48)
    assert not maps.any()


def test_joints_far_outside_are_not_drawn():
    joints = np.zeros((1, 1, 18, 3))
    joints[...] = (-900, 5000, 2)
    assert not draw(joints).any()


def test_maps_of_one_cell():
    joints = np.zeros((1, 1, 18, 3))
    joints[0, 0, :2] = [(1.5, 1.5, 2), (300, 1.5, 2)]
    maps = draw(joints, (1, 1))
    assert maps.shape == (1, 50, 1, 1)
    assert maps[0, 30, 0, 0] == 1


def test_person_mask_is_eroded():
    mask = torch.zeros(1, 32, 48)
    mask[0, 10:20, 5:9] = 1
    eroded = draw(np.zeros((1, 0, 18, 3)), mask=mask)[0, COCO.person_mask_channel]
    assert eroded.sum() == 8 * 2
    assert eroded[11:19, 6:8].all()
    whole = draw(np.zeros((1, 0, 18, 3)), mask=torch.ones(1, 32, 48))[0, COCO.person_mask_channel]
    assert whole.all()


def test_mirrored_joints_give_mirrored_maps(rng):
    joints = sample_joints(rng)
    joints[..., :2] = np.floor(joints[..., :2]) + 0.25  # avoids rounding ties, which mirroring would reverse
    mirrored = joints[:, :, COCO.joint_flip].copy()
    mirrored[..., 0] = np.where(mirrored[..., 2] > 0, 48 * 4 - 1 - mirrored[..., 0], 0)
    settings = TargetSettings(limb_floor=0.0, threshold=1e-6)
    plain, other = draw(joints, settings=settings), draw(mirrored, settings=settings)
    inner = np.s_[:, 30:48]
    assert np.allclose(other[inner][:, COCO.joint_flip, :, ::-1], plain[inner], atol=1e-5)


def test_without_limb_floor_cells_far_from_the_limb_are_empty(rng):
    joints = sample_joints(rng)
    floored, plain = draw(joints), draw(joints, settings=TargetSettings(limb_floor=0.0))
    assert ((floored[:, :30] > 0) > (plain[:, :30] > 0)).any()
    assert plain[:, :30][plain[:, :30] > 0].min() > 0.01


@pytest.mark.parametrize("persons", [0, 3])
def test_drawing_on_a_gpu_does_not_synchronize(rng, persons):
    joints, mask = torch.as_tensor(sample_joints(rng, persons=persons)), torch.rand(2, 32, 48)
    with FakeDevice() as device:
        device_mask = mask.to(DEVICE)
        device.synchronizations.clear()
        found = targets.draw(joints, device_mask, COCO, PUBLISHED)
    assert device.synchronizations == []
    assert device.copied_bytes == []
    assert torch.equal(found.cpu_tensor, targets.draw(joints, mask, COCO, PUBLISHED))
