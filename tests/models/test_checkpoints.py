"""Checkpoints: read strictly, without running code, and the same tensors there and back."""

import os
import pickle
import re
from dataclasses import replace

import filled
import pytest
import torch

from simplepose import config
from simplepose.cli import convert_checkpoint, door
from simplepose.config import Settings
from simplepose.models import IMHN, checkpoints, importers
from simplepose.models.checkpoints import Model
from simplepose.skeleton import COCO
from simplepose.training.trainer import Trainer

SMALL = {
    "stacks": 1,
    "stem_width": 4,
    "width": 8,
    "growth": 4,
    "head_width": 8,
    "reduction": 4,
    "dilations": (2,),
}


@pytest.fixture
def small() -> Model:
    settings = replace(Settings(), model=replace(Settings().model, **SMALL))
    return Model(IMHN.from_settings(settings.model, COCO.channels), settings, COCO)


@pytest.fixture(scope="module")
def published_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("published") / "published.pth"
    weights = {f"module.{name}": tensor for name, tensor in filled.published_weights().items()}
    optimizer = {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]}
    torch.save({"weights": weights, "optimizer_weight": optimizer, "train_loss": 1.5, "epoch": 52}, path)
    return path


@pytest.fixture(scope="module")
def converted(published_file):
    """A published file, and what is left of it after the way to safetensors and back: bare weights."""
    ours, back = published_file.with_name("ours.safetensors"), published_file.with_name("back.pth")
    assert convert_checkpoint.main([str(published_file), str(ours)]) == 0
    assert convert_checkpoint.main([str(ours), str(back)]) == 0
    ours.unlink()
    return back


def same(a, b):
    return a.keys() == b.keys() and all(a[k].dtype == b[k].dtype and torch.equal(a[k], b[k]) for k in a)


def test_names_of_the_published_state():
    with torch.device("meta"):
        ours = IMHN().state_dict()
    theirs = filled.published_weights()
    assert {importers.published_name(n): t.shape for n, t in ours.items()} == {
        n: t.shape for n, t in theirs.items()
    }


def test_published_to_safetensors_and_back(converted):
    values = torch.load(converted, weights_only=True, mmap=True)
    assert same(values["weights"], filled.published_weights())


def test_bare_names_and_no_optimizer_state_load_too(converted):
    assert torch.load(converted, weights_only=True, mmap=True).keys() == {"weights"}
    model = checkpoints.load(converted)
    weights = {importers.published_name(name): tensor for name, tensor in model.network.state_dict().items()}
    assert same(weights, filled.published_weights())
    assert not model.network.training


def test_half_precision_is_read_as_float32(small, tmp_path):
    path = tmp_path / "half.safetensors"
    checkpoints.save_released(path, small, torch.float16)
    loaded = checkpoints.load(path)
    assert loaded.settings == small.settings
    assert loaded.skeleton == COCO
    for name, tensor in loaded.network.state_dict().items():
        expected = small.network.state_dict()[name]
        assert tensor.dtype == expected.dtype
        assert torch.equal(tensor, expected.half().float() if tensor.is_floating_point() else expected)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda w: w.pop("posenet.pre.conv1.weight"), "1 missing: stem.conv.conv.weight"),
        (lambda w: w.update({"posenet.odd": torch.ones(2)}), "1 extra: posenet.odd"),
        (
            lambda w: w.update({"posenet.pre.bn1.bias": torch.ones(2)}),
            r"stem.conv.bn.bias is \(2,\), expected \(4,\)",
        ),
    ],
)
def test_what_does_not_fit_is_named(small, change, told):
    weights = {importers.published_name(name): t for name, t in small.network.state_dict().items()}
    change(weights)
    with pytest.raises(ValueError, match=told) as error:
        checkpoints.fill(small.network, importers.to_ours(weights, small.network), "odd.pth")
    assert "odd.pth" in str(error.value)


