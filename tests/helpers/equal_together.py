"""Run by test_distributed in one process and in two: five steps, and the weights after them.

In float64: in float32 the order of the samples in a batch alone changes the gradients of the first layers by
a quarter (batch norms of a fresh network see nearly equal values), so that no two ways to share one agree.
"""

import sys

import torch
from trainers import settings_of

from simplepose.data.batch import collate
from simplepose.data.dataset import EpochSampler, TrainingSamples
from simplepose.models import IMHN
from simplepose.models.checkpoints import Model
from simplepose.skeleton import COCO
from simplepose.training.optim import lr_at
from simplepose.training.trainer import Trainer
from simplepose.utils import distributed

STEPS = 5
arguments = [arg for arg in sys.argv[1:] if not arg.startswith("--local-rank")]  # of torch.distributed.launch
samples_file, output, batch, rate = arguments[0], arguments[1], int(arguments[2]), arguments[3]
settings = settings_of("train.optimizer=sgd", "train.sync_batchnorm=true", f"train.learning_rate={rate}")
samples = TrainingSamples(samples_file, settings, COCO)

with distributed.join(1) as world:
    torch.manual_seed(0)
    network = IMHN.from_settings(settings.model, COCO.channels).double()
    trainer = Trainer(Model(network, settings, COCO), torch.device("cpu"), world)
    sampler = EpochSampler(len(samples), 0, batch, world.rank, world.size)
    for step in range(STEPS):
        sampler.epoch = step
        places = list(sampler)[:batch]
        trainer.step(
            [collate([samples[place] for place in places])], lr_at(step, 1, settings.train, world.size)
        )
    reading = trainer.meter.read(world)
    assert (reading.steps, reading.skipped) == (STEPS, 0)
    if world.is_first:
        torch.save({"weights": trainer.network.state_dict(), "loss": reading.loss}, output)
