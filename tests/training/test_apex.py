"""NVIDIA apex: errors name the missing part, and installed parts are used as documented.

apex itself needs an NVIDIA GPU; stand_ins/apex has the documented behavior on any device.
"""

import shutil
import sys
from dataclasses import replace

import pytest
import torch
from repo_paths import ROOT
from torch import nn

from simplepose.config import TrainSettings
from simplepose.training import amp
from simplepose.training.amp import ApexPrecision
from simplepose.training.optim import build_optimizer

STAND_INS = ROOT / "tests/stand_ins"
FALLBACK_ADVICE = "use train.amp_backend=torch"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A folder on the import path with a modifiable copy of the stand-in."""
    shutil.copytree(STAND_INS, tmp_path, dirs_exist_ok=True)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name == "amp_C" or name.split(".")[0] == "apex"]:
        del sys.modules[name]


def network_and_optimizer():
    network = nn.Linear(2, 1)
    return network, torch.optim.SGD(network.parameters(), 0.1)


def error_message(call, *arguments) -> str:
    """Return the message of the error that a call raises."""
    with pytest.raises(ValueError, match=FALLBACK_ADVICE) as error:
        call(*arguments)
    return str(error.value)


def test_missing_apex_is_an_error_of_both_parts():
    for call, arguments in ((amp.fused_optimizer, ["sgd"]), (ApexPrecision, network_and_optimizer())):
        assert "the package apex is not installed; NVIDIA's is at https://github.com" in error_message(
            call, *arguments
        )


def test_other_package_named_apex_is_recognized_and_not_run(installed):
    for path in (installed / "apex").iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (installed / "apex/__init__.py").write_text("import pyramid_of_cheops; raise SystemExit(3)")
    (installed / "apex/optimizers.py").write_text("FusedSGD = 'of a pyramid'")
    message = error_message(amp.fused_optimizer, "sgd")
    assert f"the package apex in {installed / 'apex'} is not NVIDIA's" in message
    assert "pip installs another project under this name" in message


@pytest.mark.parametrize(
    ("change", "call", "missing"),
    [
        (lambda p: (p / "apex/amp.py").unlink(), "amp", "has no module apex.amp (newer versions have none)"),
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
            lambda p: (p / "apex/amp.py").write_text("def init(): pass\ninitialize = state_dict = init"),
            "amp",
            "apex.amp of .* has no scale_loss, master_params, load_state_dict",
        ),
        (
            lambda p: (p / "apex/__init__.py").write_text("from torch._six import container_abcs"),
            "amp",
            "apex.amp of .* cannot be imported: ModuleNotFoundError: No module named 'torch._six'",
        ),
        (
            lambda p: (p / "apex/amp.py").write_text(
                "def initialize(network, optimizer, **_): return network, object()\n"
                "scale_loss = master_params = state_dict = load_state_dict = None"
            ),
            "amp",
            "replaces the network or the optimizer",
        ),
    ],
)
def test_error_names_the_missing_part(installed, change, call, missing):
    change(installed)
    with pytest.raises(ValueError, match=missing.replace("(", r"\(").replace(")", r"\)")) as error:
        ApexPrecision(*network_and_optimizer()) if call == "amp" else amp.fused_optimizer(call)
    assert FALLBACK_ADVICE in str(error.value)


def test_missing_part_does_not_affect_the_others(installed):
    (installed / "apex/amp.py").unlink()
    assert amp.fused_optimizer("sgd")(nn.Linear(2, 1).parameters(), lr=0.1)


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
    for network, build in zip(networks, (amp.fused_optimizer(name), torch_class), strict=True):
        optimizer = build(network.parameters(), lr=0.1, weight_decay=0.5, **options)
        for value in (1.0, -3.0, 0.5):
            optimizer.zero_grad()
            network(torch.full((4, 3), value)).square().sum().backward()
            optimizer.step()
    assert torch.allclose(networks[0].weight, networks[1].weight)


def test_both_parts_need_a_gpu(installed):
    settings = TrainSettings(amp_backend="apex", precision="fp16")
    network, optimizer = network_and_optimizer()
    assert "run on NVIDIA GPUs only, the network is on cpu" in error_message(
        build_optimizer, network, settings
    )
    cpu = torch.device("cpu")
    assert "runs on NVIDIA GPUs only" in error_message(amp.build_precision, network, optimizer, settings, cpu)


def test_apex_rejects_bf16():
    settings = TrainSettings(amp_backend="apex", precision="bf16")
    network, optimizer = network_and_optimizer()
    cuda = torch.device("cuda")
    assert "fp16 only, train.precision is bf16" in error_message(
        amp.build_precision, network, optimizer, settings, cuda
    )


def test_optimizers_and_precision_are_independent(installed):
    """Without fused optimizers, or in fp32, that part of apex is not imported."""
    network, optimizer = network_and_optimizer()
    settings = TrainSettings(amp_backend="apex", fused=False, precision="fp32")
    assert isinstance(build_optimizer(network, settings), torch.optim.SGD)
    precision = amp.build_precision(network, optimizer, settings, torch.device("cpu"))
    assert not isinstance(precision, ApexPrecision)
    fp16 = replace(settings, precision="fp16")
    assert isinstance(amp.build_precision(network, optimizer, fp16, torch.device("cuda")), ApexPrecision)
