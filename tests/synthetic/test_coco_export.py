"""Synthetic people as a dataset on disk: prepared, read, trained and evaluated as they were drawn."""

import json

import numpy as np
import pytest

from simplepose.cli import draw_people, evaluate, prepare_coco, run_command, train
from simplepose.cli import main as command
from simplepose.config import AugmentSettings
from simplepose.data import coco
from simplepose.data.coco import segmentation_mask
from simplepose.data.coco_images import prepare_image
from simplepose.data.hdf5.reader import SampleFile
from simplepose.data.record import UnusableImageError
from simplepose.data.transforms import augment
from simplepose.skeleton import COCO
from simplepose.synthetic import coco_export
from simplepose.synthetic.scenes import Scene, draw_scene

# Difference of a keypoint's coordinate after a round trip through JSON, pixels.
MAX_ROUNDING_ERROR_PX = 0.5 * 10**-coco_export.KEYPOINT_DECIMALS + 1e-4


@pytest.fixture(scope="module")
def scenes():
    sizes_hw = ((256, 256), (240, 400), (300, 180), (256, 256), (64, 64))
    return [
        draw_scene(np.random.default_rng(seed), size_hw, people)
        for seed, (size_hw, people) in enumerate(zip(sizes_hw, (5, 6, 2, 0, 12), strict=True))
    ]


@pytest.fixture(scope="module")
def written(scenes, tmp_path_factory):
    """The JSON file of the scenes, and the folder of their images."""
    folder = tmp_path_factory.mktemp("drawn")
    return coco_export.write_coco(folder, scenes), folder / coco_export.IMAGES_FOLDER


def run(verb, *args):
    return run_command(verb.main, [str(arg) for arg in args])


def test_json_annotations_match_the_scenes(scenes, written):
    images = coco.read_annotations(written[0])
    assert [(p.height, p.width) for p in images] == [scene.instance_map.shape for scene in scenes]
    for image, scene in zip(images, scenes, strict=True):
        visible_people = np.flatnonzero(scene.masks.any((1, 2)))
        assert len(image.persons) == len(visible_people)
        for person, annotation in zip(visible_people, image.persons, strict=True):
            mask = segmentation_mask(annotation, image.height, image.width)
            assert np.array_equal(mask, scene.masks[person])
            assert annotation["area"] == mask.sum()
            ys, xs = np.nonzero(mask)
            assert annotation["bbox"] == [xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1]
            keypoints = np.reshape(annotation["keypoints"], (17, 3))
            assert np.abs(keypoints - scene.keypoints[person]).max() <= MAX_ROUNDING_ERROR_PX
            assert annotation["num_keypoints"] == (scene.keypoints[person, :, 2] > 0).sum()
    numbers = [person["id"] for image in images for person in image.persons]
    assert numbers == list(range(1, len(numbers) + 1))


def test_prepared_samples_equal_the_records_of_the_scenes(scenes, written, tmp_path):
    samples = tmp_path / "drawn.h5"
    assert run(prepare_coco, "--annotations", written[0], "--images", written[1], "--output", samples) == 0
    expected = [
        record
        for number, scene in enumerate(scenes, 1)
        for record in coco_export.build_records(scene, number)
    ]
    file = SampleFile(samples)
    assert len(file) == len(expected) >= 5
    for expected_record, actual_record in zip(
        expected, (file[index] for index in range(len(file))), strict=True
    ):
        assert actual_record.image_id == expected_record.image_id
        assert (actual_record.center_xy, actual_record.height) == (
            expected_record.center_xy,
            expected_record.height,
        )
        assert np.array_equal(actual_record.mask_all, expected_record.mask_all)
        assert np.array_equal(actual_record.mask_miss, expected_record.mask_miss)
        assert actual_record.keypoints.shape == expected_record.keypoints.shape
        assert np.abs(actual_record.keypoints - expected_record.keypoints).max() <= MAX_ROUNDING_ERROR_PX
        assert np.abs(actual_record.image.astype(int) - expected_record.image).mean() < 6  # JPEG


def test_records_of_scenes_can_be_augmented(scenes):
    settings = AugmentSettings(size=(128, 192))
    for record in coco_export.build_records(scenes[0]):
        parameters = augment.sample_params(np.random.default_rng(0), settings)
        sample = augment.apply(record, parameters, settings, COCO, stride=4)
        assert sample.image.shape == (128, 192, 3)
        assert sample.person_mask.shape == (32, 48)
        assert sample.joints.shape == (len(record.keypoints), len(COCO.joints), 3)


