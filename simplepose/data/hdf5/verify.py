"""Verify the records of a file of training samples, by themselves and against the annotations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simplepose.data.coco import AnnotatedImage, is_inside_image, parse_persons
from simplepose.data.coco_images import build_masks
from simplepose.data.hdf5.preparation import REPAIRED_KINDS
from simplepose.data.hdf5.reader import DamagedRecordError, SampleFile
from simplepose.data.record import NO_PERSON, Record, UnusableImageError, build_record
from simplepose.utils import parallel

TASKS_PER_PROCESS = 8


@dataclass(frozen=True)
class ImageCheck:
    """The result for one image.

    Attributes:
        image_id: of the image.
        people: number of people with keypoints.
        faults: descriptions of what is wrong.
    """

    image_id: int
    people: int
    faults: list[str]


@dataclass(frozen=True)
class _ImageToCheck:
    """One image: the indices of its samples, and its annotations if available."""

    image_id: int
    samples: list[int]
    annotated: AnnotatedImage | None


@dataclass(frozen=True)
class _CheckTask:
    path: Path
    published_crop: int
    images: Sequence[_ImageToCheck]
    has_annotations: bool


def verify_samples(
    file: SampleFile, annotations: list[AnnotatedImage] | None, processes: int
) -> Iterator[ImageCheck]:
    """Read and check every sample of a file.

    Args:
        file: to check.
        annotations: that the file was made from. Every image of them must be in the file, with the same
            people and masks, or among the file's issues. None: the samples are checked by themselves.
        processes: number of processes.

    Yields:
        The result for each image of the file, and for each missing image.
    """
    samples: dict[int, list[int]] = {image_id: [] for image_id in file.image_ids}
    for index, row in enumerate(file.sample_image_rows.tolist()):
        samples[file.image_ids[row]].append(index)
    annotated = {image.image_id: image for image in annotations or []}
    images = [_ImageToCheck(image_id, found, annotated.get(image_id)) for image_id, found in samples.items()]
    size = -(-len(images) // (TASKS_PER_PROCESS * processes))
    tasks = [
        _CheckTask(file.path, file.published_crop, images[start : start + size], annotations is not None)
        for start in range(0, len(images), size)
    ]
    for checks in parallel.map_unordered(_check_images, tasks, processes):
        yield from checks
    contents = file.contents()
    issues = contents.issues if contents else ()
    skipped = {issue.image_id for issue in issues if issue.kind not in REPAIRED_KINDS}
    for image_id in sorted(annotated.keys() - samples.keys() - skipped):
        yield ImageCheck(image_id, 0, ["listed in the json, but missing from the file without a reason"])


def _check_images(task: _CheckTask) -> list[ImageCheck]:
    file = SampleFile(task.path, task.published_crop)
    return [_check_image(file, image, task.has_annotations) for image in task.images]


def _check_image(file: SampleFile, image: _ImageToCheck, has_annotations: bool) -> ImageCheck:
    records, faults = [], []
    for index in image.samples:
        try:
            records.append(file[index])
        except DamagedRecordError as error:
            faults.append(f"damaged: {error.__cause__}")
    for record in records:
        faults += find_record_faults(record)
    if has_annotations and image.annotated is None:
        faults.append("not in the json")
    if image.annotated is not None and records and not faults:
        faults += _compare(records, image.annotated, len(file.joints))
    people = max((len(record.keypoints) for record in records), default=0)
    return ImageCheck(image.image_id, people, sorted(set(faults)))


def find_record_faults(record: Record) -> list[str]:
    """Describe everything in a record that violates the definition of `Record`."""
    faults = []
    rows, columns = record.image.shape[:2]
    for name, mask in (("mask_miss", record.mask_miss), ("mask_all", record.mask_all)):
        if mask.shape != (rows, columns) or not ((mask == 0) | (mask == 255)).all():
            faults.append(f"{name} is not of 0 and 255 at the image's size")
    if record.image.dtype != np.uint8 or record.image.shape[2:] != (3,):
        faults.append("the image is not uint8 with three channels")
    labeled = record.keypoints[..., 2] > 0
    if not np.isin(record.keypoints[..., 2], (0, 1, 2)).all() or not labeled.any(1).all():
        faults.append("the third value of a keypoint is not 0, 1 or 2, or a person has no keypoint")
    if (labeled & ~is_inside_image(record.keypoints, rows, columns)).any():
        faults.append("a labeled joint lies outside the image")
    if not (np.isfinite([*record.center_xy, record.height]).all() and record.height > 0):
        faults.append("the main person's box is not finite, or has no height")
    return faults


def _compare(records: list[Record], annotated: AnnotatedImage, num_joints: int) -> list[str]:
    """Describe how the samples of an image differ from its annotations."""
    try:
        expected = _expected_records(records[0].image, annotated, num_joints)
    except UnusableImageError as error:
        return [str(error)]
    if len(expected) != len(records):
        return [f"{len(records)} samples, expected {len(expected)} by the json"]
    same = all(map(_is_same_record, records, expected))
    return [] if same else ["the samples differ from the json"]


def _expected_records(image: np.ndarray, annotated: AnnotatedImage, num_joints: int) -> list[Record]:
    """Return the samples that the annotations of an image give."""
    persons = parse_persons(annotated, num_joints)
    rows = np.flatnonzero(persons.labeled_counts)
    main_persons = [int(np.searchsorted(rows, row)) for row in persons.main_persons]
    people = (persons.keypoints[rows], persons.boxes_xywh[rows])
    masks = build_masks(annotated, persons)
    return [
        build_record(annotated.image_id, image, masks, *people, main_person)
        for main_person in ([NO_PERSON] if annotated.is_empty else main_persons)
    ]


def _is_same_record(one: Record, other: Record) -> bool:
    return (
        (one.center_xy, one.height, one.image_id) == (other.center_xy, other.height, other.image_id)
        and np.array_equal(one.keypoints, other.keypoints)
        and np.array_equal(one.mask_miss, other.mask_miss)
        and np.array_equal(one.mask_all, other.mask_all)
    )
