"""NVIDIA apex's fused optimizers: errors name the missing part, and they are used as documented.

apex itself needs an NVIDIA GPU; stand_ins/apex has the documented behavior on any device.
"""

import shutil
import sys

import pytest
import torch
from repo_paths import ROOT
from torch import nn

from simplepose.config import TrainSettings
from simplepose.training.optim import apex_optimizer, build_optimizer

STAND_INS = ROOT / "tests/stand_ins"
FALLBACK_ADVICE = "use train.optimizer_backend=torch"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A folder on the import path with a modifiable copy of the stand-in."""
    shutil.copytree(STAND_INS, tmp_path, dirs_exist_ok=True)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name == "amp_C" or name.split(".")[0] == "apex"]:
        del sys.modules[name]


def error_message(call, *arguments) -> str:
    """Return the message of the error that a call raises."""
    with pytest.raises(ValueError, match=FALLBACK_ADVICE) as error:
        call(*arguments)
    return str(error.value)


def test_missing_apex_is_an_error():
    message = error_message(apex_optimizer, "sgd")
    assert "the package apex is not installed; NVIDIA's is at https://github.com" in message


def test_other_package_named_apex_is_recognized_and_not_run(installed):
    for path in (installed / "apex").iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (installed / "apex/__init__.py").write_text("import pyramid_of_cheops; raise SystemExit(3)")
    (installed / "apex/optimizers.py").write_text("FusedSGD = 'of a pyramid'")
    message = error_message(apex_optimizer, "sgd")
    assert f"the package apex in {installed / 'apex'} is not NVIDIA's" in message
    assert "pip installs another project under this name" in message


@pytest.mark.parametrize(
    ("change", "optimizer", "missing"),
    [
        (lambda p: (p / "apex/optimizers.py").unlink(), "sgd", "has no module apex.optimizers"),
        (lambda p: (p / "amp_C.py").unlink(), "sgd", "has no module amp_C (it was built without its CUDA"),
        (
            lambda p: (p / "amp_C.py").write_text("raise ImportError('undefined symbol: _ZN3c10')"),
            "sgd",
            "amp_C of NVIDIA apex in .* cannot be imported: ImportError: undefined symbol: _ZN3c10",
        ),
        (
            lambda p: (p / "apex/optimizers.py").write_text("FusedLAMB = 1"),
            "adamw",
            "apex.optimizers of .* has no FusedAdam",
        ),
        (
            lambda p: (p / "apex/__init__.py").write_text("from torch._six import container_abcs"),
            "sgd",
            "apex.optimizers of .* cannot be imported: ModuleNotFoundError: No module named 'torch._six'",
        ),
    ],
)
def test_error_names_the_missing_part(installed, change, optimizer, missing):
    change(installed)
    with pytest.raises(ValueError, match=missing.replace("(", r"\(").replace(")", r"\)")) as error:
        apex_optimizer(optimizer)
    assert FALLBACK_ADVICE in str(error.value)


@pytest.mark.parametrize(
    ("name", "torch_class", "options"),
    [
        ("sgd", torch.optim.SGD, {"momentum": 0.9}),
        ("adamw", torch.optim.AdamW, {"betas": (0.8, 0.999)}),
    ],
)
def test_fused_optimizers_take_the_arguments_of_torch_and_step_equally(installed, name, torch_class, options):
    networks = [nn.Linear(3, 2), nn.Linear(3, 2)]
    networks[1].load_state_dict(networks[0].state_dict())
    for network, build in zip(networks, (apex_optimizer(name), torch_class), strict=True):
        optimizer = build(network.parameters(), lr=0.1, weight_decay=0.5, **options)
        for value in (1.0, -3.0, 0.5):
            optimizer.zero_grad()
            network(torch.full((4, 3), value)).square().sum().backward()
            optimizer.step()
    assert torch.allclose(networks[0].weight, networks[1].weight)


def test_fused_optimizers_need_a_gpu(installed):
    settings = TrainSettings(optimizer_backend="apex")
    assert "run on NVIDIA GPUs only, the network is on cpu" in error_message(
        build_optimizer, nn.Linear(2, 1), settings
    )


def test_without_fused_optimizers_apex_is_not_imported(installed):
    settings = TrainSettings(optimizer_backend="apex", fused=False)
    assert isinstance(build_optimizer(nn.Linear(2, 1), settings), torch.optim.SGD)
    assert "apex" not in sys.modules
