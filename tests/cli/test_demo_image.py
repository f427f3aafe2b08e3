"""The command `demo`: drawn images and one json for every kind of input."""

import json
from concurrent.futures import ThreadPoolExecutor

import cv2
import lock_holder
import numpy as np
import pytest
import torch
from oracle import NoPeoplePredictor, Oracle
from synthetic_coco import write_synthetic_coco

import simplepose
from simplepose import cli, config
from simplepose.cli import EXIT_INTERRUPTED, demo_image, resumable_run, run_command
from simplepose.models.checkpoints import Model, save_safetensors
from simplepose.models.imhn import IMHN
from simplepose.synthetic.demo_images import DEMO_SCENES
from simplepose.visualize.drawing import ROW_HEIGHT
from simplepose.writers.drawn_video import MPEG4, VideoWriter


@pytest.fixture
def drawn(tmp_path):
    return write_synthetic_coco(tmp_path / "coco", num_images=4)


@pytest.fixture
def run(monkeypatch, tmp_path):
    """run(model, *arguments) -> exit status; results go to `tmp_path`/out."""

    def run(model, *arguments):
        monkeypatch.setattr(simplepose, "load", lambda *_, **__: model)
        return run_command(demo_image.main, [*map(str, arguments), "--output", str(tmp_path / "out")])

    return run


def people_json(tmp_path):
    return json.loads((tmp_path / "out/people.json").read_text())


def test_a_folder_gives_drawn_images_and_rows(run, drawn, tmp_path):
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


def test_no_people_is_a_valid_result(run, drawn, tmp_path):
    assert run(NoPeoplePredictor(), drawn[1] / "000000000001.jpg") == 0
    assert people_json(tmp_path) == []
    assert (tmp_path / "out/000000000001.jpg").is_file()


def test_an_output_folder_that_a_video_run_uses_is_refused(run, drawn, tmp_path, capsys):
    """Both would write people.json; the second process fails at once and leaves no files."""
    with lock_holder.hold_lock(tmp_path / "out", shared=False):
        assert run(Oracle(*drawn), drawn[1]) == 2
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["lock"]
    assert "out: another process is writing to this folder" in capsys.readouterr().err
    with lock_holder.hold_lock(tmp_path / "out", shared=True):  # another process of the same run
        assert run(Oracle(*drawn), drawn[1]) == 0
    assert not (tmp_path / "out/lock").exists()


def test_an_unreadable_image_is_reported_and_skipped(run, drawn, tmp_path, capsys):
    oracle = Oracle(*drawn)
    damaged = drawn[1] / "000000000002.jpg"
    damaged.write_bytes(damaged.read_bytes()[:500])
    assert run(oracle, drawn[1], tmp_path / "missing.png") == 1
    err = capsys.readouterr().err
    assert f"skipped {damaged}: truncated" in err
    assert "missing.png: No such file" in err
    assert {row["file_name"] for row in people_json(tmp_path)} == {f"{n:012d}.jpg" for n in (1, 3, 4)}
    assert not (tmp_path / "out" / damaged.name).exists()


def test_no_readable_image_is_an_error(run, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert run(NoPeoplePredictor(), tmp_path / "empty", tmp_path / "no.jpg") == 2
    assert "empty: no image in this folder" in capsys.readouterr().err
    for name in ("a.jpg", "b.png"):
        (tmp_path / name).write_text("this is text")
    assert run(NoPeoplePredictor(), tmp_path / "a.jpg", tmp_path / "b.png") == 2
    assert "error: none of the 2 images could be read; first error: " in capsys.readouterr().err


def test_ctrl_c_keeps_finished_images(run, drawn, tmp_path, capsys):
    assert run(Oracle(*drawn, interrupt_at_call=3), drawn[1]) == EXIT_INTERRUPTED
    assert {row["file_name"] for row in people_json(tmp_path)} == {f"{n:012d}.jpg" for n in (1, 2)}
    assert sorted(path.name for path in (tmp_path / "out").glob("*.jpg")) == [f"{n:012d}.jpg" for n in (1, 2)]
    assert "interrupted" in capsys.readouterr().out


def test_an_image_that_fails_is_reported_and_the_others_are_processed(run, drawn, tmp_path, capsys):
    assert run(Oracle(*drawn, interrupt_at_call=3, interruption=RuntimeError("out of memory")), drawn[1]) == 1
    assert len({row["file_name"] for row in people_json(tmp_path)}) == 3
    assert "grouping failed: out of memory" in capsys.readouterr().err


def test_the_same_command_after_ctrl_c_processes_each_image_once(run, drawn, tmp_path, capsys):
    first, second = Oracle(*drawn, interrupt_at_call=3), Oracle(*drawn)
    assert run(first, drawn[1]) == EXIT_INTERRUPTED
    kept = {row["file_name"] for row in people_json(tmp_path)}
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.jpg")}
    assert run(second, drawn[1]) == 0
    assert second.calls == len(second.answers) - len(kept)
    assert {row["file_name"] for row in people_json(tmp_path)} == {f"{n:012d}.jpg" for n in (1, 2, 3, 4)}
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())
    assert not (tmp_path / "out/parts").exists()
    assert f"{len(kept)} images are already done; resuming" in capsys.readouterr().err


