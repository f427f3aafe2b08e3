"""An interrupted preparation resumes to the same file, with any number of processes."""

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
from synthetic_coco import write_synthetic_coco
from tqdm import tqdm

from simplepose.cli import EXIT_INTERRUPTED, prepare_coco, run_command
from simplepose.data.hdf5 import preparation
from simplepose.data.hdf5.reader import SampleFile
from simplepose.utils import atomic

NUM_IMAGES = 72

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills process groups, which needs fork")


@pytest.fixture(scope="module")
def coco(tmp_path_factory):
    """Synthetic images, one of them missing, and their json."""
    annotations, images = write_synthetic_coco(tmp_path_factory.mktemp("coco"), num_images=NUM_IMAGES)
    (images / "000000000011.jpg").unlink()
    return annotations, images


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Parts of two images; and OpenCV without threads, which a fork would not copy."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    monkeypatch.setattr(preparation, "IMAGES_PER_PART", 2)
    yield
    cv2.setNumThreads(threads)


def arguments(coco, output: Path, *more: str) -> list[str]:
    return ["--annotations", str(coco[0]), "--images", str(coco[1]), "--output", str(output), *more]


@pytest.fixture(scope="module")
def uninterrupted(coco, tmp_path_factory) -> bytes:
    """The file of an uninterrupted preparation."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preparation, "IMAGES_PER_PART", 2)
        output = tmp_path_factory.mktemp("unkilled") / "a.h5"
        assert prepare_coco.main(arguments(coco, output, "--workers", "1")) == 1
    assert len(SampleFile(output).image_ids) == NUM_IMAGES - 1
    return output.read_bytes()


def start_command(*args: str) -> multiprocessing.Process:
    """Start the command in its own process and process group."""

    def work() -> None:
        os.setpgid(0, 0)
        tqdm.set_lock(threading.RLock())  # not the lock that a killed process may hold
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            os._exit(run_command(prepare_coco.main, args))

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    return process


def finished_parts(output: Path) -> dict[str, int]:
    """The finished parts: file name -> modification time."""
    done = {}
    for path in output.parent.glob(f"{output.name}.partial/*/[0-9]*.h5"):
        with contextlib.suppress(FileNotFoundError):  # joined and removed meanwhile
            done[path.name] = path.stat().st_mtime_ns
    return done


def alive(group: int) -> bool:
    """Whether a process of the group is running."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_preparation_killed_at_random_moments_resumes_to_the_same_bytes(
    coco, uninterrupted, tmp_path, rng, workers
):
    output = tmp_path / "a.h5"
    output.write_text("an older file")
    done: dict[str, int] = {}
    kills = 0
    for _ in range(6):
        process = start_command(*arguments(coco, output, "--workers", workers))
        target = len(done) + int(rng.integers(1, 6))
        while process.is_alive() and len(finished_parts(output)) < target:
            time.sleep(0.001)
        time.sleep(float(rng.uniform(0, 0.01)))
        process.kill()  # only the main process: its workers must end too
        process.join()
        kills += 1
        if output.read_bytes() != b"an older file":
            break  # it finished before
        assert process.exitcode == -signal.SIGKILL
        now = finished_parts(output)
        assert done.items() <= now.items()  # no part is prepared twice
        done = now
    assert kills >= 3
    last = start_command(*arguments(coco, output, "--workers", workers))
    last.join(60)
    assert last.exitcode == 1  # because of the missing image
    assert output.read_bytes() == uninterrupted
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]


def test_worker_processes_end_when_the_main_process_is_killed(coco, tmp_path):
    process = start_command(*arguments(coco, tmp_path / "a.h5", "--workers", "2"))
    while not finished_parts(tmp_path / "a.h5"):
        time.sleep(0.001)
    process.kill()
    process.join()
    end = time.monotonic() + 20
    while alive(process.pid):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_ctrl_c_keeps_finished_parts_and_the_existing_file(
    coco, uninterrupted, tmp_path, monkeypatch, capsys
):
    output = tmp_path / "a.h5"
    output.write_text("an older file")

    def interrupted(*args):
        if args[0].image_id == 30:
            raise KeyboardInterrupt
        return original(*args)

    original = preparation.prepare_image
    with monkeypatch.context() as patch:
        patch.setattr(preparation, "prepare_image", interrupted)
        assert run_command(prepare_coco.main, arguments(coco, output, "--workers", "1")) == EXIT_INTERRUPTED
    assert output.read_text() == "an older file"
    done = finished_parts(output)
    assert len(done) == 14
    capsys.readouterr()
    assert prepare_coco.main(arguments(coco, output, "--workers", "1")) == 1
    assert "skipped image 11: image missing" in capsys.readouterr().err  # from a reused part
    assert output.read_bytes() == uninterrupted