def test_people_without_labeled_keypoints_are_masked_out(scenes):
    """Their pixels are 0 in mask_miss, like people without labels in COCO."""
    scene = scenes[0]
    keypoints = scene.keypoints.copy()
    keypoints[0] = 0
    changed = Scene(scene.image, keypoints, scene.instance_map)
    for record in coco_export.build_records(changed):
        assert np.array_equal(record.mask_miss == 0, scene.masks[0])
        assert len(record.keypoints) == (keypoints[..., 2] > 0).any(1).sum()


def test_a_scene_without_people_gives_an_image_and_no_sample(scenes, written):
    assert coco_export.build_records(scenes[3]) == []
    assert coco_export.build_annotations(scenes[3], 1, 1) == []
    image = coco.read_annotations(written[0])[3]
    assert prepare_image(image, coco.parse_persons(image, 17), [written[1]]) is None


def test_an_interrupted_run_leaves_no_json_with_foreign_images(scenes, tmp_path):
    coco_export.write_coco(tmp_path, scenes[:2])

    def killed():
        yield scenes[4]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        coco_export.write_coco(tmp_path, killed())
    assert [path.name for path in tmp_path.iterdir()] == [coco_export.IMAGES_FOLDER]


def test_the_command_is_deterministic_and_a_larger_count_extends_the_same_images(tmp_path):
    for name, count in (("a", 3), ("b", 3), ("c", 4)):
        args = ("--count", count, "--people", 1, 4, "--size", 96, 64, "--output", tmp_path / name)
        assert run(draw_people, *args) == 0
    read = [
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.j*")}
        for name in "abc"
    ]
    assert len(read[0]) == 4
    assert read[0] == read[1]
    images = [path for path in read[0] if path.suffix == ".jpg"]
    assert all(read[2][path] == read[0][path] for path in images)
    assert len({read[0][path] for path in images}) == 3
    content = json.loads((tmp_path / "a/person_keypoints.json").read_text())
    assert {(image["height"], image["width"]) for image in content["images"]} == {(96, 64)}


def test_the_command_accepts_poses_backgrounds_and_a_seed(written, tmp_path):
    given = ("--poses", written[0], "--backgrounds", written[1])
    for name, more in (("plain", ()), ("given", given), ("seed", ("--seed", 1))):
        args = ["draw-people", "--count", "1", "--people", "2", "--size", "64", "64", *more]
        assert command([*map(str, args), "--output", str(tmp_path / name)]) == 0
    images = {path.read_bytes() for path in tmp_path.glob("*/images/*.jpg")}
    assert len(images) == 3


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--people", "4", "2"), "a minimum and a maximum"),
        (("--people", "1", "2", "3"), "a minimum and a maximum"),
        (("--poses", "no.npz"), "no.npz"),
        (("--backgrounds", "nowhere"), "nowhere"),
    ],
)
def test_invalid_arguments_print_one_line_and_exit_with_status_2(args, message, tmp_path, capsys):
    assert run(draw_people, "--count", 1, "--output", tmp_path / "out", *args) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert message in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    "args", [("--count", "0"), ("--size", "0", "5"), ("--people", "-1"), ("--people", "x")]
)
def test_invalid_numbers_are_rejected(args, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        draw_people.main(["--count", "1", "--output", str(tmp_path / "out"), *args])
    assert "expected an integer >= " in capsys.readouterr().err


def test_a_missing_image_is_reported_as_a_dataset_error(written, tmp_path):
    image = coco.read_annotations(written[0])[0]
    with pytest.raises(UnusableImageError, match="image missing"):
        prepare_image(image, coco.parse_persons(image, 17), [tmp_path])


def test_draw_prepare_train_and_evaluate_work_on_synthetic_people(tmp_path):
    """draw -> prepare -> train -> evaluate."""
    assert (
        run(draw_people, "--count", 4, "--people", 4, "--size", 192, 256, "--output", tmp_path / "set") == 0
    )
    dataset_args = (
        "--annotations",
        tmp_path / "set/person_keypoints.json",
        "--images",
        tmp_path / "set/images",
    )
    assert run(prepare_coco, *dataset_args, "--output", tmp_path / "drawn.h5") == 0
    settings = ("train.batch_size=2", "train.workers=0", "augment.size=[64,64]", "inference.height=64")
    model = ("--config", "configs/smoke.yaml", "--set", *settings)
    assert run(train, *model, "--train", tmp_path / "drawn.h5", "--output", tmp_path / "run") == 0
    found = ("--model", tmp_path / "run/model.safetensors", "--output", tmp_path / "ap", "--device", "cpu")
    assert run(evaluate, *dataset_args, *found) == 0
    assert 0 <= json.loads((tmp_path / "ap/metrics.json").read_text())["AP"] <= 1
