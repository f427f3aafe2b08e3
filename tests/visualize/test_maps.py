"""Maps as heat: where the cells lie, in any frame; nothing where nothing is."""

import cv2
import drawn_maps
import numpy as np
import pytest

from simplepose import geometry
from simplepose.cli.train import drawer
from simplepose.config import Settings
from simplepose.people import People
from simplepose.skeleton import COCO
from simplepose.visualize import maps


@pytest.fixture
def image(rng):
    """A picture that is not square, of no even number of cells."""
    return rng.integers(0, 256, (90, 61, 3), dtype=np.uint8)


def heat_of(row, column, size_hw=(23, 16)):
    heat = np.zeros(size_hw, np.float32)
    heat[row, column] = 1
    return heat


def centre(changed):
    """x, y of the changed pixels' weighted mean."""
    ys, xs = np.mgrid[: changed.shape[0], : changed.shape[1]]
    return (xs * changed).sum() / changed.sum(), (ys * changed).sum() / changed.sum()


def test_no_heat_changes_nothing_and_a_copy_comes_back(image):
    shown = maps.overlay(image, np.zeros((23, 16)), 4)
    assert np.array_equal(shown, image)
    assert not np.shares_memory(shown, image)


@pytest.mark.parametrize("stride", [1, 2, 4, 8])
def test_heat_lies_where_its_cell_does(stride):
    grey = np.full((23 * stride, 16 * stride, 3), 128, np.uint8)
    shown = maps.overlay(grey, heat_of(9, 5), stride)
    changed = np.abs(shown.astype(float) - 128).sum(2)
    offset = stride / 2 - 0.5
    assert centre(changed) == (pytest.approx(5 * stride + offset), pytest.approx(9 * stride + offset))


def test_heat_of_another_frame_lies_where_its_cell_does_in_the_picture():
    grey = np.full((180, 122, 3), 128, np.uint8)
    to_picture = geometry.resizing((90, 61), (180, 122))
    shown = maps.overlay(grey, heat_of(9, 5), 4, to_picture)
    x, y = geometry.apply_to_points(to_picture, np.array([5 * 4 + 1.5, 9 * 4 + 1.5]))
    changed = np.abs(shown.astype(float) - 128).sum(2)
    assert centre(changed) == (pytest.approx(x, abs=0.01), pytest.approx(y, abs=0.01))


def test_more_heat_is_redder(image):
    grey = np.full((8, 8, 3), 128, np.uint8)
    blue, _, red = (maps.overlay(grey, np.full((8, 8), 1.0), 1)[4, 4]).astype(int)
    assert red > blue
    blue, _, red = (maps.overlay(grey, np.full((8, 8), 0.15), 1)[4, 4]).astype(int)
    assert blue > red


def test_heat_beyond_its_range_is_cut(image):
    odd = np.array([[np.nan, -np.inf, -3.0], [np.inf, 7.0, 1.0]])
    cut = np.array([[0, 0, 0], [1, 1, 1.0]])
    small = image[:8, :12]
    assert np.array_equal(maps.overlay(small, odd, 4), maps.overlay(small, cut, 4))


def test_the_strongest_of_some_channels():
    stacked = np.zeros((COCO.channels, 2, 3), np.float32)
    stacked[COCO.limb_channels.start, 0, 0] = 0.4
    stacked[COCO.keypoint_channels.start, 0, 0] = 0.3
    stacked[COCO.keypoint_channels.stop - 1, 1, 2] = 0.5
    expected = np.array([[0.3, 0, 0], [0, 0, 0.5]], np.float32)
    assert np.array_equal(maps.strongest(stacked, COCO.keypoint_channels), expected)
    assert maps.strongest(stacked, COCO.limb_channels).max() == np.float32(0.4)


def test_tiles_lie_in_their_rows():
    tiles = [[np.full((3, 5, 3), 10 * row + column, np.uint8) for column in range(4)] for row in range(2)]
    shown = maps.grid(tiles, gap=2)
    assert shown.shape == (2 * 3 + 2, 4 * 5 + 3 * 2, 3)
    assert [[int(shown[5 * row, 7 * column, 0]) for column in range(4)] for row in range(2)] == [
        [0, 1, 2, 3],
        [10, 11, 12, 13],
    ]
    assert (shown[3:5] == 128).all()


