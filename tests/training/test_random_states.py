"""Random states: what would have been drawn next is drawn after they are restored."""

import random

import numpy as np
import pytest
import torch

from simplepose.training import checkpointing

CPU = torch.device("cpu")
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")),
]


def drawn(device):
    """Some of everything; an odd number of normals leaves one of a pair behind, which is state too."""
    return [
        random.random(),
        random.gauss(0, 1),
        np.random.normal(),  # noqa: NPY002
        np.random.randint(1000),  # noqa: NPY002
        torch.randn(3).tolist(),
        torch.randn(3, device=device).tolist(),
    ]


@pytest.mark.parametrize("device", DEVICES)
def test_the_same_is_drawn_again_through_a_file(tmp_path, device):
    device = torch.device(device)
    drawn(device)
    torch.save(checkpointing.capture(device), tmp_path / "states.pt")
    first = drawn(device)
    assert drawn(device) != first
    states = torch.load(tmp_path / "states.pt", weights_only=True)
    for _ in range(2):  # restoring does not change what is restored
        checkpointing.restore(states, device)
        assert drawn(device) == first


def test_drawing_does_not_change_what_was_captured():
    states = checkpointing.capture(CPU)
    first = drawn(CPU)
    checkpointing.restore(states, CPU)
    assert drawn(CPU) == first


def test_capturing_draws_nothing():
    states = checkpointing.capture(CPU)
    first = drawn(CPU)
    checkpointing.restore(states, CPU)
    checkpointing.capture(CPU)
    assert drawn(CPU) == first
