"""The run around the steps: what it writes, how it goes on, and how it ends."""

from __future__ import annotations

import _thread
import json
import math
import signal
import time

import pytest
import torch
from drawn_coco import write_drawn_coco
from places import CONFIGS
from trainers import settings_of, trainer_of

from simplepose.cli import door
from simplepose.cli import train as verb
from simplepose.cli.ap import ap_of
from simplepose.data.dataset import TrainingSamples
from simplepose.inference.predictor import Predictor
from simplepose.models import checkpoints
from simplepose.skeleton import COCO
from simplepose.training import checkpointing
from simplepose.training.loggers import Journal, Reporter, read
from simplepose.training.loop import Watch, train
from simplepose.training.run_dir import RunFolder
from simplepose.utils.distributed import World


def arguments(samples_file, run, *more):
    args = ["--config", str(CONFIGS / "smoke.yaml"), "--train", str(samples_file), "--device", "cpu"]
    args += ["--output", str(run), *more, "--set", "train.workers=0", "augment.size=[64,128]"]
    return [*args, "train.log_steps=1"]


def run_of(settings, samples_file, folder, watch=None, resume=False):
    """Train a fresh trainer, or the folder's, in a folder; returns whether it finished, and the trainer."""
    trainer, samples = trainer_of(settings), TrainingSamples(samples_file, settings, COCO)
    if resume:
        trainer.load_state(folder.newest(), "the newest")
    journal = Journal(folder.journal, trainer.progress.step)
    reporter = Reporter(settings.train, trainer.device, journal)
    return train(trainer, samples, folder, reporter, watch or Watch()), trainer


def kinds(run):
    return [line["kind"] for line in read(run / "journal.jsonl")]


def test_the_command_writes_what_a_run_needs(samples_file, tmp_path, capsys):
    run = tmp_path / "run"
    args = arguments(samples_file, run, "--val", str(samples_file))
    assert verb.main([*args, "train.picture_steps=2"]) == 0
    written = {path.name for path in run.iterdir()}
    assert written >= {
        "settings.yaml",
        "environment.json",
        "journal.jsonl",
        "model.safetensors",
        "tensorboard",
    }
    told = capsys.readouterr().out
    assert "samples/s" in told
    assert "done: " in told
    lines = read(run / "journal.jsonl")
    epoch = next(line for line in lines if line["kind"] == "epoch")
    steps = [line for line in lines if line["kind"] == "step"]
    assert epoch["loss"] == pytest.approx(sum(line["loss"] for line in steps) / len(steps))
    assert math.isfinite(epoch["val_loss"])
    assert [line["step"] for line in steps] == list(range(1, len(steps) + 1))
    assert {len(line["scales"]) for line in steps} == {5}
    assert {len(line["stacks"]) for line in steps} == {2}
    released = checkpoints.load(run / "model.safetensors")
    averaged = checkpoints.load(RunFolder(run, True).checkpoints()[0], weights="ema")
    for name, tensor in released.network.state_dict().items():
        assert torch.equal(tensor, averaged.network.state_dict()[name]), name
    assert door(verb.main, args) == 2
    assert "--resume" in capsys.readouterr().err


def test_a_run_can_begin_with_other_weights(samples_file, tmp_path, caplog):
    trainer, path = trainer_of(settings_of()), tmp_path / "first.safetensors"
    checkpoints.save_released(path, trainer.model)
    still = ["train.learning_rate=0", "train.ema_decay=0"]
    begin = ("--init-from", str(path))
    assert verb.main([*arguments(samples_file, tmp_path / "run", *begin), *still]) == 0
    begun = checkpoints.load(tmp_path / "run/model.safetensors").network
    for name, parameter in trainer.network.named_parameters():
        assert torch.equal(parameter, begun.get_parameter(name)), name
    with caplog.at_level("INFO"):
        verb.main([*arguments(samples_file, tmp_path / "b", *begin), *still, "model.stacks=1"])
    assert "not used: " in caplog.text


def test_a_run_goes_on_only_with_its_own_settings(samples_file, tmp_path):
    args = arguments(samples_file, tmp_path)
    assert verb.main(args) == 0
    with pytest.raises(ValueError, match=r"train\.weight_decay was 0\.0005 and is 0\.1; give the same"):
        verb.main([*args, "train.weight_decay=0.1", "--resume"])
    steps = RunFolder(tmp_path, True).newest()["progress"]["step"]
    assert verb.main([*args, "train.epochs=2", "--resume"]) == 0
    assert RunFolder(tmp_path, True).newest()["progress"]["step"] == 2 * steps


