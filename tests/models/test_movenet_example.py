"""The example with MoveNet's own decoder: planted people are found, and its results can be evaluated."""

import importlib.util
import json
import math

import numpy as np
import pytest
import tfjs_models
import torch
from repo_paths import ROOT
from synthetic_coco import write_synthetic_coco

from simplepose.cli import evaluate, run_command
from simplepose.models.encoders import SMOOTH_CHANNELS

SCRIPT = ROOT / "examples/movenet.py"
HIDDEN = 96


@pytest.fixture(scope="module")
def movenet():
    spec = importlib.util.spec_from_file_location("movenet_example", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def plant_maps(centers, boxes, keypoints, height, width):
    """Build maps of people, in cells (y, x); heatmaps have 0.9 at each keypoint, and 0.01 elsewhere."""
    logit = {value: math.log(value / (1 - value)) for value in (0.01, 0.8, 0.9)}
    channels = {"center_0": 1, "kpt_heatmap_0": 17}
    maps = {name: torch.full((1, count, height, width), logit[0.01]) for name, count in channels.items()}
    channels = {"box_scale_0": 2, "box_offset_0": 2, "kpt_regress_0": 34, "kpt_offset_0": 34}
    maps |= {name: torch.zeros(1, count, height, width) for name, count in channels.items()}
    for (y, x), box, points in zip(centers, boxes, keypoints, strict=True):
        maps["center_0"][0, 0, y, x] = logit[0.8]
        maps["box_scale_0"][0, :, y, x] = torch.tensor(box)
        cells = points.floor().long()
        maps["kpt_regress_0"][0, :, y, x] = (cells - torch.tensor([y, x])).flatten().float()
        for joint, (row, column) in enumerate(cells.tolist()):
            maps["kpt_heatmap_0"][0, joint, row, column] = logit[0.9]
            offset = points[joint] - cells[joint]
            maps["kpt_offset_0"][0, 2 * joint : 2 * joint + 2, row, column] = offset
    return maps


def test_planted_people_are_found_at_their_places(movenet):
    generator = torch.Generator().manual_seed(0)
    centers, boxes = [(14, 12), (18, 40)], [(26.0, 20.0), (20.0, 24.0)]
    keypoints = [
        torch.tensor(center) + (torch.rand(17, 2, generator=generator) - 0.5) * torch.tensor(box)
        for center, box in zip(centers, boxes, strict=True)
    ]
    people, scores = movenet.decode(plant_maps(centers, boxes, keypoints, 32, 64))
    assert scores[:2].tolist() == pytest.approx([0.72, 0.72])
    assert (scores[2:] < 0.02).all()
    order = [0, 1] if people[0, :, 0].mean() < people[1, :, 0].mean() else [1, 0]
    for person, expected in zip(people[order], keypoints, strict=True):
        assert torch.allclose(person[:, :2], 4 * expected.flip(1), atol=1e-3)
        assert person[:, 2].tolist() == pytest.approx([0.9] * 17)


def test_keypoints_lie_in_the_box_and_near_the_regressed_place(movenet):
    points = torch.full((17, 2), 10.5)
    maps = plant_maps([(10, 10)], [(12.0, 12.0)], [points], 32, 32)
    peak = maps["kpt_heatmap_0"].max()
    maps["kpt_heatmap_0"][0, 0, 10, 30] = 2 * peak  # outside of the box
    maps["kpt_heatmap_0"][0, 1, 14, 14] = peak  # as high, but farther away
    people, _ = movenet.decode(maps)
    assert torch.allclose(people[0, :2, :2], torch.full((2, 2), 42.0))


def write_movenet(folder, heads):
    """Write a MoveNet MultiPose with random weights; return the path of its JSON file."""
    rng = np.random.default_rng(0)
    constants, _ = tfjs_models.movenet(rng)
    outputs = {"center_0": 1, "box_scale_0": 2, "box_offset_0": 2}
    outputs |= {"kpt_heatmap_0": 17, "kpt_regress_0": 34, "kpt_offset_0": 34}
    for name, (separable, last) in heads.items():
        hidden = f"StatefulPartitionedCall/{name}/separable_conv2d_{separable}"
        output = f"StatefulPartitionedCall/{name}/conv2d_{last}"
        shapes = {
            f"{hidden}/separable_conv2d/ReadVariableOp": (3, 3, SMOOTH_CHANNELS[0], 1),
            f"{hidden}/separable_conv2d/ReadVariableOp_1": (1, 1, SMOOTH_CHANNELS[0], HIDDEN),
            f"{hidden}/BiasAdd/ReadVariableOp": (HIDDEN,),
            f"{output}/Conv2D/ReadVariableOp": (1, 1, HIDDEN, outputs[name]),
            f"{output}/BiasAdd/ReadVariableOp": (outputs[name],),
        }
        constants |= {key: rng.standard_normal(shape, np.float32) for key, shape in shapes.items()}
        if name == "box_scale_0":
            constants[f"{output}/BiasAdd/ReadVariableOp"] = np.full(2, 20, np.float32)
    small = np.float16(0.01)  # the maps stay finite
    floats = {key: small * array for key, array in constants.items() if array.dtype == np.float16}
    return tfjs_models.write(folder, {**constants, **floats})


def test_results_of_the_script_can_be_evaluated(movenet, tmp_path):
    model = write_movenet(tmp_path, movenet.HEADS)
    annotations, images = write_synthetic_coco(tmp_path / "drawn", num_images=2)
    results = tmp_path / "movenet.json"
    options = ["--annotations", str(annotations), "--images", str(images)]
    movenet.main([str(model), *options, "--output", str(results), "--side", "64"])
    assert 0 < len(json.loads(results.read_text())) <= 2 * movenet.MAX_PEOPLE
    output = tmp_path / "evaluation"
    assert run_command(evaluate.main, [*options, "--results", str(results), "--output", str(output)]) == 0
    assert (output / "report.html").exists()


def test_a_movenet_for_one_person_is_refused(movenet, tmp_path):
    constants, _ = tfjs_models.movenet(np.random.default_rng(0))
    with pytest.raises(ValueError, match="expected MoveNet MultiPose"):
        movenet.MoveNet(tfjs_models.write(tmp_path, constants))
