"""Read files of tracked people, truth and results: MOT challenge text files and PoseTrack-style json files.

Text files are compared by boxes. Json files are compared by object keypoint similarity, or by boxes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from simplepose import coco_json
from simplepose.coco_json import MAX_KEYPOINT_VALUE
from simplepose.evaluation.coco_eval import BOX_AREA_FRACTION
from simplepose.evaluation.tracking_metrics import FrameMatch, intersections, iou, oks
from simplepose.people import NO_ID, boxes_around
from simplepose.skeleton import COCO
from simplepose.utils.files import check_regular_file, printable

# Classes of MOT16 and MOT17 (Milan et al. 2016): people, and those whose detections are not counted: people
# on vehicles, static people, distractors, reflections.
MOT_PEDESTRIAN, MOT_DISTRACTORS = 1, (2, 7, 8, 12)
MOT_MIN_COLUMNS, MOT_CLASS_COLUMNS = 6, 9

# Sigmas of object keypoint similarity by keypoint: COCO's, and those of mmpose for PoseTrack18.
SIGMAS = dict(zip(COCO.annotated, COCO.sigmas, strict=True)) | {"head_bottom": 0.079, "head_top": 0.079}

# A found person with this fraction of the box in a region that is not evaluated is not counted.
MIN_REGION_OVERLAP = 0.5

# File of the frames beside a list of results: see `writers.coco_results`.
FRAMES_FILE = "frames.json"

_EXPECTED = (
    "expected a json with images and annotations as PoseTrack's, or a list of results in COCO's format"
)


@dataclass(eq=False)
class FramePeople:
    """The people of one frame, in the order of their ids.

    Attributes:
        ids: (P,) int64, each once.
        boxes_xywh: (P, 4) float64 left, top, width, height, pixels.
        keypoints: (P, J, 3) float64 x, y, v; v = 0 if a keypoint is not labeled or found. J = 0 for
            text files.
        areas: (P,) float64 area for object keypoint similarity, pixels^2.
        counted: (P,) bool; true people that are not counted are no misses.
        distractor: (P,) bool; a found person who matches such a true one is not counted.
        regions_xywh: (R, 4) float64 regions that are not evaluated.
    """

    ids: np.ndarray
    boxes_xywh: np.ndarray
    keypoints: np.ndarray
    areas: np.ndarray
    counted: np.ndarray
    distractor: np.ndarray
    regions_xywh: np.ndarray


@dataclass(eq=False)
class TrackedVideo:
    """The people of one video.

    Attributes:
        name: of the video.
        frames: the people of each frame by its number or image id, in order.
        sigmas: (J,) of object keypoint similarity; None to compare boxes.
        untracked: number of found people without an id, who are left out.
    """

    name: str
    frames: dict[int, FramePeople]
    sigmas: np.ndarray | None = None
    untracked: int = 0


@dataclass(eq=False)
class _PoseFile:
    """A json: its images by id, the rows of each image id, and the names of the keypoints (None: unknown)."""

    path: Path
    is_truth: bool
    images: dict[int, dict[str, Any]]
    rows: dict[int, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    joints: tuple[str, ...] | None = None
    untracked: int = 0


def read_mot(truth: Path, results: Path) -> list[tuple[TrackedVideo, TrackedVideo]]:
    """Read a MOT challenge `gt.txt` and a result file: frame, id, left, top, width, height, confidence, ...

    Of the truth, rows with confidence 0 are not counted. Of rows with 9 columns (MOT16 and later),
    only pedestrians are counted, and found people who match distractors are left out, as in the challenge.

    Returns:
        One pair of truth and results. A frame with people in one of the files only is a frame of both.

    Raises:
        FileNotFoundError: a file does not exist.
        ValueError: a line is malformed, or an id is repeated in a frame; names file and line.
    """
    true_rows, found_rows = _read_mot_rows(truth, is_truth=True), _read_mot_rows(results, is_truth=False)
    if not true_rows:
        raise ValueError(f"{printable(truth)}: expected at least one person in the truth, got none")
    untracked = sum(id_ < 0 for people in found_rows.values() for id_ in people)
    frames = sorted(true_rows.keys() | found_rows.keys())
    folder = truth.parent.parent if truth.parent.name == "gt" else truth.parent  # SEQUENCE/gt/gt.txt
    name = folder.name if truth.stem == "gt" else truth.stem
    true_frames = {number: _mot_frame(true_rows.get(number, {}), is_truth=True) for number in frames}
    found_frames = {number: _mot_frame(found_rows.get(number, {}), is_truth=False) for number in frames}
    return [(TrackedVideo(name, true_frames), TrackedVideo(results.stem, found_frames, untracked=untracked))]


def read_pose_files(
    truth: Path, results: Path, match_boxes: bool = False
) -> list[tuple[TrackedVideo, TrackedVideo]]:
    """Read a json of true people and one of results.

    The truth has `images` and `annotations` with `track_id`, `keypoints` and `bbox`, as PoseTrack's and
    COCO's. Images with `is_labeled` false are left out. Annotations with `iscrowd`, or without labeled
    keypoints if keypoints are compared, are regions that are not evaluated. The results have the same form,
    or are a list in COCO's result format with `track_id`; a `frames.json` beside a list states its images,
    as in the output of `demo-video`. If results state file names of the truth's images, people are assigned
    to images by these names, else by `image_id`. Keypoints that only one of the files has are left out.

    Args:
        truth: path of the true people.
        results: path of the found people.
        match_boxes: compare boxes instead of keypoints.

    Returns:
        A pair of truth and results for each video of the truth (images with the same `vid_id`).

    Raises:
        FileNotFoundError: a file does not exist.
        ValueError: a file is no such json, an entry is malformed, an id is repeated in an image, the results
            are for other images, or no sigma of a keypoint is known; names file and entry.
    """
    true_file, found_file = _read_pose_file(truth, is_truth=True), _read_pose_file(results, is_truth=False)
    _assign_images(found_file, true_file)
    if match_boxes:
        sigmas = None
        true_file.joints = found_file.joints = ()
    else:
        sigmas = _select_common_joints(true_file, found_file)
    pairs: list[tuple[TrackedVideo, TrackedVideo]] = []
    for name, image_ids in _split_videos(true_file).items():
        true_frames = {n: _pose_frame(true_file, n, sigmas is None) for n in image_ids}
        found_frames = {n: _pose_frame(found_file, n, sigmas is None) for n in image_ids}
        video = TrackedVideo(results.stem, found_frames, sigmas, found_file.untracked if not pairs else 0)
        pairs.append((TrackedVideo(name, true_frames, sigmas), video))
    return pairs


def match_frames(truth: TrackedVideo, found: TrackedVideo, min_similarity: float = 0.5) -> list[FrameMatch]:
    """Compare the people of each frame, without those that are not counted.

    Args:
        truth: of a video.
        found: of the same frames.
        min_similarity: the smallest similarity of a match with a distractor.
    """
    matches = []
    for number, people in truth.frames.items():
        others = found.frames[number]
        if truth.sigmas is None:
            similarity = iou(people.boxes_xywh, others.boxes_xywh)
        else:
            xy, is_found = others.keypoints[..., :2], others.keypoints[..., 2] > 0
            similarity = oks(people.keypoints, people.areas, xy, is_found, truth.sigmas)
        counted = ~_find_ignored(people, others, similarity, min_similarity)
        matches.append(
            FrameMatch(
                people.ids[people.counted], others.ids[counted], similarity[people.counted][:, counted]
            )
        )
    return matches


def _find_ignored(
    truth: FramePeople, found: FramePeople, similarity: np.ndarray, min_similarity: float
) -> np.ndarray:
    """Return which found people are not counted, (P,) bool: matches of distractors, people in regions."""
    ignored = np.zeros(len(found.ids), bool)
    if truth.distractor.any():
        allowed = similarity >= min_similarity
        rows, columns = linear_sum_assignment(np.where(allowed, similarity, 0), maximize=True)
        is_match = truth.distractor[rows] & allowed[rows, columns]
        ignored[columns[is_match]] = True
    if len(truth.regions_xywh):
        areas = np.maximum(found.boxes_xywh[:, 2:].prod(1), 1e-9)
        inside = intersections(truth.regions_xywh, found.boxes_xywh).max(0) >= MIN_REGION_OVERLAP * areas
        matches_truth = (similarity[truth.counted] >= min_similarity).any(0)
        ignored |= inside & ~matches_truth
    return ignored


def _read_mot_rows(path: Path, is_truth: bool) -> dict[int, dict[int, list[float]]]:
    """Read the rows of each frame by id; people without an id have keys below 0."""
    check_regular_file(path)
    frames: dict[int, dict[int, list[float]]] = defaultdict(dict)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{printable(path)}: expected a MOT challenge text file, got binary data") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = _parse_mot_line(line, 0 if is_truth else NO_ID)
        except ValueError as error:
            raise ValueError(f"{printable(path)}, line {number}: {error}") from error
        people, id_ = frames[int(row[0])], int(row[1])
        if id_ in people:
            raise ValueError(
                f"{printable(path)}, line {number}: expected each id once in a frame, "
                f"got {id_} again in frame {int(row[0])}"
            )
        people[id_ if id_ != NO_ID else -1 - number] = row
    return frames


def _parse_mot_line(line: str, min_id: int) -> list[float]:
    """Parse and validate one line."""
    columns = line.rstrip().rstrip(",").split(",")
    if len(columns) < MOT_MIN_COLUMNS:
        raise ValueError(
            f"expected at least {MOT_MIN_COLUMNS} values with commas between them (frame, id, left, top, "
            f"width, height, confidence, ...), got {printable(line)[:80]!r}"
        )
    try:
        row = [float(column) for column in columns]
    except ValueError:
        raise ValueError(f"expected numbers, got {printable(line)[:80]!r}") from None
    if not coco_json.is_bounded(row, MAX_KEYPOINT_VALUE):
        raise ValueError(f"expected finite numbers, got {printable(line)[:80]!r}")
    if row[0] % 1 or row[0] < 1:
        raise ValueError(f"frame: expected an integer >= 1, got {columns[0].strip()}")
    if row[1] % 1 or not min_id <= row[1] < 2**53:
        raise ValueError(f"id: expected an integer >= {min_id}, got {columns[1].strip()}")
    if min(row[4:6]) < 0:
        raise ValueError(f"width and height: expected numbers >= 0, got {row[4]:g} and {row[5]:g}")
    return row


def _mot_frame(people: dict[int, list[float]], is_truth: bool) -> FramePeople:
    """Build a frame from its rows by id."""
    rows = [row for id_, row in sorted(people.items()) if id_ >= 0]
    has_class = [is_truth and len(row) == MOT_CLASS_COLUMNS for row in rows]
    classes = [row[7] if has else MOT_PEDESTRIAN for row, has in zip(rows, has_class, strict=True)]
    is_set = [not is_truth or len(row) == MOT_MIN_COLUMNS or row[6] != 0 for row in rows]
    boxes = np.array([row[2:6] for row in rows], float).reshape(-1, 4)
    return FramePeople(
        ids=np.array([row[1] for row in rows], np.int64),
        boxes_xywh=boxes,
        keypoints=np.zeros((len(rows), 0, 3)),
        areas=boxes[:, 2:].prod(1),
        counted=np.array(is_set, bool) & (np.array(classes, float) == MOT_PEDESTRIAN),
        distractor=np.isin(np.array(classes, float), MOT_DISTRACTORS),
        regions_xywh=np.zeros((0, 4)),
    )


def _read_pose_file(path: Path, is_truth: bool) -> _PoseFile:
    """Read and validate a json of people; results may be a list."""
    content = coco_json.load_json(path, _EXPECTED)
    if isinstance(content, list) and not is_truth:
        beside = path.with_name(FRAMES_FILE)
        stated = coco_json.load_json(beside, _EXPECTED) if beside.is_file() else {}
        content = {"images": [], **(stated if isinstance(stated, dict) else {}), "annotations": content}
    if not isinstance(content, dict):
        raise ValueError(f"{printable(path)}: {_EXPECTED}, got {type(content).__name__}")
    for key in ("images", "annotations"):
        entries = content.get(key)
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise ValueError(f"{printable(path)}: {key}: expected a list of objects; {_EXPECTED}")
    file = _PoseFile(path, is_truth, {}, joints=_find_joints(content.get("categories")))
    for index, image in enumerate(content["images"]):
        if not _is_integer(image.get("id")) or image["id"] in file.images:
            raise ValueError(
                f"{printable(path)}: image {index}: expected an integer id, each once, "
                f"got {image.get('id')!r:.80}"
            )
        file.images[image["id"]] = image
    for index, row in enumerate(content["annotations"]):
        try:
            _add_pose_row(file, row)
        except ValueError as error:
            raise ValueError(f"{printable(path)}: annotation {index}: {error}") from error
    return file


def _find_joints(categories: Any) -> tuple[str, ...] | None:
    """Return the names of the keypoints of the first category that has them; None without."""
    for category in categories if isinstance(categories, list) else []:
        names = category.get("keypoints") if isinstance(category, dict) else None
        if names and isinstance(names, list) and all(isinstance(name, str) for name in names):
            return tuple(names)
    return None


def _add_pose_row(file: _PoseFile, row: dict[str, Any]) -> None:
    """Validate a row and add it to the rows of its image."""
    is_truth = file.is_truth
    if not _is_integer(row.get("image_id")):
        raise ValueError(f"image_id: expected an integer, got {row.get('image_id')!r:.80}")
    if is_truth and row["image_id"] not in file.images:
        raise ValueError(f"image_id: expected the id of an image in the file, got {row['image_id']}")
    is_region = is_truth and row.get("iscrowd") == 1
    track_id: Any = row.get("track_id")
    if track_id is None and (is_region or not is_truth):
        track_id = NO_ID
    if not _is_integer(track_id) or (is_truth and not is_region and track_id < 0):
        raise ValueError(f"track_id: expected an integer >= 0, got {track_id!r:.80}")
    keypoints = _numbers("keypoints", row.get("keypoints") or [])
    if len(keypoints) % 3:
        raise ValueError(f"keypoints: expected 3 values for each keypoint, got {len(keypoints)} values")
    box = _numbers("bbox", row.get("bbox") or [])
    if len(box) not in (0, 4) or (box and min(box[2:]) < 0):
        raise ValueError(f"bbox: expected left, top, width >= 0, height >= 0, got {row.get('bbox')!r:.80}")
    if not is_truth and track_id < 0:
        file.untracked += 1
        return
    rows = file.rows[row["image_id"]]
    if not is_region and any(other["track_id"] == track_id for other in rows):
        raise ValueError(f"track_id: expected each id once in an image, got {track_id} again")
    area = _numbers("area", [row.get("area") or 0])[0]
    rows.append(
        {"track_id": NO_ID if is_region else track_id, "keypoints": keypoints, "bbox": box, "area": area}
    )


def _numbers(name: str, values: Any) -> list[float]:
    if not coco_json.is_number_list(values) or not coco_json.is_bounded(values or [0], MAX_KEYPOINT_VALUE):
        raise ValueError(f"{name}: expected a list of finite numbers, got {values!r:.80}")
    return list(values)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def _assign_images(found: _PoseFile, truth: _PoseFile) -> None:
    """Replace the image ids of the results by those of the truth, by file names if they are stated."""
    by_name: dict[str, list[int]] = defaultdict(list)
    for image_id, image in truth.images.items():
        for suffix in _path_suffixes(image):
            by_name[suffix].append(image_id)
    new_ids = {}
    for image_id, image in found.images.items():
        matches = next((by_name[suffix] for suffix in _path_suffixes(image) if suffix in by_name), [])
        if len(matches) == 1:
            new_ids[image_id] = matches[0]
    rows = {}
    for image_id, people in found.rows.items():
        new_id = new_ids.get(image_id) if new_ids else image_id
        if new_id not in truth.images or new_id in rows:
            raise ValueError(
                f"{printable(found.path)}: image {image_id} "
                f"({found.images.get(image_id, {}).get('file_name')!r:.80}): expected results for images of "
                f"{printable(truth.path)}, by file name or id"
            )
        rows[new_id] = people
    found.rows = defaultdict(list, rows)


def _path_suffixes(image: dict[str, Any]) -> Iterator[str]:
    """Yield the file name, then without its first folders, down to the name alone."""
    name = image.get("file_name")
    parts = PurePosixPath(name.replace("\\", "/")).parts if isinstance(name, str) else ()
    return ("/".join(parts[start:]) for start in range(len(parts)))


def _split_videos(file: _PoseFile) -> dict[str, list[int]]:
    """Return the labeled images of each video, in order."""
    videos: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for image_id, image in file.images.items():
        if image.get("is_labeled", True):
            video = image.get("vid_id", image.get("video_id"))
            number = image.get("frame_id", image_id)
            name = file.path.stem if video is None else str(video)
            videos[name].append((number if _is_integer(number) else image_id, image_id))
    if not videos:
        raise ValueError(f"{printable(file.path)}: expected at least one labeled image, got none")
    return {name: [image_id for _, image_id in sorted(images)] for name, images in videos.items()}


def _select_common_joints(truth: _PoseFile, found: _PoseFile) -> np.ndarray:
    """Reduce the keypoints of both files to those that both have, in the same order; return their sigmas.

    Raises:
        ValueError: a row has another number of keypoints than its file, or no sigma of a keypoint is known.
    """
    counts = {len(row["keypoints"]) // 3 for rows in truth.rows.values() for row in rows} - {0}
    if truth.joints is None and counts == {len(COCO.annotated)}:
        truth.joints = COCO.annotated
    if truth.joints is None:
        raise ValueError(
            f"{printable(truth.path)}: expected a category with the names of the keypoints, got none; "
            "add one, or compare boxes"
        )
    found.joints = found.joints or truth.joints
    joints = tuple(name for name in truth.joints if name in found.joints)
    unknown = [name for name in joints if name not in SIGMAS]
    if unknown or not joints:
        raise ValueError(
            f"{printable(truth.path)}: expected keypoints of COCO or PoseTrack that both files have, "
            f"got {', '.join(map(printable, unknown[:5])) or 'none'}; compare boxes"
        )
    for file in (truth, found):
        _reorder_keypoints(file, joints)
    return np.array([SIGMAS[name] for name in joints])


def _reorder_keypoints(file: _PoseFile, joints: Sequence[str]) -> None:
    """Select these keypoints in all rows."""
    assert file.joints is not None
    order = [3 * file.joints.index(name) + part for name in joints for part in range(3)]
    for image_id, rows in file.rows.items():
        for row in rows:
            values = row["keypoints"]
            if len(values) not in (0, 3 * len(file.joints)):
                raise ValueError(
                    f"{printable(file.path)}: image {image_id}, track {row['track_id']}: keypoints: expected "
                    f"{len(file.joints)} keypoints, got {len(values) // 3}"
                )
            row["keypoints"] = [values[index] for index in order] if values else [0.0] * len(order)
    file.joints = tuple(joints)


def _pose_frame(file: _PoseFile, image_id: int, match_boxes: bool) -> FramePeople:
    """Build a frame from the rows of an image."""
    rows = sorted(file.rows.get(image_id, ()), key=lambda row: int(row["track_id"]))
    keypoints = [np.reshape(row["keypoints"], (-1, 3)) for row in rows]
    boxes = np.array(
        [row["bbox"] or _box_around(points) for row, points in zip(rows, keypoints, strict=True)], float
    ).reshape(-1, 4)
    areas = np.array([row["area"] for row in rows], float)
    areas = np.where(areas > 0, areas, BOX_AREA_FRACTION * boxes[:, 2:].prod(1))
    evaluated = np.array([row["track_id"] != NO_ID for row in rows], bool)
    if file.is_truth and not match_boxes:
        evaluated &= np.array([bool((points[:, 2] > 0).any()) for points in keypoints], bool)
    selected = [points for points, is_evaluated in zip(keypoints, evaluated, strict=True) if is_evaluated]
    num_people, num_joints = len(selected), 0 if match_boxes else len(file.joints or ())
    return FramePeople(
        ids=np.array([row["track_id"] for row in rows], np.int64)[evaluated],
        boxes_xywh=boxes[evaluated],
        keypoints=np.array([] if match_boxes else selected, float).reshape(num_people, num_joints, 3),
        areas=areas[evaluated],
        counted=np.ones(num_people, bool),
        distractor=np.zeros(num_people, bool),
        regions_xywh=boxes[~evaluated],
    )


def _box_around(keypoints: np.ndarray) -> np.ndarray:
    """Return left, top, width, height of the labeled keypoints."""
    x1, y1, x2, y2 = boxes_around(keypoints[None, :, :2], keypoints[None, :, 2] > 0)[0]
    return np.array([x1, y1, x2 - x1, y2 - y1])
