"""Drawn people as a data set on disk: what was drawn is what is prepared, read, trained and judged on."""

import json

import numpy as np
import pytest

from simplepose.cli import door, draw_people, evaluate, prepare_coco, train
from simplepose.cli import main as command
from simplepose.config import AugmentSettings
from simplepose.data import coco
from simplepose.data.coco import segmentation_mask
from simplepose.data.coco_images import prepare_picture
from simplepose.data.hdf5.reader import SampleFile
from simplepose.data.record import PictureFault
from simplepose.data.transforms import augment
from simplepose.skeleton import COCO
from simplepose.synthetic import coco_export
from simplepose.synthetic.scenes import Scene, draw_scene

ROUNDED = 0.5 * 10**-coco_export.DECIMALS + 1e-4
"""Pixels that a keypoint may differ by when it comes back from a json."""


@pytest.fixture(scope="module")
def scenes():
    sizes_hw = ((256, 256), (240, 400), (300, 180), (256, 256), (64, 64))
    return [
        draw_scene(np.random.default_rng(seed), size_hw, people)
        for seed, (size_hw, people) in enumerate(zip(sizes_hw, (5, 6, 2, 0, 12), strict=True))
    ]


@pytest.fixture(scope="module")
def written(scenes, tmp_path_factory):
    """The json of the scenes, and the folder of their pictures."""
    folder = tmp_path_factory.mktemp("drawn")
    return coco_export.write_coco(folder, scenes), folder / coco_export.IMAGES


def run(verb, *args):
    return door(verb.main, [str(arg) for arg in args])


def test_the_json_tells_what_was_drawn(scenes, written):
    pictures = coco.read_annotations(written[0])
    assert [(p.height, p.width) for p in pictures] == [scene.owners.shape for scene in scenes]
    for picture, scene in zip(pictures, scenes, strict=True):
        seen = np.flatnonzero(scene.masks.any((1, 2)))
        assert len(picture.persons) == len(seen)
        for person, annotation in zip(seen, picture.persons, strict=True):
            mask = segmentation_mask(annotation, picture.height, picture.width)
            assert np.array_equal(mask, scene.masks[person])
            assert annotation["area"] == mask.sum()
            ys, xs = np.nonzero(mask)
            assert annotation["bbox"] == [xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1]
            keypoints = np.reshape(annotation["keypoints"], (17, 3))
            assert np.abs(keypoints - scene.keypoints[person]).max() <= ROUNDED
            assert annotation["num_keypoints"] == (scene.keypoints[person, :, 2] > 0).sum()
    numbers = [person["id"] for picture in pictures for person in picture.persons]
    assert numbers == list(range(1, len(numbers) + 1))


def test_prepared_samples_are_the_scenes_own_records(scenes, written, tmp_path):
    samples = tmp_path / "drawn.h5"
    assert run(prepare_coco, "--annotations", written[0], "--images", written[1], "--output", samples) == 0
    expected = [
        record for number, scene in enumerate(scenes, 1) for record in coco_export.records(scene, number)
    ]
    file = SampleFile(samples)
    assert len(file) == len(expected) >= 5
    for ours, read in zip(expected, (file[index] for index in range(len(file))), strict=True):
        assert read.image_id == ours.image_id
        assert (read.center_xy, read.height) == (ours.center_xy, ours.height)
        assert np.array_equal(read.mask_all, ours.mask_all)
        assert np.array_equal(read.mask_miss, ours.mask_miss)
        assert read.keypoints.shape == ours.keypoints.shape
        assert np.abs(read.keypoints - ours.keypoints).max() <= ROUNDED
        assert np.abs(read.image.astype(int) - ours.image).mean() < 6  # JPEG


def test_a_record_is_augmented_as_any_other(scenes):
    settings = AugmentSettings(size=(128, 192))
    for record in coco_export.records(scenes[0]):
        parameters = augment.draw(np.random.default_rng(0), settings)
        sample = augment.apply(record, parameters, settings, COCO, stride=4)
        assert sample.image.shape == (128, 192, 3)
        assert sample.person_mask.shape == (32, 48)
        assert sample.joints.shape == (len(record.keypoints), len(COCO.joints), 3)


