"""Run by test_distributed in two processes: the first loss of rank 1 is NaN; both ranks skip that step."""

import sys

import numpy as np
import torch
from repo_paths import CONFIGS

from simplepose import config, skeleton
from simplepose.data.batch import collate
from simplepose.data.dataset import TrainingSamples
from simplepose.models import IMHN
from simplepose.models.checkpoints import Model
from simplepose.training.trainer import Trainer
from simplepose.utils import distributed

overrides = ["train.workers=0", "augment.size=[64,128]", "train.loss_limit=1e9"]
settings = config.load(CONFIGS / "smoke.yaml", overrides)
samples = TrainingSamples(sys.argv[1], settings, skeleton.COCO)
batch = collate([samples[(0, i)] for i in range(2)])

with distributed.process_group(1) as world:
    torch.manual_seed(0)
    network = IMHN.from_settings(settings.model, skeleton.COCO.channels)
    trainer = Trainer(Model(network, settings, skeleton.COCO), torch.device("cpu"), world)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for use_nan in (True, False):
        weights = torch.tensor(np.nan if use_nan and world.rank == 1 else 1.0)
        trainer.loss.channel_weights *= weights
        trainer.step([batch], 1e-3)
        if use_nan:
            for name, tensor in network.state_dict().items():
                assert torch.equal(tensor, before[name]), name
        trainer.loss.channel_weights.nan_to_num_(1.0)
    metrics = trainer.meter.read(world)
    assert (metrics.skipped, metrics.consecutive_skips, metrics.steps) == (1, 0, 1), metrics
    changed = sum(not torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert changed > len(before) / 2
    print("skipped on all ranks")
