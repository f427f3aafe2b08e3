"""Read and validate COCO json files of images and people, for training and evaluation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from simplepose.people import PERSON_CATEGORY_ID

# The lists in a COCO json, and the required keys of their entries with their types.
_REQUIRED_KEYS: dict[str, dict[str, tuple[type, ...]]] = {
    "images": {"id": (int, str), "file_name": (str,)},
    "annotations": {"image_id": (int, str)},
}


def read(path: str | Path, expected: str, annotated: bool) -> dict[str, Any]:
    """Read a COCO json and validate its lists `images` and `annotations`.

    Args:
        path: of the file.
        expected: description of the expected file, for error messages.
        annotated: whether annotations are required; if not, a missing list becomes an empty one.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is truncated, is not a COCO json, or has a duplicate image id.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no annotations at {path}; {expected}")
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path}: invalid or truncated json ({error}); download it again, {expected}"
        ) from error
    if isinstance(content, dict) and not annotated:
        content["annotations"] = content.get("annotations") or []
    problem = _find_problem(content)
    if problem is not None:
        raise ValueError(f"{path}: {problem}; {expected}")
    return content


def person_annotations(content: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the annotations of people in file order. An annotation without a category counts as a person."""
    return [
        annotation
        for annotation in content["annotations"]
        if annotation.get("category_id", PERSON_CATEGORY_ID) == PERSON_CATEGORY_ID
    ]


def validate_joints(path: str | Path, content: dict[str, Any], joints: Sequence[str]) -> None:
    """Require that a json's people have the expected annotated keypoints.

    Args:
        path: of the json, for error messages.
        content: as `read` returns it.
        joints: names of the expected keypoints, in order.

    Raises:
        ValueError: the json names other keypoints, or no person has the expected number of them.
    """
    advice = "choose the skeleton whose annotated joints are the json's, in its order"
    for category in content.get("categories") or []:
        is_person = isinstance(category, dict) and category.get("id") == PERSON_CATEGORY_ID
        names = category.get("keypoints") if is_person else None
        if isinstance(names, list) and names and names != list(joints):
            raise ValueError(
                f"{path}: expected people with the keypoints {', '.join(joints)}; "
                f"got {', '.join(map(str, names))}: {advice}"
            )
    lists = [person.get("keypoints") for person in person_annotations(content)]
    lengths = {len(values) for values in lists if isinstance(values, list) and values}
    if lengths and 3 * len(joints) not in lengths:
        raise ValueError(
            f"{path}: expected {3 * len(joints)} keypoint values per person, 3 for each of "
            f"{', '.join(joints)}; got {', '.join(map(str, sorted(lengths)))}: {advice}"
        )


def _find_problem(content: Any) -> str | None:
    """Return the first deviation from COCO's format; None if there is none."""
    for name, keys in _REQUIRED_KEYS.items():
        if not isinstance(content, dict) or not isinstance(content.get(name), list):
            return f"has no list {name!r}"
        for index, entry in enumerate(content[name]):
            if not isinstance(entry, dict):
                return f"not in COCO's format: {name}[{index}] is not an object"
            for key, types in keys.items():
                if not isinstance(entry.get(key), types):
                    return f"not in COCO's format: {name}[{index}] has no {key!r}, or one of a wrong type"
    if len({image["id"] for image in content["images"]}) < len(content["images"]):
        return "duplicate image id"
    return None
