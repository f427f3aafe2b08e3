"""Find and draw the people in pictures: drawn copies, and results in the formats that are asked for.

What is done is kept at once: the same command after a kill goes on from there. Under torchrun the processes
share the pictures, and whichever does the last makes the results.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from simplepose import config, writers
from simplepose.cli import arguments, common
from simplepose.frames import BadFrame, Frame
from simplepose.inference import runner
from simplepose.inference.pipeline import Pipeline, Seen
from simplepose.inference.predictor import Predictor, find
from simplepose.inference.runner import Run, counted
from simplepose.people import People
from simplepose.sources import PictureSource, SourceOptions, open_source, read
from simplepose.synthetic.demo_images import write_samples
from simplepose.utils import distributed, malloc
from simplepose.utils.distributed import World
from simplepose.utils.signals import Ending
from simplepose.visualize.drawing import contact_sheet
from simplepose.writers.base import ResultWriter, Several
from simplepose.writers.drawn_images import PictureFolder, write_picture
from simplepose.writers.naming import FileNames
from simplepose.writers.shards import Parts

MAX_SHEET_IMAGES = 60
"""Images on a contact sheet."""

START_MINUTES = 10.0
"""The processes of torchrun wait so long for each other, before they begin."""


def parser() -> arguments.Parser:
    """The verb's options."""
    parser = arguments.Parser(
        prog="demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "paths",
        nargs="*",
        metavar="PATH",
        help="pictures, folders, patterns or lists (@list.txt); none: sample pictures",
    )
    add("--start", type=arguments.count(0), default=0, metavar="N", help="the first picture, from 0")
    add("--every", type=arguments.count(1), default=1, metavar="N", help="take each N-th")
    add("--max-frames", type=arguments.count(1), metavar="N", help="end after N pictures")
    common.add_results(parser)
    add(
        "--contact-sheet",
        action="store_true",
        help=f"also put the first {MAX_SHEET_IMAGES} drawn images on one (always done for sample pictures)",
    )
    common.add_network(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb. Exit status 1 when a picture could not be read, 130 after Ctrl-C, else 0.

    Of several processes the one that makes the results answers for the pictures of all.
    """
    args = parser().parse_args(argv)
    if args.contact_sheet and not args.draw:
        raise ValueError("--contact-sheet: expected drawn images, got --no-draw; leave one of them out")
    args.contact_sheet |= not args.paths
    malloc.keep()
    common.hush_libraries()
    with contextlib.ExitStack() as kept:
        with distributed.join(START_MINUTES) as world:
            predictor, pictures = common.load(args), _pictures(args, world)
            parts = _parts(args, predictor, pictures, world, kept)
            share = _share(parts, pictures, world)
            world.gather([None])  # all have looked at what is done; only then may one be the last
        ending = kept.enter_context(Ending())
        run = _run(args, predictor, pictures, parts, share, world, ending)
        return _end(args, predictor, pictures, parts, run, world)


def _pictures(args: argparse.Namespace, world: World) -> PictureSource:
    paths = args.paths
    if not paths:  # written by one, so that all see the same
        paths = world.first_says(write_samples(args.output / "samples") if world.is_first else [])
    asked_for = SourceOptions(args.start, args.every, args.max_frames, readers=common.THREADS)
    source = open_source(paths, asked_for, common.tell)
    if not isinstance(source, PictureSource):
        source.close()
        raise ValueError(f"{source.name}: no picture; videos, cameras and streams are for demo_video")
    folders = {os.path.abspath(picture.path.parent) for picture in source.pictures}
    if world.is_first and args.draw and os.path.abspath(args.output) in folders:
        common.tell(
            f"{args.output} has pictures of this run: what is drawn lies beside them, and the same command "
            "would take it for more of them; better name another --output"
        )
    return source


def _parts(
    args: argparse.Namespace,
    predictor: Predictor,
    pictures: PictureSource,
    world: World,
    kept: contextlib.ExitStack,
) -> Parts:
    """What the processes have done; this one is one of them, in the folder for results, while it is kept."""
    said = _said(args, predictor, pictures)
    parts: Parts | None = None
    for turn in (world.is_first, not world.is_first):  # the first one clears up before the others come
        with world.together():
            if turn:
                kept.enter_context(common.writing_to(args.output, shared=True))
                parts = Parts(args.output / "parts", said, world.rank, predictor.skeleton)
                kept.callback(parts.close)
    assert parts is not None
    return parts


def _said(args: argparse.Namespace, predictor: Predictor, pictures: PictureSource) -> dict[str, Any]:
    """All that the results of a picture depend on."""
    listed = hashlib.sha256()
    for picture in pictures.pictures:
        listed.update(repr((picture.name, *_state(picture.path))).encode())
    model = find(args.model)
    wanted = (args.weights, args.precision, args.stacks, args.draw, args.colours, args.heatmaps)
    return {
        "pictures": listed.hexdigest(),
        "model": [str(model.resolve()), *_state(model)],
        "settings": config.to_text(predictor.settings),
        "options": wanted,
    }


def _state(path: Path) -> tuple[int, int]:
    """Changes with the file; zeros where there is none."""
    try:
        state = path.stat()
    except (OSError, ValueError):
        return 0, 0
    return state.st_size, state.st_mtime_ns


def _share(parts: Parts, pictures: PictureSource, world: World) -> PictureSource:
    """The pictures that this process is to do."""
    done = parts.done()
    if world.is_first and parts.replaced:
        common.tell("what another run had begun here, of other pictures or settings, is thrown away")
    before = sum(number in done for number in pictures.numbers)
    if world.is_first and before:
        common.tell(f"{before:,} pictures were done before; going on")
    return pictures.only([n for n in pictures.numbers[world.rank :: world.size] if n not in done])


def _run(
    args: argparse.Namespace,
    predictor: Predictor,
    pictures: PictureSource,
    parts: Parts,
    share: PictureSource,
    world: World,
    ending: Ending,
) -> Run:
    stride = predictor.settings.targets.stride
    paint = common.painter(args, predictor.skeleton, stride)
    pipeline = Pipeline(predictor, None, paint, args.heatmaps is not None, common.THREADS)
    drawn = _drawn_images(args, pictures) if paint else None
    with parts.writer() as lines:

        def keep(seen: Seen) -> None:
            if drawn is not None and seen.drawn is not None:
                drawn.write(seen.frame, seen.drawn)
            lines.write(seen.frame, seen.people)  # after the drawing: what has a line is done

        return runner.run(pipeline, share, ending.whole(keep), ending.whole(lines.skip), bar=world.is_first)


def _drawn_images(args: argparse.Namespace, pictures: PictureSource) -> PictureFolder:
    return PictureFolder(args.output, [picture.path for picture in pictures.pictures])


class _PeopleCount(ResultWriter):
    """Counts the people of the first images, for the captions of a contact sheet.

    Attributes:
        counts: how many people each image has that could be read, by its number.
    """

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}

    def write(self, frame: Frame, people: People) -> None:
        if len(self.counts) < MAX_SHEET_IMAGES:
            self.counts[frame.number] = len(people)

    def skip(self, bad: BadFrame) -> None:
        """Such an image is not on the sheet."""

    def close(self, keep: bool = True) -> None:
        """Nothing is stored on disk."""


def _write_contact_sheet(
    args: argparse.Namespace, pictures: PictureSource, counts: Mapping[int, int]
) -> Path | None:
    """Put drawn images on one sheet; returns its file, None where nothing was drawn.

    Args:
        counts: people of the images by their number in `pictures`.
    """
    if not (args.contact_sheet and args.draw and counts):
        return None
    shown = {pictures.pictures[number]: count for number, count in counts.items()}
    drawn = _drawn_images(args, pictures)
    files = [drawn.path_of(source.path) for source in shown]
    captions = [f"{counted(count, 'people')} - {source.name}" for source, count in shown.items()]
    taken = [*files, *(source.path for source in pictures.pictures)]
    path = FileNames(args.output, ".png", taken).of_picture(Path("contact_sheet"), ".png")
    write_picture(path, contact_sheet(map(read, files), captions))
    return path


def _end(
    args: argparse.Namespace,
    predictor: Predictor,
    pictures: PictureSource,
    parts: Parts,
    run: Run,
    world: World,
) -> int:
    people = _PeopleCount()

    def open_results() -> ResultWriter:
        return Several([writers.open_writers(args.format, args.output, predictor.skeleton), people])

    made, bad, sheet = None, 0, None
    if not run.is_part:
        made = parts.finish(pictures.numbers, open_results)
        where = f"results are in {args.output}" if made else "this process's share; others do the rest"
    elif world.size == 1:
        parts.merge(pictures.numbers, open_results)
        where = f"results of what is done are in {args.output}; the same command goes on from there"
    else:
        where = "the same command goes on from there"
    if made:  # who makes the results answers for all: torchrun ends the others when one fails
        failed = [why for why in made.values() if why is not None]
        bad = len(failed)
        common.require_some(bad, len(made), failed[0] if failed else "")
        sheet = _write_contact_sheet(args, pictures, people.counts)
    where += f"\ncontact sheet: {sheet}" if sheet else ""
    return common.conclude(args, run, where, bad, world.is_first)
