"""Sources of frames: images, videos, cameras, streams and standard input, opened by `open_source`.

images.py          files, folders, patterns and text lists of images; reading one image
captures.py        the only file that opens OpenCV captures
video.py           a video file, every frame of it; truncated files by their headers
stream.py          cameras and streams: the newest frame wins, and lost connections are opened again
stdin.py           frames without a header from standard input
source_options.py  which frames, and which time limits
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from simplepose.frames import FrameSource
from simplepose.sources.captures import is_address, is_download, open_camera, open_stream, shown
from simplepose.sources.images import (
    EXTENSIONS,
    PictureSource,
    Source,
    UnreadablePicture,
    images,
    listed,
    read,
)
from simplepose.sources.source_options import SourceOptions
from simplepose.sources.stdin import RawSource
from simplepose.sources.stream import LiveSource
from simplepose.sources.video import VideoSource

VIDEOS = (
    *(".mp4", ".m4v", ".mov", ".qt", ".mkv", ".webm", ".avi", ".wmv", ".asf", ".flv", ".f4v", ".ogv", ".gif"),
    *(".mpg", ".mpeg", ".m2v", ".vob", ".ts", ".mts", ".m2ts", ".mxf", ".3gp", ".3g2", ".dav", ".y4m"),
    *(".mjpg", ".mjpeg", ".h264", ".264", ".h265", ".265", ".hevc", ".ivf"),
)
"""How the names of video files end; what ends otherwise is a picture."""

Where = str | os.PathLike[str]


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr)


def open_source(
    where: Where | Sequence[Where],
    options: SourceOptions = SourceOptions(),  # noqa: B008 (frozen)
    tell: Callable[[str], None] = _to_stderr,
) -> FrameSource:
    """Open what a text names. The first rule that fits:

        -                             frames without a header on standard input; `raw_size` is needed
        0, 1, ...                     the camera of that number (a folder called 0 is ./0)
        http(s)://.../x.mp4           the video that lies there, all of it (.mov, .mkv, ... too)
        rtsp://, http://, tcp://, ... a live stream: newest frame wins
        @list, or a .txt file         the pictures it lists, relative to its own folder
        a device file (/dev/video0)   that camera
        x.mp4, x.mov, x.avi, ...      a video file
        all else                      a picture, a folder of pictures, or a pattern of them ("**" included)

    Args:
        where: one of these, or several of those that are pictures.
        options: which frames, and how patiently.
        tell: is called with a line for people, for example when a stream is reached again; perhaps in
            another thread.

    Raises:
        FileNotFoundError: there is nothing there.
        ConnectionError: no such camera or stream.
        ValueError: a folder or pattern without pictures, no video in a file, an empty list, several
            sources of which one is not of pictures, no `raw_size`.
    """
    texts = [os.fspath(text) for text in ([where] if isinstance(where, str | os.PathLike) else where)]
    if not texts:
        raise ValueError(
            "no source: a picture, folder, pattern, list, video, camera, address or - is expected"
        )
    for text in texts:
        opener = _opener(text)
        if opener is not None and len(texts) > 1:
            raise ValueError(
                f"{text}: this is read alone, but {len(texts)} sources are given; only pictures mix"
            )
        if opener is not None:
            return opener(options, tell)
    return _pictures(texts, options)


def _opener(text: str) -> Callable[[SourceOptions, Callable[[str], None]], FrameSource] | None:
    """How to open what is not pictures; None for what is."""
    if text == "-":
        return lambda options, tell: RawSource(options)
    if text.isdecimal() or Path(text).is_char_device():
        return partial(_camera, text)
    if is_address(text):
        return partial(VideoSource if is_download(text) else _stream, text)
    if text.lower().endswith(VIDEOS) and not (
        text.startswith("@") or os.path.isdir(text) or _is_pattern(text)
    ):
        return partial(VideoSource, text)
    return None


def _is_pattern(text: str) -> bool:
    return not os.path.exists(text) and any(sign in text for sign in "*?[")


def _camera(device: str, options: SourceOptions, tell: Callable[[str], None]) -> FrameSource:
    name = f"camera {device}" if device.isdecimal() else device
    return LiveSource(name, partial(open_camera, device), options, tell)


def _stream(address: str, options: SourceOptions, tell: Callable[[str], None]) -> FrameSource:
    connect = partial(open_stream, address, options.upright, options.timeout)
    return LiveSource(shown(address), connect, options, tell)


def _pictures(texts: Sequence[str], options: SourceOptions) -> FrameSource:
    paths: list[Path] = []
    for text in texts:
        is_list = text.startswith("@") or (text.lower().endswith(".txt") and os.path.isfile(text))
        paths += listed(text.removeprefix("@")) if is_list else [Path(text)]
    pictures = images(paths)
    if all(picture.path.is_dir() or not picture.path.exists() for picture in pictures):
        _raise_missing(pictures[0].path)
    if options.start >= len(pictures):
        raise ValueError(
            f"start {options.start} leaves none of the {len(pictures):,} pictures, counted from 0"
        )
    return PictureSource(pictures, options, texts[0] if len(texts) == 1 else "")


def _raise_missing(path: Path) -> None:
    """Raise what is wrong with a folder that has no pictures, or with what is not there."""
    try:
        read(path)
    except UnreadablePicture as fault:
        raise (ValueError if path.is_dir() else FileNotFoundError)(str(fault)) from None


__all__ = [
    "EXTENSIONS",
    "LiveSource",
    "PictureSource",
    "RawSource",
    "Source",
    "SourceOptions",
    "UnreadablePicture",
    "VideoSource",
    "images",
    "open_source",
    "read",
]
