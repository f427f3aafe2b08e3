"""Checkpoints: strict loading without running code, and lossless conversion in both directions."""

import os
import pickle
import re
from dataclasses import replace

import fixed_weights
import pytest
import torch

import simplepose
from simplepose import config
from simplepose.cli import convert_checkpoint, run_command
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
    weights = {f"module.{name}": tensor for name, tensor in fixed_weights.published_weights().items()}
    optimizer = {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]}
    torch.save({"weights": weights, "optimizer_weight": optimizer, "train_loss": 1.5, "epoch": 52}, path)
    return path


@pytest.fixture(scope="module")
def converted(published_file):
    """A published checkpoint, converted to safetensors and back: only weights remain."""
    ours, back = published_file.with_name("ours.safetensors"), published_file.with_name("back.pth")
    assert convert_checkpoint.main([str(published_file), str(ours)]) == 0
    assert convert_checkpoint.main([str(ours), str(back)]) == 0
    ours.unlink()
    return back


def equal_states(a, b):
    return a.keys() == b.keys() and all(a[k].dtype == b[k].dtype and torch.equal(a[k], b[k]) for k in a)


def test_published_names():
    with torch.device("meta"):
        ours = IMHN().state_dict()
    theirs = fixed_weights.published_weights()
    assert {importers.to_published_name(n): t.shape for n, t in ours.items()} == {
        n: t.shape for n, t in theirs.items()
    }


def test_conversion_to_safetensors_and_back_is_lossless(converted):
    values = torch.load(converted, weights_only=True, mmap=True)
    assert equal_states(values["weights"], fixed_weights.published_weights())


def test_checkpoint_with_only_weights_and_without_module_prefix_loads(converted):
    assert torch.load(converted, weights_only=True, mmap=True).keys() == {"weights"}
    model = checkpoints.load(converted)
    weights = {
        importers.to_published_name(name): tensor for name, tensor in model.network.state_dict().items()
    }
    assert equal_states(weights, fixed_weights.published_weights())
    assert not model.network.training


def test_half_precision_loads_as_float32(small, tmp_path):
    path = tmp_path / "half.safetensors"
    checkpoints.save_safetensors(path, small, torch.float16)
    loaded = checkpoints.load(path)
    assert loaded.settings == small.settings
    assert loaded.skeleton == COCO
    for name, tensor in loaded.network.state_dict().items():
        expected = small.network.state_dict()[name]
        assert tensor.dtype == expected.dtype
        assert torch.equal(tensor, expected.half().float() if tensor.is_floating_point() else expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("posenet.pre.conv1.weight"), "1 missing: stem.conv.conv.weight"),
        (lambda w: w.update({"posenet.invalid": torch.ones(2)}), "1 extra: posenet.invalid"),
        (
            lambda w: w.update({"posenet.pre.bn1.bias": torch.ones(2)}),
            r"stem.conv.bn.bias is \(2,\), expected \(4,\)",
        ),
    ],
)
def test_mismatched_entries_are_listed(small, change, message):
    weights = {importers.to_published_name(name): t for name, t in small.network.state_dict().items()}
    change(weights)
    with pytest.raises(ValueError, match=message) as error:
        checkpoints.load_state_strictly(
            small.network, importers.from_published_state(weights, small.network), "invalid.pth"
        )
    assert "invalid.pth" in str(error.value)


def test_checkpoint_of_another_network_is_an_error(small, tmp_path, capsys):
    torch.save({"weights": small.network.state_dict()}, tmp_path / "other.pth")
    assert (
        run_command(convert_checkpoint.main, [str(tmp_path / "other.pth"), str(tmp_path / "o.safetensors")])
        == 2
    )
    assert "another network" in capsys.readouterr().err