def test_another_architecture_is_told(small, tmp_path, capsys):
    torch.save({"weights": small.network.state_dict()}, tmp_path / "other.pth")
    assert door(convert_checkpoint.main, [str(tmp_path / "other.pth"), str(tmp_path / "o.safetensors")]) == 2
    assert "another network" in capsys.readouterr().err


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path, save):
    save({"weights": Evil(tmp_path / "pwned")}, tmp_path / "evil.pth")
    with pytest.raises(ValueError, match=r"evil.pth: refused, because it holds code"):
        checkpoints.load(tmp_path / "evil.pth")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_truncated_file_is_told(small, published_file, tmp_path, suffix):
    path = tmp_path / f"cut{suffix}"
    whole = published_file
    if suffix == ".safetensors":
        whole = tmp_path / "whole.safetensors"
        checkpoints.save_released(whole, small)
    path.write_bytes(whole.open("rb").read(3000))
    with pytest.raises(ValueError, match=f"cut{suffix}"):
        checkpoints.load(path)


@pytest.mark.parametrize("content", [b"", b"torn as well", b"\x80\x02", b"PK\x03\x04", bytes(range(256))])
def test_bytes_that_are_no_checkpoint_are_told(tmp_path, content):
    for name in ("odd.pth", "odd.safetensors"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=name):
            checkpoints.load(tmp_path / name)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"weights": 3}, "weights by name expected, got int"),
        ({"weights": {"a": 3}}, r"weights that are no named tensors: a \(int\)"),
        ({"weights": {5: torch.ones(1)}}, r"weights that are no named tensors: 5 \(Tensor\)"),
        ({"format": "simplepose-training-2"}, "a training checkpoint that lacks settings, skeleton, weights"),
        ({"format": "simplepose-training-1", "weights": {}}, "'simplepose-training-1' cannot be read"),
        ({1: 2, "a": 3}, "no 'weights' in it.*found 1, a"),
    ],
)
def test_values_of_another_kind_are_told(tmp_path, value, told):
    torch.save(value, tmp_path / "odd.pth")
    with pytest.raises(ValueError, match=f"odd.pth: {told}"):
        checkpoints.load(tmp_path / "odd.pth")


@pytest.mark.parametrize(
    ("name", "value"),
    [("settings", 3), ("settings", "model: {stacks: 0}"), ("skeleton", "{"), ("skeleton", "[]")],
)
def test_odd_settings_or_skeletons_in_a_training_checkpoint_are_told(small, tmp_path, name, value):
    values = {**Trainer(small, torch.device("cpu")).state(), name: value}
    torch.save(values, tmp_path / "odd.pt")
    with pytest.raises(ValueError, match=rf"odd\.pt.*{name}"):
        checkpoints.load(tmp_path / "odd.pt")


def training_checkpoint(small, path, **averages) -> dict[str, torch.Tensor]:
    """Write one whose averages (name=updates) differ from its raw weights; an entry of each set, by name."""
    values = {**Trainer(small, torch.device("cpu")).state(), "ema": None, "swa": None}
    entry = "stem.conv.bn.bias"
    found = {"raw": values["weights"][entry].clone()}
    for number, (name, updates) in enumerate(averages.items(), 1):
        state = {key: tensor + number for key, tensor in values["weights"].items()}
        values[name], found[name] = {"state": state, "updates": updates}, state[entry]
    torch.save(values, path)
    return found


