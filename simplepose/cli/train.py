"""Train a network on HDF5 files of training samples, in one process."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

import simplepose
from simplepose import config, grouping, skeleton
from simplepose.cli import EXIT_INTERRUPTED, arguments, configure_logging
from simplepose.cli.ap import build_ap_metric
from simplepose.config import Settings
from simplepose.data.dataset import TrainingSamples
from simplepose.inference import predictor
from simplepose.models import checkpoints
from simplepose.models.checkpoints import Model
from simplepose.models.transfer import transfer
from simplepose.skeleton import Skeleton
from simplepose.training import checkpointing
from simplepose.training.loggers import JournalSink, MetricLogger, Sink, TensorBoardSink, TerminalSink
from simplepose.training.loop import Validation, train
from simplepose.training.run_dir import RunFolder
from simplepose.training.trainer import Trainer
from simplepose.utils import environment
from simplepose.utils.distributed import World
from simplepose.utils.files import printable
from simplepose.visualize import maps


def build_map_drawer(
    settings: Settings, skeleton: Skeleton
) -> Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]:
    """Build the function that draws validation samples for the training loop.

    The training package may not import grouping or visualization, so it receives this function.

    Returns:
        A function of the network input (H, W, 3) uint8 BGR, the target maps (C, h, w) float and the predicted
        maps (C, h, w) float; it returns the image of `visualize.maps.draw_comparison`, with the people that
        grouping finds in the predicted maps.
    """

    def draw(image: np.ndarray, target: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        people = grouping.group(np.ascontiguousarray(predicted, np.float32), skeleton, settings.grouping)
        return maps.draw_comparison(image, target, predicted, people, settings.targets.stride, skeleton)

    return draw


logger = logging.getLogger(__name__)


def build_parser(prog: str = "train", description: str | None = __doc__) -> arguments.Parser:
    """Build the parser of the command's options."""
    parser = arguments.Parser(prog=prog, description=description)
    add = parser.add_argument
    add(
        "--config",
        required=True,
        metavar="FILE.yaml",
        help="settings file, for example configs/imhn4_512.yaml",
    )
    arguments.add_training_samples(parser)
    add("--val", type=Path, metavar="FILE.h5", help="samples for the validation loss (train.validate_epochs)")
    add(
        "--ap-annotations",
        type=Path,
        metavar="FILE.json",
        help="annotations of the images for COCO AP during training (train.ap_epochs)",
    )
    add("--ap-images", type=Path, metavar="DIR", help="folder of the images for COCO AP")
    arguments.add_annotation_options(parser)
    add(
        "--output",
        required=True,
        type=Path,
        metavar="DIR",
        help="folder of the run; all machines of the run must share it",
    )
    add("--resume", action="store_true", help="resume the run in this folder, if there is one")
    add(
        "--init-from",
        metavar="NAME_OR_PATH",
        help="initialize from a released model or a checkpoint; tensors that do not fit are skipped "
        "(ignored when a run is resumed)",
    )
    arguments.add_device(parser)
    parser.add_set("override values of the settings file")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = build_parser()
    parser.add_argument("--data-parallel", action="store_true", help="use all GPUs in this one process")
    args = parser.parse_args(argv)
    processes = os.environ.get("WORLD_SIZE", "1")
    if processes != "1":
        raise ValueError(
            f"expected 1 process, got {processes} from a launcher; launch tools/train_distributed.py instead"
        )
    return run(args, World(), args.device, args.data_parallel)


def run(args: argparse.Namespace, world: World, device: torch.device, data_parallel: bool = False) -> int:
    """Train in this process of the run; returns the exit status."""
    with contextlib.ExitStack() as stack:
        return _run(args, world, device, data_parallel, stack)


