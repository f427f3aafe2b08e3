"""Train a network on HDF5 files of training samples, in one process."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

import simplepose
from simplepose import config, grouping, skeleton
from simplepose.cli import INTERRUPTED, arguments
from simplepose.cli.ap import ap_of
from simplepose.config import Settings
from simplepose.data.dataset import TrainingSamples
from simplepose.data.hdf5.reader import BadRecord
from simplepose.inference import predictor
from simplepose.models import checkpoints
from simplepose.models.checkpoints import Model
from simplepose.models.imhn import IMHN
from simplepose.models.transfer import transfer
from simplepose.skeleton import Skeleton
from simplepose.training import checkpointing
from simplepose.training.loggers import Board, Journal, Reporter
from simplepose.training.loop import Watch, train
from simplepose.training.run_dir import RunFolder
from simplepose.training.trainer import Trainer
from simplepose.utils import environment
from simplepose.utils.distributed import World
from simplepose.visualize import maps


def drawer(
    settings: Settings, skeleton: Skeleton
) -> Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]:
    """A function for the training loop, which is handed what rooms above it do.

    Returns:
        (H, W, 3) uint8 BGR input of the network, (C, h, w) float target maps, (C, h, w) float maps that
        the network gave -> `visual.maps.comparison` with the people that grouping finds in the latter.
    """

    def draw(image: np.ndarray, target: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        people = grouping.group(np.ascontiguousarray(predicted, np.float32), skeleton, settings.grouping)
        return maps.comparison(image, target, predicted, people, settings.targets.stride, skeleton)

    return draw


logger = logging.getLogger(__name__)


def parser(prog: str = "train", description: str | None = __doc__) -> arguments.Parser:
    """The verb's options."""
    parser = arguments.Parser(prog=prog, description=description)
    add = parser.add_argument
    add("--config", required=True, help="settings, for example configs/imhn4_512.yaml")
    add(
        "--train",
        required=True,
        type=arguments.source,
        nargs="+",
        metavar="FILE.h5[=WEIGHT]",
        help="samples to learn from, made by prepare; an epoch has WEIGHT (default 1) times a file's samples",
    )
    add("--val", type=Path, help="samples to tell the loss on (train.validate_epochs)")
    add(
        "--ap-annotations",
        type=Path,
        metavar="FILE.json",
        help="pictures to tell COCO AP on (train.ap_epochs)",
    )
    add("--ap-images", type=Path, metavar="DIR", help="the folder of these pictures")
    add("--output", required=True, type=Path, help="the run's folder, seen by all machines of the run")
    add("--resume", action="store_true", help="go on with the run in the folder, if there is one")
    add(
        "--init-from",
        metavar="NAME_OR_PATH",
        help="begin with what fits of a network that ships, or of a checkpoint (not when a run goes on)",
    )
    arguments.add_device(parser)
    parser.add_set("win over the file's")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb; returns the exit status."""
    of_one = parser()
    of_one.add_argument("--data-parallel", action="store_true", help="this one process uses all GPUs")
    args = of_one.parse_args(argv)
    processes = os.environ.get("WORLD_SIZE", "1")
    if processes != "1":
        raise ValueError(
            f"a launcher started {processes} processes; let it start tools/train_distributed.py instead"
        )
    return run(args, World(), args.device, args.data_parallel)


def run(args: argparse.Namespace, world: World, device: torch.device, data_parallel: bool = False) -> int:
    """Train in one of the processes; returns the exit status."""
    logging.basicConfig(level=logging.INFO if world.is_first else logging.WARNING, format="%(message)s")
    settings = config.load(args.config, args.set)
    body = skeleton.load(settings.skeleton)
    with world.together():
        samples = TrainingSamples(args.train, settings, body)
        held_out = TrainingSamples(args.val, settings, body, augmented=False) if args.val else None
        watch = Watch(held_out, ap_of(args.ap_annotations, args.ap_images, settings, device, world))
        folder = RunFolder(args.output, args.resume) if world.is_first else None
        newest = folder.newest_checkpoint() if folder else None
    newest = world.first_says(newest)
    with world.together():
        if newest is None and args.init_from is None:
            _warn_of_random_encoder(settings)
        model = _model(settings, body, None if newest else args.init_from)
    trainer = Trainer(model, device, world, data_parallel)
    if newest is not None:
        with world.together():
            _go_on(trainer, newest)
    reporter = _reporter(folder, trainer, settings, body, device)
    try:
        finished = train(trainer, samples, folder, reporter, watch)
    except BadRecord as error:  # a worker's comes with its whole traceback
        raise ValueError(str(error).split("BadRecord: ")[-1].strip()) from error
    finally:
        reporter.close()
    _tell_of_damage(world, [part for part in (samples, held_out) if part is not None])
    return _end(folder, trainer, finished)


def _warn_of_random_encoder(settings: Settings) -> None:
    if any(pattern.startswith("stem.encoder") for pattern in settings.train.freeze):
        logger.warning(
            "train.freeze: the encoder is frozen with random weights; expected --init-from with a pretrained "
            "encoder (docs/models/imhn_mobile.md), or train.freeze=[]"
        )


def _model(settings: Settings, body: Skeleton, init_from: str | None) -> Model:
    """A fresh network, with those of the given weights that fit."""
    torch.manual_seed(settings.train.seed)
    model = Model(IMHN.from_settings(settings.model, body.channels), settings, body)
    if init_from is not None:
        weights = checkpoints.read_weights(predictor.find(init_from))
        logger.info("%s", transfer(model.network, weights, init_from))
    return model


def _go_on(trainer: Trainer, path: Path) -> None:
    """Load a checkpoint, if it is of a run with the same settings."""
    values = checkpoints.read_training(path)
    checkpointing.check_resumable(config.from_text(values["settings"], str(path)), trainer.model.settings)
    checkpointing.check_skeleton(Skeleton.from_text(values["skeleton"], str(path)), trainer.model.skeleton)
    trainer.load_state(values, str(path))


def _reporter(
    folder: RunFolder | None, trainer: Trainer, settings: Settings, body: Skeleton, device: torch.device
) -> Reporter:
    """What tells of the run; silent where there is no folder."""
    if folder is None:
        return Reporter(settings.train, device, None)
    folder.write_settings(settings)
    environment.note_start(folder.environment, environment.describe(simplepose.__version__))
    step = trainer.progress.step
    board = Board(folder.tensorboard, step, required=settings.train.picture_steps > 0)
    return Reporter(settings.train, device, Journal(folder.journal, step), board, drawer(settings, body))


def _tell_of_damage(world: World, read: Sequence[TrainingSamples]) -> None:
    """A line on the samples that could not be read, if there were such."""
    met = int(world.sums(torch.tensor(sum(samples.damaged_pictures for samples in read))))
    if met and world.is_first:
        print(
            f"damaged pictures: {met} (one that several processes met is counted by each), named above; "
            "other samples stood in for theirs; tools/prepare_coco.py --check tells all of a file"
        )


def _end(folder: RunFolder | None, trainer: Trainer, finished: bool) -> int:
    if folder is not None and finished:
        with trainer.best_weights() as model:
            folder.save_released(model)
        print(f"done: {folder.released}")
    elif folder is not None:
        print(f"interrupted and saved; go on with the same command and --resume (folder {folder.path})")
    return 0 if finished else INTERRUPTED
