"""Fixtures that several rooms' tests use."""

import os
from pathlib import Path

import numpy as np
import pytest

SHARED = Path(os.environ.get("SIMPLEPOSE_SHARED", Path(__file__).resolve().parents[2] / "shared"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference numbers and real photographs, which only the developers have."""
    if not (SHARED / "reference").is_dir():
        pytest.skip(f"reference data not found at {SHARED} (set SIMPLEPOSE_SHARED to its folder)")
    return SHARED


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded generator: a failure repeats."""
    return np.random.default_rng(0)
