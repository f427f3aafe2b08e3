"""The command `demo`: drawn pictures and one json, whatever it is given."""

import json

import cv2
import numpy as np
import other_holder
import pytest
import torch
from drawn_coco import write_drawn_coco
from oracle import Nobody, Oracle

import simplepose
from simplepose import config
from simplepose.cli import INTERRUPTED, demo_image, door
from simplepose.models.checkpoints import Model, save_released
from simplepose.models.imhn import IMHN
from simplepose.synthetic.demo_images import SCENES
from simplepose.visualize.drawing import ROW_HEIGHT
from simplepose.writers.drawn_video import MPEG4, FilmWriter


@pytest.fixture
def drawn(tmp_path):
    return write_drawn_coco(tmp_path / "coco", pictures=4)


@pytest.fixture
def run(monkeypatch, tmp_path):
    """run(model, *arguments) -> exit status; results go to `tmp_path`/out."""

    def run(model, *arguments):
        monkeypatch.setattr(simplepose, "load", lambda *_, **__: model)
        return door(demo_image.main, [*map(str, arguments), "--output", str(tmp_path / "out")])

    return run


def people_json(tmp_path):
    return json.loads((tmp_path / "out/people.json").read_text())


def test_a_folder_gives_drawn_pictures_and_rows(run, drawn, tmp_path):
    oracle = Oracle(*drawn)
    assert run(oracle, drawn[1]) == 0
    rows = people_json(tmp_path)
    assert len(rows) == sum(len(people) for people in oracle.answers.values())
    assert set(rows[0]) == {"file_name", "image_id", "category_id", "keypoints", "score"}
    assert {row["file_name"] for row in rows} == {path.name for path in drawn[1].iterdir()}
    for path in drawn[1].iterdir():
        image, result = cv2.imread(str(path)), cv2.imread(str(tmp_path / "out" / path.name))
        assert result.shape == image.shape
        assert np.abs(result.astype(int) - image).max() > 100


def test_nobody_is_a_result(run, drawn, tmp_path):
    assert run(Nobody(), drawn[1] / "000000000001.jpg") == 0
    assert people_json(tmp_path) == []
    assert (tmp_path / "out/000000000001.jpg").is_file()


def test_a_folder_that_a_video_is_drawn_into_is_refused(run, drawn, tmp_path, capsys):
    """Both would write people.json; who comes second is told at once and leaves nothing behind."""
    with other_holder.holding(tmp_path / "out", shared=False):
        assert run(Oracle(*drawn), drawn[1]) == 2
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["lock"]
    assert "out: another process writes there now" in capsys.readouterr().err
    with other_holder.holding(tmp_path / "out", shared=True):  # another process of the same run
        assert run(Oracle(*drawn), drawn[1]) == 0
    assert not (tmp_path / "out/lock").exists()


def test_an_unreadable_picture_is_told_and_skipped(run, drawn, tmp_path, capsys):
    oracle = Oracle(*drawn)
    damaged = drawn[1] / "000000000002.jpg"
    damaged.write_bytes(damaged.read_bytes()[:500])
    assert run(oracle, drawn[1], tmp_path / "missing.png") == 1
    told = capsys.readouterr().err
    assert f"skipped {damaged}: 500 bytes" in told
    assert "missing.png: No such file" in told
    assert {row["file_name"] for row in people_json(tmp_path)} == {f"{n:012d}.jpg" for n in (1, 3, 4)}
    assert not (tmp_path / "out" / damaged.name).exists()