class MaliciousObject:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_pickle_with_code_is_an_error_and_does_not_run(tmp_path, save):
    save({"weights": MaliciousObject(tmp_path / "pwned")}, tmp_path / "evil.pth")
    with pytest.raises(ValueError, match=r"evil.pth: expected only plain tensors and values, got code"):
        checkpoints.load(tmp_path / "evil.pth")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_truncated_file_is_an_error(small, published_file, tmp_path, suffix):
    path = tmp_path / f"cut{suffix}"
    whole = published_file
    if suffix == ".safetensors":
        whole = tmp_path / "whole.safetensors"
        checkpoints.save_safetensors(whole, small)
    path.write_bytes(whole.open("rb").read(3000))
    with pytest.raises(ValueError, match=f"cut{suffix}"):
        checkpoints.load(path)


@pytest.mark.parametrize("content", [b"", b"torn as well", b"\x80\x02", b"PK\x03\x04", bytes(range(256))])
def test_bytes_that_are_not_a_checkpoint_are_an_error(tmp_path, content):
    for name in ("invalid.pth", "invalid.safetensors"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=name):
            checkpoints.load(tmp_path / name)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"weights": 3}, "expected weights by name, got int"),
        ({"weights": {"a": 3}}, r"expected named tensors, got a \(int\)"),
        ({"weights": {5: torch.ones(1)}}, r"expected named tensors, got 5 \(Tensor\)"),
        ({"format": "simplepose-training-2"}, "the training checkpoint lacks settings, skeleton, weights"),
        (
            {"format": "simplepose-training-1", "weights": {}},
            "expected format 'simplepose-training-2', got 'simplepose-training-1'",
        ),
        ({1: 2, "a": 3}, "expected the key 'weights', got 1, a"),
    ],
)
def test_files_with_other_values_are_errors(tmp_path, value, message):
    torch.save(value, tmp_path / "invalid.pth")
    with pytest.raises(ValueError, match=f"invalid.pth: {message}"):
        checkpoints.load(tmp_path / "invalid.pth")


@pytest.mark.parametrize(
    ("name", "value"),
    [("settings", 3), ("settings", "model: {stacks: 0}"), ("skeleton", "{"), ("skeleton", "[]")],
)
def test_invalid_settings_or_skeleton_in_a_training_checkpoint_are_errors(small, tmp_path, name, value):
    values = {**Trainer(small, torch.device("cpu")).state(), name: value}
    torch.save(values, tmp_path / "invalid.pt")
    with pytest.raises(ValueError, match=rf"invalid\.pt.*{name}"):
        checkpoints.load(tmp_path / "invalid.pt")


def save_training_checkpoint(small, path, **averages) -> dict[str, torch.Tensor]:
    """Save a training checkpoint whose averages (name=updates) differ from its raw weights.

    Returns:
        One tensor of each set of weights, by the set's name.
    """
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
def test_requested_weights_are_loaded(small, tmp_path, averages, auto):
    path = tmp_path / "run.pt"
    saved = save_training_checkpoint(small, path, **averages)
    available = ["raw", *(name for name, updates in averages.items() if updates)]
    for weights, expected in (("auto", auto), *((name, name) for name in available)):
        loaded = checkpoints.load(path, weights=weights).network.stem.conv.bn.bias
        assert torch.equal(loaded, saved[expected]), weights
    for weights in {"ema", "swa"} - set(available):
        with pytest.raises(
            ValueError, match=rf"run\.pt has no {weights} weights; it has {', '.join(available)}"
        ):
            checkpoints.load(path, weights=weights)


def test_other_files_have_only_raw_weights(small, converted, tmp_path):
    checkpoints.save_safetensors(tmp_path / "small.safetensors", small)
    for path in (tmp_path / "small.safetensors", converted):
        assert checkpoints.load(path, weights="raw")
        with pytest.raises(ValueError, match=rf"{path.name} has no swa weights; it has raw"):
            checkpoints.load(path, weights="swa")
    with pytest.raises(ValueError, match="weights: expected one of auto, raw, ema, swa, got 'best'"):
        checkpoints.load(converted, weights="best")


