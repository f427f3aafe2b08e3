"""COCO's json of pictures and people, as far as the samples and the evaluation read it alike."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from simplepose.people import PERSON_CATEGORY

_FORM: dict[str, dict[str, tuple[type, ...]]] = {
    "images": {"id": (int, str), "file_name": (str,)},
    "annotations": {"image_id": (int, str)},
}
"""The lists of such a file, and what each of their entries has."""


def read(path: str | Path, expected: str, annotated: bool) -> dict[str, Any]:
    """The content of a json: at least the lists `images` and `annotations`, of the form above.

    Args:
        path: of the file.
        expected: what the errors say that should have been there.
        annotated: whether a file without annotations is refused; if not, it has an empty list of them.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is cut off, no such json, or lists a picture id twice.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no annotations at {path}; {expected}")
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not a whole json file ({error}); download it again, {expected}") from error
    if isinstance(content, dict) and not annotated:
        content["annotations"] = content.get("annotations") or []
    fault = _fault(content)
    if fault is not None:
        raise ValueError(f"{path}: {fault}; {expected}")
    return content


def persons(content: dict[str, Any]) -> list[dict[str, Any]]:
    """The annotations of people, in the file's order; one without a category is of a person."""
    return [a for a in content["annotations"] if a.get("category_id", PERSON_CATEGORY) == PERSON_CATEGORY]


def require_joints(path: str | Path, content: dict[str, Any], joints: Sequence[str]) -> None:
    """Hold the keypoints of a json's people against the annotated joints that are expected.

    Raises:
        ValueError: it names its keypoints, and these are others; or nobody has as many.
    """
    advice = "choose the skeleton whose annotated joints are the json's, in its order"
    for category in content.get("categories") or []:
        person = isinstance(category, dict) and category.get("id") == PERSON_CATEGORY
        named = category.get("keypoints") if person else None
        if isinstance(named, list) and named and named != list(joints):
            raise ValueError(
                f"{path}: its people have the keypoints {', '.join(map(str, named))}; {', '.join(joints)} "
                f"are expected: {advice}"
            )
    lists = [person.get("keypoints") for person in persons(content)]
    lengths = {len(values) for values in lists if isinstance(values, list) and values}
    if lengths and 3 * len(joints) not in lengths:
        raise ValueError(
            f"{path}: its people have {', '.join(map(str, sorted(lengths)))} keypoint values; "
            f"{3 * len(joints)} are expected, 3 for each of {', '.join(joints)}: {advice}"
        )


def _fault(content: Any) -> str | None:
    """What of COCO's form the content lacks."""
    for name, keys in _FORM.items():
        if not isinstance(content, dict) or not isinstance(content.get(name), list):
            return f"holds no list of {name!r}"
        for number, entry in enumerate(content[name]):
            if not isinstance(entry, dict):
                return f"not in COCO's format: {name}[{number}] is no mapping"
            for key, kinds in keys.items():
                if not isinstance(entry.get(key), kinds):
                    return f"not in COCO's format: {name}[{number}] lacks {key!r}, or it is of another type"
    if len({image["id"] for image in content["images"]}) < len(content["images"]):
        return "a picture id is listed twice"
    return None
