"""The command shrink-encoder: a smaller encoder that reproduces the features of the whole one."""

import os
import signal

import numpy as np
import pytest
import tfjs_models
import torch
from repo_paths import CONFIGS

from simplepose import config, skeleton
from simplepose.cli import arguments, run_command, shrink_encoder
from simplepose.data.dataset import TrainingSamples
from simplepose.models import checkpoints
from simplepose.models.encoders import MobileNetV2

CONFIG = CONFIGS / "fastpose_mobile_256x192.yaml"
SMALL = ("fastpose.encoder_multiplier=1.0", "fastpose.coarse_expansion=3", "augment.size=[64, 64]")
STRIDE_16_CHANNELS = 96  # of the last block at stride 16, width multiplier 1
TRAIN = ("train.batch_size=2", "train.workers=0", "train.precision=fp32", "train.warmup_epochs=0")


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    encoder = MobileNetV2(1.0)
    encoder.reset_parameters()
    return encoder


def relative_error(encoder, student, images):
    with torch.no_grad():
        target = encoder(images)[-1]
        return float((student(images)[-1] - target).square().mean() / target.var())


def test_an_encoder_with_all_channels_is_unchanged(encoder):
    images = torch.rand(2, 3, 64, 64)
    assert relative_error(encoder, shrink_encoder.prune(encoder, 6), images) < 1e-10


def test_layers_before_stride_32_are_unchanged(encoder):
    images = torch.rand(2, 3, 64, 64)
    pruned = shrink_encoder.prune(encoder, 2)
    with torch.no_grad():
        stride_16, stride_32 = encoder(images)[2:]
        assert torch.equal(pruned(images)[2][:, :STRIDE_16_CHANNELS], stride_16[:, :STRIDE_16_CHANNELS])
        assert torch.equal(encoder.compute_stride_32(stride_16[:, :STRIDE_16_CHANNELS]), stride_32)


def test_distillation_brings_the_features_closer(encoder, samples_file):
    settings = config.load(CONFIG, [*SMALL, *TRAIN, "train.epochs=8"])
    samples = TrainingSamples(
        [arguments.weighted_file(str(samples_file))], settings, skeleton.load(settings.skeleton)
    )
    student = shrink_encoder.prune(encoder, 3)
    torch.manual_seed(0)
    images = torch.rand(2, 3, 64, 64)
    before = relative_error(encoder, student, images)
    frozen = student(images)[2][:, :STRIDE_16_CHANNELS].detach()
    shrink_encoder.distill(encoder, student, samples, settings)
    assert relative_error(encoder, student, images) < 0.8 * before
    assert torch.equal(student(images)[2][:, :STRIDE_16_CHANNELS], frozen)


def test_the_command_writes_an_encoder_for_init_from(tmp_path, samples_file, capsys):
    constants, _ = tfjs_models.movenet(np.random.default_rng(0), 1.0)
    small = {name: array * array.dtype.type(0.1) for name, array in constants.items()}
    source, target = tfjs_models.write(tmp_path, small), tmp_path / "small.safetensors"
    command = [str(source), str(target), "--config", str(CONFIG), "--train", str(samples_file), "--set"]
    assert run_command(shrink_encoder.main, [*command, *SMALL, *TRAIN, "train.epochs=1"]) == 0
    state = checkpoints.load_weights(target)
    prefix = "stem.encoder."
    MobileNetV2(1.0, 3).load_state_dict({name.removeprefix(prefix): t for name, t in state.items()})
    assert run_command(shrink_encoder.main, [*command, *SMALL[1:], *TRAIN]) == 2
    assert "expected width multiplier 1.75 (fastpose.encoder_multiplier), got 1" in capsys.readouterr().err
    assert run_command(shrink_encoder.main, [*command, *SMALL, *TRAIN, "fastpose.coarse_expansion=1"]) == 2
    assert "fastpose.coarse_expansion: expected 2 to 5, got 1" in capsys.readouterr().err
    assert run_command(shrink_encoder.main, [*command, *SMALL, *TRAIN, "train.batch_size=1000"]) == 2
    assert "do not fill one step of 1000 samples" in capsys.readouterr().err


class InterruptingSamples(TrainingSamples):
    """Samples that send SIGINT to the process when one is read."""

    def __getitem__(self, key):
        os.kill(os.getpid(), signal.SIGINT)
        return super().__getitem__(key)


def test_ctrl_c_keeps_what_was_trained(encoder, samples_file):
    settings = config.load(CONFIG, [*SMALL, *TRAIN, "train.epochs=10000"])
    files = [arguments.weighted_file(str(samples_file))]
    samples = InterruptingSamples(files, settings, skeleton.load(settings.skeleton))
    student = shrink_encoder.prune(encoder, 3)
    before = student.last.weight.detach().clone()
    assert not shrink_encoder.distill(encoder, student, samples, settings)
    assert not torch.equal(student.last.weight, before)
