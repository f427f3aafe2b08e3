"""Prepare one HDF5 file of training samples from COCO images and annotations.

Several processes write parts, which are kept when the command is interrupted, and are joined at the end. The
parts are in a folder beside the file:

NAME.h5.partial/lock             held by the process that writes NAME.h5
NAME.h5.partial/PLAN/00000.h5    the finished parts; PLAN is the fingerprint of the request,
NAME.h5.partial/PLAN/joined.h5   so that parts of another request are never reused
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import h5py

from simplepose.coco_json import ReadOptions
from simplepose.data.coco import (
    BOX_WITHOUT_AREA,
    JOINT_OUTSIDE,
    AnnotatedImage,
    mark_unlabeled,
    parse_persons,
    read_annotations,
)
from simplepose.data.coco_images import prepare_image
from simplepose.data.hdf5 import writer
from simplepose.data.hdf5.layout import DAMAGE_ERRORS, VERSION, NativeSamples, Store
from simplepose.data.hdf5.writer import FileHeader
from simplepose.data.record import Issue, UnusableImageError
from simplepose.data.split import held_out_ids
from simplepose.skeleton import COCO
from simplepose.utils import atomic, parallel
from simplepose.utils.file_lock import lock_in_folder
from simplepose.utils.files import check_output_file

# How long to wait for the processes of a killed preparation to end, seconds.
LOCK_TIMEOUT_S = 10.0


class PartialFolder:
    """The folder of parts of the file `path`, locked until `close`.

    Args:
        path: of the file to write; its folder is created if needed.
        fingerprint: of the request.

    Attributes:
        discarded_parts: whether parts of another request existed, and were removed.

    Raises:
        ValueError: `path` is a folder or device, its folder of parts is a link, or another process
            writes the file.
        OSError: the folder is not writable.
    """

    def __init__(self, path: Path, fingerprint: str) -> None:
        check_output_file(path)
        self.path, self.folder = path, path.with_name(f"{path.name}.partial")
        if self.folder.is_symlink():
            raise ValueError(f"{self.folder}: expected a folder, got a link; remove it")
        message = f"another process writes {self.path}; wait until it ends, or stop it"
        self._lock = lock_in_folder(self.folder, "lock", message, LOCK_TIMEOUT_S)
        self._parts_folder = self.folder / fingerprint
        others = [child for child in self.folder.iterdir() if child.is_dir() and child != self._parts_folder]
        self.discarded_parts = bool(others)
        for other in others:
            shutil.rmtree(other)
        self._parts_folder.mkdir(exist_ok=True)

    def part_path(self, number: int) -> Path:
        """Return the path of a part; it exists if the part is finished."""
        return self._parts_folder / f"{number:05d}.h5"

    @property
    def joined_path(self) -> Path:
        """The path of the joined file, before `finish`."""
        return self._parts_folder / "joined.h5"

    def finish(self) -> None:
        """Flush the joined file to the disk, move it to `path`, and remove the folder."""
        atomic.flush_and_rename(self.joined_path, self.path)
        self.discard()

    def discard(self) -> None:
        """Remove the folder with all parts, unless another process has begun to use it."""
        shutil.rmtree(self._parts_folder)
        with contextlib.suppress(OSError):  # the next owner has created its lock file
            (self.folder / "lock").unlink()
            self.folder.rmdir()

    def close(self) -> None:
        """Release the lock; a folder without any part is removed."""
        if self._parts_folder.is_dir() and not any(self._parts_folder.iterdir()):
            self.discard()
        self._lock.release()


# Kinds of issues of images that are skipped though nothing is wrong with them.
NO_MAIN_PERSON = "no main person"
HELD_OUT = "held out"
EXPECTED_SKIP_KINDS = (NO_MAIN_PERSON, HELD_OUT)

# Kinds of issues of images that are not skipped; the last is what earlier releases wrote. All other kinds are
# faults.
REPAIRED_KINDS = (JOINT_OUTSIDE, BOX_WITHOUT_AREA, "joints outside the picture")

IMAGES_PER_PART = 32


@dataclass(frozen=True)
class PreparationPlan:
    """The request for a file.

    Attributes:
        annotations: COCO's json, or one in its format.
        folders: searched for the images, in this order.
        output: the file to write.
        joints: the names of the annotated joints.
        store: how the images are stored.
        negatives: whether images without any annotation of a person give a sample.
        split: which images are held out, see `split.held_out_ids`; none if empty.
        only_held_out: use the held-out images instead of the others.
        unlabeled: results of a network on these images; detected people without an annotation are ignored by
            the loss, see `coco.mark_unlabeled`.
        reading: how the json is read.
    """

    annotations: Path
    folders: tuple[Path, ...]
    output: Path
    joints: tuple[str, ...] = COCO.annotated
    store: Store = "compressed"
    negatives: bool = False
    split: str = ""
    only_held_out: bool = False
    unlabeled: Path | None = None
    reading: ReadOptions = ReadOptions()  # noqa: RUF009 (frozen)


@dataclass(frozen=True)
class PreparedPart:
    """One finished part.

    Attributes:
        num_images: requested images of the part.
        num_samples: samples in it.
        issues: of its images.
        reused: whether an interrupted run finished it before.
    """

    num_images: int
    num_samples: int
    issues: tuple[Issue, ...]
    reused: bool


@dataclass(frozen=True)
class _PartTask:
    path: Path
    plan: PreparationPlan
    header: FileHeader
    images: Sequence[AnnotatedImage]


class Preparation:
    """The preparation of one file; use it as a context manager.

    Finished parts are kept when the block exits early. The same plan then continues, and gives the same file.

    Attributes:
        num_listed: number of images in the json.
        images: the requested ones.
        restarted: whether parts of another plan existed, and were removed.
        num_masked: number of people of other categories in `images`, whom the loss ignores.
        num_unlabeled: number of people that `PreparationPlan.unlabeled` added as regions the loss ignores.

    Raises:
        FileNotFoundError, ValueError, OSError: as `read_annotations`, `held_out_ids` and `PartialFolder`.
    """

    def __init__(self, plan: PreparationPlan) -> None:
        self._plan = plan
        listed, self.num_unlabeled = read_annotations(plan.annotations, plan.joints, plan.reading), 0
        if plan.unlabeled is not None:
            listed, self.num_unlabeled = mark_unlabeled(listed, plan.unlabeled)
        held_out = held_out_ids(plan.split, [image.image_id for image in listed]) if plan.split else set()
        self.num_listed = len(listed)
        self.images = [image for image in listed if (image.image_id in held_out) == plan.only_held_out]
        self.num_masked = sum(len(image.masked) for image in self.images)
        requested = {image.image_id for image in self.images}
        self._held_out_issues = [Issue(p.image_id, HELD_OUT) for p in listed if p.image_id not in requested]
        self._header = FileHeader(plan.joints, plan.annotations.name, plan.store)
        self._folder = PartialFolder(plan.output, _fingerprint(plan, sorted(requested)))
        self.restarted = self._folder.discarded_parts

    def prepare_parts(self, processes: int) -> Generator[PreparedPart, None, None]:
        """Prepare the missing parts; yields each part when it is finished, or found finished.

        Raises:
            OSError: the disk is full, or a process was killed.
        """
        starts = range(0, len(self.images), IMAGES_PER_PART)
        tasks = [
            _PartTask(
                self._folder.part_path(number),
                self._plan,
                self._header,
                self.images[start : start + IMAGES_PER_PART],
            )
            for number, start in enumerate(starts)
        ]
        yield from parallel.map_unordered(_prepare_part, tasks, processes)

    def join_parts(self, processes: int) -> Iterator[int]:
        """Join the parts, all of which must be finished.

        Yields:
            The number of bytes written, after each part. At the end, the file is in its place.
        """
        count = -(-len(self.images) // IMAGES_PER_PART)
        parts = [self._folder.part_path(number) for number in range(count)]
        joined = self._folder.joined_path
        yield from writer.join_files(self._header, parts, joined, self._held_out_issues, processes)
        self._folder.finish()

    def discard(self) -> None:
        """Remove all parts."""
        self._folder.discard()

    def __enter__(self) -> Preparation:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._folder.close()


def _fingerprint(plan: PreparationPlan, image_ids: list[int]) -> str:
    """Compute a hash of everything that the parts depend on."""
    annotations = hashlib.sha256(plan.annotations.read_bytes()).hexdigest()
    folders = [str(folder.resolve()) for folder in plan.folders]
    rules = [VERSION, IMAGES_PER_PART, plan.joints, plan.store, plan.negatives, plan.reading.category]
    if plan.unlabeled is not None:
        rules.append(hashlib.sha256(plan.unlabeled.read_bytes()).hexdigest())
    return hashlib.sha256(json.dumps([annotations, folders, rules, image_ids]).encode()).hexdigest()[:16]


def _prepare_part(task: _PartTask) -> PreparedPart:
    return _reuse_part(task) or _create_part(task)


def _reuse_part(task: _PartTask) -> PreparedPart | None:
    """Return the existing part; None if it does not exist, or a crash of the machine damaged it."""
    if not task.path.exists():
        return None
    try:
        with h5py.File(task.path, "r") as file:
            samples = NativeSamples(file)
            issues = samples.contents().issues
            if not samples.is_intact():
                return None
            return PreparedPart(len(task.images), len(samples), issues, reused=True)
    except DAMAGE_ERRORS:
        return None


def _create_part(task: _PartTask) -> PreparedPart:
    prepared, issues = [], []
    for image in task.images:
        try:
            persons = parse_persons(image, len(task.plan.joints))
            ready = prepare_image(image, persons, task.plan.folders, task.plan.negatives)
        except UnusableImageError as error:
            issues.append(Issue(image.image_id, error.reason, error.detail))
            continue
        issues += persons.issues
        if ready is None:
            issues.append(Issue(image.image_id, NO_MAIN_PERSON))
        else:
            prepared.append(ready)
    # Waiting for the disk would take longer the more processes write. A crash of the machine can truncate a
    # part; this is detected when the part is reused.
    atomic.write_bytes(task.path, writer.build_file(task.header, prepared, issues), fsync=False)
    num_samples = sum(len(image.main_persons) for image in prepared)
    return PreparedPart(len(task.images), num_samples, tuple(issues), reused=False)
