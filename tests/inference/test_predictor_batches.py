"""Lists and arrays of images, several threads, fewer stacks and other sizes give the same people."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import simplepose
from simplepose.config import InferenceSettings
from simplepose.inference.predictor import Predictor, find_model
from simplepose.inference.preprocess import MIN_INPUT_SIZE, PADDING_VALUE, SIZE_MULTIPLE, preprocess
from simplepose.models import checkpoints
from simplepose.synthetic.demo_images import write_demo_images

FAST = ["inference.height=128", "inference.flip=false", "inference.scales=[1]"]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Load demo images of several shapes."""
    loaded = [cv2.imread(str(path)) for path in write_demo_images(tmp_path_factory.mktemp("samples"))]
    return [
        *loaded,
        *(cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE) for image in loaded[:2]),
        loaded[0][:, ::-1].copy(),
    ]


@pytest.fixture(scope="module")
def predictor():
    return simplepose.load("imhn_mobile", settings_overrides=FAST, batch=2)


def same_people(first, second):
    """Compare people; sums in another order move a joint by a thousandth of a pixel."""
    return len(first) == len(second) and np.allclose(first.keypoints, second.keypoints, atol=0.02)


def test_a_list_gives_the_people_of_each_image_in_order(predictor, images):
    results = predictor(images)
    assert len(results) == len(images)
    assert sum(map(len, results)) > 0
    assert all(map(same_people, results, map(predictor, images)))
    assert predictor([]) == []


def test_an_array_of_images_gives_the_same_as_a_list(predictor, images):
    image = cv2.resize(images[0], (160, 120))
    array = np.stack([image, image[::-1], image])
    assert all(map(same_people, predictor(array), predictor(list(array))))


def test_an_invalid_image_in_a_list_is_rejected(predictor, images):
    with pytest.raises(ValueError, match="H x W x 3 uint8"):
        predictor([images[0], images[0][..., 0]])


def test_concurrent_calls_give_the_same_people(predictor, images):
    expected = predictor(images)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(predictor, [images] * 4):
            assert all(map(same_people, found, expected))


def test_fewer_stacks_give_the_maps_of_the_last_stack_that_runs(rng):
    predictor = simplepose.load("imhn_mobile", settings_overrides=FAST, stacks=1)
    image = rng.integers(0, 256, (128, 192, 3), dtype=np.uint8)
    with torch.inference_mode():
        plain = predictor.network(torch.from_numpy(image).permute(2, 0, 1)[None] / 255)[0][0][0].numpy()
    assert np.abs(predictor.maps(image).values - plain).max() < 1e-4
    with pytest.raises(ValueError, match=r"stacks: expected 1 to 1 .*, got 2"):
        simplepose.load("imhn_mobile", stacks=2)


@pytest.mark.parametrize("size", [(480, 640), (640, 480), (1, 1), (3000, 20), (20, 3000)])
@pytest.mark.parametrize("fit", ["height", "longest"])
def test_images_are_resized_to_the_height_or_the_longest_side(size, fit):
    model_input = preprocess(np.full((*size, 3), 7, np.uint8), InferenceSettings(height=256, fit=fit))
    rows, columns = model_input.base_size
    if fit == "height":
        assert rows == 256 or columns == InferenceSettings().max_width
    else:
        assert max(rows, columns) == 256
    (padded,) = model_input.padded
    for padded_side, side in zip(padded.shape, model_input.base_size, strict=False):
        assert padded_side % SIZE_MULTIPLE == 0
        assert MIN_INPUT_SIZE <= padded_side < max(MIN_INPUT_SIZE, side) + SIZE_MULTIPLE
    assert (padded[:rows, :columns] == 7).all()
    assert (padded[rows:] == PADDING_VALUE).all()
    assert (padded[:, columns:] == PADDING_VALUE).all()


@pytest.mark.parametrize("batch", [0, -1])
def test_a_batch_below_1_is_rejected(batch):
    with pytest.raises(ValueError, match="batch: expected at least 1 image, got"):
        simplepose.load(Path("imhn_mobile"), batch=batch)


def test_an_unsupported_device_is_rejected():
    """Otherwise every single image would fail later."""
    model = checkpoints.load(find_model("imhn_mobile"), "cpu", "auto")
    with pytest.raises(ValueError, match="device: expected cpu or cuda, got 'mps'"):
        Predictor(model, "mps")
