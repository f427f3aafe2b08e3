"""Which of a json's pictures are held out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

FIRST = "first:"


def held_out(split: str, listed: Sequence[int]) -> set[int]:
    """The ids of the pictures that a split holds out.

    Args:
        split: `first:100` for the first 100 that the json lists, or the path of a text of picture ids,
            separated by white space; ids that the json does not list are passed over.
        listed: the ids of the json's pictures, in its order.

    Raises:
        FileNotFoundError: there is no such text.
        ValueError: it is no such text, or holds none of the pictures' ids.
    """
    if split.startswith(FIRST):
        number = split[len(FIRST) :]
        if not number.isdecimal():
            raise ValueError(f"split {split!r}: a number of pictures is expected after {FIRST!r}")
        return set(listed[: int(number)])
    if not Path(split).is_file():
        raise FileNotFoundError(f"split {split!r}: expected {FIRST}N or the path of a text of picture ids")
    try:
        chosen = set(map(int, Path(split).read_text(encoding="utf-8").split()))
    except ValueError as error:
        raise ValueError(f"{split}: picture ids, separated by white space, are expected ({error})") from error
    if not chosen & set(listed):
        raise ValueError(
            f"{split}: none of its {len(chosen)} ids is one of the json's {len(listed)} pictures"
        )
    return chosen & set(listed)
