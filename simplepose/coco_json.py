"""Read and validate COCO json files of images and people, for training and evaluation.

Preparation, evaluation and AP during training read ids, flags, areas and categories equally. A fault of the
file is an error. A fault of one annotation is collected with its image: evaluation refuses it, preparation
skips the image.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import math
import os
import re
import reprlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from simplepose.people import PERSON_CATEGORY_ID
from simplepose.utils.files import check_regular_file, printable

PERSON_CATEGORY = "person"

# Maximum distance of a box from the image's top left corner, pixels; also the maximum image side.
MAX_COORDINATE_PX = 100_000

# Keypoints are stored as float32.
MAX_KEYPOINT_VALUE = 1e38

# COCO-WholeBody's lists of keypoints after `keypoints`: key, number of keypoints, key of the validity flag.
WHOLE_BODY_PARTS = (
    ("foot_kpts", 6, "foot_valid"),
    ("face_kpts", 68, "face_valid"),
    ("lefthand_kpts", 21, "lefthand_valid"),
    ("righthand_kpts", 21, "righthand_valid"),
)
NUM_WHOLE_BODY_KEYPOINTS = 133
NUM_BODY_KEYPOINTS = 17

# A person with this many labeled keypoints, all in 0..1 and not all integers, has normalized coordinates.
MIN_NORMALIZED_KEYPOINTS = 3
MIN_NORMALIZED_IMAGE_PX = 16

# Boxes are corners (x1, y1, x2, y2) if this fraction of them leaves its image by more than the overhang (a
# fraction of the image's side), while this fraction fits as corners, with the keypoints inside.
MIN_LEAVING_RATIO = 0.2
MIN_OVERHANG_RATIO = 0.05
MIN_CORNERS_RATIO = 0.95
CORNERS_TOLERANCE_PX = 2.0

# If more than this fraction of the annotated images has malformed annotations, preparation refuses the file.
MAX_MALFORMED_RATIO = 0.5

_NUMBERS = frozenset((int, float))  # bool is a type of its own
_ID_TEXT = re.compile(r"[+-]?[0-9]{1,30}(\.0*)?", re.ASCII)
_FLAGS = {"0": 0, "1": 1, "false": 0, "true": 1}
_KEPT_KEYS = ("id", "image_id", "category_id", "segmentation", "bbox", "keypoints", "area", "iscrowd")

_PARSED_KEYS = frozenset((*_KEPT_KEYS, "num_keypoints", "is_box_area"))

# Annotations whose values are tested together.
_CHUNK_SIZE = 1024

_MIN_ID, _MAX_ID = -(2**63), 2**63 - 1

Annotation = dict[str, Any]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReadOptions:
    """How annotation files are read.

    Attributes:
        category: name of the category whose annotations are the people.
        allow_outside_paths: whether a `file_name` may lead outside the image folder.
    """

    category: str = PERSON_CATEGORY
    allow_outside_paths: bool = False


@dataclass(frozen=True)
class AnnotationFile:
    """A validated COCO json.

    Attributes:
        path: of the file.
        images: its entries of images in order; `id` is an integer, and `height` and `width` are too if given.
        people: the people of each image id, as `parse_person` returns them; one with a fault is unchanged.
        others: people of other categories of each image id, as crowd regions.
        other_categories: the number of people of each of these categories, by name.
        faults: the first fault of each image id with malformed annotations; names annotation and image.
        num_annotations: number of entries of annotations.
    """

    path: Path
    images: list[dict[str, Any]]
    people: dict[int, list[Annotation]]
    others: dict[int, list[Annotation]]
    other_categories: Counter[str]
    faults: dict[int, str]
    num_annotations: int

    @property
    def has_keypoints(self) -> bool:
        """Whether a person has keypoints."""
        return any(person.get("keypoints") for people in self.people.values() for person in people)

    def raise_fault(self) -> None:
        """Raise ValueError for the first fault of an annotation, if there is one."""
        if self.faults:
            first, more = next(iter(self.faults.values())), len(self.faults) - 1
            rest = f" (also malformed: annotations of {more:,} more images)" if more else ""
            raise ValueError(f"{printable(self.path)}: {first}{rest}; correct or remove the annotation")

    def raise_if_mostly_malformed(self) -> None:
        """Raise ValueError as `raise_fault` if most images with people have malformed annotations."""
        if len(self.faults) > MAX_MALFORMED_RATIO * len(self.people.keys() | self.others.keys()):
            self.raise_fault()


@contextlib.contextmanager
def paused_garbage_collection() -> Iterator[None]:
    """Pause the cyclic garbage collector, which takes a third of the time while a large json is read.

    A context manager, or a decorator of a function that reads.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            if not gc.get_freeze_count():
                gc.freeze()  # moves the new objects to the oldest generation, without a collection
                gc.unfreeze()
            gc.enable()


