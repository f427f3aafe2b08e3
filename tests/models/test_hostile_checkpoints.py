"""Checkpoints that ask for more than they have are refused before anything is allocated."""

import json
import os
import pickle
import zipfile
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from simplepose import config
from simplepose.config import ModelSettings, Settings
from simplepose.models import checkpoints
from simplepose.skeleton import COCO

SETTINGS = config.to_text(Settings())


def write_safetensors(path, settings=SETTINGS, skeleton=None):
    save_file({"a": torch.ones(1)}, path, {"settings": settings, "skeleton": skeleton or COCO.to_yaml()})


@pytest.mark.parametrize(
    ("section", "setting", "value", "message"),
    [
        ("model", "width", 10**6, "width: expected a value <= 2048"),
        ("model", "stacks", 10**5, "stacks: expected a value <= 16"),
        ("model", "scales", ".inf", "model.scales: expected int"),
        ("inference", "height", 10**6, "height: expected a value <= 8192"),
        ("inference", "scales", "[.inf]", "scales: expected values <= 16, got inf"),
        ("grouping", "max_peaks", 2**31, "max_peaks: expected a value <= 10000"),
    ],
)
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_header_with_huge_settings_is_refused_by_its_entry(
    tmp_path, section, setting, value, message, suffix
):
    path, settings = tmp_path / f"huge{suffix}", f"{section}: {{{setting}: {value}}}\n"
    if suffix == ".pt":
        values = dict.fromkeys(checkpoints.TRAINING_KEYS)
        values |= {"format": checkpoints.TRAINING_FORMAT, "weights": {"a": torch.ones(1)}}
        torch.save({**values, "settings": settings, "skeleton": COCO.to_yaml()}, path)
    else:
        write_safetensors(path, settings)
    with pytest.raises(ValueError, match=rf"huge{suffix} \(settings\), line 1: .*{message}"):
        checkpoints.load(path)


def test_a_large_network_is_not_allocated_for_a_small_file(tmp_path):
    model = ModelSettings(stacks=8, width=2048, growth=1024, head_width=2048, stem_width=2048)
    write_safetensors(tmp_path / "a.safetensors", config.to_text(replace(Settings(), model=model)))
    with pytest.raises(ValueError, match=r"a\.safetensors is a checkpoint of another network"):
        checkpoints.load(tmp_path / "a.safetensors")


def test_expanded_tensors_are_not_copied_to_their_full_size(tmp_path):
    with torch.device("meta"):
        network = checkpoints.IMHN.from_settings(Settings().model, COCO.channels)
    state = {name: torch.zeros((), dtype=t.dtype).expand(t.shape) for name, t in network.state_dict().items()}
    values = dict.fromkeys(checkpoints.TRAINING_KEYS)
    values |= {"format": checkpoints.TRAINING_FORMAT, "weights": state}
    torch.save({**values, "settings": SETTINGS, "skeleton": COCO.to_yaml()}, tmp_path / "a.pt")
    with pytest.raises(ValueError, match=r"a\.pt: expected tensors of at most [\d,]+ bytes"):
        checkpoints.load(tmp_path / "a.pt")


@pytest.mark.parametrize("header_bytes", [2**63, 10**9, 50])
def test_a_header_longer_than_its_file_is_refused(tmp_path, header_bytes):
    (tmp_path / "a.safetensors").write_bytes(header_bytes.to_bytes(8, "little") + b"{}")
    with pytest.raises(
        ValueError, match=r"a\.safetensors: not a readable safetensors file, perhaps truncated"
    ):
        checkpoints.load(tmp_path / "a.safetensors")


@pytest.mark.parametrize("entry", [{"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}])
def test_tensors_larger_than_the_file_are_refused(tmp_path, entry):
    header = json.dumps({"a": entry}).encode()
    (tmp_path / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    with pytest.raises(ValueError, match=r"a\.safetensors: not a readable safetensors file"):
        checkpoints.load(tmp_path / "a.safetensors")


def rewrite_zip(path, target, compression=zipfile.ZIP_STORED, change=lambda name, data: data):
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w", compression) as archive:
        for name in source.namelist():
            archive.writestr(name, change(name, source.read(name)))


def test_compressed_entries_are_refused(tmp_path):
    torch.save({"weights": {"a": torch.zeros(10**6)}}, tmp_path / "a.pth")
    rewrite_zip(tmp_path / "a.pth", tmp_path / "bomb.pth", zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match=r"bomb\.pth: expected distinct, uncompressed entries"):
        checkpoints.load(tmp_path / "bomb.pth")


def test_a_storage_larger_than_its_entry_is_refused(tmp_path):
    torch.save({"weights": {"a": torch.zeros(1000)}}, tmp_path / "a.pth")
    rewrite_zip(
        tmp_path / "a.pth",
        tmp_path / "short.pth",
        change=lambda name, data: data[:4] if "/data/" in name else data,
    )
    with pytest.raises(
        ValueError, match=r"short\.pth: storage '0': expected at most the 4 bytes in the file"
    ):
        checkpoints.load(tmp_path / "short.pth")


def test_a_storage_larger_than_a_file_of_older_torch_is_refused(tmp_path):
    path = tmp_path / "old.pth"
    torch.save({"weights": {"a": torch.zeros(70_000)}}, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"old\.pth: storage .*: expected at most the 1,000 bytes"):
        checkpoints.load(path)


class Foreign:
    def __reduce__(self):
        return os.getenv, ("HOME",)


@pytest.mark.parametrize("zipped", [True, False])
def test_the_entry_and_type_of_another_object_are_named(tmp_path, zipped):
    content = {"weights": {"a": torch.zeros(1)}, "extra": [{"b": Foreign()}]}
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=r"got code or other objects: extra\.b contains 'os\.getenv'"):
        checkpoints.load(tmp_path / "a.pth")


def test_a_plain_pickle_is_refused(tmp_path):
    (tmp_path / "a.pth").write_bytes(pickle.dumps({"weights": {}}))
    with pytest.raises(ValueError, match=r"a\.pth: not a readable torch checkpoint"):
        checkpoints.load(tmp_path / "a.pth")


def test_a_numpy_loss_is_named(shared):
    with pytest.raises(ValueError, match="numpy_loss") as error:
        checkpoints.load(shared / "cases" / "numpy_loss.pth")
    assert "train_loss contains 'numpy._core.multiarray.scalar'" in str(error.value)
    assert str(error.value).isprintable()


def test_a_named_pipe_is_refused_unopened(tmp_path):
    os.mkfifo(tmp_path / "pipe.pth")
    with pytest.raises(ValueError, match=r"pipe\.pth: expected a regular file, got a named pipe"):
        checkpoints.load(tmp_path / "pipe.pth")
