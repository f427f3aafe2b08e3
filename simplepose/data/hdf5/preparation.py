"""COCO images and annotations -> one HDF5 file of training samples.

Several processes write parts, which are kept when the command is interrupted, and are joined at the end. The
parts are in a folder beside the file:

NAME.h5.partial/lock             held by the process that writes NAME.h5
NAME.h5.partial/PLAN/00000.h5    the finished parts; PLAN is the fingerprint of the request,
NAME.h5.partial/PLAN/joined.h5   so that parts of another request are never reused
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import h5py

from simplepose.data.coco import (
    BOX_WITHOUT_AREA,
    JOINT_OUTSIDE,
    AnnotatedPicture,
    mark_unlabeled,
    persons_of,
    read_annotations,
)
from simplepose.data.coco_images import prepare_picture
from simplepose.data.hdf5 import writer
from simplepose.data.hdf5.layout import DAMAGE, VERSION, OwnSamples, Store
from simplepose.data.hdf5.writer import Header
from simplepose.data.record import PictureFault, Remark
from simplepose.data.split import held_out
from simplepose.skeleton import COCO
from simplepose.utils import parallel

PATIENCE = 10.0
"""Seconds that the processes of a killed preparation are waited for."""


class PartialFolder:
    """The folder of the file that is being made at `path`, and the right to make it until `close`.

    Args:
        path: of the file; its folder is made if need be.
        plan: the fingerprint of what is asked for.

    Attributes:
        replaced: whether parts of another plan were there, and are gone.

    Raises:
        ValueError: `path` is a folder.
        BlockingIOError: another process makes the file.
        OSError: the folder cannot be written to.
    """

    def __init__(self, path: Path, plan: str) -> None:
        if path.is_dir():
            raise ValueError(f"{path} is a folder; the name of a file to write is expected")
        self.path, self.folder = path, path.with_name(f"{path.name}.partial")
        self._lock = _lock(self.folder / "lock", f"another process makes {path}")
        self._plan = self.folder / plan
        others = [child for child in self.folder.iterdir() if child.is_dir() and child != self._plan]
        self.replaced = bool(others)
        for other in others:
            shutil.rmtree(other)
        self._plan.mkdir(exist_ok=True)

    def part(self, number: int) -> Path:
        """The path of a part, which is there once it is done."""
        return self._plan / f"{number:05d}.h5"

    @property
    def joined(self) -> Path:
        """Where the parts are joined."""
        return self._plan / "joined.h5"

    def finish(self) -> None:
        """Put what is joined in its place, whole and on the disk, and remove the folder."""
        with open(self.joined, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(self.joined, self.path)
        self.discard()

    def discard(self) -> None:
        """Remove the folder with all parts."""
        shutil.rmtree(self.folder)

    def close(self) -> None:
        """Let others make the file."""
        os.close(self._lock)


def write_part(path: Path, content: bytes) -> None:
    """Write a part, whole or not at all if the process is killed.

    The disk is not waited for, which would take longer the more others write; what a crash of the machine
    costs is noticed when the part is looked at again.
    """
    new = path.with_suffix(".new")
    new.write_bytes(content)
    os.replace(new, path)


def _lock(path: Path, otherwise: str) -> int:
    """The descriptor of a file that this process and those forked from it hold alone."""
    end = time.monotonic() + PATIENCE
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except FileNotFoundError:  # whoever held it has removed the folder meanwhile
            pass
        except BlockingIOError as error:
            if time.monotonic() > end:
                os.close(descriptor)
                raise BlockingIOError(f"{otherwise}; wait for its end, or end it") from error
        os.close(descriptor)
        time.sleep(0.1)


NO_MAIN_PERSON = "no main person"
HELD_OUT = "held out"
AS_RULED = (NO_MAIN_PERSON, HELD_OUT)
"""Kinds of remarks on pictures that are left out though nothing is wrong with them."""
MENDED = (JOINT_OUTSIDE, BOX_WITHOUT_AREA)
"""Kinds of remarks on pictures that are not left out. All other kinds are of faults."""

PICTURES_A_PART = 32


@dataclass(frozen=True)
class Plan:
    """What is asked for.

    Attributes:
        annotations: COCO's json, or another of its form.
        folders: where its pictures are looked for, in this order.
        output: the file to make.
        joints: the names of the annotated joints.
        store: how the pictures are kept.
        negatives: whether pictures without a single annotation of a person give a sample.
        split: which pictures are held out, see `split.held_out`; none if empty.
        only_held_out: the held out pictures are asked for, and not the others.
        unlabeled: results of a network on these pictures; people in it whom nobody annotated are left out of
            the loss, see `coco.mark_unlabeled`.
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


