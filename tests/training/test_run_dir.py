"""The run folder: saved files survive kills, damage and a full disk."""

import json
import math
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from full_disk import limit_file_size, run_on_small_disk
from repo_paths import CONFIGS, ROOT

from simplepose import config, skeleton
from simplepose.models import IMHN, checkpoints
from simplepose.models.checkpoints import Model
from simplepose.training import checkpointing
from simplepose.training.run_dir import RunFolder, SaveError


def state(step, size=100):
    """Return a minimal training checkpoint."""
    values = dict.fromkeys(checkpoints.TRAINING_KEYS)
    values["weights"] = {"w": torch.full((size,), float(step))}
    return {**values, "format": checkpoints.TRAINING_FORMAT, "progress": {"step": step}}


def model(fill=0.5):
    settings = config.load(CONFIGS / "smoke.yaml")
    network = IMHN.from_settings(settings.model, skeleton.COCO.channels)
    torch.nn.init.constant_(network.heads[0][0].maps.bias, fill)
    return Model(network, settings, skeleton.COCO)


def bias(path):
    return checkpoints.load(path).network.heads[0][0].maps.bias[0].item()


@pytest.fixture
def folder(tmp_path):
    """A run folder with checkpoints of steps 1, 2 and 3."""
    folder = RunFolder(tmp_path / "run", False)
    for step in (1, 2, 3):
        folder.save(step, state(step), keep=3)
    return folder


def flip_bit(content):
    return content[:700] + bytes([content[700] ^ 4]) + content[701:]


@pytest.mark.parametrize(
    "damage",
    [
        flip_bit,
        lambda content: content[:-41] + bytes([content[-41] ^ 1]) + content[-40:],
        lambda content: content[:-1],
        lambda content: content[:1000],
        lambda content: content[:-500] + bytes(500),
        lambda content: b"",
        lambda content: bytes(len(content)),
    ],
    ids=["bit", "bit near the end", "last byte", "half", "zeros at the end", "empty", "all zeros"],
)
def test_damaged_newest_checkpoint_is_skipped(folder, damage, caplog):
    newest = folder.checkpoints()[0]
    newest.write_bytes(damage(newest.read_bytes()))
    assert folder.load_newest_checkpoint()["progress"]["step"] == 2
    assert newest.name in caplog.text
    assert "trying the checkpoint before it" in caplog.text
    assert newest.with_suffix(".torn").exists()
    assert [path.name for path in folder.checkpoints()] == [
        "checkpoint_00000002.pt",
        "checkpoint_00000001.pt",
    ]
    folder.save(3, state(3), keep=3)
    assert folder.load_newest_checkpoint()["progress"]["step"] == 3


def test_several_damaged_checkpoints_are_skipped_and_only_damaged_ones_are_an_error(folder):
    third, second, first = folder.checkpoints()
    third.write_bytes(flip_bit(third.read_bytes()))
    second.write_bytes(b"")
    assert folder.find_newest_checkpoint() == first
    first.write_bytes(first.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"none of the checkpoints in .* can be read"):
        folder.load_newest_checkpoint()
    assert first.exists()


def test_checkpoint_that_is_a_folder_is_skipped(folder):
    (folder.path / "checkpoint_00000009.pt").mkdir()
    assert folder.load_newest_checkpoint()["progress"]["step"] == 3


def test_undamaged_checkpoint_of_another_format_is_an_error(folder):
    folder.save(4, {"format": "of the future"}, keep=3)
    with pytest.raises(ValueError, match="a training checkpoint"):
        folder.load_newest_checkpoint()
    assert len(folder.checkpoints()) == 3


def test_folder_with_a_run_is_an_error_without_resume(tmp_path):
    folder = RunFolder(tmp_path / "a/b", False)
    assert folder.load_newest_checkpoint() is None
    folder.save(1, state(1), keep=1)
    (folder.path / "checkpoint_00000002.pt.partial").write_bytes(b"half")
    with pytest.raises(ValueError, match="already contains a run"):
        RunFolder(tmp_path / "a/b", False)
    folder.close()
    assert RunFolder(tmp_path / "a/b", True).load_newest_checkpoint()["progress"]["step"] == 1
    assert {path.name for path in folder.path.iterdir()} == {"checkpoint_00000001.pt", "lock"}


def test_newest_checkpoints_are_kept(folder):
    folder.save(4, state(4), keep=2)
    assert [path.name for path in folder.checkpoints()] == [
        "checkpoint_00000004.pt",
        "checkpoint_00000003.pt",
    ]


def test_failed_save_loses_nothing_and_the_next_one_works(folder):
    before = {path: path.read_bytes() for path in folder.path.iterdir()}
    with (
        limit_file_size(10**5),
        pytest.raises(SaveError, match=r"checkpoint_00000004\.pt could not be written"),
    ):
        folder.save(4, state(4, size=10**6), keep=1)
    assert {path: path.read_bytes() for path in folder.path.iterdir()} == before
    assert folder.load_newest_checkpoint()["progress"]["step"] == 3
    folder.save(5, state(5, size=10**6), keep=1)
    assert [path.name for path in folder.checkpoints()] == ["checkpoint_00000005.pt"]


