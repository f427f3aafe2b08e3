"""Run by test_distributed in two processes: both go on from the state of the first as if nothing had been."""

import copy
import sys

import torch
from trainers import batch_of, settings_of

from simplepose.models import IMHN
from simplepose.models.checkpoints import Model
from simplepose.skeleton import COCO
from simplepose.training.trainer import Trainer
from simplepose.utils import distributed

settings = settings_of()


def trainer_in(world):
    torch.manual_seed(0)
    network = IMHN.from_settings(settings.model, COCO.channels)
    return Trainer(Model(network, settings, COCO), torch.device("cpu"), world)


with distributed.join(1) as world:
    batch = batch_of(settings, sys.argv[1], 2 * world.rank)
    straight, resumed = trainer_in(world), trainer_in(world)
    straight.step([batch], 1e-3)
    resumed.load_state(copy.deepcopy(world.first_says(straight.state())), "the first's state")
    for trainer in (straight, resumed):
        trainer.step([batch], 1e-3)
        trainer.agree()
    for name, tensor in straight.ema.state.items():
        assert torch.equal(resumed.ema.state[name], tensor), name
    for state in (straight.ema.state, straight.network.state_dict()):
        totals = world.gather([sum(tensor.double().sum().item() for tensor in state.values())])
        assert totals[0] == totals[1], totals
    assert resumed.validate([batch]) == straight.validate([batch])
    found, expected = (trainer.meter.read(world) for trainer in (resumed, straight))
    assert found.steps == expected.steps == 2
    assert abs(found.loss_sum - expected.loss_sum) < 1e-12 * expected.loss_sum
    print("went on together")
