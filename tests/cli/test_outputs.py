"""Outputs: devices and links are never replaced or written through, names are escaped, failures are named."""

import os

import cv2
import full_disk
import numpy as np
import pytest
from oracle import NoPeoplePredictor

import simplepose
from simplepose.cli import (
    convert_checkpoint,
    demo_image,
    draw_people,
    plot_schedule,
    prepare_coco,
    run_command,
)
from simplepose.cli.evaluate import _write_rows
from simplepose.utils import atomic
from simplepose.writers.append import AppendWriter
from simplepose.writers.drawn_video import VideoWriter

ODD_NAME = "a\x1b[2J\nb.png"


@pytest.fixture
def pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    return tmp_path / "pipe.png"


def test_every_writer_refuses_to_replace_a_special_file(tmp_path, pipe):
    os.mkfifo(tmp_path / "clip.mp4")
    for write in (
        lambda: atomic.write_json(pipe, 1),
        lambda: AppendWriter(pipe),
        lambda: AppendWriter(pipe, use_partial_file=False),
        lambda: VideoWriter(tmp_path / "clip.mp4", 25),
    ):
        with pytest.raises(ValueError, match="got a named pipe"):
            write()
    assert pipe.is_fifo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", "pipe.png"]


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (plot_schedule, ("configs/imhn4_512.yaml", "--output", "{}")),
        (convert_checkpoint, ("imhn.safetensors", "{}")),
        (prepare_coco, ("--annotations", "a.json", "--images", ".", "--output", "{}")),
        (demo_image, ("--output", "{}")),
        (demo_image, ("--profile", "{}")),
        (draw_people, ("--count", "1", "--poses", "none.npz", "--output", "{}")),
    ],
)
def test_commands_refuse_a_special_file_as_output(pipe, command, arguments, monkeypatch, capsys):
    monkeypatch.setattr(simplepose, "load", lambda *_, **__: NoPeoplePredictor())
    link = pipe.with_name("out.safetensors")
    link.symlink_to(pipe)
    try:
        status = run_command(command.main, [argument.format(link) for argument in arguments])
    except SystemExit as error:
        status = error.code
    assert status == 2
    assert str(link.parent) in capsys.readouterr().err
    assert pipe.is_fifo()
    assert link.is_symlink()


def test_temporary_files_are_not_written_through_planted_links(tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    for name in ("a.json.partial", "b.json.partial", "clip.partial.mp4", "people.jsonl"):
        (tmp_path / name).symlink_to(victim)
    atomic.write_json(tmp_path / "a.json", 1)
    AppendWriter(tmp_path / "b.json").close()
    AppendWriter(tmp_path / "people.jsonl", use_partial_file=False).close()
    with VideoWriter(tmp_path / "clip.mp4", 25) as video:
        video.write(np.zeros((16, 16, 3), np.uint8))
    assert victim.read_bytes() == b"precious"


def test_names_with_control_characters_are_printed_escaped(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(simplepose, "load", lambda *_, **__: NoPeoplePredictor())
    folder = tmp_path / "in\x1b[1m\n"
    folder.mkdir()
    cv2.imwrite(str(folder / "good.png"), np.zeros((9, 9, 3), np.uint8))
    (folder / ODD_NAME).write_bytes(b"x")
    (folder / "other\x1b\n.txt").write_text("text")
    output = tmp_path / "out\x1b\n"
    assert run_command(demo_image.main, [str(folder), "--no-draw", "--output", str(output)]) == 1
    assert run_command(demo_image.main, [str(folder / "x\n\x1b.png"), "--output", str(output)]) == 2
    text = "".join(capsys.readouterr())
    assert "\x1b[2J" not in text
    assert "\x1b[1m" not in text
    assert r"a\x1b[2J\nb.png: 1 bytes are not an image" in text
    assert r"other\x1b\n.txt (text)" in text
    assert r"results are in " + str(tmp_path) in text
    assert r"x\n\x1b.png: No such file" in text


def test_evaluation_on_a_full_disk_keeps_the_rows_that_fit(tmp_path):
    rows = [{"image_id": number, "score": 0.5, "keypoints": [0.0] * 51} for number in range(5000)]
    with (
        full_disk.limit_file_size(500_000),
        pytest.raises(OSError, match="File too large") as error,
    ):
        _write_rows(tmp_path / "results.json", rows)
    assert error.value.filename == str(tmp_path / "results.json")
    kept = (tmp_path / "results.json").read_bytes()
    assert kept.startswith(b'[\n{"image_id": 0')
    assert kept.endswith(b"\n]\n")
