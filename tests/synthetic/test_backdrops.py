"""Backgrounds of synthetic scenes."""

import cv2
import numpy as np
import pytest

from simplepose.synthetic.backdrops import BackgroundFolder, draw_backdrop
from simplepose.synthetic.scenes import draw_scene


@pytest.fixture
def folder(tmp_path):
    """A folder with two images, one in a subfolder, and a text file; each pixel's color is its x and y."""
    ys, xs = np.mgrid[:120, :200]
    ramp = np.stack([xs, ys, np.full_like(xs, 7)], 2).astype(np.uint8)
    (tmp_path / "below").mkdir()
    for name in ("a.png", "below/b.PNG"):
        (tmp_path / name).write_bytes(cv2.imencode(".png", ramp)[1].tobytes())
    (tmp_path / "notes.txt").write_text("not an image")
    return tmp_path


def test_images_are_cropped_at_random_with_their_aspect_ratio(folder, rng):
    source = BackgroundFolder(folder)
    assert [path.name for path in source.paths] == ["a.png", "b.PNG"]
    directions, corners = set(), set()
    for _ in range(20):
        crop = source(rng, (64, 64), 10.0)
        assert (crop.shape, crop.dtype) == ((64, 64, 3), np.uint8)
        across, down = np.diff(crop[32, :, 0].astype(int)).mean(), np.diff(crop[:, 32, 1].astype(int)).mean()
        assert abs(across) == pytest.approx(down, rel=0.05)
        assert (crop[..., 2] == 7).all()
        directions.add(across > 0)
        corners.add(tuple(crop[0, 0]))
    assert directions == {True, False}
    assert len(corners) > 10


@pytest.mark.parametrize("size_hw", [(1, 1), (3, 400), (300, 2)])
def test_backdrops_have_the_requested_size(folder, rng, size_hw):
    for backdrop in (BackgroundFolder(folder), draw_backdrop):
        for _ in range(4):
            image = backdrop(rng, size_hw, 0.3 * size_hw[0])
            assert (image.shape, image.dtype) == ((*size_hw, 3), np.uint8)


def test_people_are_drawn_in_front_of_a_given_image(tmp_path):
    cv2.imwrite(str(tmp_path / "green.png"), np.full((50, 50, 3), (0, 250, 0), np.uint8))
    scene = draw_scene(np.random.default_rng(3), (200, 200), 2, backdrop=BackgroundFolder(tmp_path))
    around = scene.image[~cv2.dilate(scene.masks.any(0).astype(np.uint8), np.ones((9, 9))).astype(bool)]
    green = around[:, 1].astype(int) - around[:, [0, 2]].max(1)
    assert np.median(green) > 100
    assert np.median(np.ptp(scene.image[scene.masks.any(0)].astype(int), axis=0)) > 60


def test_invalid_folders_and_files_are_rejected_by_name(tmp_path, folder, rng):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        BackgroundFolder(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no background image found"):
        BackgroundFolder(tmp_path / "empty")
    (tmp_path / "empty/c.jpg").write_bytes(
        cv2.imencode(".jpg", np.zeros((40, 40, 3), np.uint8))[1].tobytes()[:-9]
    )
    with pytest.raises(ValueError, match=r"c\.jpg: truncated JPEG"):
        BackgroundFolder(tmp_path / "empty")(rng, (8, 8), 2.0)