def _run(
    args: argparse.Namespace,
    world: World,
    device: torch.device,
    data_parallel: bool,
    stack: contextlib.ExitStack,
) -> int:
    """Train; `stack` closes the run folder and the metric logger."""
    configure_logging(logging.INFO if world.is_main else logging.WARNING)
    settings = config.load(args.config, args.set)
    body = skeleton.load(settings.skeleton)
    with world.raise_on_all_ranks():
        samples = TrainingSamples(args.train, settings, body)
        validation_samples = TrainingSamples(args.val, settings, body, augmented=False) if args.val else None
        validation = Validation(
            validation_samples,
            build_ap_metric(
                args.ap_annotations,
                args.ap_images,
                settings,
                device,
                world,
                arguments.annotation_options(args),
            ),
        )
        folder = RunFolder(args.output, args.resume) if world.is_main else None
        if folder is not None:
            stack.callback(folder.close)
        newest = folder.find_newest_checkpoint() if folder else None
    newest = world.broadcast(newest)
    with world.raise_on_all_ranks():
        if newest is None and args.init_from is None:
            _warn_if_frozen_encoder_is_random(settings)
        model = _build_model(settings, body, None if newest else args.init_from)
    trainer = Trainer(model, device, world, data_parallel)
    if newest is not None:
        with world.raise_on_all_ranks():
            _resume(trainer, newest)
    metric_logger = _build_metric_logger(folder, trainer, settings, body, device)
    stack.callback(metric_logger.close)
    finished = train(trainer, samples, folder, metric_logger, validation)
    _report_damage(world, [part for part in (samples, validation_samples) if part is not None])
    return _finish(folder, trainer, finished)


def _warn_if_frozen_encoder_is_random(settings: Settings) -> None:
    if any(pattern.startswith("stem.encoder") for pattern in settings.train.freeze):
        logger.warning(
            "train.freeze: the encoder is frozen with random weights; expected --init-from with a pretrained "
            "encoder (docs/models/imhn_mobile.md), or train.freeze=[]"
        )


def _build_model(settings: Settings, body: Skeleton, init_from: str | None) -> Model:
    """Build a network with random weights, and copy the tensors of `init_from` that fit."""
    torch.manual_seed(settings.train.seed)
    model = Model(checkpoints.build_network(settings, body), settings, body)
    if init_from is not None:
        weights = checkpoints.load_weights(predictor.find_model(init_from))
        logger.info("%s", transfer(model.network, weights, init_from))
    return model


def _resume(trainer: Trainer, path: Path) -> None:
    """Load a checkpoint; raises ValueError if it has other settings or another skeleton."""
    values = checkpoints.load_training_checkpoint(path)
    settings = config.from_text(values["settings"], str(path), log_deprecated=False)
    checkpointing.check_resumable(settings, trainer.model.settings)
    checkpointing.check_skeleton(Skeleton.from_yaml(values["skeleton"], str(path)), trainer.model.skeleton)
    trainer.load_state(values, str(path))


def _build_metric_logger(
    folder: RunFolder | None, trainer: Trainer, settings: Settings, body: Skeleton, device: torch.device
) -> MetricLogger:
    """Build the metric logger of the run; without a folder it logs nothing."""
    if folder is None:
        return MetricLogger(settings.train.epochs, device)
    folder.write_settings(settings)
    environment.append_start(folder.environment, environment.describe(simplepose.__version__))
    step = trainer.progress.step
    tensorboard = TensorBoardSink(folder.tensorboard, step, required=settings.train.image_log_steps > 0)
    sinks: list[Sink] = [JournalSink(folder.journal, step), tensorboard, TerminalSink()]
    return MetricLogger(settings.train.epochs, device, sinks, build_map_drawer(settings, body))


def _report_damage(world: World, datasets: Sequence[TrainingSamples]) -> None:
    """Print the number of samples that could not be read, if any."""
    damaged = int(world.all_reduce_sum(torch.tensor(sum(samples.damaged_images for samples in datasets))))
    if damaged and world.is_main:
        print(
            f"damaged images: {damaged} (each process counts its own), listed above and replaced by other "
            "samples; run tools/prepare_coco.py --check to check the whole file"
        )


def _finish(folder: RunFolder | None, trainer: Trainer, finished: bool) -> int:
    if folder is not None and finished:
        with trainer.best_weights() as model:
            folder.save_final_network(model)
        print(f"done: {printable(folder.final_network)}")
    elif folder is not None:
        print(
            f"interrupted, checkpoint saved in {printable(folder.path)}; run the same command with --resume "
            "to continue"
        )
    return 0 if finished else EXIT_INTERRUPTED
