"""Run by test_distributed in two processes: both ranks resume from the state of rank 0."""

import copy
import sys

import torch
from trainers import make_batch, make_settings

from simplepose.models import IMHN
from simplepose.models.checkpoints import Model
from simplepose.skeleton import COCO
from simplepose.training.trainer import Trainer
from simplepose.utils import distributed

settings = make_settings()


def trainer_on(world):
    torch.manual_seed(0)
    network = IMHN.from_settings(settings.model, COCO.channels)
    return Trainer(Model(network, settings, COCO), torch.device("cpu"), world)


with distributed.process_group(1) as world:
    batch = make_batch(settings, sys.argv[1], 2 * world.rank)
    uninterrupted, resumed = trainer_on(world), trainer_on(world)
    uninterrupted.step([batch], 1e-3)
    resumed.load_state(copy.deepcopy(world.broadcast(uninterrupted.state())), "state of rank 0")
    for trainer in (uninterrupted, resumed):
        trainer.step([batch], 1e-3)
        trainer.broadcast_buffers()
    for name, tensor in uninterrupted.ema.state.items():
        assert torch.equal(resumed.ema.state[name], tensor), name
    for state in (uninterrupted.ema.state, uninterrupted.network.state_dict()):
        totals = world.all_gather([sum(tensor.double().sum().item() for tensor in state.values())])
        assert totals[0] == totals[1], totals
    assert resumed.validate([batch]) == uninterrupted.validate([batch])
    found, expected = (trainer.meter.read(world) for trainer in (resumed, uninterrupted))
    assert found.steps == expected.steps == 2
    assert abs(found.loss_sum - expected.loss_sum) < 1e-12 * expected.loss_sum
    print("resumed on all ranks")
