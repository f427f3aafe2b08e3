"""The training run: its files, resuming, and how it ends."""

from __future__ import annotations

import _thread
import itertools
import json
import math
import signal
import time

import pytest
import torch
from repo_paths import CONFIGS
from synthetic_coco import write_synthetic_coco
from trainers import make_settings, make_trainer

from simplepose.cli import run_command
from simplepose.cli import train as command
from simplepose.cli.ap import build_ap_metric
from simplepose.data.dataset import TrainingSamples
from simplepose.inference.predictor import Predictor
from simplepose.models import checkpoints
from simplepose.skeleton import COCO
from simplepose.training import checkpointing
from simplepose.training.loggers import JournalSink, MetricLogger, TerminalSink, read_journal
from simplepose.training.loop import Validation, train
from simplepose.training.run_dir import RunFolder
from simplepose.utils.distributed import World


def arguments(samples_file, run, *more):
    args = ["--config", str(CONFIGS / "smoke.yaml"), "--train", str(samples_file), "--device", "cpu"]
    args += ["--output", str(run), *more, "--set", "train.workers=0", "augment.size=[64,128]"]
    return [*args, "train.log_steps=1"]


def run_training(settings, samples_file, folder, validation=None, resume=False):
    """Train in a folder, new or resumed; returns whether the run finished, and the trainer."""
    trainer, samples = make_trainer(settings), TrainingSamples(samples_file, settings, COCO)
    if resume:
        trainer.load_state(folder.load_newest_checkpoint(), "newest checkpoint")
    sinks = [JournalSink(folder.journal, trainer.progress.step), TerminalSink()]
    metric_logger = MetricLogger(settings.train.epochs, trainer.device, sinks)
    return train(trainer, samples, folder, metric_logger, validation or Validation()), trainer


def kinds(run):
    return [line["kind"] for line in read_journal(run / "journal.jsonl")]


def test_command_writes_all_files_of_a_run(samples_file, tmp_path, capsys):
    run = tmp_path / "run"
    args = arguments(samples_file, run, "--val", str(samples_file))
    assert command.main([*args, "train.image_log_steps=2"]) == 0
    written = {path.name for path in run.iterdir()}
    assert written >= {
        "settings.yaml",
        "environment.json",
        "journal.jsonl",
        "model.safetensors",
        "tensorboard",
    }
    output = capsys.readouterr().out
    assert "samples/s" in output
    assert "done: " in output
    lines = read_journal(run / "journal.jsonl")
    epoch = next(line for line in lines if line["kind"] == "epoch")
    steps = [line for line in lines if line["kind"] == "step"]
    assert epoch["loss"] == pytest.approx(sum(line["loss"] for line in steps) / len(steps))
    assert math.isfinite(epoch["val_loss"])
    assert [line["step"] for line in steps] == list(range(1, len(steps) + 1))
    assert {len(line["scales"]) for line in steps} == {5}
    assert {len(line["stacks"]) for line in steps} == {2}
    final = checkpoints.load(run / "model.safetensors")
    averaged = checkpoints.load(RunFolder(run, True).checkpoints()[0], weights="ema")
    for name, tensor in final.network.state_dict().items():
        assert torch.equal(tensor, averaged.network.state_dict()[name]), name
    assert run_command(command.main, args) == 2
    assert "--resume" in capsys.readouterr().err


def test_run_starts_from_given_weights(samples_file, tmp_path, caplog):
    trainer, path = make_trainer(make_settings()), tmp_path / "first.safetensors"
    checkpoints.save_safetensors(path, trainer.model)
    zero_rate = ["train.learning_rate=0", "train.ema_decay=0"]
    init = ("--init-from", str(path))
    assert command.main([*arguments(samples_file, tmp_path / "run", *init), *zero_rate]) == 0
    started = checkpoints.load(tmp_path / "run/model.safetensors").network
    for name, parameter in trainer.network.named_parameters():
        assert torch.equal(parameter, started.get_parameter(name)), name
    with caplog.at_level("INFO"):
        command.main([*arguments(samples_file, tmp_path / "b", *init), *zero_rate, "model.stacks=1"])
    assert "not used: " in caplog.text


