"""Fixtures that the tests of several packages use."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from synthetic_coco import write_synthetic_coco

from simplepose.cli import prepare_coco

SHARED = Path(os.environ.get("SIMPLEPOSE_SHARED", Path(__file__).resolve().parents[2] / "shared"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests marked `gpu` where torch finds no GPU."""
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("needs a GPU")


@pytest.fixture(scope="session", autouse=True)
def enable_sigint() -> None:
    """Handle SIGINT: a shell makes background jobs and their children ignore it, but some tests send it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference data and real photographs, which only the developers have."""
    if not (SHARED / "reference").is_dir():
        pytest.skip(f"reference data not found at {SHARED} (set SIMPLEPOSE_SHARED to its folder)")
    return SHARED


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded random generator, so that a failure is reproducible."""
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def samples_file(tmp_path_factory) -> Path:
    """Training samples of six synthetic images."""
    folder = tmp_path_factory.mktemp("drawn")
    annotations, images = write_synthetic_coco(folder, num_images=6)
    path = folder / "drawn.h5"
    args = ["--annotations", str(annotations), "--images", str(images), "--output", str(path)]
    assert prepare_coco.main(args) == 0
    return path


@pytest.fixture(scope="session")
def cpp_objects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of compiled C++ sources; all processes of pytest-xdist share it."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
