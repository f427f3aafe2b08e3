"""Run by test_distributed in two processes: both skip the same step, and resume from the state of rank 0."""

import copy
import sys

import numpy as np
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


def check_skipped_step(world):
    """Both ranks skip a step if the loss of rank 1 is NaN, and take the next one."""
    batch, trainer = make_batch(settings, sys.argv[1]), trainer_on(world)
    weights = trainer.network.state_dict()
    before = {name: tensor.clone() for name, tensor in weights.items()}
    for use_nan in (True, False):
        trainer.loss.channel_weights *= torch.tensor(np.nan if use_nan and world.rank == 1 else 1.0)
        trainer.step([batch], 1e-3)
        if use_nan:
            for name, tensor in weights.items():
                assert torch.equal(tensor, before[name]), name
        trainer.loss.channel_weights.nan_to_num_(1.0)
    metrics = trainer.meter.read(world)
    assert (metrics.skipped, metrics.consecutive_skips, metrics.steps) == (1, 0, 1), metrics
    changed = sum(not torch.equal(tensor, before[name]) for name, tensor in weights.items())
    assert changed > len(before) / 2
    print("skipped on all ranks")


def check_resume(world):
    """A trainer with the state of rank 0 continues like the trainer that has taken the step."""
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


with distributed.process_group(1) as world:
    check_skipped_step(world)
    check_resume(world)
