"""Shrink MoveNet's encoder: fewer hidden channels at stride 32, and nearly the same features.

The four blocks at stride 32 have most of the encoder's parameters. Of their hidden channels those with the
largest weights are kept. Then these blocks and the last convolution are trained to reproduce the features
of the whole encoder on the samples' crops, without labels (distillation, arXiv:1503.02531). The settings give
the shape of the smaller encoder, the augmentation and the optimizer. The result is for --init-from. Ctrl-C
ends the training early; the encoder is saved as it is then.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from simplepose import config, skeleton
from simplepose.cli import EXIT_INTERRUPTED, arguments, configure_logging
from simplepose.config import Settings
from simplepose.data.dataset import EpochSampler, TrainingSamples
from simplepose.data.loader import BatchLoader
from simplepose.models import checkpoints
from simplepose.models.encoders import EXPANSION, NUM_FINE_BLOCKS, InvertedResidual, MobileNetV2
from simplepose.models.importers import ImportedEncoder, import_movenet
from simplepose.models.layers import DTYPES
from simplepose.training.optim import build_optimizer, learning_rate_at, set_learning_rate
from simplepose.utils.files import check_output_file, printable
from simplepose.utils.signals import GracefulShutdown

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status: 130 after Ctrl-C or SIGTERM, else 0."""
    args = _build_parser().parse_args(argv)
    configure_logging(logging.INFO)
    if args.target.suffix != ".safetensors":
        raise ValueError(f"target {args.target}: expected a name that ends in .safetensors")
    check_output_file(args.target)
    settings = config.load(args.config, args.set)
    source = import_movenet(args.source)
    _check_settings(settings, args.config, source)
    teacher = MobileNetV2(source.multiplier)
    teacher.load_state_dict(source.state)
    samples = TrainingSamples(args.train, settings, skeleton.load(settings.skeleton))
    student = prune(teacher, settings.fastpose.coarse_expansion)
    finished = distill(teacher.to(args.device), student.to(args.device), samples, settings)
    state = {name: tensor.cpu() for name, tensor in student.state_dict().items()}
    checkpoints.save_encoder(args.target, ImportedEncoder(state, source.multiplier, source.source, ()))
    print(f"{printable(args.target)}: {sum(t.numel() for t in state.values()):,} parameters")
    return 0 if finished else EXIT_INTERRUPTED


def _build_parser() -> arguments.Parser:
    parser = arguments.Parser(prog="shrink-encoder", description=__doc__)
    add = parser.add_argument
    add("source", type=Path, help="the .json of a MoveNet, a TensorFlow.js graph model")
    add("target", type=Path, help="*.safetensors of the smaller encoder")
    add("--config", required=True, metavar="FILE.yaml", help="settings of a FastPose with mobilenet_v2")
    arguments.add_training_samples(parser)
    arguments.add_device(parser)
    parser.add_set("override values of the settings file, for example train.epochs=8")
    return parser


def _check_settings(settings: Settings, path: str, source: ImportedEncoder) -> None:
    """Raise ValueError unless the settings are of a FastPose with a smaller encoder of the source's width."""
    shape = settings.fastpose
    if settings.network != "fastpose" or shape.encoder != "mobilenet_v2":
        raise ValueError(f"{path}: expected network: fastpose with the encoder mobilenet_v2")
    if source.multiplier != shape.encoder_multiplier:
        raise ValueError(
            f"{source.source}: expected width multiplier {shape.encoder_multiplier:g} "
            f"(fastpose.encoder_multiplier), got {source.multiplier:g}"
        )
    if not 2 <= shape.coarse_expansion < EXPANSION:
        raise ValueError(
            f"{path}: fastpose.coarse_expansion: expected 2 to {EXPANSION - 1}, got {shape.coarse_expansion}"
        )


