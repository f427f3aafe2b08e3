"""How many bytes a video file lacks at least, by the lengths that its own headers state.

A container's count of frames cannot tell: an edited MP4 counts frames that are hidden, and Matroska
states how long the sound is where that is longer. Lengths in bytes are exact. Known are MP4 and QuickTime
(ISO/IEC 14496-12, 4.2: boxes), Matroska and WebM (RFC 8794: elements) and AVI (RIFF: chunks).
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp")
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def missing_bytes(path: str | Path) -> int:
    """How many bytes are missing at the end of the file; 0 where none are, or it cannot be told.

    At least so many: of an MP4 that is cut in one box, the boxes after it are missing too.
    """
    with open(path, "rb") as file:
        head = file.read(12)
        size = file.seek(0, 2)
        if head[4:8] in _BOXES:
            end = _end_of_boxes(file, size)
        elif head.startswith(_EBML):
            end = _end_of_segment(file)
        elif head[:4] == b"RIFF" and head[8:] == b"AVI ":
            end = _end_of_chunks(file, size)
        else:
            return 0
    return max(0, end - size)


def _end_of_boxes(file: BinaryIO, size: int) -> int:
    place = 0
    while place < size:
        file.seek(place)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:], "big")
        if (
            length < 8 or len(head) < 8 or not head[4:8].isascii()
        ):  # 0: it goes on to the file's end; all else is no box
            return size
        place += length
    return place


def _end_of_segment(file: BinaryIO) -> int:
    """The end of a Matroska file's one segment, which follows the header."""
    file.seek(len(_EBML))
    header = _length(file)
    if header is None:
        return 0
    file.seek(header, 1)
    if file.read(len(_SEGMENT)) != _SEGMENT:
        return 0
    length = _length(file)
    return 0 if length is None else file.tell() + length


def _length(file: BinaryIO) -> int | None:
    """An element's length: the first byte's leading zeros say how many follow; all ones: not known."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    more = 8 - first[0].bit_length()
    bits = 7 * (more + 1)
    rest = file.read(more)
    value = int.from_bytes(first + rest, "big") & ((1 << bits) - 1)
    return None if len(rest) < more or value == (1 << bits) - 1 else value


def _end_of_chunks(file: BinaryIO, size: int) -> int:
    """The end of an AVI's last RIFF chunk; those of more than 1 GB have several."""
    place = 0
    while place < size:
        file.seek(place)
        head = file.read(8)
        if head[:4] != b"RIFF":  # something appended
            return place
        length = int.from_bytes(head[4:], "little")
        place += 8 + length + length % 2
    return place
