"""Detectors: files, torchvision's networks and bottom-up networks give boxes in image pixels."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import simplepose
from simplepose.config import TopDownSettings
from simplepose.frames import Frame
from simplepose.inference import detectors
from simplepose.inference.detectors import (
    BottomUpDetector,
    Detections,
    FileDetector,
    find_detector_file,
    open_detector,
)
from simplepose.inference.predictor import find_model
from simplepose.synthetic.scenes import draw_scene

SETTINGS = TopDownSettings()
CPU = torch.device("cpu")


def write(path, entries):
    path.write_text(entries if isinstance(entries, str) else json.dumps(entries))
    return path


def entry(image_id=7, bbox=(10, 20, 30, 40), score=0.9, **other):
    return {"image_id": image_id, "category_id": 1, "bbox": list(bbox), "score": score, **other}


def frame(name, image=None):
    return Frame(0, name, np.zeros((50, 60, 3), np.uint8) if image is None else image)


@pytest.fixture(scope="module")
def scene():
    return draw_scene(np.random.default_rng(3), (240, 320), 3).image


@pytest.fixture(scope="module")
def bottom_up():
    return simplepose.load("imhn_mobile", settings_overrides=["inference.height=192"], runtime="torch")


@pytest.mark.parametrize("name", ["000000000007.jpg", "7.png", "x.jpg"])
def test_file_detections_are_found_by_id_name_and_number(tmp_path, name):
    detector = FileDetector(write(tmp_path / "d.json", [entry(), entry("x.jpg"), entry(8)]))
    found = detector.preprocess_frame(frame(name))
    assert found.boxes_xyxy.tolist() == [[9.5, 19.5, 39.5, 59.5]]
    detector.image_ids = {"y.jpg": 8}
    assert len(detector.preprocess_frame(frame("y.jpg")).scores) == 1


def test_an_image_without_detections_has_no_people_and_is_logged_once(tmp_path, caplog):
    detector = FileDetector(write(tmp_path / "d.json", [entry()]))
    for _ in range(2):
        assert len(detector.preprocess_frame(frame("other.jpg")).scores) == 0
    assert [record.message.partition(": ")[2] for record in caplog.records] == [
        "no detections of image other.jpg, and perhaps of others"
    ]


def test_detections_of_other_categories_are_left_out(tmp_path):
    path = write(tmp_path / "d.json", [entry(category_id=18), entry(score=0.3)])
    assert detectors.read_detections(path)["7"].scores.tolist() == [0.3]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "invalid or truncated json"),
        ({"a": 1}, "expected a list of detections, got dict"),
        ([entry(), 3], "detection 1: expected an object"),
        ([{"bbox": [1, 2, 3, 4], "score": 1}], "detection 0: expected an object with an image_id"),
        ([entry(bbox=[1, 2, 3])], "detection 0 of image 7: expected bbox as 4 finite numbers"),
        ([entry(bbox=[1, 2, "3", 4])], "detection 0 of image 7"),
        ([entry(score=None)], "detection 0 of image 7"),
        (json.dumps([entry(score=float("nan"))]), "detection 0 of image 7"),
    ],
)
def test_malformed_files_are_refused_by_entry(tmp_path, content, message):
    path = write(tmp_path / "d.json", content)
    with pytest.raises(ValueError, match=message) as error:
        detectors.read_detections(path)
    assert str(error.value).startswith(str(path))


def test_missing_and_special_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        FileDetector(tmp_path / "absent.json")
    with pytest.raises(ValueError, match="expected a regular file, got a folder"):
        FileDetector(tmp_path)


def test_select_keeps_the_best():
    found = Detections(np.arange(12.0).reshape(3, 4), np.array([0.5, 0.01, 0.9]))
    assert found.select(SETTINGS).scores.tolist() == [0.9, 0.5]
    assert found.select(TopDownSettings(max_people=1)).boxes_xyxy.tolist() == [[8, 9, 10, 11]]
    assert len(found.select(TopDownSettings(min_box_score=1)).scores) == 0


def test_boxes_of_a_bottom_up_network_contain_its_keypoints(bottom_up, scene):
    detector = BottomUpDetector(bottom_up, margin=0.1)
    model_input = detector.preprocess_frame(frame("a", scene))
    (output,) = detector.infer([model_input])
    found, people = detector.detect(output, model_input), bottom_up(scene)
    assert len(people) >= 1
    assert np.array_equal(found.scores, people.scores)
    sides = (people.boxes_xyxy[:, 2:] - people.boxes_xyxy[:, :2]).max(1)
    for margin in (found.boxes_xyxy - people.boxes_xyxy) * (-1, -1, 1, 1):
        assert margin == pytest.approx(np.full(4, margin[0]), rel=1e-3)
    assert (people.boxes_xyxy[:, 0] - found.boxes_xyxy[:, 0]) == pytest.approx(0.1 * sides, rel=1e-3)


def test_names_of_torchvision_networks_need_weights(bottom_up):
    with pytest.raises(ValueError, match=r"expected its weights, fcos_resnet50_fpn:FILE.pth, or"):
        open_detector("fcos_resnet50_fpn", lambda name: bottom_up, CPU, SETTINGS)


def test_the_file_of_a_detector_is_its_network_its_weights_or_its_detections(monkeypatch, tmp_path):
    assert find_detector_file("imhn_mobile") == find_model("imhn_mobile")
    assert find_detector_file("a/Boxes.JSON") == Path("a/Boxes.JSON")
    assert find_detector_file("ssd300_vgg16:a/w.pth") == Path("a/w.pth")
    pytest.importorskip("torchvision.models", reason="torchvision is not installed")
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    downloaded = tmp_path / "checkpoints/ssd300_vgg16_coco-b556d3b4.pth"
    assert find_detector_file("ssd300_vgg16:download") == downloaded


@pytest.mark.slow
def test_a_torchvision_network_with_weights_from_a_file(tmp_path, scene):
    """With random weights: boxes lie in the image, only people are kept, and equal torchvision's own."""
    models = pytest.importorskip("torchvision.models", reason="torchvision is not installed")
    torch.manual_seed(0)
    name = "ssdlite320_mobilenet_v3_large"
    network = models.get_model(name, weights=None, weights_backbone=None, num_classes=91).eval()
    torch.save(network.state_dict(), tmp_path / "w.pth")
    detector = open_detector(f"{name}:{tmp_path / 'w.pth'}", lambda name: None, CPU, SETTINGS)
    model_input = detector.preprocess_frame(frame("a", scene))
    (output,) = detector.infer([model_input])
    found = detector.detect(output, model_input)
    rgb = torch.from_numpy(cv2.cvtColor(scene, cv2.COLOR_BGR2RGB)).permute(2, 0, 1) / 255
    with torch.inference_mode():
        expected = network([rgb])[0]
    is_person = expected["labels"] == 1
    assert found.boxes_xyxy + 0.5 == pytest.approx(expected["boxes"][is_person].numpy(), abs=1e-3)
    assert found.scores == pytest.approx(expected["scores"][is_person].numpy())
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other.pth: expected the weights of SSD") as error:
        open_detector(f"{name}:{tmp_path / 'other.pth'}", lambda name: None, CPU, SETTINGS)
    assert "\n" not in str(error.value)
