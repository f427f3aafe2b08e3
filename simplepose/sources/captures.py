"""Open OpenCV captures with time limits: video files, streams, cameras and web addresses.

A capture has threads of its own, which do not survive a fork: open it in the process that reads it.
Only one thread at a time may use a capture.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import PurePosixPath
from urllib.parse import urlsplit

import cv2

SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "tcp", "udp", "rtp", "srt")
"""What streams come over."""

_DOWNLOADS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv")


def is_address(text: str) -> bool:
    """Whether this is an address and not a path.

    Raises:
        ValueError: it is one of a kind that no stream comes over.
    """
    scheme, found, _ = text.partition("://")
    if found and scheme.lower() not in SCHEMES:
        raise ValueError(f"{text}: a path, or an address by {', '.join(SCHEMES)} expected")
    return bool(found)


def is_download(address: str) -> bool:
    """Whether a whole video lies there, to be read as a file is: its path ends as a video file's does."""
    parts = urlsplit(address)
    return parts.scheme.lower() in ("http", "https") and parts.path.lower().endswith(_DOWNLOADS)


def shown(address: str) -> str:
    """The address as it may be told and written into results: without user, password and query."""
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def file_name(address: str) -> str:
    """What results call a video that lies there."""
    return PurePosixPath(urlsplit(address).path).name


LOST = 250
"""So many frames in a row that cannot be decoded are the end: FFmpeg tells both in the same way."""

LIVE_THREADS = 2
"""FFmpeg holds back a frame for each decoding thread but one, and by default there is one a core."""


def open_video(where: str, upright: bool, timeout: float) -> cv2.VideoCapture | None:
    """Open a video: a file's path, or the address of one; None where FFmpeg finds none."""
    with _spelled(where) as name:
        return _opened(cv2.VideoCapture(name, cv2.CAP_FFMPEG, _limits(timeout)), upright)


def open_stream(address: str, upright: bool, timeout: float) -> cv2.VideoCapture:
    """Open a stream (RTSP, RTMP, HTTP, MJPEG over HTTP, TCP, UDP).

    Raises:
        ConnectionError: there is none.
    """
    settings = [*_limits(timeout), cv2.CAP_PROP_N_THREADS, LIVE_THREADS]
    capture = _opened(cv2.VideoCapture(address, cv2.CAP_FFMPEG, settings), upright)
    if capture is None:
        raise ConnectionError(f"nothing that FFmpeg reads answered within {timeout:g} s")
    return capture


def open_camera(device: str) -> cv2.VideoCapture:
    """Open a camera by its number, or on Linux by its file (/dev/video0).

    Raises:
        ConnectionError: there is none, or it is in use.
    """
    if device.isdecimal():
        capture = _opened(cv2.VideoCapture(int(device)))
    else:
        capture = _opened(cv2.VideoCapture(device, cv2.CAP_V4L2))
    if capture is None:
        raise ConnectionError("no such camera, or another program uses it, or it may not be used")
    return capture


def go_on(capture: cv2.VideoCapture, timeout: float) -> int | None:
    """Go on to the next frame that can be decoded, for `retrieve`.

    Args:
        timeout: seconds; what takes so long to fail is not tried again.

    Returns:
        How many right before it could not be decoded; None where there is none.
    """
    end = time.monotonic() + timeout
    for lost in range(LOST):
        if capture.grab():
            return lost
        if time.monotonic() >= end:
            break
    return None


def _limits(timeout: float) -> list[int]:
    milliseconds = max(1, round(timeout * 1000))
    return [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, milliseconds, cv2.CAP_PROP_READ_TIMEOUT_MSEC, milliseconds]


def _opened(capture: cv2.VideoCapture, upright: bool = True) -> cv2.VideoCapture | None:
    if capture.isOpened():
        if not upright:  # turning is OpenCV's default, and opening takes no setting for it
            capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
        return capture
    capture.release()
    return None


@contextlib.contextmanager
def _spelled(where: str) -> Iterator[str]:
    """A name that OpenCV takes: it crashes on one that is not UTF-8, which goes by its open file."""
    if is_address(where):
        yield where
        return
    path = os.path.abspath(where)  # FFmpeg takes the start of "a:b.mp4" for a protocol
    try:
        path.encode()
    except UnicodeEncodeError:
        with open(path, "rb") as file:
            yield f"/dev/fd/{file.fileno()}"
    else:
        yield path