def load_json(path: Path, expected: str) -> Any:
    """Parse a json file; raises ValueError if the file is truncated, no json or no regular file."""
    check_regular_file(path)
    try:
        return json.loads(path.read_bytes(), object_pairs_hook=_build_object)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{printable(path)}: not a readable json file: invalid or truncated json ({error}); "
            f"download it again, {expected}"
        ) from error


@paused_garbage_collection()
def read(
    path: str | Path,
    expected: str,
    joints: Sequence[str],
    options: ReadOptions = ReadOptions(),
    annotated: bool = True,
) -> AnnotationFile:
    """Read a COCO json, and validate its images, categories and people.

    Args:
        path: of the file.
        expected: description of the expected file, for error messages.
        joints: names of the expected annotated keypoints, in order.
        options: how it is read.
        annotated: whether annotations are required; if not, a missing list is an empty one.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is truncated, is not a COCO json, has a duplicate image id, a path outside the
            image folder, no category of that name, other keypoints, or implausible boxes.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no annotations at {printable(path)}; {expected}")
    content = load_json(path, expected)
    try:
        if isinstance(content, dict) and not annotated:
            content["annotations"] = content.get("annotations") or []
        _check_lists(content)
        images = [_parse_image(entry, index, options) for index, entry in enumerate(content["images"])]
        _check_unique_ids(content["images"], images)
        categories = _parse_categories(content.get("categories"))
        ids = _find_category(categories, options.category) if content["annotations"] else set()
        file = AnnotationFile(path, images, *_sort_annotations(content, categories, ids))
    except ValueError as error:
        raise ValueError(f"{printable(path)}: {error}; {expected}") from error
    names = [category["keypoints"] for number, category in categories if number in ids]
    _check_joints(file, [value for value in names if value], joints)
    _parse_people(file, len(joints))
    _check_boxes(file)
    _log_notes(file, options)
    return file


def parse_person(annotation: Annotation, num_joints: int) -> Annotation:
    """Validate an annotation of a person; the same for an annotation that was parsed before.

    Args:
        annotation: as in the json.
        num_joints: number of annotated keypoints of the skeleton.

    Returns:
        The annotation with `keypoints` (a list of 3 * num_joints numbers, or an empty list), `num_keypoints`
        (counted), `bbox`, `area` (of the box if the json states none), `iscrowd` (0 or 1) and
        `is_box_area`; other keys that SimplePose does not read are left out.

    Raises:
        ValueError: a value is malformed; names it.
    """
    keypoints = _parse_keypoints(annotation, num_joints)
    box = _parse_box(annotation)
    area, is_box_area = _parse_area(annotation, box)
    person = {key: annotation[key] for key in _KEPT_KEYS if key in annotation}
    person["keypoints"], person["bbox"], person["area"] = keypoints, box, area
    person["iscrowd"] = _parse_flag("iscrowd", annotation.get("iscrowd"))
    person["num_keypoints"] = len(keypoints) // 3 - keypoints[2::3].count(0)
    person["is_box_area"] = is_box_area or bool(annotation.get("is_box_area"))
    return person


def describe(annotation: Annotation) -> str:
    """Return how messages name an annotation: by its id if it has one."""
    return f"annotation {show(annotation['id'])}" if "id" in annotation else "an annotation without id"


def show(value: object) -> str:
    """Format a value of a json for a message: short, on one line."""
    return printable(reprlib.repr(value))


def is_number_list(values: object) -> TypeGuard[list[Any]]:
    """Return whether a value of a json is a list of numbers only; neither booleans nor text are numbers."""
    return isinstance(values, list) and {*map(type, values)} <= _NUMBERS


def parse_integer(value: object, name: str) -> int:
    """Convert an integer, also one written as text or float, if nothing is lost.

    Raises:
        ValueError: the value is not such an integer, or exceeds 64 bits; names it.
    """
    number: int | None = value if type(value) is int else None
    if type(value) is float and value.is_integer():
        number = int(value)
    elif type(value) is str and _ID_TEXT.fullmatch(value):
        number = int(value.partition(".")[0])
    if number is None or not _MIN_ID <= number <= _MAX_ID:
        raise ValueError(f"{name}: expected an integer, got {show(value)}")
    return number


def _build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object of a json; a key that occurs twice is an error."""
    values = dict(pairs)
    if len(values) != len(pairs):
        key = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"duplicate key {show(key)} in an object")
    return values


