"""The training step: it reduces the loss, skips unusable steps, and all implementations agree."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from trainers import make_batch, make_settings, make_trainer

from simplepose.data.batch import Batch
from simplepose.utils.distributed import World

SINGLE_PROCESS = World()
NO_BATCH_STATISTICS = ("train.ema_decay=0", "train.freeze_batchnorm=true")


def copy_state(trainer):
    return {name: tensor.clone() for name, tensor in trainer.network.state_dict().items()}


def assert_close(found, expected, tolerance):
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=tolerance, msg=name)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_loss_falls_on_one_batch(samples_file, precision, optimizer):
    settings = make_settings(f"train.precision={precision}", f"train.optimizer={optimizer}")
    trainer, batch = make_trainer(settings), make_batch(settings, samples_file)
    losses = []
    for _ in range(25):
        trainer.step([batch], 3e-3 if optimizer == "adamw" else 1e-3)
        losses.append(trainer.meter.read(SINGLE_PROCESS).loss)
    finite = [
        loss for loss in losses if math.isfinite(loss)
    ]  # the initial loss scale of fp16 may be too large
    assert len(finite) >= 10
    assert np.mean(finite[-3:]) < 0.8 * finite[0]


def inject_fault(trainer, batch, fault):
    """Make the next steps unusable; returns a function that removes the fault."""
    bias = trainer.network.heads[0][0].maps.bias
    if fault == "loss is not a number":
        before = bias.detach().clone()
        bias.data[0] = math.nan
        return lambda: bias.data.copy_(before)
    handle = bias.register_hook(lambda gradient: gradient * math.inf)
    return handle.remove


@pytest.mark.parametrize("fault", ["loss is not a number", "gradient is infinite", "loss is too large"])
@pytest.mark.parametrize(
    "options",
    [(), ("train.fused=false",), ("train.clip_norm=1",), ("train.precision=bf16",), ("train.accumulate=2",)],
)
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_unusable_step_changes_nothing(samples_file, fault, options, optimizer):
    limit = ["train.loss_limit=1e-9"] if fault == "loss is too large" else []
    settings = make_settings(f"train.optimizer={optimizer}", *limit, *options)
    trainer, batch = make_trainer(settings), make_batch(settings, samples_file)
    remove_fault = inject_fault(trainer, batch, fault) if not limit else None
    before, average = copy_state(trainer), {n: t.clone() for n, t in trainer.ema.state.items()}
    trainer.step([batch] * settings.train.accumulate, 1e-3)
    trainer.step([batch] * settings.train.accumulate, 1e-3)
    metrics = trainer.meter.read(SINGLE_PROCESS)
    assert (metrics.steps, metrics.skipped, metrics.consecutive_skips) == (0, 2, 2)
    assert math.isnan(metrics.loss)
    for state, expected in ((trainer.network.state_dict(), before), (trainer.ema.state, average)):
        for name, tensor in state.items():
            if "heads.0.0.maps.bias" not in name:
                assert torch.equal(tensor, expected[name]), name
    if remove_fault is None:
        return
    remove_fault()  # the first applied step equals a first step: the optimizer has no state
    trainer.step([batch] * settings.train.accumulate, 1e-3)
    fresh = make_trainer(settings)
    fresh.step([batch] * settings.train.accumulate, 1e-3)
    assert_close(trainer.network.state_dict(), fresh.network.state_dict(), 1e-7)
    assert trainer.meter.read(SINGLE_PROCESS).consecutive_skips == 0


def test_joint_with_nan_coordinates_is_ignored(samples_file):
    settings = make_settings()
    trainer, batch = make_trainer(settings), make_batch(settings, samples_file)
    batch.joints[0, 0, 0] = torch.tensor([math.nan, 3.0, 2.0])
    trainer.step([batch], 1e-3)
    metrics = trainer.meter.read(SINGLE_PROCESS)
    assert math.isfinite(metrics.loss)
    assert metrics.skipped == 0


def test_accumulated_batches_equal_one_large_batch(samples_file):
    settings = make_settings("train.optimizer=sgd", *NO_BATCH_STATISTICS)
    parts = [make_batch(settings, samples_file, first, 2) for first in (0, 2)]
    large = make_batch(settings, samples_file, 0, 4)
    single, accumulated = make_trainer(settings), make_trainer(settings)
    for _ in range(3):
        single.step([large], 1e-3)
        accumulated.step(parts, 1e-3)
    assert_close(accumulated.network.state_dict(), single.network.state_dict(), 1e-6)
    assert accumulated.meter.read(SINGLE_PROCESS).loss == pytest.approx(
        single.meter.read(SINGLE_PROCESS).loss, rel=1e-5
    )


def test_gradients_are_clipped_to_the_maximum_norm(samples_file):
    options = ("train.optimizer=sgd", "train.momentum=0", "train.weight_decay=0", "train.clip_norm=0.5")
    settings = make_settings(*options, *NO_BATCH_STATISTICS)
    trainer, batch = make_trainer(settings), make_batch(settings, samples_file)
    before = copy_state(trainer)
    trainer.step([batch], 0.1)
    moved = [tensor - before[name] for name, tensor in trainer.network.state_dict().items()]
    assert torch.cat([m.flatten().double() for m in moved]).norm().item() == pytest.approx(0.05, rel=1e-3)


def test_activation_checkpointing_gives_the_same_step_with_less_memory(samples_file):
    def saved_bytes(trainer):
        saved = 0

        def count(tensor):
            nonlocal saved
            saved += tensor.numel() * tensor.element_size()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            trainer.step([batch], 1e-3)
        return saved

    plain = make_trainer(make_settings("train.optimizer=sgd"))
    checkpointed = make_trainer(make_settings("train.optimizer=sgd", "train.activation_checkpointing=true"))
    batch = make_batch(plain.model.settings, samples_file)
    assert saved_bytes(checkpointed) < 0.5 * saved_bytes(plain)
    assert_close(checkpointed.network.state_dict(), plain.network.state_dict(), 1e-6)
    tracked = [b for name, b in checkpointed.network.named_buffers() if name.endswith("num_batches_tracked")]
    assert {int(count) for count in tracked} == {1}


@pytest.mark.parametrize("setting", ["channels_last=false", "fused=false", "compile=true"])
def test_other_implementations_give_the_same_step(samples_file, setting):
    plain, other = make_trainer(make_settings()), make_trainer(make_settings(f"train.{setting}"))
    batch = make_batch(plain.model.settings, samples_file)
    with torch.compiler.set_stance("force_eager"):  # compiling takes minutes on a CPU
        for trainer in (plain, other):
            trainer.step([batch], 1e-4)
    assert_close(
        other.network.state_dict(), plain.network.state_dict(), 3e-4
    )  # AdamW: the sign of an update may flip


def test_data_parallel_gives_the_same_step(samples_file):
    settings = make_settings("train.optimizer=sgd")
    plain, parallel = make_trainer(settings), make_trainer(settings, data_parallel=True)
    batch = make_batch(settings, samples_file)
    for trainer in (plain, parallel):
        trainer.step([batch], 1e-3)
    assert_close(parallel.network.state_dict(), plain.network.state_dict(), 1e-6)


@pytest.mark.parametrize("setting", ["activation_checkpointing=true", "compile=true", "precision=bf16"])
def test_data_parallel_rejects_unsupported_settings(setting):
    with pytest.raises(
        ValueError, match=rf"does not support train\.{setting.removesuffix('=true')}; .*train_distributed"
    ):
        make_trainer(make_settings(f"train.{setting}"), data_parallel=True)


def test_frozen_parts_do_not_change_and_all_others_do(samples_file):
    settings = make_settings("train.freeze=[stem.*, hourglasses.0.*]", "train.weight_decay=0.1")
    trainer, batch = make_trainer(settings), make_batch(settings, samples_file)
    before = copy_state(trainer)
    for _ in range(2):
        trainer.step([batch], 1e-2)
    frozen = ("stem.", "hourglasses.0.")
    for name, tensor in trainer.network.state_dict().items():
        assert torch.equal(tensor, before[name]) == name.startswith(frozen), name


def test_frozen_batch_norms_keep_their_statistics_in_every_step(samples_file):
    settings = make_settings("train.freeze_batchnorm=true")
    trainer, batch = make_trainer(settings), make_batch(settings, samples_file)
    before = copy_state(trainer)
    trainer.step([batch], 1e-2)
    trainer.validate([batch])
    trainer.predict_sample(batch)
    trainer.step([batch], 1e-2)
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    for name, tensor in trainer.network.state_dict().items():
        assert torch.equal(tensor, before[name]) == name.endswith(statistics), name


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_trainer_resumes_exactly_from_its_state(samples_file, tmp_path, precision):
    options = ("train.swa_start=0", f"train.precision={precision}")
    settings = make_settings(*options)
    uninterrupted, batch = make_trainer(settings), make_batch(settings, samples_file)
    uninterrupted.step([batch], 1e-3)
    uninterrupted.average_weights([batch])
    torch.save(uninterrupted.state(), tmp_path / "state.pt")
    resumed = make_trainer(make_settings(*options, "train.seed=1"))
    resumed.load_state(torch.load(tmp_path / "state.pt", weights_only=True), "state.pt")
    for trainer in (uninterrupted, resumed):
        trainer.step([batch], 1e-3)
        trainer.average_weights([batch])
    for found, expected in (
        (resumed.network.state_dict(), uninterrupted.network.state_dict()),
        (resumed.ema.state, uninterrupted.ema.state),
        (resumed.swa.state, uninterrupted.swa.state),
    ):
        assert_close(found, expected, 0)
    assert resumed.progress == uninterrupted.progress
    found, expected = resumed.meter.read(SINGLE_PROCESS), uninterrupted.meter.read(SINGLE_PROCESS)
    assert (
        found.steps == expected.steps == (0 if precision == "fp16" else 2)
    )  # fp16: the initial loss scale is too large
    assert found.loss_sum == expected.loss_sum
    assert found.consecutive_skips == expected.consecutive_skips


def test_averaged_weights_have_their_own_statistics_and_do_not_change_the_network(samples_file):
    settings = make_settings("train.swa_start=0", "train.ema_decay=0")
    trainer, batch = make_trainer(settings), make_batch(settings, samples_file)
    trainer.step([batch], 1e-2)
    trainer.average_weights([batch])
    first = copy_state(trainer)
    trainer.step([batch], 1e-2)
    second = copy_state(trainer)
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


def test_validation_weights_all_samples_equally(samples_file):
    settings = make_settings()
    trainer = make_trainer(settings)
    batches = [make_batch(settings, samples_file, 0, 3), make_batch(settings, samples_file, 3, 1)]
    single = [make_batch(settings, samples_file, i, 1) for i in range(4)]
    before = copy_state(trainer)
    assert trainer.validate(batches) == pytest.approx(trainer.validate(single), rel=1e-4)
    assert trainer.validate([]) == 0
    assert_close(trainer.network.state_dict(), before, 0)


def test_predict_sample_returns_the_first_sample(samples_file):
    settings = make_settings()
    trainer, batch = make_trainer(settings), make_batch(settings, samples_file)
    image, target, predicted = trainer.predict_sample(batch)
    assert np.array_equal(image, batch.images[0].numpy())
    assert target.shape == predicted.shape == (50, 16, 32)
    assert 0 <= target.min() <= target.max() <= 1
    assert np.isfinite(predicted).all()


def test_step_on_a_batch_without_people(samples_file):
    settings = make_settings()
    trainer, batch = make_trainer(settings), make_batch(settings, samples_file)
    empty = Batch(batch.images, batch.mask_miss, torch.zeros_like(batch.person_mask), batch.joints[:, :0])
    trainer.step([empty], 1e-3)
    metrics = trainer.meter.read(SINGLE_PROCESS)
    assert metrics.steps == 1
    assert math.isfinite(metrics.loss)
