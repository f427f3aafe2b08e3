"""Atomic writes: a file is complete or absent."""

import pytest

from simplepose.utils import atomic


def test_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "kept.bin"
    path.write_bytes(b"old")

    def fail(temporary):
        temporary.write_bytes(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        atomic.write(path, fail)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_file_mode_is_the_default_even_if_the_writer_creates_a_private_file(tmp_path):
    plain = tmp_path / "plain"
    plain.write_bytes(b"")

    def write_private_file(temporary):
        temporary.unlink()
        temporary.touch(mode=0o600)

    atomic.write(tmp_path / "ours", write_private_file)
    assert (tmp_path / "ours").stat().st_mode == plain.stat().st_mode


def test_existing_file_is_replaced(tmp_path):
    atomic.write_bytes(tmp_path / "a", b"old")
    atomic.write_bytes(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_path_is_added_to_errors_without_one(tmp_path):
    def fail():
        with atomic.add_path_to_errors(tmp_path / "a"):
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match=r"No space left on device: '.*a'") as error:
        fail()
    assert (error.value.errno, error.value.filename) == (28, str(tmp_path / "a"))


def test_write_without_fsync(tmp_path):
    atomic.write_bytes(tmp_path / "a", b"old")
    atomic.write_bytes(tmp_path / "a", b"new", fsync=False)
    assert (tmp_path / "a").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