def _check_lists(content: Any) -> None:
    for name in ("images", "annotations"):
        if not isinstance(content, dict) or not isinstance(content.get(name), list):
            raise ValueError(f"has no list {name!r}")
        if not {*map(type, content[name])} <= {dict}:
            index = next(index for index, entry in enumerate(content[name]) if type(entry) is not dict)
            raise ValueError(f"not in COCO's format: {name}[{index}] is not an object")


def _parse_image(entry: dict[str, Any], index: int, options: ReadOptions) -> dict[str, Any]:
    """Convert an entry of `images`; raises ValueError if a value is malformed."""
    name = entry.get("file_name")
    image_id = _parse_key(entry, "id", f"images[{index}]")
    if not isinstance(name, str):
        raise _wrong_key(entry, "file_name", f"images[{index}]", "a text")
    image: dict[str, Any] = {"id": image_id}
    # json can contain lone surrogates, which UTF-8 cannot encode.
    image["file_name"] = name if name.isascii() else name.encode("utf-8", "backslashreplace").decode()
    if not options.allow_outside_paths and _is_outside_path(name):
        raise ValueError(
            f"image {image_id}: expected a file_name inside the image folder, got {show(name)}; "
            "--allow-outside-paths reads it all the same"
        )
    for key in ("height", "width"):
        if entry.get(key) is not None:
            side = _parse_key(entry, key, f"images[{index}]")
            if not 1 <= side <= MAX_COORDINATE_PX:
                raise ValueError(
                    f"not in COCO's format: image {image_id} ({show(name)}): expected a {key} of "
                    f"1 to {MAX_COORDINATE_PX:,} pixels, got {side}"
                )
            image[key] = side
    return image


def _is_outside_path(name: str) -> bool:
    return os.path.isabs(name) or (".." in name and ".." in re.split(r"[\\/]", name))


def _parse_key(entry: dict[str, Any], key: str, owner: str) -> int:
    """Convert an integer of an image or annotation; raises ValueError if it is missing or malformed."""
    value = entry.get(key)
    if type(value) is int and _MIN_ID <= value <= _MAX_ID:
        return value
    try:
        return parse_integer(value, key)
    except ValueError as error:
        raise _wrong_key(entry, key, owner, "an integer") from error


def _wrong_key(entry: dict[str, Any], key: str, owner: str, expected: str) -> ValueError:
    got = show(entry[key]) if key in entry else "nothing"
    return ValueError(
        f"not in COCO's format: {owner} has no {key!r}, or one of a wrong type: "
        f"expected {expected}, got {got}"
    )


def _check_unique_ids(entries: Sequence[dict[str, Any]], images: Sequence[dict[str, Any]]) -> None:
    """Raise ValueError if two images have the same id; the ids 2, 2.0 and "2" are the same."""
    seen: dict[int, int] = {}
    for index, image in enumerate(images):
        first = seen.setdefault(image["id"], index)
        if first != index:
            raise ValueError(
                f"duplicate image id: {show(entries[first]['id'])} of {show(images[first]['file_name'])} and "
                f"{show(entries[index]['id'])} of {show(image['file_name'])}"
            )


