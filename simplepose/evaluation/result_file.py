"""Files in COCO's keypoint result format: read, validated, described, and packed for COCO's server."""

from __future__ import annotations

import math
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pycocotools.coco import COCO as Annotations

from simplepose import coco_json
from simplepose.evaluation.coco_eval import MAX_PEOPLE, Row
from simplepose.people import PERSON_CATEGORY_ID
from simplepose.utils import atomic


def read_rows(path: str | Path, truth: Annotations, joints: int) -> list[Row]:
    """Read anybody's results in COCO's keypoint result format.

    Args:
        path: of the json.
        truth: annotations of the images that results may be of.
        joints: number of keypoints per person.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is no such json; names the entry.
    """
    entries = coco_json.load_json(Path(path), "expected a list of results in COCO's format")
    if not isinstance(entries, list):
        raise ValueError(f"{path}: expected a list of results, got {type(entries).__name__}")
    return [
        _check_row(entry, f"{path}: result {index}", truth, joints) for index, entry in enumerate(entries)
    ]


def _check_row(entry: Any, where: str, truth: Annotations, joints: int) -> Row:
    if not isinstance(entry, dict):
        raise ValueError(f"{where}: expected an object, got {entry!r:.100}")
    image_id, keypoints = entry.get("image_id"), entry.get("keypoints")
    if isinstance(image_id, bool) or not isinstance(image_id, int) or image_id not in truth.imgs:
        raise ValueError(f"{where}: expected the id of an image in the annotations, got {image_id!r:.100}")
    values = [*keypoints, entry.get("score")] if isinstance(keypoints, list) else []
    if len(values) != 3 * joints + 1 or not _are_finite(values):
        raise ValueError(
            f"{where}, image {image_id}: expected {3 * joints} finite keypoint values and a score, got "
            f"{keypoints!r:.60} and {entry.get('score')!r:.60}"
        )
    category = entry.get("category_id", PERSON_CATEGORY_ID)
    if isinstance(category, bool) or category != PERSON_CATEGORY_ID:
        raise ValueError(
            f"{where}, image {image_id}: expected category_id {PERSON_CATEGORY_ID} (person), "
            f"got {category!r:.100}"
        )
    return {
        "image_id": image_id,
        "category_id": PERSON_CATEGORY_ID,
        "keypoints": keypoints,
        "score": entry["score"],
    }


def _are_finite(values: Sequence[Any]) -> bool:
    try:
        return {*map(type, values)} <= {int, float} and all(map(math.isfinite, values))
    except OverflowError:  # an integer beyond the range of floats
        return False


def best_rows(rows: Sequence[Row]) -> list[Row]:
    """Keep the MAX_PEOPLE rows of each image that COCO counts: those with the highest scores, in order."""
    ranked = sorted(range(len(rows)), key=lambda index: -rows[index]["score"])
    counts: Counter[Any] = Counter()
    kept = []
    for index in ranked:
        counts[rows[index]["image_id"]] += 1
        if counts[rows[index]["image_id"]] <= MAX_PEOPLE:
            kept.append(index)
    return [rows[index] for index in sorted(kept)]


def describe_rows(rows: Sequence[Row], truth: Annotations, image_count: int) -> list[str]:
    """Describe valid results, and what is valid but probably wrong in them.

    Args:
        rows: as `read_rows` returns them.
        truth: annotations of their images; an entry without width and height limits no keypoint.
        image_count: number of images that the results may be of.

    Returns:
        A line of counts and ranges, then one for each oddity.
    """
    counts = Counter(row["image_id"] for row in rows)
    scores = [row["score"] for row in rows] or [0.0]
    most, low, high = max(counts.values(), default=0), min(scores), max(scores)
    lines = [
        f"{len(rows):,} people in {len(counts):,} of {image_count:,} images, at most {most} in an image; "
        f"scores {low:g} to {high:g}"
    ]
    if most > MAX_PEOPLE:
        crowded = sum(count > MAX_PEOPLE for count in counts.values())
        lines.append(
            f"{crowded:,} images with more than {MAX_PEOPLE} people; COCO counts the {MAX_PEOPLE} best"
        )
    if low < 0 or high > 1:
        lines.append("scores outside [0, 1]; COCO uses only their order")
    if len(rows) > 1 and low == high:
        lines.append("all people have the same score; AP depends on the order of scores")
    outside = [row["image_id"] for row in rows if _is_outside(row, truth.imgs[row["image_id"]])]
    if outside:
        lines.append(
            f"{len(outside):,} people without a keypoint inside their image (the first in image "
            f"{outside[0]}); expected x and y in pixels of the original image"
        )
    return lines


def _is_outside(row: Row, entry: dict[str, Any]) -> bool:
    """Return whether no keypoint is within a pixel of the image; False if its size is unknown."""
    if not {"width", "height"} <= entry.keys():
        return False
    x, y = row["keypoints"][::3], row["keypoints"][1::3]
    width, height = entry["width"], entry["height"]
    return not any(-1 <= a <= width and -1 <= b <= height for a, b in zip(x, y, strict=True))


def server_file_name(annotations: str | Path, name: str) -> str:
    """Return the file name that COCO's evaluation server requires.

    Args:
        annotations: path of the json, whose name contains the split.
        name: of the method.
    """
    split = Path(annotations).stem.removeprefix("image_info_").removeprefix("person_keypoints_")
    return f"person_keypoints_{split}_{name}_results.json"


def write_zip(path: Path) -> Path:
    """Write the zip archive that COCO's server takes beside a file; the same file gives the same archive.

    Raises:
        OSError: it cannot be written; names it.
    """
    archive_path = path.with_suffix(".zip")

    def write_content(temporary: Path) -> None:
        with zipfile.ZipFile(temporary, "w") as archive:  # ZipInfo: a fixed date
            archive.writestr(zipfile.ZipInfo(path.name), path.read_bytes(), zipfile.ZIP_DEFLATED)

    atomic.write(archive_path, write_content)
    return archive_path
