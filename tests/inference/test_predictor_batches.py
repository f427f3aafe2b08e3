"""Many pictures at once, many threads at once, fewer stacks, other sizes: the same people."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import simplepose
from simplepose.config import InferenceSettings
from simplepose.inference.predictor import Predictor, find
from simplepose.inference.preprocess import LEAST, MULTIPLE, PADDING, framed
from simplepose.models import checkpoints
from simplepose.synthetic.demo_images import write_samples

FAST = ["inference.height=128", "inference.flip=false", "inference.scales=[1]"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Samples of several shapes."""
    read = [cv2.imread(str(path)) for path in write_samples(tmp_path_factory.mktemp("samples"))]
    return [
        *read,
        *(cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE) for image in read[:2]),
        read[0][:, ::-1].copy(),
    ]


@pytest.fixture(scope="module")
def predictor():
    return simplepose.load("imhn_mobile", settings_overrides=FAST, batch=2)


def same(first, second):
    """The same people; sums in another order move a joint by a thousandth of a pixel."""
    return len(first) == len(second) and np.allclose(first.keypoints, second.keypoints, atol=0.02)


def test_a_list_gives_what_each_gives_alone_in_its_order(predictor, pictures):
    together = predictor(pictures)
    assert len(together) == len(pictures)
    assert sum(map(len, together)) > 0
    assert all(map(same, together, map(predictor, pictures)))
    assert predictor([]) == []


def test_an_array_of_pictures_is_a_list(predictor, pictures):
    image = cv2.resize(pictures[0], (160, 120))
    array = np.stack([image, image[::-1], image])
    assert all(map(same, predictor(array), predictor(list(array))))


def test_in_a_list_what_is_no_picture_is_told(predictor, pictures):
    with pytest.raises(ValueError, match="H x W x 3 uint8"):
        predictor([pictures[0], pictures[0][..., 0]])


def test_threads_do_not_disturb_each_other(predictor, pictures):
    expected = predictor(pictures)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(predictor, [pictures] * 4):
            assert all(map(same, found, expected))


def test_fewer_stacks_find_what_that_stack_finds(rng):
    predictor = simplepose.load("imhn_mobile", settings_overrides=FAST, stacks=1)
    image = rng.integers(0, 256, (128, 192, 3), dtype=np.uint8)
    with torch.inference_mode():
        plain = predictor.network(torch.from_numpy(image).permute(2, 0, 1)[None] / 255)[0][0][0].numpy()
    assert np.abs(predictor.maps(image).values - plain).max() < 1e-4
    with pytest.raises(ValueError, match="stacks 2: 1 to 1 expected"):
        simplepose.load("imhn_mobile", stacks=2)


@pytest.mark.parametrize("size", [(480, 640), (640, 480), (1, 1), (3000, 20), (20, 3000)])
@pytest.mark.parametrize("fit", ["height", "longest"])
def test_pictures_are_fitted_by_height_or_longest_side(size, fit):
    picture = framed(np.full((*size, 3), 7, np.uint8), InferenceSettings(height=256, fit=fit))
    rows, columns = picture.frame
    if fit == "height":
        assert rows == 256 or columns == InferenceSettings().max_width
    else:
        assert max(rows, columns) == 256
    (padded,) = picture.padded
    for padded_side, side in zip(padded.shape, picture.frame, strict=False):
        assert padded_side % MULTIPLE == 0
        assert LEAST <= padded_side < max(LEAST, side) + MULTIPLE
    assert (padded[:rows, :columns] == 7).all()
    assert (padded[rows:] == PADDING).all()
    assert (padded[:, columns:] == PADDING).all()


@pytest.mark.parametrize("batch", [0, -1])
def test_a_batch_of_nothing_is_refused(batch):
    with pytest.raises(ValueError, match="at least 1 picture"):
        simplepose.load(Path("imhn_mobile"), batch=batch)


def test_a_device_that_nothing_is_brought_to_is_refused():
    """Each picture would fail there, one after the other."""
    model = checkpoints.load(find("imhn_mobile"), "cpu", "auto")
    with pytest.raises(ValueError, match="device 'mps': cpu or cuda expected"):
        Predictor(model, "mps")