def test_people_without_a_labelled_joint_are_not_counted_on(scenes):
    """Their pixels are 0 in mask_miss, as of people whom COCO did not label."""
    scene = scenes[0]
    keypoints = scene.keypoints.copy()
    keypoints[0] = 0
    changed = Scene(scene.image, keypoints, scene.owners)
    for record in coco_export.records(changed):
        assert np.array_equal(record.mask_miss == 0, scene.masks[0])
        assert len(record.keypoints) == (keypoints[..., 2] > 0).any(1).sum()


def test_nobody_gives_no_sample_and_a_picture_all_the_same(scenes, written):
    assert coco_export.records(scenes[3]) == []
    assert coco_export.describe(scenes[3], 1, 1) == []
    picture = coco.read_annotations(written[0])[3]
    assert prepare_picture(picture, coco.persons_of(picture, 17), [written[1]]) is None


def test_a_killed_run_leaves_no_json_beside_other_pictures(scenes, tmp_path):
    coco_export.write_coco(tmp_path, scenes[:2])

    def killed():
        yield scenes[4]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        coco_export.write_coco(tmp_path, killed())
    assert [path.name for path in tmp_path.iterdir()] == [coco_export.IMAGES]


def test_the_command_draws_the_same_again_and_more_the_same_first(tmp_path):
    for name, count in (("a", 3), ("b", 3), ("c", 4)):
        args = ("--count", count, "--people", 1, 4, "--size", 96, 64, "--output", tmp_path / name)
        assert run(draw_people, *args) == 0
    read = [
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.j*")}
        for name in "abc"
    ]
    assert len(read[0]) == 4
    assert read[0] == read[1]
    pictures = [path for path in read[0] if path.suffix == ".jpg"]
    assert all(read[2][path] == read[0][path] for path in pictures)
    assert len({read[0][path] for path in pictures}) == 3
    content = json.loads((tmp_path / "a/person_keypoints.json").read_text())
    assert {(image["height"], image["width"]) for image in content["images"]} == {(96, 64)}


def test_the_command_takes_poses_backgrounds_and_another_seed(written, tmp_path):
    given = ("--poses", written[0], "--backgrounds", written[1])
    for name, more in (("plain", ()), ("given", given), ("seed", ("--seed", 1))):
        args = ["draw-people", "--count", "1", "--people", "2", "--size", "64", "64", *more]
        assert command([*map(str, args), "--output", str(tmp_path / name)]) == 0
    pictures = {path.read_bytes() for path in tmp_path.glob("*/images/*.jpg")}
    assert len(pictures) == 3


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("--people", "4", "2"), "the least and the most"),
        (("--people", "1", "2", "3"), "the least and the most"),
        (("--poses", "no.npz"), "no.npz"),
        (("--backgrounds", "nowhere"), "nowhere"),
    ],
)
def test_a_mistake_is_one_line_and_exit_status_2(args, told, tmp_path, capsys):
    assert run(draw_people, "--count", 1, "--output", tmp_path / "out", *args) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert told in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    "args", [("--count", "0"), ("--size", "0", "5"), ("--people", "-1"), ("--people", "x")]
)
def test_odd_numbers_are_refused(args, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        draw_people.main(["--count", "1", "--output", str(tmp_path / "out"), *args])
    assert "is expected, got" in capsys.readouterr().err


def test_a_missing_picture_is_a_fault_of_the_data_set(written, tmp_path):
    picture = coco.read_annotations(written[0])[0]
    with pytest.raises(PictureFault, match="picture missing"):
        prepare_picture(picture, coco.persons_of(picture, 17), [tmp_path])


def test_the_route_works_on_drawn_people_alone(tmp_path):
    """draw -> prepare -> train -> evaluate."""
    assert (
        run(draw_people, "--count", 4, "--people", 4, "--size", 192, 256, "--output", tmp_path / "set") == 0
    )
    places = ("--annotations", tmp_path / "set/person_keypoints.json", "--images", tmp_path / "set/images")
    assert run(prepare_coco, *places, "--output", tmp_path / "drawn.h5") == 0
    settings = ("train.batch_size=2", "train.workers=0", "augment.size=[64,64]", "inference.height=64")
    model = ("--config", "configs/smoke.yaml", "--set", *settings)
    assert run(train, *model, "--train", tmp_path / "drawn.h5", "--output", tmp_path / "run") == 0
    found = ("--model", tmp_path / "run/model.safetensors", "--output", tmp_path / "ap", "--device", "cpu")
    assert run(evaluate, *places, *found) == 0
    assert 0 <= json.loads((tmp_path / "ap/metrics.json").read_text())["AP"] <= 1