def test_nothing_readable_is_an_error(run, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert run(Nobody(), tmp_path / "empty", tmp_path / "no.jpg") == 2
    assert "empty: no picture in this folder" in capsys.readouterr().err
    for name in ("a.jpg", "b.png"):
        (tmp_path / name).write_text("this is a text")
    assert run(Nobody(), tmp_path / "a.jpg", tmp_path / "b.png") == 2
    assert "error: none of the 2 pictures could be read; the first: " in capsys.readouterr().err


def test_ctrl_c_keeps_what_was_done(run, drawn, tmp_path, capsys):
    assert run(Oracle(*drawn, ending=3), drawn[1]) == INTERRUPTED
    assert {row["file_name"] for row in people_json(tmp_path)} == {f"{n:012d}.jpg" for n in (1, 2)}
    assert sorted(path.name for path in (tmp_path / "out").glob("*.jpg")) == [f"{n:012d}.jpg" for n in (1, 2)]
    assert "interrupted" in capsys.readouterr().out


def test_a_picture_that_the_network_fails_on_is_told_and_the_rest_done(run, drawn, tmp_path, capsys):
    assert run(Oracle(*drawn, ending=3, end=RuntimeError("out of memory")), drawn[1]) == 1
    assert len({row["file_name"] for row in people_json(tmp_path)}) == 3
    assert "grouping failed: out of memory" in capsys.readouterr().err


def test_ctrl_c_and_the_same_command_again_do_each_picture_once(run, drawn, tmp_path, capsys):
    first, second = Oracle(*drawn, ending=3), Oracle(*drawn)
    assert run(first, drawn[1]) == INTERRUPTED
    kept = {row["file_name"] for row in people_json(tmp_path)}
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.jpg")}
    assert run(second, drawn[1]) == 0
    assert second.calls == len(second.answers) - len(kept)
    assert {row["file_name"] for row in people_json(tmp_path)} == {f"{n:012d}.jpg" for n in (1, 2, 3, 4)}
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())
    assert not (tmp_path / "out/parts").exists()
    assert f"{len(kept)} pictures were done before; going on" in capsys.readouterr().err


def test_what_another_model_began_is_thrown_away(run, drawn, tmp_path, capsys):
    assert run(Oracle(*drawn, ending=3), drawn[1]) == INTERRUPTED
    assert run(Oracle(*drawn), drawn[1], "--colours", "limb") == 0
    assert {row["file_name"] for row in people_json(tmp_path)} == {f"{n:012d}.jpg" for n in (1, 2, 3, 4)}
    assert "is thrown away" in capsys.readouterr().err


def test_every_n_th_from_a_start_on(run, drawn, tmp_path):
    assert run(Oracle(*drawn), drawn[1], "--start", 1, "--every", 2, "--max-frames", 5) == 0
    rows = people_json(tmp_path)
    assert {row["file_name"] for row in rows} == {f"{n:012d}.jpg" for n in (2, 4)}
    assert {row["image_id"] for row in rows} == {2, 4}
    assert run(Oracle(*drawn), drawn[1], "--start", 4) == 2


def test_a_video_is_for_the_other_command(run, tmp_path, capsys):
    with FilmWriter(tmp_path / "a.mp4", 10, codecs=(MPEG4,)) as film:
        film.write(np.zeros((64, 64, 3), np.uint8))
    assert run(Nobody(), tmp_path / "a.mp4") == 2
    assert "a.mp4: no picture; videos, cameras and streams are for demo_video" in capsys.readouterr().err


def test_the_originals_survive_an_output_folder_of_their_own(run, drawn, tmp_path, capsys):
    pictures = tmp_path / "out"
    drawn[1].rename(pictures)
    before = {path: path.read_bytes() for path in pictures.iterdir()}
    assert run(Nobody(), pictures) == 0
    assert all(path.read_bytes() == content for path, content in before.items())
    assert (pictures / "000000000001_2.jpg").is_file()
    assert "better name another --output" in capsys.readouterr().err


def test_without_paths_it_takes_the_samples(run, tmp_path):
    assert run(Nobody()) == 0
    assert len(list((tmp_path / "out").glob("*.*g"))) >= len(SCENES)
    assert (tmp_path / "out/drawn_1.png").is_file()


def test_the_samples_end_with_a_contact_sheet(run, tmp_path, capsys):
    assert run(Nobody()) == 0
    path = tmp_path / "out/contact_sheet.png"
    assert capsys.readouterr().out.splitlines()[-1] == f"contact sheet: {path}"
    sheet = cv2.imread(str(path))
    assert sheet.shape[0] >= ROW_HEIGHT
    assert sheet.std() > 20, "it shows images"
    assert run(Nobody(), "--no-draw") == 0
    assert "contact sheet" not in capsys.readouterr().out


def test_own_images_are_on_a_contact_sheet_where_it_is_asked_for(run, drawn, tmp_path, capsys, monkeypatch):
    shown = {}
    monkeypatch.setattr(
        demo_image, "contact_sheet", lambda images, captions: shown.update(zip(captions, images, strict=True))
    )
    monkeypatch.setattr(demo_image, "write_picture", lambda path, image: shown.update(path=path))
    assert run(Nobody(), drawn[1]) == 0
    assert not shown
    assert "contact sheet" not in capsys.readouterr().out
    interrupted, resumed = Oracle(*drawn, ending=2), Oracle(*drawn)
    damaged = drawn[1] / "000000000002.jpg"
    damaged.write_bytes(damaged.read_bytes()[:500])
    assert run(interrupted, drawn[1], "--contact-sheet") == INTERRUPTED
    assert not shown
    assert run(resumed, drawn[1], "--contact-sheet") == 1
    assert resumed.calls == 2, "the first image was done before"
    assert shown.pop("path") == tmp_path / "out/contact_sheet.png"
    names = [f"{number:012d}.jpg" for number in (1, 3, 4)]
    assert [caption.partition(" - ")[2] for caption in shown] == names
    people = people_json(tmp_path)
    for (caption, image), name in zip(shown.items(), names, strict=True):
        count = sum(row["file_name"] == name for row in people)
        assert caption == f"{count} {'person' if count == 1 else 'people'} - {name}"
        assert np.array_equal(image, cv2.imread(str(tmp_path / "out" / name)))


