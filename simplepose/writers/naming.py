"""Names in results: of pictures, in texts; of files, for what is written for a frame."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePath

from simplepose.frames import BadFrame, Frame

LONGEST = 255
"""Bytes of a file's name that file systems take."""

FILM = ".mp4"

_ESCAPED = re.compile(r"\\(\\|x[0-9a-f]{2}|u[0-9a-f]{4})")
_RESERVED = re.compile(r'[\x00-\x1f<>:"/\\|?*]')
"""What a video's or stream's name may have and a file's name on some system may not."""


def to_text(name: str) -> str:
    r"""A file's name as text that every reader takes: valid Unicode, whatever bytes the name has.

    A byte that is not UTF-8 becomes \xNN (a lone half of a surrogate pair \uNNNN), and a backslash \\, so
    that `from_text` finds the name again.
    """
    return "".join(map(_to_text, name)) if "\\" in name or not _is_unicode(name) else name


def from_text(text: str) -> str:
    """The opposite of `to_text`: a name that opens the file."""
    return _ESCAPED.sub(_from_text, text)


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _to_text(character: str) -> str:
    if character == "\\":
        return "\\\\"
    if "\udc80" <= character <= "\udcff":  # as Python reads names, "surrogateescape"
        return f"\\x{ord(character) - 0xDC00:02x}"
    return f"\\u{ord(character):04x}" if "\ud800" <= character <= "\udfff" else character


def _from_text(match: re.Match[str]) -> str:
    code = match[1]
    return "\\" if code == "\\" else chr(int(code[1:], 16) + (0xDC00 if code[0] == "x" else 0))


class FileNames:
    """A file in one folder for each frame of a run, never the same for two.

    A picture's file is named after the picture; where another picture of the run, or one of the pictures
    themselves, would have that file, a number is added: a.png, a_2.png. A frame of a video is named after
    the video and its number: clip_000000000123.png. So is a place that gave no picture. Names that are too
    long for a file system are cut.

    Args:
        folder: for the files.
        ending: follows the names, for example "_keypoints.json".
        sources: pictures that are read in this run, where they are known: none of their names is given.
    """

    def __init__(self, folder: str | Path, ending: str, sources: Iterable[str | Path] = ()) -> None:
        self._folder, self._ending = Path(folder), ending
        self._taken = {_key(Path(source)) for source in sources}
        self._given: Counter[tuple[str, str]] = Counter()

    def path(self, frame: Frame | BadFrame, ending: str | None = None) -> Path:
        """The frame's file; another one each time it is asked for a picture.

        Args:
            ending: instead of the usual one.
        """
        ending = self._ending if ending is None else ending
        picture = frame.path if isinstance(frame, Frame) else None
        if picture is None:
            return self._folder / _fitting(_plain_stem(frame.name), f"_{frame.number:012d}{ending}")
        return self.of_picture(picture, ending)

    def of_picture(self, picture: Path, ending: str) -> Path:
        """A file for a picture; another one each time."""
        self._taken.add(_key(picture))
        like = picture.stem.lower(), ending.lower()
        while True:  # on from the last number: a stem may be that of a picture in each of many folders
            self._given[like] += 1
            number = f"_{self._given[like]}" if self._given[like] > 1 else ""
            path = self._folder / _fitting(picture.stem, number + ending)
            if _key(path) not in self._taken:
                self._taken.add(_key(path))
                return path


def film_path(folder: str | Path, name: str, source: str | Path) -> Path:
    """A file for the film that is drawn over a video or stream of this name; never the video itself."""
    return FileNames(folder, FILM, [source]).of_picture(Path(_plain_stem(name)), FILM)


def _plain_stem(name: str) -> str:
    stem = _RESERVED.sub("_", PurePath(name).stem)
    return stem if stem.strip(". ") else "frame"


def _fitting(stem: str, ending: str) -> str:
    """A name of as many bytes as file systems take, from the beginning of a stem."""
    room = LONGEST - len(".partial") - len(os.fsencode(ending))
    whole = os.fsencode(stem)
    return (os.fsdecode(whole) if len(whole) <= room else whole[:room].decode(errors="ignore")) + ending


def _key(path: Path) -> str:
    """Equal for paths of one file; some file systems take A.jpg and a.jpg for one."""
    return os.path.abspath(path).lower()
