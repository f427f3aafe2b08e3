"""Hostile videos, playlists and raw frames."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from base_inputs import NETWORK, SMALL_INPUT
from case import Case, Expected, or_value, refusal, reported, value
from image_files import GIF, GIF_IMAGE, box, jpeg, png_of_zeros

from simplepose.cli import demo_video

Write = Callable[[Path], Sequence[str]]


def arguments(source: str, *more: str) -> list[str]:
    """Arguments of `demo_video`."""
    return ["--source", source, "--output", "out", *more, *NETWORK, *SMALL_INPUT]


def written(name: str, content: Callable[[], bytes], *more: str) -> Write:
    """Return a function that writes a file."""

    def write(folder: Path) -> Sequence[str]:
        (folder / name).write_bytes(content())
        return arguments(name, *more)

    return write


def special(name: str, create: Callable[[Path], Any]) -> Write:
    """Return a function that creates a special file."""

    def write(folder: Path) -> Sequence[str]:
        create(folder / name)
        return arguments(name)

    return write


def y4m(width: int, height: int, rate: str = "25:1", data: bytes = b"") -> bytes:
    """A YUV4MPEG2 video with this header."""
    return f"YUV4MPEG2 W{width} H{height} F{rate} Ip C420\nFRAME\n".encode() + data


def ivf(width: int, height: int, length: int) -> bytes:
    """An IVF video of one frame that states its length."""
    header = b"DKIF" + struct.pack("<HH4sHHIII", 0, 32, b"VP80", width, height, 25, 1, 1) + bytes(4)
    return header + struct.pack("<IQ", length, 0) + bytes(20)


def riff(length: int) -> bytes:
    """An AVI whose chunk states this length."""
    return b"RIFF" + struct.pack("<I", length) + b"AVI LIST" + struct.pack("<I", 2**31) + b"hdrl" + bytes(100)


def matroska(length: bytes) -> bytes:
    """A Matroska segment of this stated length."""
    return b"\x1a\x45\xdf\xa3\x80" + b"\x18\x53\x80\x67" + length + bytes(100)


FTYP = box(b"ftyp", b"isom" + bytes(4) + b"isom")
FILE = "bad.mp4"
REFUSAL = refusal("bad")

FILES: dict[str, tuple[Write, Expected]] = {
    "empty": (written(FILE, lambda: b""), REFUSAL),
    "text": (written(FILE, lambda: b"this is text"), REFUSAL),
    "html": (written(FILE, lambda: b"<!DOCTYPE html><html>403 Forbidden</html>"), REFUSAL),
    "noise": (written(FILE, lambda: bytes(range(256)) * 500), REFUSAL),
    "header_only": (written(FILE, lambda: FTYP), REFUSAL),
    "box_2_63": (written(FILE, lambda: FTYP + struct.pack(">I4sQ", 1, b"mdat", 2**63) + bytes(50)), REFUSAL),
    "box_2_64": (
        written(FILE, lambda: FTYP + struct.pack(">I4sQ", 1, b"moov", 2**64 - 1) + bytes(50)),
        REFUSAL,
    ),
    "boxes_of_8_bytes": (written(FILE, lambda: FTYP + box(b"free", b"") * 500_000), REFUSAL),
    "boxes_nested": (written(FILE, lambda: FTYP + struct.pack(">I4s", 2**31, b"moov") * 20_000), REFUSAL),
    "mkv_unknown_length": (written("bad.mkv", lambda: matroska(b"\x01" + b"\xff" * 7)), REFUSAL),
    "mkv_length_2_56": (written("bad.mkv", lambda: matroska(b"\x01" + b"\xfe" * 7)), REFUSAL),
    "avi_length_0": (written("bad.avi", lambda: riff(0)), REFUSAL),
    "avi_length_2_32": (written("bad.avi", lambda: riff(2**32 - 1)), REFUSAL),
    "avi_chunks": (written("bad.avi", lambda: (b"RIFF" + bytes(4)) * 200_000), REFUSAL),
    "y4m_1e6": (written("bad.y4m", lambda: y4m(10**6, 10**6)), REFUSAL),
    "y4m_30000": (written("bad.y4m", lambda: y4m(30_000, 30_000)), REFUSAL),
    "y4m_0": (written("bad.y4m", lambda: y4m(0, 0)), REFUSAL),
    "y4m_rate_0": (written("bad.y4m", lambda: y4m(64, 64, "0:0", bytes(6144))), or_value(reported("bad"))),
    "y4m_rate_1e9": (
        written("bad.y4m", lambda: y4m(64, 64, "1000000000:1", bytes(6144))),
        or_value(reported("bad")),
    ),
    "y4m_rate_1e_9": (
        written("bad.y4m", lambda: y4m(64, 64, "1:1000000000", bytes(6144))),
        or_value(reported("bad")),
    ),
    "y4m_short_frame": (written("bad.y4m", lambda: y4m(64, 64, data=bytes(100))), REFUSAL),
    "ivf_65535": (written("bad.ivf", lambda: ivf(65_535, 65_535, 20)), REFUSAL),
    "ivf_frame_2_32": (written("bad.ivf", lambda: ivf(64, 64, 2**32 - 1)), REFUSAL),
    "gif": (written("bad.gif", lambda: GIF + GIF_IMAGE), or_value(reported("bad"))),
    "gif_65535": (written("bad.gif", lambda: b"GIF89a\xff\xff\xff\xff\0\0\0;"), REFUSAL),
    "png_30000": (written(FILE, lambda: png_of_zeros(30_000, 30_000)), reported("bad")),
    "jpeg": (written(FILE, jpeg), or_value(reported("bad"))),
    "motion_jpeg": (written("bad.mjpg", lambda: jpeg() * 3), value()),
    "playlist_hls": (
        written(
            FILE,
            lambda: b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        ),
        REFUSAL,
    ),
    "playlist_hls_fifo": (
        lambda folder: (
            os.mkfifo(folder / "fifo.ts"),
            written(FILE, lambda: b"#EXTM3U\n#EXTINF:1,\nfifo.ts\n")(folder),
        )[1],
        REFUSAL,
    ),
    "playlist_concat": (written(FILE, lambda: b"ffconcat version 1.0\nfile '/dev/zero'\n"), REFUSAL),
    "playlist_concat_fifo": (
        lambda folder: (
            os.mkfifo(folder / "x"),
            written(FILE, lambda: b"ffconcat version 1.0\nfile x\n")(folder),
        )[1],
        REFUSAL,
    ),
    "playlist_sdp": (
        written("bad.mp4", lambda: b"v=0\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n"),
        REFUSAL,
    ),
    "playlist_dash": (
        written(
            FILE, lambda: b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="dynamic"/>'
        ),
        REFUSAL,
    ),
    "name_pattern": (written("bad%03d.mp4", lambda: b"text"), REFUSAL),
    "name_escape": (written("\x1b[31mbad\n.mp4", lambda: b"text"), REFUSAL),
    "name_protocol": (written("concat:bad.mp4", lambda: b"text"), REFUSAL),
    "fifo": (special(FILE, os.mkfifo), REFUSAL),
    "device": (special(FILE, lambda path: path.symlink_to("/dev/zero")), REFUSAL),
    "link_to_itself": (special(FILE, lambda path: path.symlink_to(path.name)), REFUSAL),
    "dangling_link": (special(FILE, lambda path: path.symlink_to("nothing.mp4")), REFUSAL),
    "folder": (special(FILE, lambda path: path.mkdir()), REFUSAL),
    "missing": (lambda folder: arguments("bad.mp4"), REFUSAL),
    "block_device": (lambda folder: arguments("/dev/null"), refusal("/dev/null")),
}
RAW: dict[str, str] = {
    "size_1e9": "1000000000x1000000000",
    "size_30000": "30000x30000",
    "size_0": "0x0",
    "size_words": "wide x high",
    "size_long": "9" * 5000 + "x1",
}


def _video_cases() -> list[Case]:
    cases = [
        Case(f"video/file/{name}", write, demo_video.main, expected)
        for name, (write, expected) in FILES.items()
    ]
    for name, size in RAW.items():
        cases.append(
            Case(
                f"video/raw/{name}",
                lambda folder, size=size: arguments("-", "--raw-size", size),
                demo_video.main,
                refusal("raw.size"),
            )
        )
    return cases


CASES = _video_cases()
