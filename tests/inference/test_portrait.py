"""The embedded network on a photograph: the portrait that ships with matplotlib."""

from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pytest

import simplepose
from simplepose.skeleton import COCO
from simplepose.synthetic.demo_images import PORTRAIT_PATH

SIZE_HW = (600, 512)
SHOULDERS = {"left_shoulder": (462, 408), "right_shoulder": (77, 410)}
FACE = {"nose": (268, 237), "left_eye": (303, 187), "right_eye": (221, 189)}
"""x, y in pixels, annotated by hand. Left and right are the person's: her left is on the image's right."""


@pytest.fixture(scope="module")
def people():
    path = Path(matplotlib.get_data_path(), PORTRAIT_PATH)
    if not path.is_file():
        pytest.skip(f"matplotlib is installed without its sample image {path}")
    image = cv2.imread(str(path))
    assert image.shape == (*SIZE_HW, 3)
    return simplepose.load("imhn_mobile")(image)


def test_exactly_one_person_is_found(people):
    assert len(people) == 1


@pytest.mark.parametrize(
    ("name", "xy", "tolerance"),
    [
        *((name, xy, 0.05) for name, xy in SHOULDERS.items()),
        *((name, xy, 0.04) for name, xy in FACE.items()),
    ],
)
def test_a_keypoint_is_in_its_place(people, name, xy, tolerance):
    """The tolerance is a share of the image's width."""
    number = COCO.annotated.index(name)
    assert people.found[0, number]
    distance = np.hypot(*(people.keypoints[0, number, :2] - xy))
    assert distance <= tolerance * SIZE_HW[1]
