"""Random generator states: restored generators repeat the same numbers."""

import random

import numpy as np
import pytest
import torch

from simplepose.training import checkpointing

CPU = torch.device("cpu")
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def random_numbers(device):
    """Sample from all generators; an odd number of normals leaves a cached one, part of the state."""
    return [
        random.random(),
        random.gauss(0, 1),
        np.random.normal(),  # noqa: NPY002
        np.random.randint(1000),  # noqa: NPY002
        torch.randn(3).tolist(),
        torch.randn(3, device=device).tolist(),
    ]


@pytest.mark.parametrize("device", DEVICES)
def test_states_restored_from_a_file_repeat_the_numbers(tmp_path, device):
    device = torch.device(device)
    random_numbers(device)
    torch.save(checkpointing.capture_rng_states(device), tmp_path / "states.pt")
    first = random_numbers(device)
    assert random_numbers(device) != first
    states = torch.load(tmp_path / "states.pt", weights_only=True)
    for _ in range(2):  # restoring does not modify the states
        checkpointing.restore_rng_states(states, device)
        assert random_numbers(device) == first


def test_sampling_does_not_modify_captured_states():
    states = checkpointing.capture_rng_states(CPU)
    first = random_numbers(CPU)
    checkpointing.restore_rng_states(states, CPU)
    assert random_numbers(CPU) == first


def test_capturing_does_not_advance_the_generators():
    states = checkpointing.capture_rng_states(CPU)
    first = random_numbers(CPU)
    checkpointing.restore_rng_states(states, CPU)
    checkpointing.capture_rng_states(CPU)
    assert random_numbers(CPU) == first