def _parse_categories(categories: object) -> list[tuple[int, dict[str, Any]]]:
    """Return id and entry of each category; raises ValueError if an id is malformed or occurs twice."""
    if categories is not None and not isinstance(categories, list):
        raise ValueError(f"not in COCO's format: expected a list 'categories', got {show(categories)}")
    found: dict[int, dict[str, Any]] = {}
    for index, entry in enumerate(categories or []):
        if not isinstance(entry, dict):
            continue
        number = _parse_key(entry, "id", f"categories[{index}]")
        if number in found:
            raise ValueError(
                f"duplicate category id {number}: of {show(found[number].get('name'))} and "
                f"{show(entry.get('name'))}"
            )
        keypoints = entry.get("keypoints")
        found[number] = {**entry, "keypoints": keypoints if isinstance(keypoints, list) else []}
    return list(found.items())


def _find_category(categories: Sequence[tuple[int, dict[str, Any]]], name: str) -> set[int]:
    """Find the ids of the category of a name; COCO's id of a person if the json names no categories.

    Raises:
        ValueError: the json names categories, but none so.
    """
    names = {number: entry["name"] for number, entry in categories if isinstance(entry.get("name"), str)}
    wanted = {number for number, text in names.items() if text.strip().casefold() == name.strip().casefold()}
    if wanted or (not names and name == PERSON_CATEGORY):
        return wanted or {PERSON_CATEGORY_ID}
    listed = ", ".join(map(show, list(names.values())[:10])) or "no category names"
    raise ValueError(f"no category {name!r}: got {listed}; choose one of them with --category NAME")


def _sort_annotations(
    content: dict[str, Any], categories: Sequence[tuple[int, dict[str, Any]]], ids: set[int]
) -> tuple[dict[int, list[Annotation]], dict[int, list[Annotation]], Counter[str], dict[int, str], int]:
    """Sort annotations into people and people of other categories by image; the rest of `AnnotationFile`.

    Things (another supercategory, and no keypoints) are background and left out.
    """
    entries, things = dict(categories), {number for number, entry in categories if _is_thing(entry)}
    people: dict[int, list[Annotation]] = defaultdict(list)
    others: dict[int, list[Annotation]] = defaultdict(list)
    counts: Counter[str] = Counter()
    for index, annotation in enumerate(content["annotations"]):
        image_id, number = annotation.get("image_id"), annotation.get("category_id")
        if type(image_id) is not int or not _MIN_ID <= image_id <= _MAX_ID:
            image_id = annotation["image_id"] = _parse_key(annotation, "image_id", f"annotations[{index}]")
        if type(number) is not int and number is not None:
            number = _parse_key(annotation, "category_id", f"annotations[{index}]")
        if number is None or number in ids:
            people[image_id].append(annotation)
        elif number not in things or annotation.get("keypoints"):
            others[image_id].append(annotation)
            counts[str(entries.get(number, {}).get("name", number))] += 1
    return dict(people), dict(others), counts, {}, len(content["annotations"])


def _is_thing(category: dict[str, Any]) -> bool:
    """Whether a category is not of people: it states another supercategory, and has no keypoints."""
    return category.get("supercategory") not in (None, "", PERSON_CATEGORY) and not category["keypoints"]


def _check_joints(file: AnnotationFile, named: Sequence[list[Any]], joints: Sequence[str]) -> None:
    """Raise ValueError if the category names other keypoints, or no person has as many as expected."""
    advice = "choose the skeleton whose annotated joints are the json's, in its order"
    lists = [person.get("keypoints") for people in file.people.values() for person in people]
    lengths = {len(values) for values in lists if isinstance(values, list) and values}
    accepted = [len(joints)]
    if len(joints) == NUM_WHOLE_BODY_KEYPOINTS and any(
        part in person
        for people in file.people.values()
        for person in people
        for part, *_ in WHOLE_BODY_PARTS
    ):
        accepted.append(NUM_BODY_KEYPOINTS)  # COCO-WholeBody's own form
    for names in named:
        if not any(names == list(joints[:count]) for count in accepted):
            raise ValueError(
                f"{printable(file.path)}: expected people with the keypoints {', '.join(joints)}; "
                f"got {', '.join(printable(str(name)) for name in names)}: {advice}"
            )
    if lengths and not lengths & {3 * count for count in accepted}:
        raise ValueError(
            f"{printable(file.path)}: expected {3 * len(joints)} keypoint values per person, 3 for each of "
            f"{', '.join(joints)}; got {', '.join(map(str, sorted(lengths)))}: {advice}"
        )