def test_run_resumes_only_with_the_same_settings(samples_file, tmp_path):
    args = arguments(samples_file, tmp_path)
    assert command.main(args) == 0
    with pytest.raises(ValueError, match=r"train\.weight_decay was 0\.0005 and is 0\.1; use the same"):
        command.main([*args, "train.weight_decay=0.1", "--resume"])
    steps = RunFolder(tmp_path, True).load_newest_checkpoint()["progress"]["step"]
    assert command.main([*args, "train.epochs=2", "--resume"]) == 0
    assert RunFolder(tmp_path, True).load_newest_checkpoint()["progress"]["step"] == 2 * steps


def test_epochs_may_change_on_resume_unless_the_learning_rate_depends_on_them():
    for schedule in ("step", "cyclic"):
        checkpointing.check_resumable(
            *(make_settings(f"train.schedule={schedule}", f"train.epochs={n}") for n in (9, 12))
        )
    cosine = [make_settings("train.schedule=cosine", f"train.epochs={n}") for n in (9, 12)]
    with pytest.raises(ValueError, match=r"train\.epochs was 9 and is 12"):
        checkpointing.check_resumable(*cosine)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_epoch_whose_validation_was_interrupted_is_validated_on_resume(
    samples_file, tmp_path, monkeypatch, number
):
    settings = make_settings("train.ap_epochs=1")
    uninterrupted = RunFolder(tmp_path / "uninterrupted", False)
    folder = RunFolder(tmp_path / "interrupted", False)
    validation_samples = TrainingSamples(samples_file, settings, COCO)
    finished, _ = run_training(
        settings, samples_file, uninterrupted, Validation(validation_samples, lambda _: (0.5, 0.6))
    )
    assert finished
    read_sample = TrainingSamples.__getitem__

    def raise_signal(self, key):
        if self is validation_samples:
            signal.raise_signal(number)
        return read_sample(self, key)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingSamples, "__getitem__", raise_signal)
        finished, trainer = run_training(
            settings, samples_file, folder, Validation(validation_samples, lambda _: (0.5, 0.6))
        )
    assert not finished
    assert (trainer.progress.epoch, trainer.progress.samples) == (1, 0)
    assert "epoch" not in [line["kind"] for line in read_journal(folder.journal)]

    finished, trainer = run_training(
        settings, samples_file, folder, Validation(validation_samples, lambda _: (0.5, 0.6)), True
    )
    assert finished
    lines, expected = read_journal(folder.journal), read_journal(uninterrupted.journal)
    assert [line for line in lines if line["kind"] in ("epoch", "ap")] == expected[-2:]
    assert json.loads((folder.path / "best.json").read_text())["score"] == 0.5


def test_checkpoints_by_steps_and_by_minutes(samples_file, tmp_path):
    by_steps = RunFolder(tmp_path / "steps", False)
    run_training(
        make_settings("train.checkpoint_steps=2", "train.keep_checkpoints=100"), samples_file, by_steps
    )
    saved = sorted(int(path.stem.split("_")[1]) for path in by_steps.checkpoints())
    assert saved[:2] == [2, 4]
    by_time = RunFolder(tmp_path / "minutes", False)
    run_training(
        make_settings("train.checkpoint_minutes=1e-9", "train.keep_checkpoints=100"), samples_file, by_time
    )
    saved = sorted(int(path.stem.split("_")[1]) for path in by_time.checkpoints())
    assert saved[:3] == [1, 2, 3]


def test_run_ends_after_too_many_unusable_steps(samples_file, tmp_path):
    settings = make_settings(
        "train.loss_limit=1e-9", "train.max_consecutive_skips=3", "train.log_steps=2", "train.epochs=9"
    )
    folder = RunFolder(tmp_path, False)
    with pytest.raises(ValueError, match=r"all of the last 4 steps.*lower train\.learning_rate"):
        run_training(settings, samples_file, folder)
    assert [line["skipped"] for line in read_journal(folder.journal) if line["kind"] == "step"] == [2, 4]


