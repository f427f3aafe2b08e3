"""Affine maps: points and pictures agree, and the inverse undoes."""

import cv2
import numpy as np
import pytest

from simplepose import geometry


def random_matrix(rng):
    return geometry.compose(
        geometry.translation(*rng.uniform(-30, 30, 2)),
        geometry.rotation(rng.uniform(-180, 180)),
        geometry.scaling(*rng.uniform(0.5, 2, 2) * rng.choice([-1, 1], 2)),
        geometry.translation(*rng.uniform(-30, 30, 2)),
    )


def test_the_inverse_undoes(rng):
    for _ in range(20):
        matrix, points = random_matrix(rng), rng.uniform(-100, 100, (7, 5, 2))
        back = geometry.apply_to_points(geometry.inverse(matrix), geometry.apply_to_points(matrix, points))
        assert np.allclose(back, points)


def test_compose_applies_the_first_first():
    matrix = geometry.compose(geometry.translation(1, 0), geometry.scaling(2, 3))
    assert np.allclose(geometry.apply_to_points(matrix, np.array([1.0, 1.0])), [4, 3])


@pytest.mark.parametrize("target", [(60, 90), (11, 200), (1, 1)])
def test_resizing_agrees_with_opencv(target):
    """A horizontal and a vertical ramp, resized, hold at each pixel where that pixel came from."""
    height, width = 40, 30
    ramps = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32)
    resized = cv2.resize(ramps, target[::-1], interpolation=cv2.INTER_LINEAR)
    back = geometry.inverse(geometry.resizing((height, width), target))
    grid = np.stack(np.meshgrid(np.arange(target[1]), np.arange(target[0])), -1)
    expected = np.clip(geometry.apply_to_points(back, grid), 0, (width - 1, height - 1))
    assert np.allclose(resized, expected, atol=1e-3)


def test_a_white_pixel_goes_where_its_point_goes(rng):
    for _ in range(20):
        matrix, point = random_matrix(rng), rng.integers(20, 60, 2)
        to_centre = geometry.translation(*(100.0 - geometry.apply_to_points(matrix, point)))
        matrix = geometry.compose(matrix, to_centre)
        image = np.zeros((80, 80), np.float32)
        image[point[1], point[0]] = 255
        warped = geometry.apply_to_image(matrix, image, (200, 201), 0)
        ys, xs = np.mgrid[:200, :201]
        centre = np.array([(xs * warped).sum(), (ys * warped).sum()]) / warped.sum()
        assert np.abs(centre - 100).max() < 0.75


def test_singular_matrices_have_no_inverse():
    with pytest.raises(np.linalg.LinAlgError):
        geometry.inverse(geometry.scaling(0, 1))


@pytest.mark.parametrize(
    ("size", "padded"), [((1, 1), (64, 64)), ((64, 65), (64, 128)), ((384, 500), (384, 512))]
)
def test_padding(size, padded):
    assert geometry.padded_size(size, 64) == padded


@pytest.mark.parametrize("seed", range(40))
def test_what_is_seen_is_all_that_a_warp_needs(seed):
    """Whatever lies beyond it may change: the warped picture stays."""
    rng = np.random.default_rng(seed)
    size, source = rng.integers(1, 60, 2), rng.integers(1, 200, 2)
    matrix = geometry.compose(
        geometry.translation(*-rng.uniform(-40, 240, 2)),
        geometry.rotation(rng.uniform(-180, 180)),
        geometry.scaling(rng.choice([-1, 1]) * rng.uniform(0.2, 4), rng.uniform(0.2, 4)),
        geometry.translation(*rng.uniform(0, 60, 2)),
    )
    image = rng.integers(0, 255, (*source, 3), dtype=np.uint8)
    rows, columns = geometry.seen(matrix, tuple(source), tuple(size))
    assert image[rows, columns].size
    part = np.zeros_like(image)
    part[rows, columns] = image[rows, columns]
    whole = geometry.apply_to_image(matrix, image, tuple(map(int, size)), (9, 9, 9))
    inside = geometry.apply_to_image(matrix, part, tuple(map(int, size)), (9, 9, 9))
    assert np.array_equal(whole, inside)
    onto = geometry.compose(geometry.translation(columns.start, rows.start), matrix)
    moved = geometry.apply_to_image(onto, image[rows, columns], tuple(map(int, size)), (9, 9, 9))
    assert np.abs(whole.astype(int) - moved).max() <= 2
