"""Content of video files, without decoding: the kind of a file, its missing bytes, and why it has no video.

Byte lengths in headers are exact. Frame counts are not: an edited MP4 counts hidden frames, and Matroska
states the duration of the sound where that is longer. Supported are MP4 and QuickTime (ISO/IEC 14496-12, 4.2:
boxes), Matroska and WebM (RFC 8794: elements) and AVI (RIFF: chunks).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from simplepose.image_formats import identify, is_image_format

_BOX_TYPES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp")
_EBML_ID, _SEGMENT_ID = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"

# Brands of MP4's first box that are sound (M4A).
_AUDIO_BRANDS = (b"M4A ", b"M4B ")

# First bytes of other containers: FLV, ASF and WMV, MPEG program stream, MXF, IVF, Y4M, DAV.
_VIDEO_STARTS = (
    *(b"FLV\x01", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", b"\x00\x00\x01\xba"),
    *(b"\x06\x0e\x2b\x34", b"DKIF", b"YUV4MPEG2 ", b"DHAV"),
)
_AUDIO_STARTS = (b"ID3", b"fLaC", b"OggS", b"\xff\xfb", b"\xff\xf3", b"\xff\xf1", b"\xff\xf9", b"FORM")

# Position of the first sync byte 0x47 of a transport stream -> the size of its packets, bytes.
_TS_PACKETS = {0: 188, 4: 192}

# Bytes at the start of a file, or of an MP4's index, in which its kinds of tracks are looked for.
_HEADER_BYTES = 2**16
_MAX_INDEX_BYTES = 2**26


def sniff(path: str | Path) -> Literal["video", "image"] | None:
    """Return whether a regular file is a video or an image by its first bytes.

    None: neither, unknown, or a GIF, which may be either.
    """
    with open(path, "rb") as file:
        head = file.read(1024)
        size = file.seek(0, 2)
    image_format = identify(head)
    if is_image_format(image_format):
        return None if image_format == "GIF" else "image"
    if head[4:8] == b"ftyp":
        return None if head[8:12] in _AUDIO_BRANDS else "video"
    is_box = head[4:8] in _BOX_TYPES and int.from_bytes(head[:4], "big") in (0, 1, *range(8, size + 1))
    is_avi = head[:4] == b"RIFF" and head[8:12] == b"AVI "
    is_ts = any(
        all(head[start + k * packet : start + k * packet + 1] == b"\x47" for k in range(4))
        for start, packet in _TS_PACKETS.items()
    )
    return "video" if is_box or is_avi or is_ts or head.startswith((_EBML_ID, *_VIDEO_STARTS)) else None


def is_text(path: str | Path) -> bool:
    """Return whether a regular file is a text, such as a playlist, and no video in a known format."""
    with open(path, "rb") as file:
        head = file.read(_HEADER_BYTES)
    return bool(head) and _is_text(head) and sniff(path) != "video"


def missing_bytes(path: str | Path) -> int:
    """Compute how many bytes are missing at the end of a video file; 0 if none are, or if this is unknown.

    It is a minimum: if an MP4 is truncated within one box, the boxes after it are missing too.
    """
    with open(path, "rb") as file:
        head = file.read(12)
        size = file.seek(0, 2)
        if head[4:8] in _BOX_TYPES:
            end = max((position + length for _, position, length in _boxes(file, size)), default=0)
        elif head.startswith(_EBML_ID):
            end = _end_of_segment(file)
        elif head[:4] == b"RIFF" and head[8:] == b"AVI ":
            end = _end_of_chunks(file, size)
        else:
            return 0
    return max(0, end - size)


def states_duration_only(path: str | Path) -> bool:
    """Whether a file states its duration and no number of frames: Matroska and WebM."""
    with open(path, "rb") as file:
        return file.read(len(_EBML_ID)) == _EBML_ID


def describe_missing_video(path: str | Path) -> str:
    """Describe why a file that FFmpeg cannot open has no video, and what to do."""
    with open(path, "rb") as file:
        head = file.read(_HEADER_BYTES)
        size = file.seek(0, 2)
        index = b""
        if has_boxes := head[4:8] in _BOX_TYPES:
            index = _read_index(file, size)
    if not head:
        return "the file is empty; copy or record it again"
    if missing := missing_bytes(path):
        return f"truncated: at least {missing:,} bytes are missing at its end; copy it again"
    if has_boxes and not index:
        return "its index (moov box) is missing: the recording was not finished; repair or record it again"
    if _is_audio(head, index):
        return "it has sound but no video; use a file with a video track"
    if sniff(path) == "video":
        return "it has no video track with frames that FFmpeg can read; use another file"
    if _is_text(head):
        return "it is a text file; use a video file"
    return "its content is not that of a known video format: not a video, or damaged at its start"


def _boxes(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield type, position and length of an MP4's boxes; only the last one may extend beyond the file."""
    position = 0
    while position < size:
        file.seek(position)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:], "big")
        # Length 0: the box extends to the end of the file. Anything else here is not a box.
        if length < 8 or len(head) < 8 or not head[4:8].isascii():
            yield head[4:8], position, size - position
            return
        yield head[4:8], position, length
        position += length


def _read_index(file: BinaryIO, size: int) -> bytes:
    """Read an MP4's index, the moov box; empty if the file has none."""
    for box, position, length in _boxes(file, size):
        if box == b"moov":
            file.seek(position)
            return file.read(min(length, _MAX_INDEX_BYTES))
    return b""


def _is_audio(head: bytes, index: bytes) -> bool:
    if head.startswith(_AUDIO_STARTS) or (head[:4] == b"RIFF" and head[8:12] == b"WAVE"):
        return True
    if head.startswith(_EBML_ID):  # codec names start with A_ for sound and V_ for video
        return b"A_" in head and b"V_" not in head
    return b"soun" in index and b"vide" not in index


def _is_text(head: bytes) -> bool:
    return not any(byte < 32 and byte not in b"\t\n\v\f\r\x1b" for byte in head)


def _end_of_segment(file: BinaryIO) -> int:
    """Compute the end of a Matroska file's one segment, which follows the header."""
    file.seek(len(_EBML_ID))
    header = _read_length(file)
    if header is None:
        return 0
    file.seek(header, 1)
    if file.read(len(_SEGMENT_ID)) != _SEGMENT_ID:
        return 0
    length = _read_length(file)
    return 0 if length is None else file.tell() + length


def _read_length(file: BinaryIO) -> int | None:
    """Read an element's length. The first byte's leading zeros count the next bytes; all ones: unknown."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    more = 8 - first[0].bit_length()
    bits = 7 * (more + 1)
    rest = file.read(more)
    value = int.from_bytes(first + rest, "big") & ((1 << bits) - 1)
    return None if len(rest) < more or value == (1 << bits) - 1 else value


def _end_of_chunks(file: BinaryIO, size: int) -> int:
    """Compute the end of an AVI's last RIFF chunk; files above 1 GB have several."""
    position = 0
    while position < size:
        file.seek(position)
        head = file.read(8)
        if head[:4] != b"RIFF":  # appended data
            return position
        length = int.from_bytes(head[4:], "little")
        position += 8 + length + length % 2
    return position
