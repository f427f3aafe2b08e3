"""A preparation that is broken off goes on to the same file, with any number of processes."""

import contextlib
import json
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import cv2
import h5py
import pytest
from drawn_coco import write_drawn_coco
from tqdm import tqdm

from simplepose.cli import INTERRUPTED, door, prepare_coco
from simplepose.data.hdf5 import preparation
from simplepose.data.hdf5.reader import SampleFile

PICTURES = 72

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="ends processes as a system with fork does")


@pytest.fixture(scope="module")
def coco(tmp_path_factory):
    """Drawn pictures, one of them missing, and their json."""
    annotations, images = write_drawn_coco(tmp_path_factory.mktemp("coco"), pictures=PICTURES)
    (images / "000000000011.jpg").unlink()
    return annotations, images


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Parts of two pictures; and OpenCV without threads of its own, which a fork would not take along."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    monkeypatch.setattr(preparation, "PICTURES_A_PART", 2)
    yield
    cv2.setNumThreads(threads)


def arguments(coco, output: Path, *more: str) -> list[str]:
    return ["--annotations", str(coco[0]), "--images", str(coco[1]), "--output", str(output), *more]


@pytest.fixture(scope="module")
def unkilled(coco, tmp_path_factory) -> bytes:
    """The file of a preparation that nothing stopped."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preparation, "PICTURES_A_PART", 2)
        output = tmp_path_factory.mktemp("unkilled") / "a.h5"
        assert prepare_coco.main(arguments(coco, output, "--workers", "1")) == 1
    assert len(SampleFile(output).pictures) == PICTURES - 1
    return output.read_bytes()


def begin(*args: str) -> multiprocessing.Process:
    """The command in a process of its own, with a group of its own."""

    def work() -> None:
        os.setpgid(0, 0)
        tqdm.set_lock(threading.RLock())  # not the one of the processes that are killed while they hold it
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            os._exit(door(prepare_coco.main, args))

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    return process


def parts_of(output: Path) -> dict[str, int]:
    """The parts that are done: file name -> when it was written."""
    done = {}
    for path in output.parent.glob(f"{output.name}.partial/*/[0-9]*.h5"):
        with contextlib.suppress(FileNotFoundError):  # joined and removed meanwhile
            done[path.name] = path.stat().st_mtime_ns
    return done


def alive(group: int) -> bool:
    """Whether a process of the group runs."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("workers", ["1", "2"])
def test_killed_at_random_moments_it_goes_on_to_the_same_bytes(coco, unkilled, tmp_path, rng, workers):
    output = tmp_path / "a.h5"
    output.write_text("an older file")
    done: dict[str, int] = {}
    kills = 0
    for _ in range(6):
        process = begin(*arguments(coco, output, "--workers", workers))
        target = len(done) + int(rng.integers(1, 6))
        while process.is_alive() and len(parts_of(output)) < target:
            time.sleep(0.001)
        time.sleep(float(rng.uniform(0, 0.01)))
        process.kill()  # the first process alone: those that it began must end too
        process.join()
        kills += 1
        if output.read_bytes() != b"an older file":
            break  # it was done before
        assert process.exitcode == -signal.SIGKILL
        now = parts_of(output)
        assert done.items() <= now.items()  # nothing is done twice
        done = now
    assert kills >= 3
    last = begin(*arguments(coco, output, "--workers", workers))
    last.join(60)
    assert last.exitcode == 1  # for the picture that is missing
    assert output.read_bytes() == unkilled
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]


def test_nobody_outlives_the_one_that_is_killed(coco, tmp_path):
    process = begin(*arguments(coco, tmp_path / "a.h5", "--workers", "2"))
    while not parts_of(tmp_path / "a.h5"):
        time.sleep(0.001)
    process.kill()
    process.join()
    end = time.monotonic() + 20
    while alive(process.pid):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_ctrl_c_keeps_what_is_done_and_what_was_there(coco, unkilled, tmp_path, monkeypatch, capsys):
    output = tmp_path / "a.h5"
    output.write_text("an older file")

    def interrupted(*args):
        if args[0].image_id == 30:
            raise KeyboardInterrupt
        return original(*args)

    original = preparation.prepare_picture
    with monkeypatch.context() as patch:
        patch.setattr(preparation, "prepare_picture", interrupted)
        assert door(prepare_coco.main, arguments(coco, output, "--workers", "1")) == INTERRUPTED
    assert output.read_text() == "an older file"
    done = parts_of(output)
    assert len(done) == 14
    capsys.readouterr()
    assert prepare_coco.main(arguments(coco, output, "--workers", "1")) == 1
    assert "skipped picture 11: picture missing" in capsys.readouterr().err  # of a part that was there
    assert output.read_bytes() == unkilled