def _parse_people(file: AnnotationFile, num_joints: int) -> None:
    """Replace the annotations by parsed ones; those with a fault stay, and the fault is added to `faults`."""
    images = {image["id"]: image for image in file.images}
    counts = iter(_count_labeled([*chain.from_iterable(file.people.values())], num_joints))
    for group, parse, found in (
        (file.people, parse_person, counts),
        (file.others, _parse_other, repeat(-1)),
    ):
        for image_id, persons in group.items():
            image = images.get(image_id, {})
            for index, annotation in enumerate(persons):
                count = next(found)
                if count >= 0:
                    for key in annotation.keys() - _PARSED_KEYS:
                        del annotation[key]
                    annotation["num_keypoints"], annotation["is_box_area"] = count, False
                    continue
                try:
                    person = parse(annotation, num_joints)
                    _check_pixels(person, image)
                    persons[index] = person
                except ValueError as error:
                    name = show(image["file_name"]) if image else "not listed"
                    fault = f"{describe(annotation)} of image {image_id} ({name}): {error}"
                    file.faults.setdefault(image_id, fault)


def _count_labeled(annotations: Sequence[Annotation], num_joints: int) -> list[int]:
    """Count the labeled keypoints of the annotations that need no conversion; -1 of the others.

    These are valid: the tests are those of `parse_person` and `_check_pixels`, of many annotations at once.
    """
    counts = np.full(len(annotations), -1)
    rows = [row for row, person in enumerate(annotations) if _has_plain_types(person, 3 * num_joints)]
    for start in range(0, len(rows), _CHUNK_SIZE):
        chunk = rows[start : start + _CHUNK_SIZE]
        people = [annotations[row] for row in chunk]
        values = [
            *chain.from_iterable([*person["keypoints"], *person["bbox"], person["area"]] for person in people)
        ]
        if not {*map(type, values)} <= _NUMBERS:
            continue
        try:
            table = np.array(values, np.float64).reshape(len(chunk), -1)
        except OverflowError:  # an integer beyond the range of floats
            continue
        counts[chunk] = _count_valid(table, num_joints)
    found: list[int] = counts.tolist()
    return found


def _has_plain_types(annotation: Annotation, num_values: int) -> bool:
    """Whether keypoints and box are lists of COCO's lengths, an area is stated, the flag is an integer."""
    keypoints, box, flag = annotation.get("keypoints"), annotation.get("bbox"), annotation.get("iscrowd")
    return (
        type(keypoints) is list
        and len(keypoints) == num_values
        and type(box) is list
        and len(box) == 4
        and type(flag) is int
        and 0 <= flag <= 1
        and "area" in annotation
    )


def _count_valid(table: np.ndarray, num_joints: int) -> np.ndarray:
    """Count the labeled keypoints of each row of keypoints, box and area; -1 if a value is not valid."""
    keypoints, box, area = np.split(table, [3 * num_joints, 3 * num_joints + 4], 1)
    v = keypoints[:, 2::3]
    counts: np.ndarray = (v != 0).sum(1)
    valid = (np.abs(keypoints) <= MAX_KEYPOINT_VALUE).all(1) & ((v == 0) | (v == 1) | (v == 2)).all(1)
    valid &= (np.abs(box) <= MAX_COORDINATE_PX).all(1)
    valid &= (area > 0).all(1) & (area <= MAX_COORDINATE_PX**2).all(1)
    is_pixels = (keypoints.max(1) > 2) & ((box[:, :2] + box[:, 2:]).max(1) > 1)
    valid &= is_pixels | (counts < MIN_NORMALIZED_KEYPOINTS)
    counts[~valid] = -1
    return counts


def _parse_other(annotation: Annotation, num_joints: int) -> Annotation:
    """Parse an annotation of another category as a crowd region: its own keypoints may be others."""
    try:
        return {**parse_person(annotation, num_joints), "iscrowd": 1}
    except ValueError:
        region = {key: value for key, value in annotation.items() if key not in ("keypoints", "area")}
        return {**parse_person(region, num_joints), "iscrowd": 1}


