"""`simplepose train`: a network from a file of training samples."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from simplepose import config, skeleton
from simplepose.cli import INTERRUPTED, options
from simplepose.data.dataset import TrainingSamples
from simplepose.models import checkpoints
from simplepose.models.checkpoints import Model
from simplepose.models.imhn import IMHN
from simplepose.training import resuming
from simplepose.training.engine import Trainer
from simplepose.training.loop import train
from simplepose.training.run_folder import RunFolder


def parser() -> argparse.ArgumentParser:
    """The verb's options."""
    parser = argparse.ArgumentParser(prog="train", description=__doc__)
    parser.add_argument("--config", required=True, help="settings, for example configs/imhn4_512.yaml")
    parser.add_argument("--train", required=True, type=Path, help="samples to learn from, made by prepare")
    parser.add_argument("--val", type=Path, help="samples to tell the loss on after each epoch")
    parser.add_argument("--output", required=True, type=Path, help="the run's folder")
    parser.add_argument("--resume", action="store_true", help="go on with the run in the folder")
    parser.add_argument(
        "--init-from",
        type=Path,
        metavar="PATH",
        help="begin with the weights of this checkpoint (not when a run goes on)",
    )
    options.add_device(parser)
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="settings that win over the file's",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb; returns the exit status."""
    args = parser().parse_args(argv)
    settings = config.load(args.config, args.set)
    body = skeleton.load(settings.skeleton)
    samples = TrainingSamples(args.train, settings, body)
    held_out = TrainingSamples(args.val, settings, body, augmented=False) if args.val else None
    folder = RunFolder(args.output, args.resume)
    torch.manual_seed(settings.train.seed)
    model = Model(IMHN.from_settings(settings.model, body.channels), settings, body)
    newest = folder.newest()
    if args.init_from and newest is None:
        weights = checkpoints.load(args.init_from).network.state_dict()
        checkpoints.fill(model.network, weights, str(args.init_from))
    trainer = Trainer(model, args.device)
    if newest is not None:
        resuming.check(config.from_text(newest["settings"], str(folder.path)), settings)
        trainer.load_state(newest, str(folder.path))
    folder.write_settings(settings)
    if not train(trainer, samples, held_out, folder):
        print(f"interrupted and saved; go on with the same command and --resume (folder {folder.path})")
        return INTERRUPTED
    checkpoints.save_released(folder.released, trainer.result())
    print(f"done: {folder.released}")
    return 0