def drawn_in(shown, image, row, column):
    """Whether the tile shows more than the input does, below its title."""
    tile_h, tile_w = (shown.shape[0] - 4) // 2, (shown.shape[1] - 12) // 4
    top, left = row * (tile_h + 4), column * (tile_w + 4)
    tiles = [shown[y + 30 : y + tile_h, x : x + tile_w] for y, x in ((top, left), (0, 0))]
    return not np.array_equal(*tiles)


@pytest.mark.parametrize("size_hw", [(96, 64), (128, 256)])
def test_a_comparison_shows_each_map_in_its_tile(rng, size_hw):
    image = rng.integers(0, 256, (*size_hw, 3), dtype=np.uint8)
    nothing = np.zeros((COCO.channels, size_hw[0] // 4, size_hw[1] // 4), np.float32)
    channels = (COCO.keypoint_channels.start, COCO.limb_channels.start, COCO.person_mask_channel)
    for row in (0, 1):
        for column, channel in enumerate(channels, 1):
            some = nothing.copy()
            some[channel, 15, 9] = 1
            both = (some, nothing) if row == 0 else (nothing, some)
            shown = maps.comparison(image, *both, People.nobody(17), 4)
            assert [(r, c) for r in (0, 1) for c in range(4) if drawn_in(shown, image, r, c)] == [
                (row, column)
            ]


def test_large_pictures_are_shown_small(image):
    large = np.zeros((1024, 512, 3), np.uint8)
    stacked = np.zeros((COCO.channels, 256, 128), np.float32)
    shown = maps.comparison(large, stacked, stacked, People.nobody(17), 4, tile_height=100)
    assert shown.shape == (2 * 100 + 4, 4 * 50 + 3 * 4, 3)
    tiny = maps.comparison(large[:8, :4], stacked[:, :2, :1], stacked[:, :2, :1], People.nobody(17), 4)
    assert tiny.shape == (20, 28, 3)


def test_a_training_picture_shows_the_people_that_are_found(rng):
    size = (128, 192)
    draw, image = drawer(Settings(), COCO), np.full((*size, 3), 128, np.uint8)
    found = np.zeros((COCO.channels, size[0] // 4, size[1] // 4))
    nobody = draw(image, found, found)
    people = drawn_maps.draw(drawn_maps.person(rng, 90, 10, 100)[None], size)
    found[: len(people)] = people
    somebody = draw(image, found, found)
    assert somebody.shape == nobody.shape
    assert not drawn_in(nobody, image, 1, 0)
    assert drawn_in(somebody, image, 1, 0)


def test_each_map_is_found_by_its_name():
    stacked = np.zeros((COCO.channels, 2, 3), np.float32)
    stacked[:, 0, 0] = np.arange(COCO.channels)
    found = {name: maps.named(stacked, name)[0, 0] for name in maps.names()}
    assert len(found) == 3 + len(COCO.joints) + len(COCO.limbs)
    assert found["left_wrist"] == COCO.keypoint_channels.start + COCO.joints.index("left_wrist")
    assert found["neck"] == COCO.keypoint_channels.start + COCO.joints.index("neck")
    assert found["left_elbow-left_wrist"] == COCO.limbs.index(("left_elbow", "left_wrist"))
    assert maps.named(stacked, "left_wrist-left_elbow")[0, 0] == found["left_elbow-left_wrist"]
    assert found["limbs"] == COCO.limb_channels.stop - 1
    assert found["keypoints"] == COCO.keypoint_channels.stop - 1
    assert found["person"] == COCO.person_mask_channel


@pytest.mark.parametrize("name", ["", "tail", "left_wrist-nose", "left_wrist-", "Person"])
def test_an_unknown_map_is_told_with_those_there_are(name):
    with pytest.raises(ValueError, match=rf"no map is called '{name}'; .*left_wrist.*right_hip-left_hip"):
        maps.named(np.zeros((COCO.channels, 2, 3)), name)


def test_the_mix_is_the_shares_of_picture_and_colour(rng):
    image = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    for value in (0.1, 0.5, 1.0):
        level = np.full((1, 1), round(255 * value), np.uint8)
        colour = cv2.applyColorMap(level, cv2.COLORMAP_TURBO).astype(float)
        share = maps.OPACITY * np.sqrt(level / 255)
        mixed = maps.overlay(image, np.full((16, 16), value), 1)
        assert np.abs(mixed - (image + share * (colour - image))).max() <= 2
