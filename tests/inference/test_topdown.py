"""Top-down prediction: detections -> people, alone, in a pipeline and by the commands."""

import json

import cv2
import numpy as np
import pytest
import torch
from test_crop_predictor import SETTINGS

import simplepose
from simplepose.cli import demo_image
from simplepose.frames import Frame
from simplepose.image_io import decode
from simplepose.inference.crops import CropPredictor
from simplepose.inference.detectors import Detections, FileDetector
from simplepose.inference.pipeline import FrameResult, Pipeline
from simplepose.inference.topdown import NOT_FOUND_AGAIN_FACTOR, TopDownPredictor, refine_poses
from simplepose.models import checkpoints
from simplepose.models.checkpoints import Model
from simplepose.skeleton import COCO
from simplepose.sources import ImageFile, ImageSource, SourceOptions
from simplepose.synthetic.demo_images import write_demo_images
from simplepose.synthetic.scenes import draw_scene

BOXES = [[30, 20, 60, 120], [150, 30, 70, 150], [31, 21, 60, 120]]  # x, y, width, height


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    network = checkpoints.build_network(SETTINGS, COCO).eval()
    torch.nn.init.normal_(network.maps.weight)
    return Model(network, SETTINGS, COCO)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three images, and detections of the first two."""
    folder = tmp_path_factory.mktemp("images")
    for number in range(3):
        image = draw_scene(np.random.default_rng(number), (200, 240), 2).image
        cv2.imwrite(str(folder / f"{number}.png"), image)
    rows = [
        {"image_id": f"{number}.png", "category_id": 1, "bbox": box, "score": 0.9 - 0.1 * index}
        for number in range(2)
        for index, box in enumerate(BOXES)
    ]
    (folder / "boxes.json").write_text(json.dumps(rows))
    return folder


@pytest.fixture
def predictor(model, folder):
    return TopDownPredictor(
        FileDetector(folder / "boxes.json"), CropPredictor(model, runtime="torch"), model.settings
    )


@pytest.fixture(scope="module")
def checkpoint(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "fastpose.safetensors"
    checkpoints.save_safetensors(path, model)
    return path


def images_of(folder):
    paths = sorted(folder.glob("*.png"))
    return [decode(path.read_bytes(), upright=False) for path in paths], paths


def predict(predictor, image, name):
    model_input = predictor.preprocess_frame(Frame(0, name, image))
    (output,) = predictor.infer([model_input])
    (people,) = predictor.find_people([predictor.crop(image, predictor.group(output, model_input))])
    return people


def test_people_of_a_pipeline_equal_those_of_single_images(predictor, folder):
    images, paths = images_of(folder)
    source = ImageSource(
        [ImageFile(path, path.name, number) for number, path in enumerate(paths)], SourceOptions()
    )
    pipeline = Pipeline(predictor)
    results = list(pipeline.run(source))
    assert [type(result) for result in results] == [FrameResult] * 3
    for result, image, path in zip(results, images, paths, strict=True):
        expected = predict(predictor, image, path.name)
        assert result.people.keypoints == pytest.approx(expected.keypoints, abs=1e-3)
        assert result.people.scores == pytest.approx(expected.scores, abs=1e-5)
    assert len(results[2].people) == 0  # an image without detections
    assert {"crop", "pose"} <= pipeline.timings.keys()
    assert pipeline.timings["pose"].count == 3


def test_two_detections_of_one_person_give_one_and_scores_fall(predictor, folder):
    images, _ = images_of(folder)
    people = predict(predictor, images[0], "0.png")
    assert 1 <= len(people) <= 3
    assert (np.diff(people.scores) <= 0).all()


def test_given_boxes_replace_the_detector_and_keep_their_order(predictor, folder):
    images, _ = images_of(folder)
    boxes = np.array([[30, 20, 90, 140], [150, 30, 220, 180], [400, 400, 500, 500], [10, 10, 10, 50]])
    people = predictor(images[0], boxes)
    assert len(people) == 4
    assert (people.scores[2:] == 0).all()  # outside of the image, without area
    for row in (0, 1):
        assert people.keypoints[row] == pytest.approx(
            predictor.crops(images[0], boxes[[row]]).keypoints[0], abs=1e-3
        )


def test_boxes_without_area_or_outside_give_no_person(predictor, folder):
    images, _ = images_of(folder)
    found = Detections(np.array([[500.0, 500, 600, 600], [10, 10, 10, 80]]), np.array([0.9, 0.8]))
    assert predictor.find_people([predictor.crop(images[0], found)])[0].keypoints.shape == (0, 17, 3)


def test_200_boxes_share_batches(predictor, folder, rng):
    images, _ = images_of(folder)
    corners = rng.uniform(0, 100, (200, 2))
    found = Detections(np.concatenate([corners, corners + 60], 1), rng.uniform(0.1, 1, 200))
    (people,) = predictor.find_people([predictor.crop(images[0], found.select(predictor.settings.topdown))])
    assert 1 <= len(people) <= predictor.settings.topdown.max_people


def test_refinement_finds_the_keypoints_of_bottom_up_people_again(checkpoint, folder):
    images, _ = images_of(folder)
    fast = ["inference.height=128"]
    refined = simplepose.load("imhn_mobile", refine=checkpoint, settings_overrides=fast, runtime="torch")
    people = simplepose.load("imhn_mobile", settings_overrides=fast, runtime="torch")(images[0])
    assert len(people) >= 1
    assert len(refined(images[0])) <= len(people)
    assert refined([images[0], images[1]])[0].keypoints == pytest.approx(
        refined(images[0]).keypoints, abs=1e-3
    )
    assert refined.settings.inference.height == 128


def poses_around(*centers, rng, size=100.0):
    """Poses (P, 17, 3) of `size` pixels, equal but for their centers."""
    pose = np.concatenate([rng.uniform(0, size, (17, 2)), np.full((17, 1), 0.5)], 1)
    pose[:2, :2] = [[0, 0], [size, size]]
    return np.stack([pose + np.array([x, y, 0]) for x, y in centers])


class TestRefinePoses:
    def test_a_person_whose_crop_gave_another_one_keeps_the_pose_of_the_detector(self, rng):
        """Of two people side by side, the crops of both give the right one."""
        poses = poses_around((0, 0), (60, 10), rng=rng)
        combined, factors = refine_poses(poses, poses[[1, 1]], 0.05)
        assert combined == pytest.approx(poses)
        assert factors == pytest.approx([NOT_FOUND_AGAIN_FACTOR, 1])

    def test_close_keypoints_become_averages_by_score_and_others_those_of_the_crop(self, rng):
        poses = poses_around((0, 0), rng=rng)
        found = poses.copy()
        found[0, :, 0] += 4
        found[0, :, 2] = 0.25
        found[0, 5, 0] += 200
        combined, factors = refine_poses(poses, found, 0.05)
        close = np.delete(np.arange(17), 5)
        assert combined[0, close, 0] == pytest.approx(poses[0, close, 0] + 4 / 3)
        assert combined[0, 5] == pytest.approx(found[0, 5])
        assert factors == pytest.approx([1])

    def test_keypoints_that_the_detector_did_not_find_change_nothing(self, rng):
        found = poses_around((0, 0), rng=rng)
        poses = found.copy()
        poses[0, 3:] = 0
        combined, factors = refine_poses(poses, found, 0.05)
        assert combined == pytest.approx(found)
        assert factors == pytest.approx([1])

    def test_no_people(self):
        combined, factors = refine_poses(np.zeros((0, 17, 3)), np.zeros((0, 17, 3)), 0.05)
        assert combined.shape == (0, 17, 3)
        assert factors.shape == (0,)


def test_fastpose_takes_the_included_network_as_detector(checkpoint, folder):
    images, _ = images_of(folder)
    predictor = simplepose.load(checkpoint, settings_overrides=["inference.height=128", "topdown.flip=false"])
    refined = simplepose.load(
        "imhn_mobile", refine=checkpoint, settings_overrides=["inference.height=128", "topdown.flip=false"]
    )
    assert predictor(images[0]).keypoints == pytest.approx(refined(images[0]).keypoints, abs=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"detector": "imhn_mobile"}, "detector: expected none, got 'imhn_mobile'; the model imhn_mobile is"),
        ({"refine": "imhn_mobile"}, "expected the network fastpose, got imhn"),
        ({"settings_overrides": ["topdown.flip=false"]}, r"settings topdown.\*: expected none"),
    ],
)
def test_arguments_that_do_not_apply_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        simplepose.load("imhn_mobile", **options)


def test_fastpose_is_not_refined(checkpoint):
    with pytest.raises(ValueError, match="refine: expected none, got 'x'"):
        simplepose.load(checkpoint, refine="x")


def test_demo_with_detections_from_a_file(checkpoint, folder, tmp_path):
    arguments = ["--model", checkpoint, "--detector", folder / "boxes.json", "--output", tmp_path / "out"]
    assert demo_image.main([str(argument) for argument in (*arguments, folder)]) == 0
    rows = json.loads((tmp_path / "out/people.json").read_text())
    assert len({row["image_id"] for row in rows}) == 2
    with pytest.raises(ValueError, match="--heatmaps: expected a bottom-up model or detector"):
        demo_image.main([str(argument) for argument in (*arguments, "--heatmaps", "nose", folder)])


def test_accurate_refines_the_included_network_with_the_included_fastpose(tmp_path):
    (portrait,) = [path for path in write_demo_images(tmp_path) if path.stem == "grace_hopper"]
    sample = cv2.imread(str(portrait))
    plain = simplepose.load("imhn_mobile", settings_overrides=["inference.scales=[1]"])(sample)
    accurate = simplepose.load("imhn_mobile", preset="accurate")
    assert isinstance(accurate, TopDownPredictor)
    people = accurate(sample)
    assert len(people.scores) == len(plain.scores) == 1
    both = (people.keypoints[0, :, 2] > 0.3) & (plain.keypoints[0, :, 2] > 0.3)
    assert both.sum() >= 5
    distance = np.linalg.norm(people.keypoints[0, both, :2] - plain.keypoints[0, both, :2], axis=1)
    assert np.median(distance) < 0.03 * max(sample.shape)