def _parse_keypoints(annotation: Annotation, num_joints: int) -> list[Any]:
    """Return the keypoints of a person: x, y, v, ...; [] if there are none."""
    values = annotation.get("keypoints")
    if values is None or values == []:
        return []
    if not is_number_list(values):
        raise ValueError(_not_numbers("keypoints", values))
    if num_joints == NUM_WHOLE_BODY_KEYPOINTS and len(values) == 3 * NUM_BODY_KEYPOINTS:
        values = values + _parse_whole_body_parts(annotation)
    if len(values) != 3 * num_joints:
        raise ValueError(f"keypoints: expected {3 * num_joints} values, 3 a keypoint, got {len(values)}")
    if not is_bounded(values, MAX_KEYPOINT_VALUE):
        raise ValueError("keypoints: a value is not finite, or too large")
    if not {*values[2::3]} <= {0, 1, 2}:
        wrong = next(value for value in values[2::3] if value not in (0, 1, 2))
        raise ValueError(f"keypoints: the third value of a keypoint is not 0, 1 or 2 but {show(wrong)}")
    return values


def _parse_whole_body_parts(annotation: Annotation) -> list[Any]:
    """Return feet, face and hands of COCO-WholeBody; its third values are scores, labeled if above 0."""
    keypoints: list[Any] = []
    for key, count, valid_key in WHOLE_BODY_PARTS:
        values = annotation.get(key)
        if values is None or not _parse_flag(valid_key, annotation.get(valid_key, 1)):
            keypoints += [0] * 3 * count
            continue
        if (
            not is_number_list(values)
            or len(values) != 3 * count
            or not is_bounded(values, MAX_KEYPOINT_VALUE)
        ):
            raise ValueError(f"{key}: expected {3 * count} finite numbers, 3 a keypoint, got {show(values)}")
        for x, y, score in zip(*[iter(values)] * 3, strict=True):
            keypoints += (x, y, 1 if score == 1 else 2) if score > 0 else (0, 0, 0)
    return keypoints


def _parse_box(annotation: Annotation) -> list[Any]:
    box = annotation.get("bbox")
    if not is_number_list(box):
        raise ValueError(_not_numbers("bbox", box))
    if len(box) != 4:
        raise ValueError(f"bbox: expected 4 values (x, y, width, height), got {len(box)}")
    if not is_bounded(box, MAX_COORDINATE_PX):
        raise ValueError(f"bbox: a value is not finite, or exceeds {MAX_COORDINATE_PX:,} pixels: {show(box)}")
    return box


def _parse_area(annotation: Annotation, box: Sequence[float]) -> tuple[float, bool]:
    """Return the area, and whether it is the box's, as the json states none (absent, null, 0 or NaN)."""
    area = annotation.get("area")
    if area is not None and type(area) not in _NUMBERS:
        raise ValueError(_not_numbers("area", area))
    if area is None or area == 0 or area != area:
        box_area = float(box[2]) * float(box[3]) if min(box[2:]) > 0 else 0.0
        return box_area, box_area > 0
    if not 0 < area <= MAX_COORDINATE_PX**2:
        raise ValueError(f"area: expected a number above 0, got {show(area)}")
    return area, False


def _parse_flag(name: str, value: object) -> int:
    """Convert 0, 1, true, false, their text, or null (0)."""
    if value is None:
        return 0
    if isinstance(value, (bool, int, float)) and value in (0, 1):
        return int(value)
    if isinstance(value, str) and value.strip().lower() in _FLAGS:
        return _FLAGS[value.strip().lower()]
    raise ValueError(f"{name}: expected 0 or 1, got {show(value)}")


def _not_numbers(name: str, value: object) -> str:
    return f"keypoints, num_keypoints, bbox, area are not all numbers: {name} is {show(value)}"


def is_bounded(values: Sequence[float], limit: float) -> bool:
    """Whether all numbers are finite and within a limit of 0; `sum` finds NaN, which `min` and `max` pass."""
    try:
        return math.isfinite(sum(values)) and -limit <= min(values) and max(values) <= limit
    except OverflowError:  # an integer beyond the range of floats
        return False


