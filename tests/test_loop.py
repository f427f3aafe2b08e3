"""Training: it learns, it goes on where it stopped, and it survives what goes wrong."""

import json
import math
import signal

import numpy as np
import pytest
import torch
from places import CONFIGS

from simplepose import config, skeleton
from simplepose.cli import door
from simplepose.cli import train as verb
from simplepose.data.dataset import TrainingSamples, collate
from simplepose.models import IMHN, checkpoints
from simplepose.models.checkpoints import Model
from simplepose.training.engine import Trainer
from simplepose.training.interrupt import Interrupt
from simplepose.training.loop import train
from simplepose.training.run_folder import RunFolder


def settings_of(*overrides):
    return config.load(CONFIGS / "smoke.yaml", ["train.workers=0", "augment.size=[64,128]", *overrides])


def trainer_of(settings, device="cpu"):
    torch.manual_seed(settings.train.seed)
    network = IMHN.from_settings(settings.model, skeleton.COCO.channels)
    return Trainer(Model(network, settings, skeleton.COCO), torch.device(device))


def batch_of(settings, path, count=2):
    samples = TrainingSamples(path, settings, skeleton.COCO)
    return collate([samples[(0, i)] for i in range(count)])


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_the_loss_falls_on_one_batch(samples_file, precision, optimizer):
    settings = settings_of(
        f"train.precision={precision}", f"train.optimizer={optimizer}", "train.loss_limit=1e9"
    )
    trainer, batch = trainer_of(settings), batch_of(settings, samples_file)
    rate = 3e-3 if optimizer == "adamw" else 1e-3
    losses = [trainer.step(batch, rate)[0] for _ in range(25)]
    assert np.mean(losses[-3:]) < 0.8 * losses[0]


@pytest.mark.parametrize("fault", ["not finite", "too large"])
def test_a_step_with_an_unusable_loss_changes_nothing(samples_file, fault):
    limit = 1e-9 if fault == "too large" else 1e9
    settings = settings_of("train.skips_in_a_row=3", f"train.loss_limit={limit}")
    trainer, batch = trainer_of(settings), batch_of(settings, samples_file)
    if fault == "not finite":
        with torch.no_grad():
            trainer.network.heads[0][0].maps.bias[0] = math.nan
    before = {name: tensor.clone() for name, tensor in trainer.network.state_dict().items()}
    average = {name: tensor.clone() for name, tensor in trainer.average.state.items()}
    trainer.step(batch, 1e-3)
    for state, kept in ((trainer.network.state_dict(), before), (trainer.average.state, average)):
        for name, tensor in state.items():
            assert torch.equal(tensor.nan_to_num(), kept[name].nan_to_num()), name
    assert trainer.progress.skipped == 1
    trainer.step(batch, 1e-3)
    with pytest.raises(ValueError, match=r"3 steps; lower train\.learning_rate"):
        trainer.step(batch, 1e-3)


def test_a_joint_that_is_not_a_number_is_not_drawn(samples_file):
    settings = settings_of()
    trainer, batch = trainer_of(settings), batch_of(settings, samples_file)
    batch.joints[0, 0, 0] = torch.tensor([math.nan, 3.0, 2.0])
    assert math.isfinite(trainer.step(batch, 1e-3)[0])
    assert trainer.progress.skipped == 0


def test_an_interrupted_run_goes_on_as_if_nothing_had_been(samples_file, tmp_path, monkeypatch):
    settings = settings_of("train.epochs=2")

    def run(folder, interrupt_at=None, resume=False):
        trainer = trainer_of(settings)
        place = RunFolder(tmp_path / folder, resume)
        newest = place.newest()
        if newest:
            trainer.load_state(newest, folder)
        step = trainer.step

        def counted(batch, rate):
            if trainer.progress.step + 1 == interrupt_at:
                signal.raise_signal(signal.SIGINT)
            return step(batch, rate)

        trainer.step = counted
        return train(trainer, TrainingSamples(samples_file, settings, skeleton.COCO), None, place), trainer

    finished, straight = run("straight")
    assert finished
    stopped, _ = run("broken", interrupt_at=2)
    assert not stopped
    finished, resumed = run("broken", resume=True)
    assert finished
    assert resumed.progress == straight.progress
    for name, tensor in straight.network.state_dict().items():
        assert torch.equal(tensor, resumed.network.state_dict()[name]), name
    for name, tensor in straight.average.state.items():
        assert torch.equal(tensor, resumed.average.state[name]), name


