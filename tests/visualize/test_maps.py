"""Map overlays: cell positions in any coordinate space, map names, comparisons and tiles."""

import cv2
import numpy as np
import pytest
import synthetic_maps

from simplepose import geometry
from simplepose.cli.train import build_map_drawer
from simplepose.config import Settings
from simplepose.people import People
from simplepose.skeleton import COCO
from simplepose.visualize import maps


@pytest.fixture
def image(rng):
    """An image that is not square, and whose sides are not multiples of the stride."""
    return rng.integers(0, 256, (90, 61, 3), dtype=np.uint8)


def single_cell_map(row, column, size_hw=(23, 16)):
    heat = np.zeros(size_hw, np.float32)
    heat[row, column] = 1
    return heat


def center(changed):
    """Return x, y of the changed pixels' weighted mean."""
    ys, xs = np.mgrid[: changed.shape[0], : changed.shape[1]]
    return (xs * changed).sum() / changed.sum(), (ys * changed).sum() / changed.sum()


def test_zero_map_returns_an_equal_copy(image):
    overlaid = maps.overlay(image, np.zeros((23, 16)), 4)
    assert np.array_equal(overlaid, image)
    assert not np.shares_memory(overlaid, image)


@pytest.mark.parametrize("stride", [1, 2, 4, 8])
def test_heat_is_drawn_at_its_cell(stride):
    gray = np.full((23 * stride, 16 * stride, 3), 128, np.uint8)
    overlaid = maps.overlay(gray, single_cell_map(9, 5), stride)
    changed = np.abs(overlaid.astype(float) - 128).sum(2)
    offset = stride / 2 - 0.5
    assert center(changed) == (pytest.approx(5 * stride + offset), pytest.approx(9 * stride + offset))


def test_heat_is_transformed_to_the_image():
    gray = np.full((180, 122, 3), 128, np.uint8)
    to_image = geometry.resizing((90, 61), (180, 122))
    overlaid = maps.overlay(gray, single_cell_map(9, 5), 4, to_image)
    x, y = geometry.apply_to_points(to_image, np.array([5 * 4 + 1.5, 9 * 4 + 1.5]))
    changed = np.abs(overlaid.astype(float) - 128).sum(2)
    assert center(changed) == (pytest.approx(x, abs=0.01), pytest.approx(y, abs=0.01))


def test_larger_values_are_redder(image):
    gray = np.full((8, 8, 3), 128, np.uint8)
    blue, _, red = (maps.overlay(gray, np.full((8, 8), 1.0), 1)[4, 4]).astype(int)
    assert red > blue
    blue, _, red = (maps.overlay(gray, np.full((8, 8), 0.15), 1)[4, 4]).astype(int)
    assert blue > red


def test_values_out_of_range_are_clipped(image):
    unclipped = np.array([[np.nan, -np.inf, -3.0], [np.inf, 7.0, 1.0]])
    clipped = np.array([[0, 0, 0], [1, 1, 1.0]])
    small = image[:8, :12]
    assert np.array_equal(maps.overlay(small, unclipped, 4), maps.overlay(small, clipped, 4))


def test_max_over_channels():
    stacked = np.zeros((COCO.channels, 2, 3), np.float32)
    stacked[COCO.limb_channels.start, 0, 0] = 0.4
    stacked[COCO.keypoint_channels.start, 0, 0] = 0.3
    stacked[COCO.keypoint_channels.stop - 1, 1, 2] = 0.5
    expected = np.array([[0.3, 0, 0], [0, 0, 0.5]], np.float32)
    assert np.array_equal(maps.max_over_channels(stacked, COCO.keypoint_channels), expected)
    assert maps.max_over_channels(stacked, COCO.limb_channels).max() == np.float32(0.4)


def test_tile_grid_arranges_tiles_in_rows():
    tiles = [[np.full((3, 5, 3), 10 * row + column, np.uint8) for column in range(4)] for row in range(2)]
    overlaid = maps.tile_grid(tiles, gap=2)
    assert overlaid.shape == (2 * 3 + 2, 4 * 5 + 3 * 2, 3)
    assert [[int(overlaid[5 * row, 7 * column, 0]) for column in range(4)] for row in range(2)] == [
        [0, 1, 2, 3],
        [10, 11, 12, 13],
    ]
    assert (overlaid[3:5] == 128).all()