@pytest.mark.parametrize(
    ("averages", "auto"),
    [
        ({}, "raw"),
        ({"ema": 5}, "ema"),
        ({"ema": 5, "swa": 0}, "ema"),
        ({"ema": 5, "swa": 1}, "swa"),
        ({"swa": 0}, "raw"),
    ],
)
def test_the_weights_that_are_asked_for_are_loaded(small, tmp_path, averages, auto):
    path = tmp_path / "run.pt"
    found = training_checkpoint(small, path, **averages)
    held = ["raw", *(name for name, updates in averages.items() if updates)]
    for weights, expected in (("auto", auto), *((name, name) for name in held)):
        loaded = checkpoints.load(path, weights=weights).network.stem.conv.bn.bias
        assert torch.equal(loaded, found[expected]), weights
    for weights in {"ema", "swa"} - set(held):
        with pytest.raises(ValueError, match=rf"run\.pt has no {weights} weights; it has {', '.join(held)}"):
            checkpoints.load(path, weights=weights)


def test_other_files_have_raw_weights_alone(small, converted, tmp_path):
    checkpoints.save_released(tmp_path / "small.safetensors", small)
    for path in (tmp_path / "small.safetensors", converted):
        assert checkpoints.load(path, weights="raw")
        with pytest.raises(ValueError, match=rf"{path.name} has no swa weights; it has raw"):
            checkpoints.load(path, weights="swa")
    with pytest.raises(ValueError, match="weights 'best': one of auto, raw, ema, swa expected"):
        checkpoints.load(converted, weights="best")


def test_the_command_converts_the_weights_that_are_asked_for(small, tmp_path, capsys):
    found = training_checkpoint(small, tmp_path / "run.pt", ema=3)
    for weights in ("raw", "ema"):
        target = tmp_path / f"{weights}.safetensors"
        assert (
            door(convert_checkpoint.main, [str(tmp_path / "run.pt"), str(target), "--weights", weights]) == 0
        )
        assert torch.equal(checkpoints.load(target).network.stem.conv.bn.bias, found[weights])
    args = [str(tmp_path / "run.pt"), str(tmp_path / "swa.safetensors"), "--weights", "swa"]
    assert door(convert_checkpoint.main, args) == 2
    assert "run.pt has no swa weights; it has raw, ema" in capsys.readouterr().err


@pytest.mark.parametrize("average", [3, {"state": {}}, {"state": 3, "updates": 1}])
def test_an_odd_average_is_told(small, tmp_path, average):
    values = {**Trainer(small, torch.device("cpu")).state(), "ema": average}
    torch.save(values, tmp_path / "odd.pt")
    with pytest.raises(ValueError, match=r"odd\.pt.* expected, got"):
        checkpoints.load(tmp_path / "odd.pt")


def test_settings_that_this_version_does_not_know_are_left_out(small, tmp_path, monkeypatch, caplog):
    later = config.to_text(small.settings) + "warp: {speed: 9}\n"
    monkeypatch.setattr(config, "to_text", lambda settings: later)
    checkpoints.save_released(tmp_path / "later.safetensors", small)
    torch.save(Trainer(small, torch.device("cpu")).state(), tmp_path / "later.pt")
    for name in ("later.safetensors", "later.pt"):
        assert checkpoints.load(tmp_path / name).settings == small.settings
        assert re.search(rf"{name} .*unknown key 'warp'", caplog.text)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_weights_that_are_not_finite_are_not_released(small, tmp_path, value):
    small.network.stem.conv.conv.weight.data[0] = value
    with pytest.raises(ValueError, match=r"float16, 1 tensors .* not finite: stem.conv.conv.weight"):
        checkpoints.save_released(tmp_path / "odd.safetensors", small, torch.float16)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [[1, 2], {"epoch": 3}])
def test_a_file_without_weights_is_told(tmp_path, value):
    torch.save(value, tmp_path / "odd.pth")
    with pytest.raises(ValueError, match="weights"):
        checkpoints.load(tmp_path / "odd.pth")


def test_a_missing_file_and_an_odd_target_are_told(tmp_path, capsys):
    with pytest.raises(FileNotFoundError, match="not found"):
        checkpoints.load(tmp_path / "nothing.pth")
    assert door(convert_checkpoint.main, ["a.pth", "b.onnx"]) == 2
    assert "b.onnx" in capsys.readouterr().err
