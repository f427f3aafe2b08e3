"""Run by test_distributed in one process and in two: take five steps and save the weights.

The weights are float64. In float32 the order of the samples in a batch changes the gradients of the first
layers by a quarter (the inputs of a new network's batch norms are nearly constant), so no two ways to divide
a batch agree.
"""

import sys

import torch
from trainers import make_settings

from simplepose.data.batch import collate
from simplepose.data.dataset import EpochSampler, TrainingSamples
from simplepose.models import IMHN
from simplepose.models.checkpoints import Model
from simplepose.skeleton import COCO
from simplepose.training.optim import learning_rate_at
from simplepose.training.trainer import Trainer
from simplepose.utils import distributed

STEPS = 5
arguments = [arg for arg in sys.argv[1:] if not arg.startswith("--local-rank")]  # of torch.distributed.launch
samples_file, output, batch, learning_rate = arguments[0], arguments[1], int(arguments[2]), arguments[3]
settings = make_settings(
    "train.optimizer=sgd", "train.sync_batchnorm=true", f"train.learning_rate={learning_rate}"
)
samples = TrainingSamples(samples_file, settings, COCO)

with distributed.process_group(1) as world:
    torch.manual_seed(0)
    network = IMHN.from_settings(settings.model, COCO.channels).double()
    trainer = Trainer(Model(network, settings, COCO), torch.device("cpu"), world)
    sampler = EpochSampler(len(samples), 0, batch, world.rank, world.size)
    for step in range(STEPS):
        sampler.epoch = step
        keys = list(sampler)[:batch]
        trainer.step(
            [collate([samples[key] for key in keys])], learning_rate_at(step, 1, settings.train, world.size)
        )
    metrics = trainer.meter.read(world)
    assert (metrics.steps, metrics.skipped) == (STEPS, 0)
    if world.is_main:
        torch.save({"weights": trainer.network.state_dict(), "loss": metrics.loss}, output)
