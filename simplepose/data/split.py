"""Split the images of an annotation file into training images and held-out images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

FIRST_PREFIX = "first:"


def held_out_ids(split: str, image_ids: Sequence[int]) -> set[int]:
    """Return the ids of the images that a split holds out.

    Args:
        split: `first:100` for the first 100 images of the json, or the path of a text file with image ids,
            separated by white space; ids that the json does not list are ignored.
        image_ids: of all images of the json, in its order.

    Raises:
        FileNotFoundError: the text file does not exist.
        ValueError: the split is malformed, or its ids are none of the json's.
    """
    if split.startswith(FIRST_PREFIX):
        number = split[len(FIRST_PREFIX) :]
        if not number.isdecimal():
            raise ValueError(f"split {split!r}: expected a number of images after {FIRST_PREFIX!r}")
        return set(image_ids[: int(number)])
    if not Path(split).is_file():
        raise FileNotFoundError(
            f"split {split!r}: expected {FIRST_PREFIX}N or the path of a text file with image ids"
        )
    try:
        chosen = set(map(int, Path(split).read_text(encoding="utf-8").split()))
    except ValueError as error:
        raise ValueError(f"{split}: expected image ids, separated by white space ({error})") from error
    if not chosen & set(image_ids):
        raise ValueError(
            f"{split}: expected ids of the json's {len(image_ids)} images, got {len(chosen)} other ids"
        )
    return chosen & set(image_ids)
