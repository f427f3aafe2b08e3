"""Sealed files: whatever happens to one of their bits is seen."""

import io

import numpy as np
import pytest
import torch
from full_disk import files_of_at_most

from simplepose.training import checkpointing


def values():
    return {"weights": torch.arange(3000.0), "name": "a", "list": [1, 2.5, None]}


@pytest.fixture
def path(tmp_path):
    """A sealed checkpoint."""
    checkpointing.write(tmp_path / "a.pt", lambda stream: torch.save(values(), stream))
    return tmp_path / "a.pt"


@pytest.mark.parametrize("mmap", [False, True])
def test_torch_reads_a_sealed_file(path, mmap):
    checkpointing.verify_checksum(path)
    found = torch.load(path, weights_only=True, mmap=mmap)
    assert torch.equal(found["weights"], values()["weights"])
    assert found["list"] == [1, 2.5, None]


def test_a_sealed_file_is_what_torch_writes_and_a_seal(path):
    plain = io.BytesIO()
    torch.save(values(), plain)
    assert len(path.read_bytes()) == len(plain.getvalue()) + checkpointing.LENGTH


def test_a_flipped_bit_is_seen_wherever_it_is(path, rng):
    content = path.read_bytes()
    ends = [*range(100), *range(len(content) - 200, len(content))]
    for place in [*ends, *rng.integers(0, len(content), 200)]:
        torn = bytearray(content)
        torn[place] ^= 1 << rng.integers(8)
        path.write_bytes(torn)
        with pytest.raises(ValueError, match=r"a\.pt (is damaged|does not end in its hash)"):
            checkpointing.verify_checksum(path)
    path.write_bytes(content)
    checkpointing.verify_checksum(path)


@pytest.mark.parametrize("left", [0, 1, 39, 40, 41, 5000, -40, -1])
def test_a_cut_file_is_seen(path, left):
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(ValueError, match="it was cut"):
        checkpointing.verify_checksum(path)


@pytest.mark.parametrize("zeros", [32, 40, 41, 4096])
def test_an_end_of_zeros_is_seen(path, zeros):
    path.write_bytes(path.read_bytes()[:-zeros] + bytes(zeros))
    with pytest.raises(ValueError, match=r"a\.pt"):
        checkpointing.verify_checksum(path)


def test_more_at_the_end_or_two_files_in_one_are_seen(path):
    content = path.read_bytes()
    for longer in (content + b"\0", content + content, content + content[-40:]):
        path.write_bytes(longer)
        with pytest.raises(ValueError, match=r"a\.pt"):
            checkpointing.verify_checksum(path)


def test_files_larger_than_a_piece_are_read_to_their_end(tmp_path, rng):
    for size in (checkpointing.PIECE - 40, checkpointing.PIECE, 2 * checkpointing.PIECE + 1):
        content = rng.bytes(size)
        checkpointing.write(tmp_path / "large", lambda stream, content=content: stream.write(content))
        checkpointing.verify_checksum(tmp_path / "large")
        torn = bytearray((tmp_path / "large").read_bytes())
        torn[size - 1] ^= 1
        (tmp_path / "large").write_bytes(torn)
        with pytest.raises(ValueError, match="damaged"):
            checkpointing.verify_checksum(tmp_path / "large")


def test_a_full_disk_is_told_as_such_and_leaves_the_old_file(path):
    large = {"weights": torch.from_numpy(np.ones(10**6))}
    before = path.read_bytes()
    with files_of_at_most(10**5), pytest.raises(OSError, match="too large"):
        checkpointing.write(path, lambda stream: torch.save(large, stream))
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["a.pt"]


def test_a_writer_that_fails_by_itself_leaves_the_old_file(path):
    def fail(stream):
        stream.write(b"half")
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        checkpointing.write(path, fail)
    checkpointing.verify_checksum(path)