def broken_off(coco, output: Path, *more: str) -> dict[str, int]:
    """Leave a preparation when all parts are done, or none of them lacks much."""
    plan = preparation.Plan(coco[0], (coco[1],), output, **dict.fromkeys(more, True))
    with preparation.Preparation(plan) as begun:
        for _ in begun.parts(1):
            if len(parts_of(output)) == 30:
                break
    return parts_of(output)


def test_what_a_crash_of_the_machine_left_of_a_part_is_made_again(coco, unkilled, tmp_path):
    output = tmp_path / "a.h5"
    broken_off(coco, output)
    (folder,) = (path for path in (tmp_path / "a.h5.partial").iterdir() if path.is_dir())
    (folder / "00003.h5").write_bytes(b"")
    (folder / "00005.h5").write_bytes((folder / "00005.h5").read_bytes()[:-100])
    (folder / "joined.h5").write_bytes(b"half of it")
    with h5py.File(folder / "00009.h5", "r+") as file:
        file["pictures/data"][100:200] = 0
    assert prepare_coco.main(arguments(coco, output)) == 1
    assert output.read_bytes() == unkilled


@pytest.mark.parametrize("option", [["--negatives"], ["--store", "raw"], ["--split", "first:3"]])
def test_other_options_are_never_mixed_in(coco, unkilled, tmp_path, option, capsys):
    output = tmp_path / "a.h5"
    broken_off(coco, output)
    assert prepare_coco.main(arguments(coco, output, *option)) == 1
    assert "a.h5: begun anew, what was broken off had other annotations or options" in capsys.readouterr().out
    mixed = output.read_bytes()
    assert prepare_coco.main(arguments(coco, output, *option)) == 1
    assert "begun anew" not in capsys.readouterr().out
    assert output.read_bytes() == mixed


def test_other_annotations_are_never_mixed_in(coco, unkilled, tmp_path, capsys):
    output, changed = tmp_path / "a.h5", tmp_path / "changed.json"
    broken_off(coco, output)
    content = json.loads(coco[0].read_text())
    content["annotations"][0]["keypoints"][0] += 1
    changed.write_text(json.dumps(content))
    assert prepare_coco.main(arguments((changed, coco[1]), output)) == 1
    assert "begun anew" in capsys.readouterr().out
    assert SampleFile(output)[0].keypoints[0, 0, 0] == content["annotations"][0]["keypoints"][0]


def test_two_that_make_the_same_file_do_not_meet(coco, unkilled, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(preparation, "PATIENCE", 0.2)
    output = tmp_path / "a.h5"
    with preparation.Preparation(preparation.Plan(coco[0], (coco[1],), output)) as first:
        assert door(prepare_coco.main, arguments(coco, output)) == 2
        assert "another process makes " in capsys.readouterr().err
        list(first.parts(1))
        list(first.join(1))
    assert output.read_bytes() == unkilled


def test_a_full_disk_costs_nothing_that_is_done(coco, unkilled, tmp_path, monkeypatch, capsys):
    def full(path, content):
        if path.name == "00007.h5":
            raise OSError(28, "No space left on device")
        return original(path, content)

    output = tmp_path / "a.h5"
    original = preparation.write_part
    with monkeypatch.context() as patch:
        patch.setattr(preparation, "write_part", full)
        assert door(prepare_coco.main, arguments(coco, output, "--workers", "2")) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert len(parts_of(output)) >= 6
    assert prepare_coco.main(arguments(coco, output)) == 1
    assert output.read_bytes() == unkilled


def test_a_process_that_is_killed_for_want_of_memory_is_told(coco, unkilled, tmp_path, monkeypatch, capsys):
    def killed(*args):
        if args[0].image_id == 30:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args)

    output = tmp_path / "a.h5"
    original = preparation.prepare_picture
    with monkeypatch.context() as patch:
        patch.setattr(preparation, "prepare_picture", killed)
        assert door(prepare_coco.main, arguments(coco, output, "--workers", "2")) == 2
    assert "a process was killed, perhaps for want of memory" in capsys.readouterr().err
    assert prepare_coco.main(arguments(coco, output)) == 1
    assert output.read_bytes() == unkilled


def test_a_folder_as_target(coco, tmp_path, capsys):
    assert door(prepare_coco.main, arguments(coco, tmp_path)) == 2
    assert "is a folder; the name of a file to write is expected" in capsys.readouterr().err


def test_the_file_lies_in_one_piece_and_says_where_it_is_from(coco, unkilled, tmp_path):
    (tmp_path / "a.h5").write_bytes(unkilled)
    with h5py.File(tmp_path / "a.h5") as file:
        assert file.attrs["annotations"] == coco[0].name.encode()
        assert file["pictures/file_name"][0] == b"000000000001.jpg"
        assert file["pictures/data"].id.get_offset()
