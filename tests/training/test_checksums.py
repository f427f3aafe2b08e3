"""Checksummed files: a change of any bit is detected."""

import io

import numpy as np
import pytest
import torch
from full_disk import limit_file_size

from simplepose.training import checkpointing


def values():
    return {"weights": torch.arange(3000.0), "name": "a", "list": [1, 2.5, None]}


@pytest.fixture
def path(tmp_path):
    """A checksummed checkpoint."""
    checkpointing.write_checksummed(tmp_path / "a.pt", lambda stream: torch.save(values(), stream))
    return tmp_path / "a.pt"


@pytest.mark.parametrize("mmap", [False, True])
def test_torch_loads_a_checksummed_file(path, mmap):
    checkpointing.verify_checksum(path)
    found = torch.load(path, weights_only=True, mmap=mmap)
    assert torch.equal(found["weights"], values()["weights"])
    assert found["list"] == [1, 2.5, None]


def test_file_is_the_output_of_torch_and_a_footer(path):
    plain = io.BytesIO()
    torch.save(values(), plain)
    assert len(path.read_bytes()) == len(plain.getvalue()) + checkpointing.FOOTER_BYTES


def test_any_flipped_bit_is_detected(path, rng):
    content = path.read_bytes()
    ends = [*range(100), *range(len(content) - 200, len(content))]
    for position in [*ends, *rng.integers(0, len(content), 200)]:
        damaged = bytearray(content)
        damaged[position] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"a\.pt: (damaged|no checksum at the end)"):
            checkpointing.verify_checksum(path)
    path.write_bytes(content)
    checkpointing.verify_checksum(path)


@pytest.mark.parametrize("length", [0, 1, 39, 40, 41, 5000, -40, -1])
def test_truncated_file_is_detected(path, length):
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match="the file is truncated"):
        checkpointing.verify_checksum(path)


@pytest.mark.parametrize("zeros", [32, 40, 41, 4096])
def test_trailing_zeros_are_detected(path, zeros):
    path.write_bytes(path.read_bytes()[:-zeros] + bytes(zeros))
    with pytest.raises(ValueError, match=r"a\.pt"):
        checkpointing.verify_checksum(path)


def test_appended_content_is_detected(path):
    content = path.read_bytes()
    for longer in (content + b"\0", content + content, content + content[-40:]):
        path.write_bytes(longer)
        with pytest.raises(ValueError, match=r"a\.pt"):
            checkpointing.verify_checksum(path)


def test_files_larger_than_a_chunk_are_verified_completely(tmp_path, rng):
    for size in (
        checkpointing.CHUNK_BYTES - 40,
        checkpointing.CHUNK_BYTES,
        2 * checkpointing.CHUNK_BYTES + 1,
    ):
        content = rng.bytes(size)
        checkpointing.write_checksummed(
            tmp_path / "large", lambda stream, content=content: stream.write(content)
        )
        checkpointing.verify_checksum(tmp_path / "large")
        damaged = bytearray((tmp_path / "large").read_bytes())
        damaged[size - 1] ^= 1
        (tmp_path / "large").write_bytes(damaged)
        with pytest.raises(ValueError, match="damaged"):
            checkpointing.verify_checksum(tmp_path / "large")


def test_full_disk_raises_oserror_and_keeps_the_old_file(path):
    large = {"weights": torch.from_numpy(np.ones(10**6))}
    before = path.read_bytes()
    with limit_file_size(10**5), pytest.raises(OSError, match="too large"):
        checkpointing.write_checksummed(path, lambda stream: torch.save(large, stream))
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["a.pt"]


def test_failing_writer_keeps_the_old_file(path):
    def fail(stream):
        stream.write(b"half")
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        checkpointing.write_checksummed(path, fail)
    checkpointing.verify_checksum(path)