def test_epochs_may_change_on_resume_unless_the_rate_depends_on_them():
    for schedule in ("step", "cyclic"):
        checkpointing.check_resumable(
            *(settings_of(f"train.schedule={schedule}", f"train.epochs={n}") for n in (9, 12))
        )
    cosine = [settings_of("train.schedule=cosine", f"train.epochs={n}") for n in (9, 12)]
    with pytest.raises(ValueError, match=r"train\.epochs was 9 and is 12"):
        checkpointing.check_resumable(*cosine)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_last_validation_keeps_the_epoch_and_it_is_validated_on_resume(
    samples_file, tmp_path, monkeypatch, number
):
    settings = settings_of("train.ap_epochs=1")
    straight, folder = RunFolder(tmp_path / "straight", False), RunFolder(tmp_path / "broken", False)
    held_out = TrainingSamples(samples_file, settings, COCO)
    finished, _ = run_of(settings, samples_file, straight, Watch(held_out, lambda _: (0.5, 0.6)))
    assert finished
    read_sample = TrainingSamples.__getitem__

    def interrupted(self, place):
        if self is held_out:
            signal.raise_signal(number)
        return read_sample(self, place)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingSamples, "__getitem__", interrupted)
        finished, trainer = run_of(settings, samples_file, folder, Watch(held_out, lambda _: (0.5, 0.6)))
    assert not finished
    assert (trainer.progress.epoch, trainer.progress.samples) == (1, 0)
    assert "epoch" not in [line["kind"] for line in read(folder.journal)]

    finished, trainer = run_of(settings, samples_file, folder, Watch(held_out, lambda _: (0.5, 0.6)), True)
    assert finished
    told, expected = read(folder.journal), read(straight.journal)
    assert [line for line in told if line["kind"] in ("epoch", "ap")] == expected[-2:]
    assert json.loads((folder.path / "best.json").read_text())["score"] == 0.5


def test_checkpoints_come_by_steps_and_by_minutes(samples_file, tmp_path):
    by_steps = RunFolder(tmp_path / "steps", False)
    run_of(settings_of("train.checkpoint_steps=2", "train.keep=100"), samples_file, by_steps)
    saved = sorted(int(path.stem.split("_")[1]) for path in by_steps.checkpoints())
    assert saved[:2] == [2, 4]
    by_time = RunFolder(tmp_path / "minutes", False)
    run_of(settings_of("train.checkpoint_minutes=1e-9", "train.keep=100"), samples_file, by_time)
    saved = sorted(int(path.stem.split("_")[1]) for path in by_time.checkpoints())
    assert saved[:3] == [1, 2, 3]


def test_steps_that_stay_unusable_end_the_run_with_what_it_has(samples_file, tmp_path):
    settings = settings_of(
        "train.loss_limit=1e-9", "train.skips_in_a_row=3", "train.log_steps=2", "train.epochs=9"
    )
    folder = RunFolder(tmp_path, False)
    with pytest.raises(ValueError, match=r"all of the last 4 steps.*lower train\.learning_rate"):
        run_of(settings, samples_file, folder)
    assert [line["skipped"] for line in read(folder.journal) if line["kind"] == "step"] == [2, 4]


def test_a_disk_that_fails_for_a_while_does_not_end_the_run(samples_file, tmp_path):
    settings = settings_of("train.checkpoint_steps=1")
    folder = RunFolder(tmp_path / "run", False)
    (folder.path / "checkpoint_00000001.pt").mkdir()  # no file can take its place
    finished, _ = run_of(settings, samples_file, folder)
    assert finished
    notes = [line["text"] for line in read(folder.journal) if line["kind"] == "note"]
    assert len(notes) == 1
    assert "could not be written" in notes[0]
    assert folder.newest()["progress"]["epoch"] == 1


def test_too_few_samples_for_a_step_are_told(samples_file, tmp_path):
    with pytest.raises(ValueError, match=r"train\.batch_size"):
        run_of(settings_of("train.batch_size=1000"), samples_file, RunFolder(tmp_path, False))


def test_ap_is_told_and_the_best_kept(tmp_path, samples_file):
    annotations, images = write_drawn_coco(tmp_path / "coco", pictures=3)
    watched = ("--ap-annotations", str(annotations), "--ap-images", str(images))
    run = tmp_path / "run"
    args = [*arguments(samples_file, run, *watched), "train.epochs=2", "train.ap_epochs=1"]
    assert verb.main([*args, "train.swa_start=0", "train.swa_epochs=1"]) == 0
    told = [line for line in read(run / "journal.jsonl") if line["kind"] == "ap"]
    assert [line["epoch"] for line in told] == [1, 2]
    best = json.loads((run / "best.json").read_text())
    assert best["score"] == max(line["ap"] for line in told)
    checkpoints.load(run / "best.safetensors")
    with pytest.raises(ValueError, match="--ap-annotations"):
        verb.main([*arguments(samples_file, tmp_path / "b"), "train.ap_epochs=1"])


def test_ap_of_a_part_of_the_pictures_is_not_told(tmp_path, samples_file, monkeypatch):
    annotations, images = write_drawn_coco(tmp_path / "coco", pictures=3)
    settings = settings_of("train.ap_epochs=1")
    measure = ap_of(annotations, images, settings, torch.device("cpu"), World())
    found = Predictor.group
    seen = []

    def interrupted(self, maps, picture):
        seen.append(picture)
        if len(seen) == 2:
            _thread.interrupt_main()  # as the second Ctrl-C does
            time.sleep(0.5)
        return found(self, maps, picture)

    monkeypatch.setattr(Predictor, "group", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measure(trainer_of(settings).model)
