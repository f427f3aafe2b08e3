"""Each record of a file of training samples held against what a record is, and against the json."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simplepose.data.coco import AnnotatedPicture, inside, persons_of
from simplepose.data.coco_images import masks_of
from simplepose.data.hdf5.preparation import MENDED
from simplepose.data.hdf5.reader import BadRecord, SampleFile
from simplepose.data.record import NOBODY, PictureFault, Record, make_record
from simplepose.utils import parallel

TASKS_A_PROCESS = 8


@dataclass(frozen=True)
class Checked:
    """What was found of one picture.

    Attributes:
        image_id: the picture's.
        people: with keypoints.
        faults: what is wrong, in words.
    """

    image_id: int
    people: int
    faults: list[str]


@dataclass(frozen=True)
class _Picture:
    """One to check: its samples, and what the json says of it where there is one."""

    image_id: int
    samples: list[int]
    annotated: AnnotatedPicture | None


@dataclass(frozen=True)
class _Task:
    path: Path
    published_crop: int
    pictures: Sequence[_Picture]
    compared: bool


def check(file: SampleFile, annotations: list[AnnotatedPicture] | None, processes: int) -> Iterator[Checked]:
    """Read every sample of a file.

    Args:
        file: what is checked.
        annotations: of the json that it was made of; every picture of it must be in the file, with the same
            people and masks, or among the file's remarks. None: the samples are looked at by themselves.
        processes: that read.

    Yields:
        Of each picture of the file, and of each that should be there and is not.
    """
    samples: dict[int, list[int]] = {image_id: [] for image_id in file.pictures}
    for index, row in enumerate(file.sample_pictures.tolist()):
        samples[file.pictures[row]].append(index)
    listed = {picture.image_id: picture for picture in annotations or []}
    pictures = [_Picture(image_id, found, listed.get(image_id)) for image_id, found in samples.items()]
    size = -(-len(pictures) // (TASKS_A_PROCESS * processes))
    tasks = [
        _Task(file.path, file.published_crop, pictures[start : start + size], annotations is not None)
        for start in range(0, len(pictures), size)
    ]
    for checked in parallel.run(_check, tasks, processes):
        yield from checked
    contents = file.contents()
    told = (
        {remark.image_id for remark in contents.remarks if remark.kind not in MENDED} if contents else set()
    )
    for image_id in sorted(listed.keys() - samples.keys() - told):
        yield Checked(image_id, 0, ["listed in the json, but the file neither holds it nor tells why not"])


def _check(task: _Task) -> list[Checked]:
    file = SampleFile(task.path, task.published_crop)
    return [_check_picture(file, picture, task.compared) for picture in task.pictures]


def _check_picture(file: SampleFile, picture: _Picture, compared: bool) -> Checked:
    records, faults = [], []
    for index in picture.samples:
        try:
            records.append(file[index])
        except BadRecord as error:
            faults.append(f"damaged: {error.__cause__}")
    for record in records:
        faults += record_faults(record)
    if compared and picture.annotated is None:
        faults.append("not in the json")
    if picture.annotated is not None and records and not faults:
        faults += _differences(records, picture.annotated, len(file.joints))
    people = max((len(record.keypoints) for record in records), default=0)
    return Checked(picture.image_id, people, sorted(set(faults)))


def record_faults(record: Record) -> list[str]:
    """What a record has that no record may have."""
    faults = []
    rows, columns = record.image.shape[:2]
    for name, mask in (("mask_miss", record.mask_miss), ("mask_all", record.mask_all)):
        if mask.shape != (rows, columns) or not ((mask == 0) | (mask == 255)).all():
            faults.append(f"{name} is not of 0 and 255 at the picture's size")
    if record.image.dtype != np.uint8 or record.image.shape[2:] != (3,):
        faults.append("the picture is not of three channels of bytes")
    labelled = record.keypoints[..., 2] > 0
    if not np.isin(record.keypoints[..., 2], (0, 1, 2)).all() or not labelled.any(1).all():
        faults.append("a keypoint's third value is not 0, 1 or 2, or somebody has no keypoint")
    if (labelled & ~inside(record.keypoints, rows, columns)).any():
        faults.append("a labelled joint lies outside the picture")
    if not (np.isfinite([*record.center_xy, record.height]).all() and record.height > 0):
        faults.append("the main person's box is not finite, or has no height")
    return faults


def _differences(records: list[Record], annotated: AnnotatedPicture, joints: int) -> list[str]:
    """In what the samples of a picture are not those of its annotations."""
    try:
        expected = _expected(records[0].image, annotated, joints)
    except PictureFault as fault:
        return [str(fault)]
    if len(expected) != len(records):
        return [f"{len(records)} samples, {len(expected)} by the json"]
    same = all(map(_same, records, expected))
    return [] if same else ["the samples are not those of the json"]


def _expected(image: np.ndarray, annotated: AnnotatedPicture, joints: int) -> list[Record]:
    """The samples that the annotations of a picture give."""
    persons = persons_of(annotated, joints)
    rows = np.flatnonzero(persons.labelled)
    mains = [int(np.searchsorted(rows, row)) for row in persons.main_persons]
    people = (persons.keypoints[rows], persons.boxes_xywh[rows])
    masks = masks_of(annotated, persons)
    return [
        make_record(annotated.image_id, image, masks, *people, main)
        for main in (mains if annotated.persons else [NOBODY])
    ]


def _same(one: Record, other: Record) -> bool:
    return (one.center_xy, one.height, one.image_id) == (
        other.center_xy,
        other.height,
        other.image_id,
    ) and all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("keypoints", "mask_miss", "mask_all")
    )
