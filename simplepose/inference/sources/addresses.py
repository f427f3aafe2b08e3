"""Web addresses of videos and streams."""

from __future__ import annotations

from pathlib import PurePosixPath
from urllib.parse import urlsplit

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