def test_partial_results_of_other_options_are_discarded(run, drawn, tmp_path, capsys):
    assert run(Oracle(*drawn, interrupt_at_call=3), drawn[1]) == EXIT_INTERRUPTED
    assert run(Oracle(*drawn), drawn[1], "--colors", "limb") == 0
    assert {row["file_name"] for row in people_json(tmp_path)} == {f"{n:012d}.jpg" for n in (1, 2, 3, 4)}
    assert "discarded the partial results" in capsys.readouterr().err


def test_start_every_and_max_frames_select_images(run, drawn, tmp_path):
    assert run(Oracle(*drawn), drawn[1], "--start", 1, "--every", 2, "--max-frames", 5) == 0
    rows = people_json(tmp_path)
    assert {row["file_name"] for row in rows} == {f"{n:012d}.jpg" for n in (2, 4)}
    assert {row["image_id"] for row in rows} == {2, 4}
    assert run(Oracle(*drawn), drawn[1], "--start", 4) == 2


def test_a_video_is_refused(run, tmp_path, capsys):
    with VideoWriter(tmp_path / "a.mp4", 10, codecs=(MPEG4,)) as video:
        video.write(np.zeros((64, 64, 3), np.uint8))
    assert run(NoPeoplePredictor(), tmp_path / "a.mp4") == 2
    assert "a.mp4: expected images, got a video, camera or stream; use demo_video" in capsys.readouterr().err


def test_input_images_in_the_output_folder_are_not_overwritten(run, drawn, tmp_path, capsys):
    images = tmp_path / "out"
    drawn[1].rename(images)
    before = {path: path.read_bytes() for path in images.iterdir()}
    assert run(NoPeoplePredictor(), images) == 0
    assert all(path.read_bytes() == content for path, content in before.items())
    assert (images / "000000000001_2.jpg").is_file()
    assert "use another --output" in capsys.readouterr().err


def test_without_paths_it_uses_the_sample_images(run, tmp_path):
    assert run(NoPeoplePredictor()) == 0
    assert len(list((tmp_path / "out").glob("*.*g"))) >= len(DEMO_SCENES)
    assert (tmp_path / "out/drawn_1.png").is_file()


def test_sample_images_also_give_a_contact_sheet(run, tmp_path, capsys):
    assert run(NoPeoplePredictor()) == 0
    path = tmp_path / "out/contact_sheet.png"
    assert capsys.readouterr().out.splitlines()[-1] == f"contact sheet: {path}"
    sheet = cv2.imread(str(path))
    assert sheet.shape[0] >= ROW_HEIGHT
    assert sheet.std() > 20, "it shows images"
    assert run(NoPeoplePredictor(), "--no-draw") == 0
    assert "contact sheet" not in capsys.readouterr().out


def test_contact_sheet_of_own_images_is_optional(run, drawn, tmp_path, capsys, monkeypatch):
    sheet = {}
    monkeypatch.setattr(
        resumable_run,
        "contact_sheet",
        lambda images, captions: sheet.update(zip(captions, images, strict=True)),
    )
    monkeypatch.setattr(resumable_run, "write_image", lambda path, image: sheet.update(path=path))
    assert run(NoPeoplePredictor(), drawn[1]) == 0
    assert not sheet
    assert "contact sheet" not in capsys.readouterr().out
    interrupted, resumed = Oracle(*drawn, interrupt_at_call=2), Oracle(*drawn)
    damaged = drawn[1] / "000000000002.jpg"
    damaged.write_bytes(damaged.read_bytes()[:500])
    assert run(interrupted, drawn[1], "--contact-sheet") == EXIT_INTERRUPTED
    assert not sheet
    assert run(resumed, drawn[1], "--contact-sheet") == 1
    assert resumed.calls == 2, "the first image was done before"
    assert sheet.pop("path") == tmp_path / "out/contact_sheet.png"
    names = [f"{number:012d}.jpg" for number in (1, 3, 4)]
    assert [caption.partition(" - ")[2] for caption in sheet] == names
    people = people_json(tmp_path)
    for (caption, image), name in zip(sheet.items(), names, strict=True):
        count = sum(row["file_name"] == name for row in people)
        assert caption == f"{count} {'person' if count == 1 else 'people'} - {name}"
        assert np.array_equal(image, cv2.imread(str(tmp_path / "out" / name)))


