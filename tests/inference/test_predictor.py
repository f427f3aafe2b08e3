"""The predictor: people in pixels of the image, for images of any size and all ways to call it."""

import os
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
import runs
import synthetic_maps
import torch
from repo_paths import CONFIGS
from stick_body import upright
from torch import nn

import simplepose
from simplepose import config, geometry
from simplepose.config import InferenceSettings
from simplepose.inference import predictor as predictor_module
from simplepose.inference.heatmaps import Maps, MultiScaleNetwork
from simplepose.inference.predictor import Predictor
from simplepose.inference.preprocess import PADDING_VALUE, preprocess
from simplepose.models import IMHN, checkpoints
from simplepose.models.backends import Backend
from simplepose.models.checkpoints import Model
from simplepose.skeleton import COCO


def brightness_network(images):
    """Replace the network: each map is the image's brightness, averaged over each cell."""
    gray = images.float().mean(3)[:, None] / 255
    return nn.functional.avg_pool2d(gray, 4).expand(-1, COCO.channels, -1, -1)


def one_person_network(images):
    """Replace the network: it finds one person in the center of the region brighter than the padding."""
    return torch.from_numpy(np.stack([_draw_person_maps(image) for image in images.float().mean(3).numpy()]))


def _draw_person_maps(image):
    ys, xs = np.nonzero(image > 0.75 * 255)
    size_hw, corner = (np.ptp(ys) + 1, np.ptp(xs) + 1), (xs.min(), ys.min())
    joints = np.column_stack([centered_body(size_hw) + corner, np.full(17, 2)])
    return synthetic_maps.draw_maps(joints[None], image.shape)


def centered_body(size_hw):
    """Return the x, y of a body in the center of an image of this size: (17, 2)."""
    center = (np.array(size_hw[::-1]) - 1) / 2
    return 0.9 * min(size_hw[0], 2 * size_hw[1]) * (upright() + np.array([0, 0.05])) + center


def build_maps_function(network=brightness_network, **settings):
    """Return a function from an image to the network's maps."""
    settings = InferenceSettings(**{"height": 128, **settings})
    network_maps = MultiScaleNetwork(network, COCO, settings, 4, torch.device("cpu"))

    def maps(image):
        model_input = preprocess(image, settings)
        return Maps(network_maps([model_input])[0].numpy(), model_input.to_image)

    return maps


@pytest.fixture(scope="module")
def predictor():
    torch.manual_seed(0)
    settings = config.load(CONFIGS / "smoke.yaml")
    network = IMHN.from_settings(settings.model, COCO.channels).eval()
    with torch.no_grad():  # wide weights, so that maps are far from flat
        for parameter in network.parameters():
            parameter.mul_(100 if parameter.ndim > 1 else 1)
    return Predictor(Model(network, settings, COCO))


def random_image(rng, height, width):
    coarse = rng.integers(0, 256, (max(2, height // 20), max(2, width // 20), 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 300), (300, 1), (97, 203), (240, 320), (12000, 200), (200, 12000)]
)
def test_people_are_found_in_images_of_any_size(size, monkeypatch):
    backend = Backend(one_person_network, "torch", "fp32")
    monkeypatch.setattr(predictor_module, "build_backend", lambda *_, **__: backend)
    predictor = Predictor(Model(None, config.load(CONFIGS / "smoke.yaml"), COCO))
    image = np.full((*size, 3), 255, np.uint8)
    people = predictor(image)
    assert people.found.shape == (1, 17)
    assert people.found.all()
    cell_xy = 4 * np.diag(predictor.maps(image).to_image)
    assert (np.abs(people.keypoints[0, :, :2] - centered_body(size)) < cell_xy / 2).all()


@pytest.mark.parametrize("scales", [(1.0,), (0.5,), (2.0,), (0.5, 1.0, 2.0)])
@pytest.mark.parametrize("size", [(250, 333), (128, 128), (61, 700)])
def test_position_in_the_maps_converts_to_the_pixel_in_the_image(size, scales, rng):
    compute_maps = build_maps_function(scales=scales)
    base_pixel, background = size[0] / 128, (PADDING_VALUE + 3) / 255
    for _ in range(5):
        x, y = rng.uniform(0.3, 0.7, 2) * (size[1], size[0])
        ys, xs = np.mgrid[: size[0], : size[1]]
        spread = 8 * base_pixel
        image = PADDING_VALUE + (255 - PADDING_VALUE) * np.exp(
            -((xs - x) ** 2 + (ys - y) ** 2) / (2 * spread**2)
        )
        maps = compute_maps(np.repeat(image[..., None], 3, 2).round().astype(np.uint8))
        values = np.maximum(maps.values[0] - background, 0) ** 2  # smooth at its border
        rows, columns = np.mgrid[: values.shape[0], : values.shape[1]]
        cell = np.array([(columns * values).sum(), (rows * values).sum()]) / values.sum()
        found = geometry.apply_to_points(maps.to_image, 4 * cell + 1.5)
        assert np.abs(found - (x, y)).max() < 0.1 * base_pixel


def test_maps_do_not_include_the_padding(rng):
    maps = build_maps_function(flip=False)(np.zeros((100, 130, 3), np.uint8))
    assert maps.values.shape == (50, 32, -(-round(130 * 1.28) // 4))
    assert maps.values[:, :, :-2].max() < 1e-3


def test_flip_averaging_is_symmetric(predictor, rng):
    image = random_image(rng, 128, 192)  # already has the network's size
    mirrored = np.ascontiguousarray(image[:, ::-1])
    plain, other = predictor.maps(image).values, predictor.maps(mirrored).values
    assert np.abs(plain - other[COCO.channel_flip][:, :, ::-1]).max() < 1e-3 * np.abs(plain).max()
    without_flip = replace(predictor.settings, inference=replace(predictor.settings.inference, flip=False))
    single = Predictor(Model(predictor.network, without_flip, COCO)).maps(image).values
    assert np.abs(single - plain).max() > 1e-2 * np.abs(plain).max()


def test_no_size_exceeds_the_limits():
    sizes = []

    def recording_network(images):
        sizes.append(tuple(images.shape[1:3]))
        return brightness_network(images)

    compute_maps = build_maps_function(
        recording_network, height=640, max_height=256, max_width=384, scales=(0.5, 2.0)
    )
    compute_maps(np.zeros((10, 1000, 3), np.uint8))
    compute_maps(np.zeros((1000, 10, 3), np.uint8))
    assert all(height <= 256 and width <= 384 for height, width in sizes)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4), np.uint8), r"uint8 \(4, 4\)"),
        (np.zeros((4, 4, 4), np.uint8), r"\(4, 4, 4\)"),
        (np.zeros((4, 4, 3), np.float32), "float32"),
        (np.zeros((0, 4, 3), np.uint8), "at least 1 x 1"),
        ([[1, 2, 3]], "list"),
        (None, "NoneType"),
    ],
)
def test_invalid_images_are_rejected(predictor, image, message):
    with pytest.raises(ValueError, match=message):
        predictor(image)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_close_to_full_precision(predictor, rng, precision):
    image = random_image(rng, 128, 192)
    half = Predictor(Model(predictor.network, predictor.settings, COCO), "cpu", precision)
    plain = predictor.maps(image).values
    assert np.abs(half.maps(image).values - plain).max() < 0.1 * np.abs(plain).max()
    assert predictor.network.stem.conv.conv.weight.dtype == torch.float32


