"""What drawn people stand before."""

import cv2
import numpy as np
import pytest

from simplepose.synthetic.backdrops import PictureFolder, draw_backdrop
from simplepose.synthetic.scenes import draw_scene


@pytest.fixture
def folder(tmp_path):
    """Two pictures, one in a folder below, and a text: x and y of each pixel stand in its colour."""
    ys, xs = np.mgrid[:120, :200]
    ramp = np.stack([xs, ys, np.full_like(xs, 7)], 2).astype(np.uint8)
    (tmp_path / "below").mkdir()
    for name in ("a.png", "below/b.PNG"):
        (tmp_path / name).write_bytes(cv2.imencode(".png", ramp)[1].tobytes())
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def test_pictures_are_cut_at_random_without_a_change_of_shape(folder, rng):
    source = PictureFolder(folder)
    assert [path.name for path in source.paths] == ["a.png", "b.PNG"]
    directions, places = set(), set()
    for _ in range(20):
        cut = source(rng, (64, 64), 10.0)
        assert (cut.shape, cut.dtype) == ((64, 64, 3), np.uint8)
        across, down = np.diff(cut[32, :, 0].astype(int)).mean(), np.diff(cut[:, 32, 1].astype(int)).mean()
        assert abs(across) == pytest.approx(down, rel=0.05)
        assert (cut[..., 2] == 7).all()
        directions.add(across > 0)
        places.add(tuple(cut[0, 0]))
    assert directions == {True, False}
    assert len(places) > 10


@pytest.mark.parametrize("size_hw", [(1, 1), (3, 400), (300, 2)])
def test_backdrops_have_the_size_that_is_asked_for(folder, rng, size_hw):
    for backdrop in (PictureFolder(folder), draw_backdrop):
        for _ in range(4):
            picture = backdrop(rng, size_hw, 0.3 * size_hw[0])
            assert (picture.shape, picture.dtype) == ((*size_hw, 3), np.uint8)


def test_people_stand_before_a_given_picture(tmp_path):
    cv2.imwrite(str(tmp_path / "green.png"), np.full((50, 50, 3), (0, 250, 0), np.uint8))
    scene = draw_scene(np.random.default_rng(3), (200, 200), 2, backdrop=PictureFolder(tmp_path))
    around = scene.image[~cv2.dilate(scene.masks.any(0).astype(np.uint8), np.ones((9, 9))).astype(bool)]
    green = around[:, 1].astype(int) - around[:, [0, 2]].max(1)
    assert np.median(green) > 100
    assert np.median(np.ptp(scene.image[scene.masks.any(0)].astype(int), axis=0)) > 60


def test_folders_and_files_that_will_not_do_are_named(tmp_path, folder, rng):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        PictureFolder(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no background there"):
        PictureFolder(tmp_path / "empty")
    (tmp_path / "empty/c.jpg").write_bytes(
        cv2.imencode(".jpg", np.zeros((40, 40, 3), np.uint8))[1].tobytes()[:-9]
    )
    with pytest.raises(ValueError, match=r"c\.jpg: damaged"):
        PictureFolder(tmp_path / "empty")(rng, (8, 8), 2.0)