def test_a_contact_sheet_overwrites_no_image(run, drawn, tmp_path):
    own = drawn[1] / "contact_sheet.png"
    cv2.imwrite(str(own), np.full((40, 40, 3), 77, np.uint8))
    assert run(Nobody(), own, "--contact-sheet") == 0
    assert cv2.imread(str(tmp_path / "out/contact_sheet.png")).shape == (40, 40, 3)
    assert cv2.imread(str(tmp_path / "out/contact_sheet_2.png")).shape[0] >= ROW_HEIGHT


def test_a_contact_sheet_has_a_limited_number_of_images(run, tmp_path, monkeypatch):
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(5):
        cv2.imwrite(str(folder / f"{number}.png"), np.zeros((8, 8, 3), np.uint8))
    monkeypatch.setattr(demo_image, "MAX_SHEET_IMAGES", 3)
    captions = []
    monkeypatch.setattr(
        demo_image, "contact_sheet", lambda images, given: captions.extend(given) or next(images)
    )
    assert run(Nobody(), folder, "--contact-sheet") == 0
    assert captions == [f"0 people - {number}.png" for number in range(3)]


def test_a_contact_sheet_without_drawing_is_refused(run, drawn, capsys):
    assert run(Nobody(), drawn[1], "--contact-sheet", "--no-draw") == 2
    assert "--contact-sheet: expected drawn images, got --no-draw" in capsys.readouterr().err


def test_a_real_network_from_a_file(tmp_path, rng):
    settings = config.from_text(
        "model: {stacks: 1, stem_width: 8, width: 16, growth: 8, head_width: 16, reduction: 4}\n"
        "inference: {height: 64}",
        "test",
    )
    torch.manual_seed(0)
    model = Model(IMHN.from_settings(settings.model, simplepose.COCO.channels), settings, simplepose.COCO)
    save_released(tmp_path / "model.safetensors", model)
    sizes_hw = {"one.png": (1, 1), "wide.png": (20, 1200), "tall.jpg": (90, 40)}
    for name, size_hw in sizes_hw.items():
        cv2.imwrite(str(tmp_path / name), rng.integers(0, 256, (*size_hw, 3), dtype=np.uint8))
    paths = [str(tmp_path / name) for name in sizes_hw]
    options = [
        "--model",
        str(tmp_path / "model.safetensors"),
        "--device",
        "cpu",
        "--output",
        str(tmp_path / "out"),
    ]
    assert door(demo_image.main, [*paths, *options]) == 0
    for name, size_hw in sizes_hw.items():
        assert cv2.imread(str(tmp_path / "out" / name)).shape == (*size_hw, 3)


def test_an_unknown_model_is_named(tmp_path, capsys):
    assert door(demo_image.main, ["a.jpg", "--model", "imhn_gigantic", "--output", str(tmp_path)]) == 2
    assert "error: model 'imhn_gigantic'" in capsys.readouterr().err


def test_the_network_that_left_names_its_successor(tmp_path, capsys):
    assert door(demo_image.main, ["a.jpg", "--model", "imhn_tiny", "--output", str(tmp_path)]) == 2
    assert "error: model 'imhn_tiny' was replaced by 'imhn_mobile'" in capsys.readouterr().err


def test_weights_that_a_model_has_not_are_told(tmp_path, capsys):
    assert door(demo_image.main, ["a.jpg", "--weights", "ema", "--output", str(tmp_path)]) == 2
    assert "imhn_mobile.safetensors has no ema weights; it has raw" in capsys.readouterr().err


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "meta", "mtia"])
def test_a_device_that_does_not_work_is_named(device, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        demo_image.main(["a.jpg", "--device", device, "--output", str(tmp_path)])
    assert f"argument --device: '{device}' is no device that works here" in capsys.readouterr().err
