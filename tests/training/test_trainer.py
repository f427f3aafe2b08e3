"""The training step: it learns, it skips what is unusable, and each way to compute it comes to the same."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from trainers import batch_of, settings_of, trainer_of

from simplepose.data.batch import Batch
from simplepose.utils.distributed import World

ALONE = World()
KEPT = ("train.ema_decay=0", "train.freeze_batchnorm=true")  # nothing that counts batches


def copied(trainer):
    return {name: tensor.clone() for name, tensor in trainer.network.state_dict().items()}


def assert_close(found, expected, tolerance):
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=tolerance, msg=name)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_the_loss_falls_on_one_batch(samples_file, precision, optimizer):
    settings = settings_of(f"train.precision={precision}", f"train.optimizer={optimizer}")
    trainer, batch = trainer_of(settings), batch_of(settings, samples_file)
    losses = []
    for _ in range(25):
        trainer.step([batch], 3e-3 if optimizer == "adamw" else 1e-3)
        losses.append(trainer.meter.read(ALONE).loss)
    taken = [loss for loss in losses if math.isfinite(loss)]  # fp16's first scale may be too large
    assert len(taken) >= 10
    assert np.mean(taken[-3:]) < 0.8 * taken[0]


def poison(trainer, batch, fault):
    """Make the next step unusable; returns how to make it usable again."""
    bias = trainer.network.heads[0][0].maps.bias
    if fault == "loss is not a number":
        before = bias.detach().clone()
        bias.data[0] = math.nan
        return lambda: bias.data.copy_(before)
    handle = bias.register_hook(lambda gradient: gradient * math.inf)
    return handle.remove


@pytest.mark.parametrize("fault", ["loss is not a number", "gradient is infinite", "loss is too large"])
@pytest.mark.parametrize(
    "way",
    [(), ("train.fused=false",), ("train.clip_norm=1",), ("train.precision=bf16",), ("train.accumulate=2",)],
)
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_an_unusable_step_changes_nothing(samples_file, fault, way, optimizer):
    limit = ["train.loss_limit=1e-9"] if fault == "loss is too large" else []
    settings = settings_of(f"train.optimizer={optimizer}", *limit, *way)
    trainer, batch = trainer_of(settings), batch_of(settings, samples_file)
    mend = poison(trainer, batch, fault) if not limit else None
    before, average = copied(trainer), {n: t.clone() for n, t in trainer.ema.state.items()}
    trainer.step([batch] * settings.train.accumulate, 1e-3)
    trainer.step([batch] * settings.train.accumulate, 1e-3)
    reading = trainer.meter.read(ALONE)
    assert (reading.steps, reading.skipped, reading.skipped_in_a_row) == (0, 2, 2)
    assert math.isnan(reading.loss)
    for state, kept in ((trainer.network.state_dict(), before), (trainer.ema.state, average)):
        for name, tensor in state.items():
            if "heads.0.0.maps.bias" not in name:
                assert torch.equal(tensor, kept[name]), name
    if mend is None:
        return
    mend()  # the first step that counts is like a first step: the optimizer remembers nothing
    trainer.step([batch] * settings.train.accumulate, 1e-3)
    fresh = trainer_of(settings)
    fresh.step([batch] * settings.train.accumulate, 1e-3)
    assert_close(trainer.network.state_dict(), fresh.network.state_dict(), 1e-7)
    assert trainer.meter.read(ALONE).skipped_in_a_row == 0


def test_a_joint_that_is_not_a_number_is_not_drawn(samples_file):
    settings = settings_of()
    trainer, batch = trainer_of(settings), batch_of(settings, samples_file)
    batch.joints[0, 0, 0] = torch.tensor([math.nan, 3.0, 2.0])
    trainer.step([batch], 1e-3)
    reading = trainer.meter.read(ALONE)
    assert math.isfinite(reading.loss)
    assert reading.skipped == 0


def test_accumulated_batches_make_the_step_of_one_batch(samples_file):
    settings = settings_of("train.optimizer=sgd", *KEPT)
    parts = [batch_of(settings, samples_file, first, 2) for first in (0, 2)]
    whole = batch_of(settings, samples_file, 0, 4)
    once, twice = trainer_of(settings), trainer_of(settings)
    for _ in range(3):
        once.step([whole], 1e-3)
        twice.step(parts, 1e-3)
    assert_close(twice.network.state_dict(), once.network.state_dict(), 1e-6)
    assert twice.meter.read(ALONE).loss == pytest.approx(once.meter.read(ALONE).loss, rel=1e-5)


def test_gradients_are_clipped_to_the_norm(samples_file):
    way = ("train.optimizer=sgd", "train.momentum=0", "train.weight_decay=0", "train.clip_norm=0.5")
    settings = settings_of(*way, *KEPT)
    trainer, batch = trainer_of(settings), batch_of(settings, samples_file)
    before = copied(trainer)
    trainer.step([batch], 0.1)
    moved = [tensor - before[name] for name, tensor in trainer.network.state_dict().items()]
    assert torch.cat([m.flatten().double() for m in moved]).norm().item() == pytest.approx(0.05, rel=1e-3)


def test_recomputing_gives_the_same_step_from_less_memory(samples_file):
    def kept_bytes(trainer):
        kept = 0

        def count(tensor):
            nonlocal kept
            kept += tensor.numel() * tensor.element_size()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            trainer.step([batch], 1e-3)
        return kept

    plain = trainer_of(settings_of("train.optimizer=sgd"))
    thrifty = trainer_of(settings_of("train.optimizer=sgd", "train.recompute=true"))
    batch = batch_of(plain.model.settings, samples_file)
    assert kept_bytes(thrifty) < 0.5 * kept_bytes(plain)
    assert_close(thrifty.network.state_dict(), plain.network.state_dict(), 1e-6)
    tracked = [b for name, b in thrifty.network.named_buffers() if name.endswith("num_batches_tracked")]
    assert {int(count) for count in tracked} == {1}


@pytest.mark.parametrize("way", ["channels_last=false", "fused=false", "compile=true"])
def test_other_ways_come_to_the_same(samples_file, way):
    plain, other = trainer_of(settings_of()), trainer_of(settings_of(f"train.{way}"))
    batch = batch_of(plain.model.settings, samples_file)
    with torch.compiler.set_stance("force_eager"):  # compiling takes minutes on a CPU
        for trainer in (plain, other):
            trainer.step([batch], 1e-4)
    assert_close(other.network.state_dict(), plain.network.state_dict(), 3e-4)  # AdamW: a sign may turn


def test_data_parallel_is_the_same_in_one_process(samples_file):
    settings = settings_of("train.optimizer=sgd")
    plain, parallel = trainer_of(settings), trainer_of(settings, data_parallel=True)
    batch = batch_of(settings, samples_file)
    for trainer in (plain, parallel):
        trainer.step([batch], 1e-3)
    assert_close(parallel.network.state_dict(), plain.network.state_dict(), 1e-6)


@pytest.mark.parametrize("way", ["recompute=true", "compile=true", "precision=bf16"])
def test_data_parallel_refuses_what_its_copies_would_do_wrong(way):
    with pytest.raises(
        ValueError, match=rf"cannot do train\.{way.removesuffix('=true')}; .*train_distributed"
    ):
        trainer_of(settings_of(f"train.{way}"), data_parallel=True)


def test_the_frozen_do_not_move_and_the_rest_does(samples_file):
    settings = settings_of("train.freeze=[stem.*, hourglasses.0.*]", "train.weight_decay=0.1")
    trainer, batch = trainer_of(settings), batch_of(settings, samples_file)
    before = copied(trainer)
    for _ in range(2):
        trainer.step([batch], 1e-2)
    frozen = ("stem.", "hourglasses.0.")
    for name, tensor in trainer.network.state_dict().items():
        assert torch.equal(tensor, before[name]) == name.startswith(frozen), name


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_state_goes_on_as_if_nothing_had_been(samples_file, tmp_path, precision):
    way = ("train.swa_start=0", f"train.precision={precision}")
    settings = settings_of(*way)
    straight, batch = trainer_of(settings), batch_of(settings, samples_file)
    straight.step([batch], 1e-3)
    straight.average_weights([batch])
    torch.save(straight.state(), tmp_path / "state.pt")
    resumed = trainer_of(settings_of(*way, "train.seed=1"))
    resumed.load_state(torch.load(tmp_path / "state.pt", weights_only=True), "state.pt")
    for trainer in (straight, resumed):
        trainer.step([batch], 1e-3)
        trainer.average_weights([batch])
    for found, expected in (
        (resumed.network.state_dict(), straight.network.state_dict()),
        (resumed.ema.state, straight.ema.state),
        (resumed.swa.state, straight.swa.state),
    ):
        assert_close(found, expected, 0)
    assert resumed.progress == straight.progress
    found, expected = resumed.meter.read(ALONE), straight.meter.read(ALONE)
    assert found.steps == expected.steps == (0 if precision == "fp16" else 2)  # fp16: its scale is too large
    assert found.loss_sum == expected.loss_sum
    assert found.skipped_in_a_row == expected.skipped_in_a_row


def test_averaged_weights_have_statistics_of_their_own_and_leave_the_network_alone(samples_file):
    settings = settings_of("train.swa_start=0", "train.ema_decay=0")
    trainer, batch = trainer_of(settings), batch_of(settings, samples_file)
    trainer.step([batch], 1e-2)
    trainer.average_weights([batch])
    first = copied(trainer)
    trainer.step([batch], 1e-2)
    second = copied(trainer)
    trainer.average_weights([batch])
    assert_close(trainer.network.state_dict(), second, 0)
    name = "stem.residual1.branch.0.conv.weight"
    name = name if name in second else next(n for n in second if n.endswith("conv.weight"))
    with trainer.best_weights() as model:
        averaged = {n: t.clone() for n, t in model.network.state_dict().items()}
    torch.testing.assert_close(averaged[name], (first[name] + second[name]) / 2)
    statistics = [n for n in second if n.endswith("running_var")]
    assert any(not torch.allclose(averaged[n], (first[n] + second[n]) / 2, rtol=1e-3) for n in statistics)
    assert_close(trainer.network.state_dict(), second, 0)


def test_validation_weighs_each_sample_alike(samples_file):
    settings = settings_of()
    trainer = trainer_of(settings)
    batches = [batch_of(settings, samples_file, 0, 3), batch_of(settings, samples_file, 3, 1)]
    single = [batch_of(settings, samples_file, i, 1) for i in range(4)]
    before = copied(trainer)
    assert trainer.validate(batches) == pytest.approx(trainer.validate(single), rel=1e-4)
    assert trainer.validate([]) == 0
    assert_close(trainer.network.state_dict(), before, 0)


def test_what_is_shown_is_the_first_sample(samples_file):
    settings = settings_of()
    trainer, batch = trainer_of(settings), batch_of(settings, samples_file)
    image, target, predicted = trainer.show(batch)
    assert np.array_equal(image, batch.images[0].numpy())
    assert target.shape == predicted.shape == (50, 16, 32)
    assert 0 <= target.min() <= target.max() <= 1
    assert np.isfinite(predicted).all()


def test_a_batch_of_nobody_is_learned_from(samples_file):
    settings = settings_of()
    trainer, batch = trainer_of(settings), batch_of(settings, samples_file)
    empty = Batch(batch.images, batch.mask_miss, torch.zeros_like(batch.person_mask), batch.joints[:, :0])
    trainer.step([empty], 1e-3)
    reading = trainer.meter.read(ALONE)
    assert reading.steps == 1
    assert math.isfinite(reading.loss)