def test_failed_save_does_not_end_the_run(samples_file, tmp_path):
    settings = make_settings("train.checkpoint_steps=1")
    folder = RunFolder(tmp_path / "run", False)
    (folder.path / "checkpoint_00000001.pt").mkdir()  # no file can replace it
    finished, _ = run_training(settings, samples_file, folder)
    assert finished
    notes = [line["text"] for line in read_journal(folder.journal) if line["kind"] == "note"]
    assert len(notes) == 1
    assert "could not be written" in notes[0]
    assert folder.load_newest_checkpoint()["progress"]["epoch"] == 1


def test_too_few_samples_for_a_step_are_an_error(samples_file, tmp_path):
    with pytest.raises(ValueError, match=r"train\.batch_size"):
        run_training(make_settings("train.batch_size=1000"), samples_file, RunFolder(tmp_path, False))


def test_ap_is_reported_and_the_best_network_saved(tmp_path, samples_file):
    annotations, images = write_synthetic_coco(tmp_path / "coco", num_images=3)
    ap_args = ("--ap-annotations", str(annotations), "--ap-images", str(images))
    run = tmp_path / "run"
    args = [*arguments(samples_file, run, *ap_args), "train.epochs=2", "train.ap_epochs=1"]
    assert command.main([*args, "train.swa_start=0", "train.swa_epochs=1"]) == 0
    lines = [line for line in read_journal(run / "journal.jsonl") if line["kind"] == "ap"]
    assert [line["epoch"] for line in lines] == [1, 2]
    best = json.loads((run / "best.json").read_text())
    assert best["score"] == max(line["ap"] for line in lines)
    checkpoints.load(run / "best.safetensors")
    with pytest.raises(ValueError, match="--ap-annotations"):
        command.main([*arguments(samples_file, tmp_path / "b"), "train.ap_epochs=1"])


def test_ap_reads_crowd_flags_of_any_type(tmp_path, samples_file):
    path, images = write_synthetic_coco(tmp_path / "coco", num_images=3)
    content = json.loads(path.read_text())
    for annotation, flag in zip(content["annotations"], itertools.cycle(("0", None, "false"))):
        annotation["iscrowd"] = flag
    path.write_text(json.dumps(content))
    metric = build_ap_metric(path, images, make_settings("train.ap_epochs=1"), torch.device("cpu"), World())
    assert 0 <= metric(make_trainer(make_settings()).model)[0] <= 1  # -1: no people


def test_malformed_annotations_for_ap_are_refused_before_training(tmp_path, samples_file, capsys):
    path, images = write_synthetic_coco(tmp_path / "coco", num_images=3)
    content = json.loads(path.read_text())
    content["annotations"][0]["keypoints"].pop()
    path.write_text(json.dumps(content))
    ap_args = ("--ap-annotations", str(path), "--ap-images", str(images))
    run = tmp_path / "run"
    assert run_command(command.main, [*arguments(samples_file, run, *ap_args), "train.ap_epochs=1"]) == 2
    error = capsys.readouterr().err
    number, image = (content["annotations"][0][key] for key in ("id", "image_id"))
    assert f"annotation {number} of image {image}" in error
    assert not list(run.glob("*"))


def test_no_ap_is_reported_if_the_evaluation_is_interrupted(tmp_path, samples_file, monkeypatch):
    annotations, images = write_synthetic_coco(tmp_path / "coco", num_images=3)
    settings = make_settings("train.ap_epochs=1")
    measure = build_ap_metric(annotations, images, settings, torch.device("cpu"), World())
    group = Predictor.group
    images_grouped = []

    def group_and_interrupt(self, maps, image):
        images_grouped.append(image)
        if len(images_grouped) == 2:
            _thread.interrupt_main()  # like the second Ctrl-C
            time.sleep(0.5)
        return group(self, maps, image)

    monkeypatch.setattr(Predictor, "group", group_and_interrupt)
    with pytest.raises(KeyboardInterrupt):
        measure(make_trainer(settings).model)
