"""A small trainer on synthetic samples."""

from __future__ import annotations

from pathlib import Path

import torch
from repo_paths import CONFIGS

from simplepose import config
from simplepose.config import Settings
from simplepose.data.batch import Batch, collate
from simplepose.data.dataset import TrainingSamples
from simplepose.models import IMHN
from simplepose.models.checkpoints import Model
from simplepose.skeleton import COCO
from simplepose.training.trainer import Trainer


def make_settings(*overrides: str) -> Settings:
    """Return the smoke settings for samples of 64 x 128, with a loss limit above the initial losses."""
    base = ("train.workers=0", "augment.size=[64,128]", "train.loss_limit=1e9")
    return config.load(CONFIGS / "smoke.yaml", [*base, *overrides])


def make_trainer(settings: Settings, data_parallel: bool = False) -> Trainer:
    """Build a new trainer on the CPU."""
    torch.manual_seed(settings.train.seed)
    network = IMHN.from_settings(settings.model, COCO.channels)
    return Trainer(Model(network, settings, COCO), torch.device("cpu"), data_parallel=data_parallel)


def make_batch(settings: Settings, path: Path, first: int = 0, count: int = 2) -> Batch:
    """Collate `count` samples of a file, from sample `first` on."""
    samples = TrainingSamples(path, settings, COCO)
    return collate([samples[(0, first + i)] for i in range(count)])
