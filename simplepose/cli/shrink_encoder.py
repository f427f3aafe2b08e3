"""Shrink MoveNet's encoder: fewer hidden channels at stride 32, and nearly the same features.

The four blocks at stride 32 have most of the encoder's parameters. Of their hidden channels those with the
largest weights are kept. Then these blocks and the last convolution are trained to reproduce the features
of the whole encoder on the samples' crops, without labels (distillation, arXiv:1503.02531). The settings give
the shape of the smaller encoder, the augmentation and the optimizer. The result is for --init-from.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from simplepose import config, skeleton
from simplepose.cli import arguments, configure_logging
from simplepose.config import Settings
from simplepose.data.dataset import EpochSampler, TrainingSamples
from simplepose.data.loader import BatchLoader
from simplepose.models import checkpoints
from simplepose.models.encoders import SKIP_BLOCKS, InvertedResidual, MobileNetV2
from simplepose.models.importers import ImportedEncoder, import_movenet
from simplepose.models.layers import DTYPES
from simplepose.training.optim import build_optimizer, learning_rate_at, set_learning_rate
from simplepose.utils.files import check_output_file, printable

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = arguments.Parser(prog="shrink-encoder", description=__doc__)
    add = parser.add_argument
    add("source", type=Path, help="the .json of a MoveNet, a TensorFlow.js graph model")
    add("target", type=Path, help="*.safetensors of the smaller encoder")
    add("--config", required=True, metavar="FILE.yaml", help="settings of a FastPose with mobilenet_v2")
    add(
        "--train",
        required=True,
        type=arguments.weighted_file,
        nargs="+",
        metavar="FILE.h5[=WEIGHT]",
        help="training samples, written by prepare; their labels are not used",
    )
    arguments.add_device(parser)
    parser.add_set("override values of the settings file, for example train.epochs=8")
    args = parser.parse_args(argv)
    configure_logging(logging.INFO)
    if args.target.suffix != ".safetensors":
        raise ValueError(f"target {args.target}: expected a name that ends in .safetensors")
    check_output_file(args.target)
    settings = config.load(args.config, args.set)
    if settings.fastpose.encoder != "mobilenet_v2" or settings.network != "fastpose":
        raise ValueError(f"{args.config}: expected a FastPose with the encoder mobilenet_v2")
    source = import_movenet(args.source)
    if source.multiplier != settings.fastpose.encoder_multiplier:
        raise ValueError(
            f"{args.source}: expected width multiplier {settings.fastpose.encoder_multiplier:g} "
            f"(fastpose.encoder_multiplier), got {source.multiplier:g}"
        )
    teacher = MobileNetV2(source.multiplier)
    teacher.load_state_dict(source.state)
    samples = TrainingSamples(args.train, settings, skeleton.load(settings.skeleton))
    student = prune(teacher, settings.fastpose.coarse_expansion)
    distill(teacher.to(args.device), student.to(args.device), samples, settings)
    state = {name: tensor.cpu() for name, tensor in student.state_dict().items()}
    checkpoints.save_encoder(args.target, ImportedEncoder(state, source.multiplier, source.source, ()))
    print(f"{printable(args.target)}: {sum(t.numel() for t in state.values()):,} parameters")
    return 0


def prune(encoder: MobileNetV2, expansion: int) -> MobileNetV2:
    """Copy an encoder with fewer hidden channels at stride 32: those with the largest weights.

    Args:
        encoder: with the blocks' published expansion of 6.
        expansion: hidden channels of each block, as a multiple of its input channels.
    """
    smaller = MobileNetV2(encoder.multiplier, expansion)
    state = encoder.state_dict()
    for number, block in enumerate(encoder.blocks):
        if number > SKIP_BLOCKS[-1]:
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


def distill(teacher: MobileNetV2, student: MobileNetV2, samples: TrainingSamples, settings: Settings) -> None:
    """Train the student's layers at stride 32 to give the teacher's features.

    The loss is the squared error, relative to the features' variance, of the last convolution's output and
    of the pyramid's projection of it. Layers before stride 32 and the pyramid stay as they are.
    """
    coarse = nn.ModuleList([*student.blocks[SKIP_BLOCKS[-1] + 1 :], student.last])
    sampler = EpochSampler(len(samples), settings.train.seed, settings.train.batch_size)
    optimizer = build_optimizer(coarse, settings.train)
    device = next(student.parameters()).device
    dtype = DTYPES[settings.train.precision]
    progress = tqdm(_iterate_epochs(samples, sampler, settings), total=settings.train.epochs * sampler.steps)
    for step, images in enumerate(progress):
        set_learning_rate(optimizer, learning_rate_at(step, sampler.steps, settings.train))
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            with torch.no_grad():
                shared = teacher.compute_stride_16(images.to(device))
                target = teacher.compute_stride_32(shared)
            found = student.compute_stride_32(shared)
            pairs = ((found, target), (teacher.laterals[3](found), teacher.laterals[3](target)))
            loss = torch.stack([_relative_error(*pair) for pair in pairs]).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % settings.train.log_steps == 0:
            progress.set_postfix(loss=f"{loss.item():.3f}")
    logger.info("relative squared error of the last step: %.3f", loss.item() / len(pairs))


def _iterate_epochs(samples: TrainingSamples, sampler: EpochSampler, settings: Settings) -> Iterator[Tensor]:
    """Yield the images of all steps, (N, 3, H, W) float BGR in [0, 1]."""
    loader = BatchLoader(samples, sampler)
    for sampler.epoch in range(settings.train.epochs):
        for batch in loader:
            yield batch.images.permute(0, 3, 1, 2).float().div_(255)


def _relative_error(found: Tensor, target: Tensor) -> Tensor:
    """Squared error of (N, C, h, w) features, as a fraction of their channels' variance."""
    centered = target.float() - target.float().mean((0, 2, 3), keepdim=True)
    return (found.float() - target.float()).square().mean() / centered.square().mean()
