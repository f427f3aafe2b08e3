"""Skeletons in configs/skeletons: complete, consistent with their datasets, and usable for grouping."""

from __future__ import annotations

import numpy as np
import pytest
import slow_grouping
from random_people import draw_target_maps, oks, sample_people, sample_person
from repo_paths import CONFIGS

from simplepose import skeleton
from simplepose.grouping import Settings, group
from simplepose.skeleton import COCO, Skeleton

FILES = sorted((CONFIGS / "skeletons").glob("*.yaml"))
SKELETONS = {path.stem: skeleton.load(str(path)) for path in FILES}
WHOLEBODY = SKELETONS["wholebody"]
every_skeleton = pytest.mark.parametrize("body", SKELETONS.values(), ids=list(SKELETONS))


def sizes_and_counts(body: Skeleton) -> list[tuple[tuple[int, int], int]]:
    """Return image sizes and the number of people in each; whole bodies need larger images."""
    if body is WHOLEBODY:
        return [((640, 1024), 3), ((768, 512), 4)]
    return [((384, 512), 4), ((512, 320), 7), ((256, 640), 1), ((256, 640), 12)]


@pytest.mark.parametrize(("name", "joints"), [("crowdpose", 14), ("mpii", 16), ("wholebody", 133)])
def test_skeleton_has_the_name_and_joint_count_of_its_dataset(name: str, joints: int) -> None:
    body = SKELETONS[name]
    assert (body.name, len(body.annotated), len(set(body.annotated))) == (name, joints, joints)


@every_skeleton
def test_shared_joints_have_the_sigmas_of_coco(body: Skeleton) -> None:
    sigmas = dict(zip(body.annotated, body.sigmas, strict=True))
    shared = [name for name in COCO.annotated if name in sigmas]
    assert len(shared) >= 12
    assert [sigmas[name] for name in shared] == [COCO.sigmas[COCO.annotated.index(name)] for name in shared]


def test_wholebody_starts_with_coco_and_flips_each_part_onto_itself() -> None:
    assert WHOLEBODY.annotated[:17] == COCO.annotated
    flip = WHOLEBODY.annotated_flip
    np.testing.assert_array_equal(flip[:17], COCO.annotated_flip)
    np.testing.assert_array_equal(flip[91:112], np.arange(112, 133))  # hands are swapped
    for start, end in ((17, 23), (23, 40), (40, 50), (50, 54), (54, 59), (59, 71), (71, 83), (83, 91)):
        assert set(flip[start:end]) == set(range(start, end))  # feet; contour, brows, nose, eyes, mouth
    np.testing.assert_array_equal(flip[23:40], np.arange(39, 22, -1))


@every_skeleton
def test_a_single_missing_joint_does_not_disconnect_a_person(body: Skeleton) -> None:
    for missing in range(-1, len(body.joints)):  # -1: none is missing
        limbs = body.limb_ends[(body.limb_ends != missing).all(1)]
        reached = {int(missing == 0)}
        while more := {int(b) for a, b in (*limbs, *limbs[:, ::-1]) if a in reached} - reached:
            reached |= more
        assert reached | {missing} == set(range(len(body.joints))) | {missing}


@every_skeleton
def test_left_and_right_sides_are_symmetric(body: Skeleton) -> None:
    sided = {name for name in body.annotated if name.startswith(("left_", "right_"))}
    assert sided <= {name for pair in body.mirrored for name in pair}
    bones = {frozenset(bone) for bone in body.bone_ends.tolist()}
    assert {frozenset(body.annotated_flip[list(bone)].tolist()) for bone in bones} == bones
    drawn = {body.annotated[end] for bone in bones for end in bone}
    assert set(body.annotated) - drawn <= {"left_hand_root", "right_hand_root"}


@every_skeleton
def test_grouping_recovers_the_drawn_people(body: Skeleton) -> None:
    for seed, (size, count) in enumerate(sizes_and_counts(body)):
        truth = sample_people(np.random.default_rng(seed), size, count, body)
        found = group(draw_target_maps(truth, size, body), body)
        owners = [int(np.argmax([oks(t, f, body) for f in found.keypoints])) for t in truth]
        assert sorted(owners) == list(range(len(found))), f"scene {seed}: {len(truth)} drawn"
        np.testing.assert_array_equal(found.found[owners], truth[..., 2] > 0)
        assert min(oks(t, found.keypoints[i], body) for t, i in zip(truth, owners, strict=True)) >= 0.99


@every_skeleton
def test_flipped_maps_give_flipped_people(body: Skeleton) -> None:
    size, count = sizes_and_counts(body)[0]
    maps = draw_target_maps(sample_people(np.random.default_rng(1), size, count, body), size, body)
    plain = group(maps, body)
    mirrored = group(np.ascontiguousarray(maps[body.channel_flip, :, ::-1]), body)
    assert len(plain) == count
    restored = mirrored.flipped(size[1], body.annotated_flip)
    order, other = (np.argsort(people.keypoints[:, 0, 0]) for people in (plain, restored))
    np.testing.assert_allclose(restored.keypoints[other], plain.keypoints[order], atol=1e-3)


@every_skeleton
def test_grouping_equals_the_slow_implementation(body: Skeleton) -> None:
    size = (256, 320)
    rng = np.random.default_rng(2)
    maps = draw_target_maps(sample_people(rng, size, 2, body), size, body)
    maps += rng.normal(0, 0.03, maps.shape).astype(np.float32)
    slow_grouping.assert_same_people(group(maps, body), slow_grouping.group(maps, body, Settings()))


def test_hand_whose_root_is_on_the_wrist_stays_with_its_arm() -> None:
    size = (640, 512)
    person = sample_person(np.random.default_rng(0), 500, 256, 340, WHOLEBODY)
    for side in ("left", "right"):
        root, wrist = (WHOLEBODY.annotated.index(f"{side}_{name}") for name in ("hand_root", "wrist"))
        person[root] = person[wrist]
    found = group(draw_target_maps(person[None], size, WHOLEBODY), WHOLEBODY)
    assert len(found) == 1
    np.testing.assert_array_equal(found.found[0], person[:, 2] > 0)
