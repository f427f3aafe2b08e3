"""Checks of paths: special files are refused unopened, links are not written through, names are escaped."""

from __future__ import annotations

import os
import socket

import pytest

from simplepose.utils import files


def test_regular_files_and_links_to_them_pass(tmp_path):
    (tmp_path / "a").write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    for check in (files.check_regular_file, files.check_output_file):
        check(tmp_path / "a")
        check(tmp_path / "link")
    files.check_output_file(tmp_path / "new")


@pytest.mark.parametrize("kind", ["a folder", "a named pipe (FIFO)", "a socket", "a character device"])
def test_special_files_are_refused_by_kind_without_opening_them(tmp_path, kind):
    path = tmp_path / "x"
    if kind == "a folder":
        path.mkdir()
    elif kind == "a named pipe (FIFO)":
        os.mkfifo(path)  # opening it would wait for a writer
    elif kind == "a socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(os.path.relpath(path))  # a socket's path has at most 107 bytes
    else:
        path.symlink_to("/dev/zero")
    for check in (files.check_regular_file, files.check_output_file):
        with pytest.raises(ValueError, match="got") as error:
            check(path)
        assert str(error.value).startswith(str(path))
        assert str(error.value).endswith(kind)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent: no such file"):
        files.check_regular_file(tmp_path / "absent")


def test_a_temporary_file_is_not_written_through_a_planted_link(tmp_path):
    victim, planted = tmp_path / "victim", tmp_path / "out.partial"
    victim.write_bytes(b"precious")
    planted.symlink_to(victim)
    with files.create_temporary(planted) as file:
        file.write(b"new")
    assert victim.read_bytes() == b"precious"
    assert planted.read_bytes() == b"new"
    assert not planted.is_symlink()


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a b é.jpg", "a b é.jpg"), ("a\nb", "a\\nb"), ("\x1b[2J", "\\x1b[2J"), ("\udcff.jpg", "\\udcff.jpg")],
)
def test_names_are_escaped_to_one_printable_line(name, expected):
    assert files.printable(name) == expected


@pytest.mark.parametrize("character", ["x", "\n", "\udcff"])
@pytest.mark.parametrize("length", [801, 5000, 10**6])
def test_the_middle_of_a_long_line_is_left_out(character, length):
    line = files.printable("start" + character * length + "end")
    assert len(line) <= files.MAX_LINE_LENGTH
    assert line.isprintable()
    assert line.startswith("start")
    assert line.endswith("end")
