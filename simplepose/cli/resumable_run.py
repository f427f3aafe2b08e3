"""A run over images that several processes share and that the same command resumes: `demo` and `evaluate`.

Shares and resumes the images; for `demo` also merges the partial results, and writes the contact sheet and
the summary.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simplepose import config, writers
from simplepose.cli import common
from simplepose.frames import BadFrame, Frame
from simplepose.inference.detectors import find_detector_file
from simplepose.inference.predictor import find_model
from simplepose.inference.runner import PipelineRun, format_count
from simplepose.inference.topdown import (
    DEFAULT_DETECTOR,
    PRESET_REFINEMENTS,
    AnyPredictor,
    TopDownPredictor,
)
from simplepose.people import People
from simplepose.sources import ImageSource, read_image
from simplepose.utils.distributed import World
from simplepose.utils.files import printable
from simplepose.visualize.drawing import contact_sheet
from simplepose.writers.base import MultiWriter, ResultWriter
from simplepose.writers.drawn_images import ImageFolderWriter, write_image
from simplepose.writers.jsonl import JsonLinesWriter
from simplepose.writers.naming import FileNames
from simplepose.writers.shards import Shards

MAX_SHEET_IMAGES = 60  # images on a contact sheet

STARTUP_TIMEOUT_MINUTES = 10.0  # how long the processes of torchrun wait for each other at the start


@dataclass(frozen=True, eq=False)
class ResumableRun:
    """This process's part of a run over images; `open_run` creates it.

    Attributes:
        args: the parsed options.
        predictor: finds the people.
        images: all images of the run.
        world: the processes that share the images.
        shards: the partial results of all processes.
        remaining: this process's share of the images, without those that an earlier run finished.
    """

    args: argparse.Namespace
    predictor: AnyPredictor
    images: ImageSource
    world: World
    shards: Shards
    remaining: ImageSource

    def open_writer(self) -> JsonLinesWriter:
        """Open the writer of this process's results. An image with a record there counts as done."""
        return self.shards.open_writer()

    def open_drawn_images(self) -> ImageFolderWriter:
        """Open the writer of drawn images."""
        return ImageFolderWriter(self.args.output, [image.path for image in self.images.images])

    def finish(self, run: PipelineRun) -> int:
        """Merge the partial results if this process is the last, and print the summary.

        Returns:
            The exit status.
        """
        people_counter = _PeopleCounter()

        def open_results() -> ResultWriter:
            results = writers.open_writers(self.args.format, self.args.output, self.predictor.skeleton)
            return MultiWriter([results, people_counter])

        folder, indices = printable(self.args.output), self.images.indices
        outcomes, bad, sheet = None, 0, None
        if not run.is_partial:
            outcomes = self.shards.finish(indices, open_results)
            message = f"results are in {folder}" if outcomes else "this process is done; others are running"
        elif self.world.size == 1:
            self.shards.merge(indices, open_results)
            message = f"partial results are in {folder}; run the same command again to continue"
        else:
            message = "run the same command again to continue"
        if outcomes:  # the process that writes the results reports for all: torchrun ends all if one fails
            errors = [error for error in outcomes.values() if error is not None]
            bad = len(errors)
            common.raise_if_none_readable(bad, len(outcomes), errors[0] if errors else "")
            sheet = self._write_contact_sheet(people_counter.counts)
        message += f"\ncontact sheet: {printable(sheet)}" if sheet else ""
        return common.report_run(self.args, run, message, bad, self.world.is_main)

    def _write_contact_sheet(self, counts: Mapping[int, int]) -> Path | None:
        """Write a contact sheet of drawn images.

        Args:
            counts: number of people by image number in `images`.

        Returns:
            The path of the sheet; None if none is wanted, or no image was drawn.
        """
        if not (self.args.contact_sheet and self.args.draw and counts):
            return None
        count_of = {self.images.images[number]: count for number, count in counts.items()}
        drawn_images = self.open_drawn_images()
        files = [drawn_images.output_path(image.path) for image in count_of]
        captions = [f"{format_count(count, 'people')} - {image.name}" for image, count in count_of.items()]
        taken = [*files, *(image.path for image in self.images.images)]
        path = FileNames(self.args.output, ".png", taken).image_path(Path("contact_sheet"), ".png")
        write_image(path, contact_sheet(map(read_image, files), captions))
        return path