def _check_pixels(person: Annotation, image: dict[str, Any]) -> None:
    """Raise ValueError if keypoints or box look like coordinates normalized to 0..1."""
    if person["num_keypoints"] < MIN_NORMALIZED_KEYPOINTS:
        return
    box = person["bbox"]
    if box[0] + box[2] <= 1 and box[1] + box[3] <= 1 and min(box) >= 0 and min(box[2:]) < 1:
        raise ValueError(f"bbox looks normalized to 0..1, expected pixels, got {show(box)}")
    if max(image.get("height", MAX_COORDINATE_PX), image.get("width", 0)) < MIN_NORMALIZED_IMAGE_PX:
        return
    keypoints = person["keypoints"]
    if keypoints[0] > 2 or max(keypoints) > 2:  # quick: most are in pixels
        return
    values = [value for row in zip(*[iter(keypoints)] * 3, strict=True) if row[2] for value in row[:2]]
    if min(values) >= 0 and max(values) <= 1 and any(value % 1 for value in values):
        raise ValueError(f"keypoints look normalized to 0..1, expected pixels, got {show(keypoints)}")


def _check_boxes(file: AnnotationFile) -> None:
    """Raise ValueError if the file's boxes look like corners instead of x, y, width, height."""
    count, leaving, limit = 0, [], 1 + MIN_OVERHANG_RATIO
    for person, width, height in _iterate_boxes(file):
        x, y, w, h = person["bbox"]
        count += 1
        if x + w > width * limit or y + h > height * limit:
            leaving.append(person)
    if not leaving or len(leaving) < MIN_LEAVING_RATIO * count:
        return
    if sum(_fits_as_corners(*box) for box in _iterate_boxes(file)) >= MIN_CORNERS_RATIO * count:
        first = leaving[0]
        raise ValueError(
            f"{printable(file.path)}: boxes look like corners (x1, y1, x2, y2), expected "
            f"(x, y, width, height): {len(leaving):,} of {count:,} leave their image, but fit it as "
            f"corners, for example {show(first['bbox'])} of {describe(first)} of image {first['image_id']}; "
            "convert the boxes"
        )


def _iterate_boxes(file: AnnotationFile) -> Iterator[tuple[Annotation, int, int]]:
    """Yield the people with a box in an image of stated size, with its width and height."""
    for image in file.images:
        if "width" in image and "height" in image and image["id"] not in file.faults:
            for person in file.people.get(image["id"], ()):
                if person["bbox"][2] > 0 and person["bbox"][3] > 0:
                    yield person, image["width"], image["height"]


def _fits_as_corners(person: Annotation, width: int, height: int) -> bool:
    """Whether a box is plausible as x1, y1, x2, y2, with the person's labeled keypoints inside."""
    x1, y1, x2, y2 = person["bbox"]
    slack = CORNERS_TOLERANCE_PX
    if not (-slack <= x1 < x2 <= width + slack and -slack <= y1 < y2 <= height + slack):
        return False
    rows = [row for row in zip(*[iter(person["keypoints"])] * 3, strict=True) if row[2]]
    inside: int = sum(x1 - slack <= x <= x2 + slack and y1 - slack <= y <= y2 + slack for x, y, _ in rows)
    return inside >= MIN_CORNERS_RATIO * len(rows)


def _log_notes(file: AnnotationFile, options: ReadOptions) -> None:
    """Log once what was filled in or left out."""
    people = [person for persons in file.people.values() for person in persons]
    path, listed = printable(file.path), {image["id"] for image in file.images}
    filled = sum(bool(person.get("is_box_area")) for person in people)
    if filled:
        logger.warning(
            "%s: %d of %d people have no area: the area of the box is used", path, filled, len(people)
        )
    if file.other_categories:
        names = ", ".join(map(printable, file.other_categories))
        count = sum(file.other_categories.values())
        logger.warning(
            "%s: %d people of other categories than %s (%s) are ignored", path, count, options.category, names
        )
    unlisted = sum(len(persons) for image_id, persons in file.people.items() if image_id not in listed)
    if unlisted:
        logger.warning(
            "%s: %d annotations of images that the json does not list are left out", path, unlisted
        )