@dataclass(frozen=True)
class Part:
    """One part that is done: of so many pictures that were asked for, and whether it was there before."""

    pictures: int
    samples: int
    remarks: tuple[Remark, ...]
    was_there: bool


@dataclass(frozen=True)
class _Task:
    path: Path
    plan: Plan
    header: Header
    pictures: Sequence[AnnotatedPicture]


class Preparation:
    """The making of one file; use as a context manager. What is done stays when the block is left early, and
    the same plan goes on from there, to the same file.

    Attributes:
        listed: how many pictures the json lists.
        pictures: those that are asked for.
        begun_anew: whether parts of another plan were there, and are gone.
        unlabeled: people that `Plan.unlabeled` added as regions left out of the loss.

    Raises:
        FileNotFoundError, ValueError, OSError: as `read_annotations`, `held_out` and `PartialFolder`.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        listed, self.unlabeled = read_annotations(plan.annotations, plan.joints), 0
        if plan.unlabeled is not None:
            listed, self.unlabeled = mark_unlabeled(listed, plan.unlabeled)
        held = held_out(plan.split, [picture.image_id for picture in listed]) if plan.split else set()
        self.listed = len(listed)
        self.pictures = [p for p in listed if (p.image_id in held) == plan.only_held_out]
        asked_for = {picture.image_id for picture in self.pictures}
        self._others = [Remark(p.image_id, HELD_OUT) for p in listed if p.image_id not in asked_for]
        self._header = Header(plan.joints, plan.annotations.name, plan.store)
        self._folder = PartialFolder(plan.output, _fingerprint(plan, sorted(asked_for)))
        self.begun_anew = self._folder.replaced

    def parts(self, processes: int) -> Generator[Part, None, None]:
        """Make the parts that are not there; yields each as it is done, or found done.

        Raises:
            OSError: the disk is full, or a process was killed.
        """
        starts = range(0, len(self.pictures), PICTURES_A_PART)
        tasks = [
            _Task(
                self._folder.part(number),
                self._plan,
                self._header,
                self.pictures[start : start + PICTURES_A_PART],
            )
            for number, start in enumerate(starts)
        ]
        yield from parallel.run(_make, tasks, processes)

    def join(self, processes: int) -> Iterator[int]:
        """Join the parts, all of which are there; the file is in its place when no more bytes are told of."""
        count = -(-len(self.pictures) // PICTURES_A_PART)
        parts = [self._folder.part(number) for number in range(count)]
        yield from writer.join(self._header, parts, self._folder.joined, self._others, processes)
        self._folder.finish()

    def discard(self) -> None:
        """Remove what is done."""
        self._folder.discard()

    def __enter__(self) -> Preparation:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._folder.close()


def _fingerprint(plan: Plan, image_ids: list[int]) -> str:
    """Differs where anything differs that the parts depend on."""
    annotations = hashlib.sha256(plan.annotations.read_bytes()).hexdigest()
    folders = [str(folder.resolve()) for folder in plan.folders]
    rules = [VERSION, PICTURES_A_PART, plan.joints, plan.store, plan.negatives]
    if plan.unlabeled is not None:
        rules.append(hashlib.sha256(plan.unlabeled.read_bytes()).hexdigest())
    return hashlib.sha256(json.dumps([annotations, folders, rules, image_ids]).encode()).hexdigest()[:16]


def _make(task: _Task) -> Part:
    return _found(task) or _made(task)


def _found(task: _Task) -> Part | None:
    """A part that is there; None where there is none, or a crash of the machine left less of it."""
    if not task.path.exists():
        return None
    try:
        with h5py.File(task.path, "r") as file:
            samples = OwnSamples(file)
            remarks = samples.contents().remarks
            return Part(len(task.pictures), len(samples), remarks, True) if samples.is_intact() else None
    except DAMAGE:
        return None


def _made(task: _Task) -> Part:
    prepared, remarks = [], []
    for picture in task.pictures:
        try:
            persons = persons_of(picture, len(task.plan.joints))
            ready = prepare_picture(picture, persons, task.plan.folders, task.plan.negatives)
        except PictureFault as fault:
            remarks.append(Remark(picture.image_id, fault.reason, fault.detail))
            continue
        remarks += persons.remarks
        if ready is None:
            remarks.append(Remark(picture.image_id, NO_MAIN_PERSON))
        else:
            prepared.append(ready)
    write_part(task.path, writer.small_file(task.header, prepared, remarks))
    samples = sum(len(picture.main_persons) for picture in prepared)
    return Part(len(task.pictures), samples, tuple(remarks), was_there=False)
