"""Sources of frames: images, videos, cameras, streams and standard input, opened by `open_source`.

images.py          files, folders, patterns and text lists of images; reading one image
captures.py        the only file that opens OpenCV captures
containers.py      kinds of files by their content; truncated videos by their headers
video.py           a video file, every frame of it, with its own time
stream.py          cameras and streams: the newest frame wins, and lost connections are reopened
stdin.py           raw frames from standard input
source_options.py  which frames, and which time limits
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from simplepose.frames import FrameSource
from simplepose.image_formats import IMAGE_EXTENSIONS
from simplepose.sources.captures import is_url, is_video_url, open_camera, open_stream, redact_url
from simplepose.sources.containers import sniff
from simplepose.sources.images import (
    ImageFile,
    ImageSource,
    UnreadableImageError,
    list_images,
    read_image,
    read_image_list,
)
from simplepose.sources.source_options import SourceOptions
from simplepose.sources.stdin import RawFrameSource
from simplepose.sources.stream import StreamSource
from simplepose.sources.video import VideoSource
from simplepose.utils.files import check_regular_file, printable

# Extensions of video files whose content is not that of a known format; other such files are read as images.
VIDEO_EXTENSIONS = (
    *(".mp4", ".m4v", ".mov", ".qt", ".mkv", ".webm", ".avi", ".wmv", ".asf", ".flv", ".f4v", ".ogv", ".gif"),
    *(".mpg", ".mpeg", ".m2v", ".vob", ".ts", ".mts", ".m2ts", ".mxf", ".3gp", ".3g2", ".dav", ".y4m"),
    *(".mjpg", ".mjpeg", ".h264", ".264", ".h265", ".265", ".hevc", ".ivf"),
)

# Extensions of videos that are JPEG images one after the other.
_RAW_JPEG_EXTENSIONS = (".mjpg", ".mjpeg")

SourceName = str | os.PathLike[str]
Opener = Callable[[SourceOptions, Callable[[str], None]], FrameSource]


def _log_to_stderr(line: str) -> None:
    print(printable(line), file=sys.stderr)


def open_source(
    names: SourceName | Sequence[SourceName],
    options: SourceOptions = SourceOptions(),  # noqa: B008 (frozen)
    log: Callable[[str], None] = _log_to_stderr,
) -> FrameSource:
    """Open a source by its name.

    The first rule that fits applies:

        -                             raw frames on standard input; needs `raw_size`
        0, 1, ...                     the camera with that number (for a folder named 0: ./0)
        http(s)://.../x.mp4           the whole video file at that URL (also .mov, .mkv, ...)
        rtsp://, http://, tcp://, ... a live stream: newest frame wins
        @list, or a .txt file         the images that it lists, relative to its own folder
        a device file (/dev/video0)   that camera
        x.mp4, x.mov, x.avi, ...      a video file; the extension decides only if the content is unknown
        any other name                an image, a folder of images, or a pattern of them ("**" included)

    Args:
        names: one name, or several names of images.
        options: which frames, and which time limits.
        log: called with messages, for example about a reconnect; possibly in another thread.

    Raises:
        FileNotFoundError: the file does not exist.
        ConnectionError: the camera or stream does not answer.
        ValueError: a folder or pattern without images, a file without video, an empty list, several sources
            of which one is not images, a named pipe or socket, or a missing `raw_size`.
    """
    texts = [os.fspath(name) for name in ([names] if isinstance(names, str | os.PathLike) else names)]
    if not texts:
        raise ValueError("source: expected an image, folder, pattern, list, video, camera, URL or -")
    for text in texts:
        opener = _find_opener(text, len(texts) == 1)
        if opener is not None and len(texts) > 1:
            raise ValueError(
                f"{text}: expected the only source, got {len(texts)} sources; only images can be combined"
            )
        if opener is not None:
            return opener(options, log)
    return _open_images(texts, options, log)


def _find_opener(text: str, is_only: bool) -> Opener | None:
    """Return the function that opens this source; None for images. A GIF beside others is an image."""
    if text == "-":
        return lambda options, log: RawFrameSource(options)
    if text.isdecimal() or Path(text).is_char_device():
        return partial(_open_camera, text)
    if is_url(text):
        return partial(VideoSource if is_video_url(text) else _open_stream, text)
    return partial(VideoSource, text) if _is_video(text, is_only) else None


def _is_video(text: str, is_only: bool) -> bool:
    """Whether a name is that of a video file: by its content, or if that is unknown by its extension."""
    if text.startswith("@") or os.path.isdir(text) or _is_pattern(text):
        return False
    extension = os.path.splitext(text)[1].lower()
    kind = sniff(text) if os.path.isfile(text) and os.access(text, os.R_OK) else None
    if kind is None or extension in _RAW_JPEG_EXTENSIONS:
        return extension in VIDEO_EXTENSIONS and (is_only or extension not in IMAGE_EXTENSIONS)
    return kind == "video"


def _is_pattern(text: str) -> bool:
    return not os.path.exists(text) and any(character in text for character in "*?[")


def _open_camera(device: str, options: SourceOptions, log: Callable[[str], None]) -> FrameSource:
    name = f"camera {device}" if device.isdecimal() else device
    return StreamSource(name, partial(open_camera, device), options, log)


def _open_stream(url: str, options: SourceOptions, log: Callable[[str], None]) -> FrameSource:
    connect = partial(open_stream, url, options.upright, options.timeout)
    return StreamSource(redact_url(url), connect, options, log)


def _open_images(texts: Sequence[str], options: SourceOptions, log: Callable[[str], None]) -> FrameSource:
    paths: list[Path] = []
    if len(texts) == 1 and os.path.exists(texts[0]) and not os.path.isdir(texts[0]):
        check_regular_file(texts[0])
    for text in texts:
        is_list = text.startswith("@") or (text.lower().endswith(".txt") and os.path.isfile(text))
        paths += read_image_list(text.removeprefix("@")) if is_list else [Path(text)]
    images = list_images(paths, log)
    if all(image.path.is_dir() or not image.path.exists() for image in images):
        _raise_no_images(images[0].path)
    if options.start >= len(images):
        raise ValueError(f"start: expected a value < {len(images):,} (number of images), got {options.start}")
    return ImageSource(images, options, texts[0] if len(texts) == 1 else "")


def _raise_no_images(path: Path) -> None:
    """Raise the error for a folder without images, or for a missing file."""
    try:
        read_image(path)
    except UnreadableImageError as error:
        raise (ValueError if path.is_dir() else FileNotFoundError)(str(error)) from None


__all__ = [
    "IMAGE_EXTENSIONS",
    "ImageFile",
    "ImageSource",
    "RawFrameSource",
    "SourceOptions",
    "StreamSource",
    "UnreadableImageError",
    "VideoSource",
    "list_images",
    "open_source",
    "read_image",
]