@contextlib.contextmanager
def open_run(
    args: argparse.Namespace,
    predictor: AnyPredictor,
    images: ImageSource,
    world: World,
    options: Sequence[object],
) -> Iterator[ResumableRun]:
    """Lock the output folder and open the partial results; the end of the block releases both.

    All processes call it together, within their process group. Partial results of a run with other images,
    another model, other settings or other `options` (plain values) are discarded.

    Raises:
        ValueError: another run uses the folder, or a process has other images or settings.
        OSError: the folder cannot be created or written to.
    """
    fingerprint = _run_fingerprint(args, predictor, images, options)
    with contextlib.ExitStack() as stack:
        shards: Shards | None = None
        for turn in (world.is_main, not world.is_main):  # the main process removes stale files first
            with world.raise_on_all_ranks():
                if turn:
                    stack.enter_context(common.lock_output_folder(args.output, world.rank))
                    shards = Shards(args.output / "parts", fingerprint, world.rank, predictor.skeleton)
                    stack.callback(shards.close)
        assert shards is not None
        remaining = _remaining_images(shards, images, world)
        world.all_gather([None])  # every process has listed the finished images before one can finish
        yield ResumableRun(args, predictor, images, world, shards, remaining)


def _run_fingerprint(
    args: argparse.Namespace, predictor: AnyPredictor, images: ImageSource, options: Sequence[object]
) -> dict[str, Any]:
    """Everything that the results depend on: images, model, settings and options."""
    image_hash = hashlib.sha256()
    for image in images.images:
        image_hash.update(repr((image.name, *_file_state(image.path))).encode())
    files = find_model_files(args, predictor).values()
    return {
        "pictures": image_hash.hexdigest(),
        "model": [value for file in files for value in (str(file.resolve()), *_file_state(file))],
        "settings": config.to_text(predictor.settings),
        "options": (args.weights, args.precision, args.stacks, *options),
    }


def find_model_files(args: argparse.Namespace, predictor: AnyPredictor) -> dict[str, Path]:
    """Return the files that a predictor was loaded from, of networks and of detections, by option."""
    files = {"model": find_model(args.model)}
    if not isinstance(predictor, TopDownPredictor):
        return files
    refinement = args.refine or PRESET_REFINEMENTS.get((str(args.model), args.preset))
    if refinement:
        return files | {"refine": find_model(refinement)}
    return files | {"detector": find_detector_file(args.detector or DEFAULT_DETECTOR)}


def _file_state(path: Path) -> tuple[int, int]:
    """Size and modification time (ns) of a file; zeros if it does not exist."""
    try:
        state = path.stat()
    except (OSError, ValueError):
        return 0, 0
    return state.st_size, state.st_mtime_ns


def _remaining_images(shards: Shards, images: ImageSource, world: World) -> ImageSource:
    """Return this process's share of the images, without those that an earlier run finished."""
    done = shards.completed()
    if world.is_main and shards.replaced_other_run:
        common.log_line("discarded the partial results of a run with other images or settings")
    done_count = sum(index in done for index in images.indices)
    if world.is_main and done_count:
        common.log_line(f"{done_count:,} images are already done; resuming")
    return images.subset([i for i in images.indices[world.rank :: world.size] if i not in done])


class _PeopleCounter(ResultWriter):
    """Counts the people of the first images, for the captions of a contact sheet.

    Attributes:
        counts: number of people by image number; unreadable images are left out.
    """

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}

    def write(self, frame: Frame, people: People) -> None:
        if len(self.counts) < MAX_SHEET_IMAGES:
            self.counts[frame.number] = len(people)

    def skip(self, bad: BadFrame) -> None:
        """Do nothing: an unreadable image is not on the sheet."""

    def close(self, keep: bool = True) -> None:
        """Do nothing: no file is open."""