def test_a_contact_sheet_overwrites_no_image(run, drawn, tmp_path):
    own = drawn[1] / "contact_sheet.png"
    cv2.imwrite(str(own), np.full((40, 40, 3), 77, np.uint8))
    assert run(NoPeoplePredictor(), own, "--contact-sheet") == 0
    assert cv2.imread(str(tmp_path / "out/contact_sheet.png")).shape == (40, 40, 3)
    assert cv2.imread(str(tmp_path / "out/contact_sheet_2.png")).shape[0] >= ROW_HEIGHT


def test_the_number_of_images_on_a_contact_sheet_is_limited(run, tmp_path, monkeypatch):
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(5):
        cv2.imwrite(str(folder / f"{number}.png"), np.zeros((8, 8, 3), np.uint8))
    monkeypatch.setattr(resumable_run, "MAX_SHEET_IMAGES", 3)
    captions = []
    monkeypatch.setattr(
        resumable_run, "contact_sheet", lambda images, given: captions.extend(given) or next(images)
    )
    assert run(NoPeoplePredictor(), folder, "--contact-sheet") == 0
    assert captions == [f"0 people - {number}.png" for number in range(3)]


def test_a_contact_sheet_without_drawing_is_refused(run, drawn, capsys):
    assert run(NoPeoplePredictor(), drawn[1], "--contact-sheet", "--no-draw") == 2
    assert "--contact-sheet: expected drawn images, got --no-draw" in capsys.readouterr().err


def test_a_network_loaded_from_a_file(tmp_path, rng):
    settings = config.from_text(
        "model: {stacks: 1, stem_width: 8, width: 16, growth: 8, head_width: 16, reduction: 4}\n"
        "inference: {height: 64}",
        "test",
    )
    torch.manual_seed(0)
    model = Model(IMHN.from_settings(settings.model, simplepose.COCO.channels), settings, simplepose.COCO)
    save_safetensors(tmp_path / "model.safetensors", model)
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
    assert run_command(demo_image.main, [*paths, *options]) == 0
    for name, size_hw in sizes_hw.items():
        assert cv2.imread(str(tmp_path / "out" / name)).shape == (*size_hw, 3)


def test_an_unknown_model_is_reported(tmp_path, capsys):
    assert run_command(demo_image.main, ["a.jpg", "--model", "imhn_gigantic", "--output", str(tmp_path)]) == 2
    assert "error: model 'imhn_gigantic'" in capsys.readouterr().err


def test_a_removed_model_reports_its_replacement(tmp_path, capsys):
    assert run_command(demo_image.main, ["a.jpg", "--model", "imhn_tiny", "--output", str(tmp_path)]) == 2
    assert "error: model 'imhn_tiny' was replaced by 'imhn_mobile'" in capsys.readouterr().err


def test_missing_weights_are_reported(tmp_path, capsys):
    assert run_command(demo_image.main, ["a.jpg", "--weights", "ema", "--output", str(tmp_path)]) == 2
    assert "imhn_mobile.safetensors has no ema weights; it has raw" in capsys.readouterr().err


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "meta", "mtia"])
def test_a_device_that_does_not_work_is_reported(device, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        demo_image.main(["a.jpg", "--device", device, "--output", str(tmp_path)])
    assert f"argument --device: device '{device}' does not work here" in capsys.readouterr().err


def test_a_command_runs_in_a_thread(tmp_path):
    """Only the main thread may install signal handlers."""
    cv2.imwrite(str(tmp_path / "image.png"), np.zeros((64, 64, 3), np.uint8))
    args = ["demo", str(tmp_path / "image.png"), "--output", str(tmp_path / "out"), "--device", "cpu"]
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(cli.main, [*args, "--set", "inference.height=64"]).result() == 0
    assert (tmp_path / "out/people.json").exists()