def differs_from_input(overlaid, image, row, column):
    """Return whether a tile differs from the input's tile below the title."""
    tile_h, tile_w = (overlaid.shape[0] - 4) // 2, (overlaid.shape[1] - 12) // 4
    top, left = row * (tile_h + 4), column * (tile_w + 4)
    tiles = [overlaid[y + 30 : y + tile_h, x : x + tile_w] for y, x in ((top, left), (0, 0))]
    return not np.array_equal(*tiles)


@pytest.mark.parametrize("size_hw", [(96, 64), (128, 256)])
def test_comparison_draws_each_map_in_its_tile(rng, size_hw):
    image = rng.integers(0, 256, (*size_hw, 3), dtype=np.uint8)
    empty = np.zeros((COCO.channels, size_hw[0] // 4, size_hw[1] // 4), np.float32)
    channels = (COCO.keypoint_channels.start, COCO.limb_channels.start, COCO.person_mask_channel)
    for row in (0, 1):
        for column, channel in enumerate(channels, 1):
            single = empty.copy()
            single[channel, 15, 9] = 1
            target_and_predicted = (single, empty) if row == 0 else (empty, single)
            overlaid = maps.draw_comparison(image, *target_and_predicted, People.empty(17), 4)
            assert [
                (r, c) for r in (0, 1) for c in range(4) if differs_from_input(overlaid, image, r, c)
            ] == [(row, column)]


def test_large_images_are_downscaled(image):
    large = np.zeros((1024, 512, 3), np.uint8)
    stacked = np.zeros((COCO.channels, 256, 128), np.float32)
    overlaid = maps.draw_comparison(large, stacked, stacked, People.empty(17), 4, tile_height=100)
    assert overlaid.shape == (2 * 100 + 4, 4 * 50 + 3 * 4, 3)
    tiny = maps.draw_comparison(large[:8, :4], stacked[:, :2, :1], stacked[:, :2, :1], People.empty(17), 4)
    assert tiny.shape == (20, 28, 3)


def test_comparison_draws_the_detected_people(rng):
    size = (128, 192)
    draw, image = build_map_drawer(Settings(), COCO), np.full((*size, 3), 128, np.uint8)
    predicted = np.zeros((COCO.channels, size[0] // 4, size[1] // 4))
    without_people = draw(image, predicted, predicted)
    people = synthetic_maps.draw_maps(synthetic_maps.sample_person(rng, 90, 10, 100)[None], size)
    predicted[: len(people)] = people
    with_people = draw(image, predicted, predicted)
    assert with_people.shape == without_people.shape
    assert not differs_from_input(without_people, image, 1, 0)
    assert differs_from_input(with_people, image, 1, 0)


def test_each_map_is_selected_by_its_name():
    stacked = np.zeros((COCO.channels, 2, 3), np.float32)
    stacked[:, 0, 0] = np.arange(COCO.channels)
    found = {name: maps.select_map(stacked, name)[0, 0] for name in maps.map_names()}
    assert len(found) == 3 + len(COCO.joints) + len(COCO.limbs)
    assert found["left_wrist"] == COCO.keypoint_channels.start + COCO.joints.index("left_wrist")
    assert found["neck"] == COCO.keypoint_channels.start + COCO.joints.index("neck")
    assert found["left_elbow-left_wrist"] == COCO.limbs.index(("left_elbow", "left_wrist"))
    assert maps.select_map(stacked, "left_wrist-left_elbow")[0, 0] == found["left_elbow-left_wrist"]
    assert found["limbs"] == COCO.limb_channels.stop - 1
    assert found["keypoints"] == COCO.keypoint_channels.stop - 1
    assert found["person"] == COCO.person_mask_channel


@pytest.mark.parametrize("name", ["", "tail", "left_wrist-nose", "left_wrist-", "Person"])
def test_unknown_map_name_lists_the_known_ones(name):
    with pytest.raises(ValueError, match=rf"unknown map '{name}'; .*left_wrist.*right_hip-left_hip"):
        maps.select_map(np.zeros((COCO.channels, 2, 3)), name)


def test_blend_is_the_weighted_mean_of_image_and_color(rng):
    image = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    for value in (0.1, 0.5, 1.0):
        level = np.full((1, 1), round(255 * value), np.uint8)
        color = cv2.applyColorMap(level, cv2.COLORMAP_TURBO).astype(float)
        opacity = maps.MAX_OPACITY * np.sqrt(level / 255)
        blended = maps.overlay(image, np.full((16, 16), value), 1)
        assert np.abs(blended - (image + opacity * (color - image))).max() <= 2
