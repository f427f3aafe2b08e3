"""Open OpenCV captures with time limits: video files, streams, cameras and URLs.

A capture has threads of its own, which do not survive a fork: open it in the process that reads it.
Only one thread at a time may use a capture.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TypeVar
from urllib.parse import urlsplit

import cv2
import numpy as np

T = TypeVar("T")

STREAM_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "tcp", "udp", "rtp", "srt")

_DOWNLOAD_EXTENSIONS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv")


def is_url(text: str) -> bool:
    """Whether the text is a URL and not a path.

    Raises:
        ValueError: it is a URL with an unsupported scheme.
    """
    scheme, separator, _ = text.partition("://")
    if separator and scheme.lower() not in STREAM_SCHEMES:
        raise ValueError(f"{text}: expected a path, or a URL with one of {', '.join(STREAM_SCHEMES)}")
    return bool(separator)


def is_video_url(url: str) -> bool:
    """Whether the URL is that of a video file, which is read as a whole, and not of a stream."""
    parts = urlsplit(url)
    return parts.scheme.lower() in ("http", "https") and parts.path.lower().endswith(_DOWNLOAD_EXTENSIONS)


def redact_url(url: str) -> str:
    """Remove user, password and query from a URL, for messages and results."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def url_file_name(url: str) -> str:
    """Return the file name in the URL of a video file."""
    return PurePosixPath(urlsplit(url).path).name


# A video ends after this number of frames in a row that cannot be decoded. FFmpeg reports a damaged frame and
# the end of the video in the same way.
MAX_CONSECUTIVE_DECODE_FAILURES = 250

# Times of frames beyond this are errors of the container, seconds.
MAX_PLAUSIBLE_S = 1e9

# FFmpeg delays the output by one frame for each decoding thread but one. Its default is one thread per core.
STREAM_DECODER_THREADS = 2


# Packets of a video that are read to estimate its frame rate: ten seconds of most videos.
MAX_SCANNED_PACKETS = 256

# Linux's device number of cameras (Video4Linux).
V4L_MAJOR = 81

# Interval at which a wait for a thread checks whether it was canceled, seconds.
_CANCEL_CHECK_INTERVAL_S = 0.1


@dataclass(frozen=True, eq=False)
class PacketScan:
    """The first packets of a video, which are read without decoding.

    Attributes:
        codec: its name in the container (FOURCC), for example "avc1"; empty if it has none.
        seconds: (N,) float64 times of at most MAX_SCANNED_PACKETS packets, sorted; raw streams have no times.
        packets: number of packets that were read.
    """

    codec: str
    seconds: np.ndarray
    packets: int