def test_a_saved_and_loaded_model_computes_the_same_maps(predictor, rng, tmp_path):
    path = tmp_path / "model.safetensors"
    checkpoints.save_safetensors(path, Model(predictor.network, predictor.settings, COCO))
    loaded, image = simplepose.load(path), random_image(rng, 90, 130)
    assert np.array_equal(loaded.maps(image).values, predictor.maps(image).values)
    assert loaded.settings == predictor.settings
    other = simplepose.load(path, settings_overrides=["inference.height=64"])
    assert other.maps(image).values.shape[1] == 16
    for override in ("model.stacks=3", "train.epochs=3", "skeleton=other"):
        with pytest.raises(ValueError, match=f"settings of {override[:5]}.* cannot be overridden; inference"):
            simplepose.load(path, settings_overrides=[override])
    with pytest.raises(ValueError, match=r"grouping.stride: expected targets.stride, which is 4, got 2"):
        simplepose.load(path, settings_overrides=["grouping.stride=2"])


def test_overrides_as_a_string_are_rejected():
    with pytest.raises(ValueError, match=r"settings: expected a list, .* \['inference.flip=false'\]"):
        simplepose.load("imhn_mobile", settings_overrides="inference.flip=false")


def test_unknown_models_and_precisions_are_rejected():
    with pytest.raises(FileNotFoundError, match="imhn_mobile"):
        simplepose.load("imhn_huge")
    with pytest.raises(ValueError, match="fp32, bf16, fp16"):
        simplepose.load("imhn_mobile", precision="int4")


def test_error_for_a_replaced_model_names_its_successor(tmp_path, monkeypatch):
    for load in (simplepose.load, predictor_module.find_model):
        with pytest.raises(FileNotFoundError, match=r"model 'imhn_tiny' was replaced by 'imhn_mobile'"):
            load("imhn_tiny")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "imhn_tiny").touch()  # an existing file has priority
    assert predictor_module.find_model("imhn_tiny").samefile(tmp_path / "imhn_tiny")


def test_every_successor_ships():
    for name, successor in predictor_module.REPLACED_MODELS.items():
        assert not (predictor_module.ASSETS / f"{name}.safetensors").exists()
        assert predictor_module.find_model(successor).is_file()


def test_predictor_network_keeps_all_its_heads(predictor):
    outputs = predictor.network(torch.zeros(1, 3, 64, 64))
    assert [len(stack) for stack in outputs] == [5, 5]
    assert all(parameter.dtype == torch.float32 for parameter in predictor.network.parameters())


FORK = """
import multiprocessing, sys
import numpy as np
import simplepose

def predict(queue, load):
    try:
        own = simplepose.load("imhn_mobile", runtime=sys.argv[1]) if load else predictor
        queue.put(len(own(image)))
    except RuntimeError as error:
        queue.put(str(error))

image = np.zeros((64, 64, 3), np.uint8)
predictor = simplepose.load("imhn_mobile", runtime=sys.argv[1])
predictor(image)
context = multiprocessing.get_context("fork")
for load in (False, True):
    queue = context.Queue()
    process = context.Process(target=predict, args=(queue, load))
    process.start()
    print(queue.get(timeout=60))
    process.join()
print(len(predictor(image)))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_process_forked_after_a_prediction_is_refused_and_its_parent_continues():
    lines = runs.run_to_end([sys.executable, "-c", FORK, "torch"]).splitlines()
    refusal = "expected a process with threads of its own, got one that was forked after a network ran"
    assert [line.startswith(refusal) for line in lines[:2]] == [True, True], lines
    assert lines[2] == "0"