def test_the_command_writes_what_a_run_needs(samples_file, tmp_path, capsys):
    run = tmp_path / "run"
    args = ["--config", str(CONFIGS / "smoke.yaml"), "--train", str(samples_file), "--val", str(samples_file)]
    args += ["--output", str(run), "--device", "cpu", "--set", "train.workers=0"]
    assert verb.main(args) == 0
    assert {p.name for p in run.iterdir()} >= {"settings.yaml", "journal.jsonl", "model.safetensors"}
    lines = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    epoch = next(line for line in lines if line["kind"] == "epoch")
    assert math.isfinite(epoch["loss"])
    assert math.isfinite(epoch["val_loss"])
    released, raw = (
        checkpoints.load(run / "model.safetensors"),
        checkpoints.load(RunFolder(run, True).checkpoints()[0]),
    )
    for name, tensor in released.network.state_dict().items():
        assert torch.equal(tensor, raw.network.state_dict()[name])  # both the average
    assert door(verb.main, args) == 2
    assert "--resume" in capsys.readouterr().err


def test_a_run_can_begin_with_other_weights(samples_file, tmp_path):
    settings = settings_of()
    trainer, path = trainer_of(settings), tmp_path / "first.safetensors"
    checkpoints.save_released(path, trainer.result())
    args = ["--config", str(CONFIGS / "smoke.yaml"), "--train", str(samples_file), "--device", "cpu"]
    still = ["train.workers=0", "train.learning_rate=0", "train.ema_decay=0", "augment.size=[64,128]"]
    assert (
        verb.main([*args, "--output", str(tmp_path / "run"), "--init-from", str(path), "--set", *still]) == 0
    )
    begun = checkpoints.load(tmp_path / "run/model.safetensors").network
    for name, parameter in trainer.network.named_parameters():
        assert torch.equal(parameter, begun.get_parameter(name)), name
    with pytest.raises(ValueError, match="another network"):
        verb.main(
            [*args, "--output", str(tmp_path / "b"), "--init-from", str(path), "--set", "model.stacks=1"]
        )


def test_a_run_goes_on_only_with_its_own_settings(samples_file, tmp_path):
    args = ["--config", str(CONFIGS / "smoke.yaml"), "--train", str(samples_file), "--device", "cpu"]
    args += ["--output", str(tmp_path), "--set", "train.workers=0", "augment.size=[64,128]"]
    assert verb.main(args) == 0
    with pytest.raises(ValueError, match=r"train\.weight_decay was 0\.0005 and is 0\.1; give the same"):
        verb.main([*args, "train.weight_decay=0.1", "--resume"])
    steps = checkpoints.read_training(RunFolder(tmp_path, True).checkpoints()[0])["progress"]["step"]
    assert verb.main([*args, "train.epochs=2", "--resume"]) == 0
    more = checkpoints.read_training(RunFolder(tmp_path, True).checkpoints()[0])["progress"]["step"]
    assert more == 2 * steps


def test_ctrl_c_in_validation_keeps_the_epoch(samples_file, tmp_path):
    settings = settings_of("train.epochs=2")
    trainer, folder = trainer_of(settings), RunFolder(tmp_path, False)
    validate = trainer.validate

    def interrupted(batches):
        signal.raise_signal(signal.SIGINT)
        return validate(batches)

    trainer.validate = interrupted
    samples = TrainingSamples(samples_file, settings, skeleton.COCO)
    assert not train(trainer, samples, samples, folder)
    values = folder.newest()["progress"]
    assert (values["epoch"], values["batches"]) == (1, 0)
    line = json.loads(folder.journal.read_text().splitlines()[-1])
    assert (line["epoch"], line["val_loss"]) == (1, None)


def test_a_torn_newest_checkpoint_is_passed_over(tmp_path, caplog):
    folder = RunFolder(tmp_path / "run", False)
    trainer = trainer_of(settings_of())
    folder.save(1, trainer.state(), keep=3)
    trainer.progress.step = 2
    newest = folder.save(2, trainer.state(), keep=3)
    newest.write_bytes(newest.read_bytes()[:5000])
    assert folder.newest()["progress"]["step"] == 0
    assert newest.name in caplog.text
    assert newest.with_suffix(".torn").exists()
    folder.checkpoints()[-1].write_bytes(b"torn as well")
    with pytest.raises(ValueError, match="none of the checkpoints"):
        folder.newest()


def test_only_the_newest_checkpoints_are_kept(tmp_path):
    folder = RunFolder(tmp_path / "run", False)
    for step in range(5):
        folder.save(step, {"format": checkpoints.TRAINING_FORMAT}, keep=2)
    assert [path.name for path in folder.checkpoints()] == [
        "checkpoint_00000004.pt",
        "checkpoint_00000003.pt",
    ]


def test_too_few_samples_for_a_batch_are_told(samples_file, tmp_path):
    settings = settings_of("train.batch_size=1000")
    samples = TrainingSamples(samples_file, settings, skeleton.COCO)
    with pytest.raises(ValueError, match=r"train\.batch_size"):
        train(trainer_of(settings), samples, None, RunFolder(tmp_path, False))


def test_the_second_ctrl_c_interrupts():
    with Interrupt() as interrupt:
        signal.raise_signal(signal.SIGINT)
        assert interrupt.asked
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