def scan_packets(path_or_url: str, timeout: float) -> PacketScan | None:
    """Read the first packets of a video; returns None if FFmpeg finds no video, whatever its codec."""
    with _opencv_name(path_or_url) as name:
        undecoded = [*_time_limits(timeout), cv2.CAP_PROP_FORMAT, -1]
        capture = _check_open(cv2.VideoCapture(name, cv2.CAP_FFMPEG, undecoded))
    if capture is None:
        return None
    times: list[float] = []
    while len(times) < MAX_SCANNED_PACKETS and capture.grab():
        times.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
    code = int(capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
    capture.release()
    codec = code.to_bytes(4, "little").decode("ascii", "replace").strip()
    seconds = np.array([time for time in times if abs(time) < MAX_PLAUSIBLE_S])
    return PacketScan(codec if codec.isprintable() and codec.isascii() else "", np.sort(seconds), len(times))


def call_in_thread(function: Callable[[], T], is_canceled: Callable[[], bool]) -> T | None:
    """Call a function that may block for long in a thread, so that Ctrl-C and `close` end the wait for it.

    Args:
        function: it goes on in its thread after the wait has ended.
        is_canceled: checked several times a second.

    Returns:
        Its result, or None if the wait was canceled.

    Raises:
        Exception: what the function raised.
    """
    results: list[T] = []
    failures: list[Exception] = []

    def run() -> None:
        try:
            results.append(function())
        except Exception as failure:
            failures.append(failure)

    thread = threading.Thread(target=run, name="video reader", daemon=True)
    thread.start()
    while thread.is_alive() and not is_canceled():
        thread.join(_CANCEL_CHECK_INTERVAL_S)
    if failures:
        raise failures[0]
    return results[0] if results else None


def open_video(path_or_url: str, upright: bool, timeout: float) -> cv2.VideoCapture | None:
    """Open a video file by its path or URL; returns None if FFmpeg finds no video."""
    with _opencv_name(path_or_url) as name:
        return _check_open(cv2.VideoCapture(name, cv2.CAP_FFMPEG, _time_limits(timeout)), upright)


def open_stream(url: str, upright: bool, timeout: float) -> cv2.VideoCapture:
    """Open a stream (RTSP, RTMP, HTTP, MJPEG over HTTP, TCP, UDP).

    Raises:
        ConnectionError: no stream answers.
    """
    settings = [*_time_limits(timeout), cv2.CAP_PROP_N_THREADS, STREAM_DECODER_THREADS]
    capture = _check_open(cv2.VideoCapture(url, cv2.CAP_FFMPEG, settings), upright)
    if capture is None:
        raise ConnectionError(f"no stream that FFmpeg can read answered within {timeout:g} s")
    return capture


def open_camera(device: str) -> cv2.VideoCapture:
    """Open a camera by its number, or on Linux by its device file (/dev/video0).

    Raises:
        ConnectionError: the camera does not exist or is in use, or the device is no camera.
    """
    if not (device.isdecimal() or is_camera_device(device)):
        raise ConnectionError(
            "no such camera: expected a number, or a video device such as /dev/video0, got another device"
        )
    if device.isdecimal():
        capture = _check_open(cv2.VideoCapture(int(device)))
    else:
        capture = _check_open(cv2.VideoCapture(device, cv2.CAP_V4L2))
    if capture is None:
        raise ConnectionError("no such camera, or another program uses it, or permission is denied")
    return capture


def is_camera_device(path: str) -> bool:
    """Whether a device file is a camera; other devices (/dev/zero) may give bytes without end."""
    status = os.stat(path)
    return stat.S_ISCHR(status.st_mode) and (sys.platform != "linux" or os.major(status.st_rdev) == V4L_MAJOR)


def grab_next_frame(capture: cv2.VideoCapture, timeout: float) -> int | None:
    """Advance to the next frame that can be decoded, for `retrieve`.

    Args:
        capture: an open capture.
        timeout: seconds; no further frame is tried after this time.

    Returns:
        Number of frames before it that could not be decoded, or None if no frame follows.
    """
    end = time.monotonic() + timeout
    for failures in range(MAX_CONSECUTIVE_DECODE_FAILURES):
        if capture.grab():
            return failures
        if time.monotonic() >= end:
            break
    return None


def _time_limits(timeout: float) -> list[int]:
    milliseconds = max(1, round(timeout * 1000))
    return [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, milliseconds, cv2.CAP_PROP_READ_TIMEOUT_MSEC, milliseconds]


def _check_open(capture: cv2.VideoCapture, upright: bool = True) -> cv2.VideoCapture | None:
    if capture.isOpened():
        if not upright:  # OpenCV rotates by default, and the constructor has no parameter for it
            capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
        return capture
    capture.release()
    return None


@contextlib.contextmanager
def _opencv_name(path_or_url: str) -> Iterator[str]:
    """Yield a name that OpenCV can open. It crashes on non-UTF-8 names, so these go by an open descriptor."""
    if is_url(path_or_url):
        yield path_or_url
        return
    path = os.path.abspath(path_or_url)  # FFmpeg would read the start of "a:b.mp4" as a protocol
    try:
        path.encode()
    except UnicodeEncodeError:
        with open(path, "rb") as file:
            yield f"/dev/fd/{file.fileno()}"
    else:
        yield path
