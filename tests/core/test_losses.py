"""The loss: equal to the published implementation and to a sum computed by hand."""

import contextlib

import fixed_weights
import numpy as np
import pytest
import torch
from fake_device import DEVICE, FakeDevice

from simplepose.config import LossSettings
from simplepose.losses import MultiScaleLoss, focal_l2, l2
from simplepose.skeleton import COCO


@pytest.fixture
def reference():
    with np.load(fixed_weights.REFERENCE / "loss.npz") as values:
        return {name: values[name] for name in values.files}


def load_outputs(reference):
    return [
        [torch.from_numpy(reference[f"pred_{stack}_{scale}"]).requires_grad_() for scale in range(5)]
        for stack in range(4)
    ]


def compute_loss(settings, reference, outputs=None):
    target, mask = torch.from_numpy(reference["target"]), torch.from_numpy(reference["mask"])
    return MultiScaleLoss(settings, COCO)(outputs or load_outputs(reference), target, mask)


def test_total_scales_and_gradients_equal_the_published_loss(reference):
    outputs = load_outputs(reference)
    total, parts = compute_loss(LossSettings(), reference, outputs)
    total.backward()
    assert total.item() == pytest.approx(float(reference["loss"]), rel=1e-5)
    assert parts.shape == (4, 5)
    assert parts.mean(0).numpy() == pytest.approx(reference["per_scale"], rel=1e-5)
    for stack, scale in ((3, 0), (0, 4)):
        expected = reference[f"grad_stack{stack}_scale{scale}"]
        gradient = outputs[stack][scale].grad.numpy()
        assert np.abs(gradient - expected).max() <= 1e-5 * np.abs(expected).max()


def test_l2_equals_the_published_loss(reference):
    _, parts = compute_loss(LossSettings(kind="l2"), reference)
    assert parts[:, 0].mean().item() == pytest.approx(float(reference["l2_scale0"]), rel=1e-5)


def test_single_cells_equal_a_computation_by_hand():
    maps, weight = torch.tensor([0.25, 0.25]), torch.tensor([3.0, 1.0])
    target = torch.tensor([0.75, 0.0])
    # foreground: (0.5)^2 * (1 - 0.25)^2 * 3; background: (0.25)^2 * (1 - 0.75)^2 * 1
    assert focal_l2(maps, target, weight, 2.0, 0.01).item() == pytest.approx(
        0.25 * 0.5625 * 3 + 0.0625 * 0.0625
    )
    assert l2(maps, target, weight).item() == pytest.approx(0.25 * 3 + 0.0625)


def test_gamma_zero_is_l2(reference):
    focal, plain = (
        compute_loss(LossSettings(gamma=0), reference),
        compute_loss(LossSettings(kind="l2"), reference),
    )
    assert focal[0].item() == pytest.approx(plain[0].item(), rel=1e-6)


def test_masked_batch_has_zero_loss(reference):
    reference["mask"] = np.zeros_like(reference["mask"])
    assert compute_loss(LossSettings(), reference)[0].item() == 0


def test_loss_is_the_mean_over_the_batch(reference):
    one = {name: value[:1] if value.ndim == 4 else value for name, value in reference.items()}
    twice = {name: np.concatenate([value] * 2) if value.ndim == 4 else value for name, value in one.items()}
    assert compute_loss(LossSettings(), one)[0].item() == pytest.approx(
        compute_loss(LossSettings(), twice)[0].item(), rel=1e-5
    )


def test_loss_is_float32_under_autocast(reference):
    expected = compute_loss(LossSettings(), reference)[0]
    with torch.autocast("cpu", torch.bfloat16):
        total, _ = compute_loss(LossSettings(), reference)
    assert total.dtype == torch.float32
    assert total.item() == expected.item()


def test_stack_weights_select_stacks(reference):
    weighted, _ = compute_loss(LossSettings(stack_weights=(0, 0, 0, 1)), reference)
    last_only, _ = compute_loss(LossSettings(), reference, load_outputs(reference)[3:])
    assert weighted.item() == pytest.approx(last_only.item(), rel=1e-6)


@pytest.mark.parametrize("settings", [LossSettings(stack_weights=(1, 1)), LossSettings(scale_weights=(1, 1))])
def test_wrong_number_of_weights_is_an_error(settings, reference):
    with pytest.raises(ValueError, match="expected"):
        compute_loss(settings, reference)


@pytest.mark.parametrize("stack_weights", [(), (1.0, 3.0)])
def test_loss_on_a_gpu_does_not_synchronize(stack_weights, monkeypatch):
    monkeypatch.setattr(
        torch, "autocast", lambda *_, **__: contextlib.nullcontext()
    )  # unsupported by the fake device
    loss = MultiScaleLoss(LossSettings(stack_weights=stack_weights), COCO)
    target, mask = torch.rand(2, 50, 16, 32), torch.ones(2, 1, 16, 32)
    outputs = [[torch.rand(2, 50, 16 // 2**j, 32 // 2**j) for j in range(5)] for _ in range(2)]
    expected, _ = loss(outputs, target, mask)
    with FakeDevice() as device:
        device_outputs = [[maps.to(DEVICE) for maps in stack] for stack in outputs]
        target, mask = target.to(DEVICE), mask.to(DEVICE)
        for name, weights in dict(loss.named_buffers()).items():
            setattr(loss, name, weights.to(DEVICE))
        device.synchronizations.clear()
        found, _ = loss(device_outputs, target, mask)
    assert device.synchronizations == []
    assert device.copied_bytes == []
    assert found.cpu_tensor.item() == expected.item()