def test_convert_checkpoint_converts_the_requested_weights(small, tmp_path, capsys):
    saved = save_training_checkpoint(small, tmp_path / "run.pt", ema=3)
    for weights in ("raw", "ema"):
        target = tmp_path / f"{weights}.safetensors"
        assert (
            run_command(
                convert_checkpoint.main, [str(tmp_path / "run.pt"), str(target), "--weights", weights]
            )
            == 0
        )
        assert torch.equal(checkpoints.load(target).network.stem.conv.bn.bias, saved[weights])
    args = [str(tmp_path / "run.pt"), str(tmp_path / "swa.safetensors"), "--weights", "swa"]
    assert run_command(convert_checkpoint.main, args) == 2
    assert "run.pt has no swa weights; it has raw, ema" in capsys.readouterr().err


@pytest.mark.parametrize("average", [3, {"state": {}}, {"state": 3, "updates": 1}])
def test_malformed_average_is_an_error(small, tmp_path, average):
    values = {**Trainer(small, torch.device("cpu")).state(), "ema": average}
    torch.save(values, tmp_path / "invalid.pt")
    with pytest.raises(ValueError, match=r"invalid\.pt.* expected .*, got"):
        checkpoints.load(tmp_path / "invalid.pt")


def test_unknown_settings_are_ignored_with_a_warning(small, tmp_path, monkeypatch, caplog):
    later = config.to_text(small.settings) + "warp: {speed: 9}\n"
    monkeypatch.setattr(config, "to_text", lambda settings: later)
    checkpoints.save_safetensors(tmp_path / "later.safetensors", small)
    torch.save(Trainer(small, torch.device("cpu")).state(), tmp_path / "later.pt")
    for name in ("later.safetensors", "later.pt"):
        assert checkpoints.load(tmp_path / name).settings == small.settings
        assert re.search(rf"{name} .*unknown key 'warp'", caplog.text)


def test_old_setting_names_in_a_checkpoint_are_read_without_a_message(small, tmp_path, monkeypatch, caplog):
    before = config.to_text(small.settings).replace("keep_checkpoints:", "keep:")
    monkeypatch.setattr(config, "to_text", lambda settings: before)
    checkpoints.save_safetensors(tmp_path / "before.safetensors", small)
    torch.save(Trainer(small, torch.device("cpu")).state(), tmp_path / "before.pt")
    for name in ("before.safetensors", "before.pt"):
        assert checkpoints.load(tmp_path / name).settings == small.settings
    assert "keep: 3" in before
    assert not caplog.messages


def test_the_included_network_loads_without_a_message(caplog):
    settings = simplepose.load("imhn_mobile", runtime="torch").settings
    assert (settings.grouping.min_person_score, settings.augment.framing) == (0.35, "image")
    assert not caplog.messages


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_weights_that_are_not_finite_are_not_saved(small, tmp_path, value):
    small.network.stem.conv.conv.weight.data[0] = value
    with pytest.raises(ValueError, match=r"float16, got NaN or infinity in 1 tensors: stem.conv.conv.weight"):
        checkpoints.save_safetensors(tmp_path / "invalid.safetensors", small, torch.float16)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [[1, 2], {"epoch": 3}])
def test_file_without_weights_is_an_error(tmp_path, value):
    torch.save(value, tmp_path / "invalid.pth")
    with pytest.raises(ValueError, match="weights"):
        checkpoints.load(tmp_path / "invalid.pth")


def test_missing_file_and_unknown_target_suffix_are_errors(tmp_path, capsys):
    with pytest.raises(FileNotFoundError, match="not found"):
        checkpoints.load(tmp_path / "nothing.pth")
    assert run_command(convert_checkpoint.main, ["a.pth", "b.onnx"]) == 2
    assert "b.onnx" in capsys.readouterr().err