FILL_THE_DISK = """
import sys, torch
from pathlib import Path
from simplepose.training import checkpointing
from simplepose.training.run_dir import RunFolder, SaveError

folder = RunFolder(Path(sys.argv[1]) / "run", False)
values = {"w": torch.ones(100_000)}
for step in range(1, 20):
    try:
        folder.save(step, values, keep=20)
    except SaveError as error:
        print(error)
        break
for path in folder.checkpoints():
    checkpointing.verify_checksum(path)
names = sorted(path.name for path in folder.path.glob("checkpoint_*"))
assert names == [f"checkpoint_{n:08}.pt" for n in range(1, step)], names
folder.checkpoints()[-1].unlink()
folder.save(step, values, keep=20)
print(len(folder.checkpoints()), folder.find_newest_checkpoint().name)
"""


def test_full_disk_loses_no_saved_checkpoint(tmp_path):
    output = run_on_small_disk(FILL_THE_DISK, 2 * 10**6, str(tmp_path)).splitlines()
    assert "No space left on device" in output[0]
    assert output[1] == "4 checkpoint_00000005.pt"


SAVE_UNTIL_KILLED = """
import sys, torch
from simplepose.training.run_dir import RunFolder

folder = RunFolder(sys.argv[1], True)
step = int(sys.argv[2])
while True:
    step += 1
    folder.save(step, {"w": torch.full((2_000_000,), float(step))}, keep=2)
    print(step, flush=True)
"""


@pytest.mark.slow
def test_kill_during_a_save_loses_no_saved_checkpoint(tmp_path, rng):
    found = 0
    for _ in range(2):
        command = [sys.executable, "-c", SAVE_UNTIL_KILLED, str(tmp_path), str(found)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as child:
            steps = [child.stdout.readline() for _ in range(3)]
            time.sleep(rng.uniform(0, 0.05))
            child.kill()
            steps += child.stdout.readlines()
        newest = RunFolder(tmp_path, True).find_newest_checkpoint()
        before, found = found, int(torch.load(newest, weights_only=True)["w"][0])
        assert found >= int(steps[-1]) >= before + 3


def test_best_network_is_saved_with_its_score(folder):
    assert folder.save_best(model(1), "AP", 0.3, step=10)
    assert not folder.save_best(model(2), "AP", 0.3, step=20)
    assert not folder.save_best(model(2), "AP", math.nan, step=30)
    assert bias(folder.best) == 1
    folder.close()
    reopened = RunFolder(folder.path, True)
    assert reopened.save_best(model(3), "AP", 0.4, step=40)
    assert bias(reopened.best) == 3
    best = json.loads((folder.path / "best.json").read_text())
    assert best == {"measure": "AP", "score": 0.4, "step": 40}
    assert reopened.save_best(model(4), "minus validation loss", -100.0, step=50)  # another metric
    assert bias(reopened.best) == 4


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"measure": "AP", "score": "x"}'])
def test_unreadable_best_score_is_replaced(folder, content, caplog):
    folder.save_best(model(1), "AP", 0.9, step=10)
    (folder.path / "best.json").write_text(content)
    assert folder.save_best(model(2), "AP", 0.1, step=20)
    assert "best.json" in caplog.text


def test_missing_best_network_is_replaced(folder):
    folder.save_best(model(1), "AP", 0.9, step=10)
    folder.best.unlink()
    assert folder.save_best(model(2), "AP", 0.1, step=20)
    assert bias(folder.best) == 2


def test_full_disk_keeps_the_previous_best(folder):
    folder.save_best(model(1), "AP", 0.3, step=10)
    for save in (
        lambda: folder.save_best(model(2), "AP", 0.4, step=20),
        lambda: folder.save_final_network(model()),
    ):
        with limit_file_size(10**4), pytest.raises(SaveError, match="safetensors could not be written"):
            save()
    assert bias(folder.best) == 1
    assert json.loads((folder.path / "best.json").read_text())["score"] == 0.3
    assert not folder.final_network.exists()
    folder.save_final_network(model(7))
    assert bias(folder.final_network) == 7


def test_checkpoints_are_checksummed(folder):
    for path in folder.checkpoints():
        checkpointing.verify_checksum(path)


LOCK_HOLDER = """
import os, sys, time
from simplepose.training.run_dir import RunFolder
folder = RunFolder(sys.argv[1], True)
child = os.fork()  # like a data loader worker
if child:
    print(child, flush=True)
time.sleep(120)
"""


def test_folder_is_locked_while_its_process_lives(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", LOCK_HOLDER, tmp_path], stdout=subprocess.PIPE, text=True
    )
    child = int(holder.stdout.readline())
    try:
        for resume in (True, False):
            with pytest.raises(ValueError, match="another process is training in"):
                RunFolder(tmp_path, resume)
        holder.kill()
        holder.wait()
        RunFolder(tmp_path, True)
    finally:
        os.kill(child, signal.SIGKILL)
        holder.kill()
        holder.communicate()
