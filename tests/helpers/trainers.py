"""A small network in training, on drawn samples."""

from __future__ import annotations

from pathlib import Path

import torch
from places import CONFIGS

from simplepose import config
from simplepose.config import Settings
from simplepose.data.batch import Batch, collate
from simplepose.data.dataset import TrainingSamples
from simplepose.models import IMHN
from simplepose.models.checkpoints import Model
from simplepose.skeleton import COCO
from simplepose.training.trainer import Trainer


def settings_of(*overrides: str) -> Settings:
    """The smoke settings on samples of 64 x 128, with no limit that the first losses reach."""
    always = ("train.workers=0", "augment.size=[64,128]", "train.loss_limit=1e9")
    return config.load(CONFIGS / "smoke.yaml", [*always, *overrides])


def trainer_of(settings: Settings, data_parallel: bool = False) -> Trainer:
    """Fresh, on the CPU."""
    torch.manual_seed(settings.train.seed)
    network = IMHN.from_settings(settings.model, COCO.channels)
    return Trainer(Model(network, settings, COCO), torch.device("cpu"), data_parallel=data_parallel)


def batch_of(settings: Settings, path: Path, first: int = 0, count: int = 2) -> Batch:
    """Some samples of the file."""
    samples = TrainingSamples(path, settings, COCO)
    return collate([samples[(0, first + i)] for i in range(count)])
