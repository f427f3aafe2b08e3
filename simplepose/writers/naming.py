"""File names in results: escaped names of inputs, and unique names of output files."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePath

from simplepose.frames import BadFrame, Frame

# Bytes that file systems allow in a file name.
MAX_NAME_BYTES = 255

VIDEO_SUFFIX = ".mp4"

_ESCAPED = re.compile(r"\\(\\|x[0-9a-f]{2}|u[0-9a-f]{4})")

# Characters that the name of a video or stream may contain, but a file name on some systems may not.
_RESERVED = re.compile(r'[\x00-\x1f<>:"/\\|?*]')


def escape_name(name: str) -> str:
    r"""Escape a file name so that it is valid Unicode, whatever bytes it has.

    A byte that is not UTF-8 becomes \xNN, an unpaired surrogate \uNNNN, and a backslash \\. `unescape_name`
    restores the name.
    """
    return "".join(map(_escape, name)) if "\\" in name or not _is_unicode(name) else name


def unescape_name(text: str) -> str:
    """Restore a name that `escape_name` escaped, so that it opens the file."""
    return _ESCAPED.sub(_unescape, text)


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _escape(character: str) -> str:
    if character == "\\":
        return "\\\\"
    if "\udc80" <= character <= "\udcff":  # Python decodes file names with "surrogateescape"
        return f"\\x{ord(character) - 0xDC00:02x}"
    return f"\\u{ord(character):04x}" if "\ud800" <= character <= "\udfff" else character


def _unescape(match: re.Match[str]) -> str:
    code = match[1]
    return "\\" if code == "\\" else chr(int(code[1:], 16) + (0xDC00 if code[0] == "x" else 0))


class FileNames:
    """Choose a unique output file in one folder for each frame of a run.

    The output for an image is named after the image. If that is the output of another image of the run, or is
    one of the input images, a number is added: a.png, a_2.png. The output for a frame of a video is named
    after the video and the frame's number: clip_000000000123.png. So is the output for a frame that could not
    be read. Names that are too long for a file system are truncated.

    Args:
        folder: for the files.
        suffix: the end of each name, for example "_keypoints.json".
        sources: the input images of the run, if they are known; none of their names is used.
    """

    def __init__(self, folder: str | Path, suffix: str, sources: Iterable[str | Path] = ()) -> None:
        self._folder, self._suffix = Path(folder), suffix
        self._used = {_path_key(Path(source)) for source in sources}
        self._counts: Counter[tuple[str, str]] = Counter()

    def path(self, frame: Frame | BadFrame, suffix: str | None = None) -> Path:
        """Choose a frame's output file; each call for an image returns another one.

        Args:
            suffix: replaces the default suffix.
        """
        suffix = self._suffix if suffix is None else suffix
        image = frame.path if isinstance(frame, Frame) else None
        if image is None:
            return self._folder / _truncate(_sanitized_stem(frame.name), f"_{frame.number:012d}{suffix}")
        return self.image_path(image, suffix)

    def image_path(self, image: Path, suffix: str) -> Path:
        """Choose an image's output file; each call returns another one."""
        self._used.add(_path_key(image))
        key = image.stem.lower(), suffix.lower()
        while True:  # counts on from the last number: many folders may have an image of the same stem
            self._counts[key] += 1
            number = f"_{self._counts[key]}" if self._counts[key] > 1 else ""
            path = self._folder / _truncate(image.stem, number + suffix)
            if _path_key(path) not in self._used:
                self._used.add(_path_key(path))
                return path


def video_path(folder: str | Path, name: str, source: str | Path) -> Path:
    """Choose the output video for a video or stream of a given name; never the source itself."""
    return FileNames(folder, VIDEO_SUFFIX, [source]).image_path(Path(_sanitized_stem(name)), VIDEO_SUFFIX)


def _sanitized_stem(name: str) -> str:
    stem = _RESERVED.sub("_", PurePath(name).stem)
    return stem if stem.strip(". ") else "frame"


def _truncate(stem: str, suffix: str) -> str:
    """Truncate a stem so that the name, with its suffix and ".partial", fits MAX_NAME_BYTES."""
    max_bytes = MAX_NAME_BYTES - len(".partial") - len(os.fsencode(suffix))
    encoded = os.fsencode(stem)
    if len(encoded) > max_bytes:
        return encoded[:max_bytes].decode(errors="ignore") + suffix
    return os.fsdecode(encoded) + suffix


def _path_key(path: Path) -> str:
    """Return a string that is equal for paths of one file, also on case-insensitive file systems."""
    return os.path.abspath(path).lower()