def interrupt(coco, output: Path, *more: str) -> dict[str, int]:
    """Interrupt a preparation after 30 parts."""
    plan = preparation.PreparationPlan(coco[0], (coco[1],), output, **dict.fromkeys(more, True))
    with preparation.Preparation(plan) as interrupted:
        for _ in interrupted.prepare_parts(1):
            if len(finished_parts(output)) == 30:
                break
    return finished_parts(output)


def test_parts_damaged_by_a_crash_of_the_machine_are_prepared_again(coco, uninterrupted, tmp_path):
    output = tmp_path / "a.h5"
    interrupt(coco, output)
    (folder,) = (path for path in (tmp_path / "a.h5.partial").iterdir() if path.is_dir())
    (folder / "00003.h5").write_bytes(b"")
    (folder / "00005.h5").write_bytes((folder / "00005.h5").read_bytes()[:-100])
    (folder / "joined.h5").write_bytes(b"half of it")
    with h5py.File(folder / "00009.h5", "r+") as file:
        file["pictures/data"][100:200] = 0
    assert prepare_coco.main(arguments(coco, output)) == 1
    assert output.read_bytes() == uninterrupted


@pytest.mark.parametrize("option", [["--negatives"], ["--store", "raw"], ["--split", "first:3"]])
def test_parts_of_other_options_are_not_reused(coco, uninterrupted, tmp_path, option, capsys):
    output = tmp_path / "a.h5"
    interrupt(coco, output)
    assert prepare_coco.main(arguments(coco, output, *option)) == 1
    assert (
        "a.h5: restarted, because the interrupted run had other annotations or options"
        in capsys.readouterr().out
    )
    mixed = output.read_bytes()
    assert prepare_coco.main(arguments(coco, output, *option)) == 1
    assert "restarted" not in capsys.readouterr().out
    assert output.read_bytes() == mixed


def test_parts_of_other_annotations_are_not_reused(coco, uninterrupted, tmp_path, capsys):
    output, changed = tmp_path / "a.h5", tmp_path / "changed.json"
    interrupt(coco, output)
    content = json.loads(coco[0].read_text())
    content["annotations"][0]["keypoints"][0] += 1
    changed.write_text(json.dumps(content))
    assert prepare_coco.main(arguments((changed, coco[1]), output)) == 1
    assert "restarted" in capsys.readouterr().out
    assert SampleFile(output)[0].keypoints[0, 0, 0] == content["annotations"][0]["keypoints"][0]


def test_two_preparations_of_the_same_file_exclude_each_other(
    coco, uninterrupted, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(preparation, "LOCK_TIMEOUT_S", 0.2)
    output = tmp_path / "a.h5"
    with preparation.Preparation(preparation.PreparationPlan(coco[0], (coco[1],), output)) as first:
        assert run_command(prepare_coco.main, arguments(coco, output)) == 2
        assert "another process writes " in capsys.readouterr().err
        list(first.prepare_parts(1))
        list(first.join_parts(1))
    assert output.read_bytes() == uninterrupted


def test_a_full_disk_keeps_finished_parts(coco, uninterrupted, tmp_path, monkeypatch, capsys):
    def full(path, content, fsync):
        if path.name == "00007.h5":
            raise OSError(28, "No space left on device")
        return original(path, content, fsync)

    output = tmp_path / "a.h5"
    original = atomic.write_bytes
    with monkeypatch.context() as patch:
        patch.setattr(atomic, "write_bytes", full)
        assert run_command(prepare_coco.main, arguments(coco, output, "--workers", "2")) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert len(finished_parts(output)) >= 6
    assert prepare_coco.main(arguments(coco, output)) == 1
    assert output.read_bytes() == uninterrupted


def test_a_killed_worker_is_reported(coco, uninterrupted, tmp_path, monkeypatch, capsys):
    def killed(*args):
        if args[0].image_id == 30:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args)

    output = tmp_path / "a.h5"
    original = preparation.prepare_image
    with monkeypatch.context() as patch:
        patch.setattr(preparation, "prepare_image", killed)
        assert run_command(prepare_coco.main, arguments(coco, output, "--workers", "2")) == 2
    assert "a worker process was killed, perhaps because memory ran out" in capsys.readouterr().err
    assert prepare_coco.main(arguments(coco, output)) == 1
    assert output.read_bytes() == uninterrupted


def test_a_folder_as_output_is_rejected(coco, tmp_path, capsys):
    assert run_command(prepare_coco.main, arguments(coco, tmp_path)) == 2
    assert "expected the name of a file to write, got a folder" in capsys.readouterr().err


def test_image_data_is_contiguous_and_the_source_is_recorded(coco, uninterrupted, tmp_path):
    (tmp_path / "a.h5").write_bytes(uninterrupted)
    with h5py.File(tmp_path / "a.h5") as file:
        assert file.attrs["annotations"] == coco[0].name.encode()
        assert file["pictures/file_name"][0] == b"000000000001.jpg"
        assert file["pictures/data"].id.get_offset()
