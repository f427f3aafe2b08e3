"""Affine transforms: points and images agree, and the inverse restores the input."""

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


def test_inverse_restores_points(rng):
    for _ in range(20):
        matrix, points = random_matrix(rng), rng.uniform(-100, 100, (7, 5, 2))
        back = geometry.apply_to_points(geometry.inverse(matrix), geometry.apply_to_points(matrix, points))
        assert np.allclose(back, points)


def test_compose_applies_matrices_in_order():
    matrix = geometry.compose(geometry.translation(1, 0), geometry.scaling(2, 3))
    assert np.allclose(geometry.apply_to_points(matrix, np.array([1.0, 1.0])), [4, 3])


@pytest.mark.parametrize("target", [(60, 90), (11, 200), (1, 1)])
def test_resizing_agrees_with_opencv(target):
    """Each pixel of a resized horizontal and vertical ramp has the value of its source coordinate."""
    height, width = 40, 30
    ramps = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32)
    resized = cv2.resize(ramps, target[::-1], interpolation=cv2.INTER_LINEAR)
    back = geometry.inverse(geometry.resizing((height, width), target))
    grid = np.stack(np.meshgrid(np.arange(target[1]), np.arange(target[0])), -1)
    expected = np.clip(geometry.apply_to_points(back, grid), 0, (width - 1, height - 1))
    assert np.allclose(resized, expected, atol=1e-3)


def test_white_pixel_moves_with_its_point(rng):
    for _ in range(20):
        matrix, point = random_matrix(rng), rng.integers(20, 60, 2)
        to_center = geometry.translation(*(100.0 - geometry.apply_to_points(matrix, point)))
        matrix = geometry.compose(matrix, to_center)
        image = np.zeros((80, 80), np.float32)
        image[point[1], point[0]] = 255
        warped = geometry.apply_to_image(matrix, image, (200, 201), 0)
        ys, xs = np.mgrid[:200, :201]
        center = np.array([(xs * warped).sum(), (ys * warped).sum()]) / warped.sum()
        assert np.abs(center - 100).max() < 0.75


def test_singular_matrices_have_no_inverse():
    with pytest.raises(np.linalg.LinAlgError):
        geometry.inverse(geometry.scaling(0, 1))


@pytest.mark.parametrize(
    ("size", "padded"), [((1, 1), (64, 64)), ((64, 65), (64, 128)), ((384, 500), (384, 512))]
)
def test_padded_size_rounds_up(size, padded):
    assert geometry.padded_size(size, 64) == padded


@pytest.mark.parametrize("seed", range(40))
def test_source_region_contains_all_pixels_that_a_warp_reads(seed):
    """Changes outside the region do not change the warped image."""
    rng = np.random.default_rng(seed)
    size, source = rng.integers(1, 60, 2), rng.integers(1, 200, 2)
    matrix = geometry.compose(
        geometry.translation(*-rng.uniform(-40, 240, 2)),
        geometry.rotation(rng.uniform(-180, 180)),
        geometry.scaling(rng.choice([-1, 1]) * rng.uniform(0.2, 4), rng.uniform(0.2, 4)),
        geometry.translation(*rng.uniform(0, 60, 2)),
    )
    image = rng.integers(0, 255, (*source, 3), dtype=np.uint8)
    rows, columns = geometry.source_region(matrix, tuple(source), tuple(size))
    assert image[rows, columns].size
    part = np.zeros_like(image)
    part[rows, columns] = image[rows, columns]
    full = geometry.apply_to_image(matrix, image, tuple(map(int, size)), (9, 9, 9))
    cropped = geometry.apply_to_image(matrix, part, tuple(map(int, size)), (9, 9, 9))
    assert np.array_equal(full, cropped)
    shifted = geometry.compose(geometry.translation(columns.start, rows.start), matrix)
    moved = geometry.apply_to_image(shifted, image[rows, columns], tuple(map(int, size)), (9, 9, 9))
    assert np.abs(full.astype(int) - moved).max() <= 2