def prune(encoder: MobileNetV2, expansion: int) -> MobileNetV2:
    """Copy an encoder with fewer hidden channels at stride 32: those with the largest weights.

    Args:
        encoder: with the blocks' published expansion of 6.
        expansion: hidden channels of each block, as a multiple of its input channels.
    """
    smaller = MobileNetV2(encoder.multiplier, expansion)
    state = encoder.state_dict()
    for number, block in enumerate(encoder.blocks[NUM_FINE_BLOCKS:], NUM_FINE_BLOCKS):
        assert isinstance(block, InvertedResidual)
        assert block.expand is not None
        parts = (block.expand.weight, block.depthwise.weight, block.project.weight.transpose(0, 1))
        importance = torch.stack([part.flatten(1).norm(dim=1) for part in parts]).prod(0)
        kept = importance.topk(expansion * block.expand.in_channels).indices.sort().values
        for name in ("expand.weight", "expand.bias", "depthwise.weight", "depthwise.bias"):
            state[f"blocks.{number}.{name}"] = block.state_dict()[name][kept]
        state[f"blocks.{number}.project.weight"] = block.project.weight.detach()[:, kept]
    smaller.load_state_dict(state)
    return smaller


def distill(teacher: MobileNetV2, student: MobileNetV2, samples: TrainingSamples, settings: Settings) -> bool:
    """Train the student's layers at stride 32 to give the teacher's features.

    The loss is the squared error, relative to the features' variance, of the last convolution's output and
    of the pyramid's projection of it. Layers before stride 32 and the pyramid stay as they are.

    Returns:
        Whether it was trained to the end; False after Ctrl-C or SIGTERM.

    Raises:
        ValueError: the samples do not fill one batch.
    """
    train = settings.train
    sampler = EpochSampler(len(samples), train.seed, train.batch_size)
    if not sampler.steps:
        raise ValueError(
            f"{len(samples)} samples do not fill one step of {train.batch_size} samples; "
            "decrease train.batch_size"
        )
    device = next(student.parameters()).device
    optimizer = build_optimizer(nn.ModuleList([*student.blocks[NUM_FINE_BLOCKS:], student.last]), train)
    progress = tqdm(_iterate_epochs(samples, sampler, train.epochs), total=train.epochs * sampler.steps)
    with GracefulShutdown(deferred=True) as shutdown:
        for step, images in enumerate(progress):
            set_learning_rate(optimizer, learning_rate_at(step, sampler.steps, train))
            loss = _compute_loss(teacher, student, images.to(device), DTYPES[train.precision])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step % train.log_steps == 0:
                progress.set_postfix(relative_error=f"{loss.item():.3f}")
            if shutdown.requested:
                return False
    logger.info("relative squared error of the last step: %.3f", loss.item())
    return True


def _compute_loss(teacher: MobileNetV2, student: MobileNetV2, images: Tensor, dtype: torch.dtype) -> Tensor:
    """Compute the mean relative error of the student's features for images in [0, 1]."""
    first = student.blocks[NUM_FINE_BLOCKS]
    assert isinstance(first, InvertedResidual)
    assert first.expand is not None
    with torch.autocast(images.device.type, dtype, enabled=dtype != torch.float32):
        with torch.no_grad():
            *_, stride_16, target = teacher(images)
        found = student.compute_stride_32(stride_16[:, : first.expand.in_channels])
        pairs = ((found, target), (teacher.laterals[3](found), teacher.laterals[3](target)))
        return torch.stack([_relative_error(*pair) for pair in pairs]).mean()


def _iterate_epochs(samples: TrainingSamples, sampler: EpochSampler, epochs: int) -> Iterator[Tensor]:
    """Yield the images of all steps, (N, 3, H, W) float BGR in [0, 1]."""
    loader = BatchLoader(samples, sampler)
    for sampler.epoch in range(epochs):
        for batch in loader:
            yield batch.images.permute(0, 3, 1, 2).float().div_(255)


def _relative_error(found: Tensor, target: Tensor) -> Tensor:
    """Squared error of (N, C, h, w) features, as a fraction of their channels' variance."""
    centered = target.float() - target.float().mean((0, 2, 3), keepdim=True)
    return (found.float() - target.float()).square().mean() / centered.square().mean()
