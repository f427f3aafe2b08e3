"""Files are written whole or not at all."""

import pytest

from simplepose.utils import atomic


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "kept.bin"
    path.write_bytes(b"old")

    def fail(temporary):
        temporary.write_bytes(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        atomic.write(path, fail)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_writer_that_hides_its_file_does_not_hide_ours(tmp_path):
    plain = tmp_path / "plain"
    plain.write_bytes(b"")

    def secretive(temporary):
        temporary.unlink()
        temporary.touch(mode=0o600)

    atomic.write(tmp_path / "ours", secretive)
    assert (tmp_path / "ours").stat().st_mode == plain.stat().st_mode


def test_an_old_file_is_replaced(tmp_path):
    atomic.write_bytes(tmp_path / "a", b"old")
    atomic.write_bytes(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_an_error_without_a_name_is_given_one(tmp_path):
    def fail():
        with atomic.naming(tmp_path / "a"):
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match=r"No space left on device: '.*a'") as told:
        fail()
    assert (told.value.errno, told.value.filename) == (28, str(tmp_path / "a"))


def test_a_file_may_be_left_to_the_system_to_flush(tmp_path):
    atomic.write_bytes(tmp_path / "a", b"old")
    atomic.write_bytes(tmp_path / "a", b"new", flushed=False)
    assert (tmp_path / "a").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
