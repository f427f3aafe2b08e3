"""Find, track and draw the people in a video, camera or stream."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
from collections.abc import Sequence

import cv2
import numpy as np

from simplepose import writers
from simplepose.cli import arguments, common
from simplepose.frames import BadFrame, Frame, FrameSource
from simplepose.inference import runner
from simplepose.inference.pipeline import Pipeline, Seen, Track
from simplepose.inference.predictor import Predictor
from simplepose.inference.runner import Run
from simplepose.people import People
from simplepose.sources import SourceOptions, open_source
from simplepose.tracking import Tracker
from simplepose.utils import malloc
from simplepose.utils.signals import Ending
from simplepose.writers.drawn_video import FilmWriter
from simplepose.writers.naming import film_path

KEYS = (27, ord("q"))
"""Esc and q end the run."""


class Window:
    """A window that shows one picture after the other; its keys act as Ctrl-C does.

    Args:
        title: of the window.

    Raises:
        ValueError: there is no screen, or OpenCV was built without windows.
    """

    def __init__(self, title: str) -> None:
        self.require()
        self._title = title

    @staticmethod
    def require() -> None:
        """Raises ValueError where no window can be shown; OpenCV itself would end the process."""
        if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise ValueError("no screen to show a window on (neither DISPLAY nor WAYLAND_DISPLAY is set)")
        if re.search(r"GUI:\s+NONE", cv2.getBuildInformation()):
            raise ValueError("this OpenCV was built without windows; install opencv-python instead")

    def show(self, image: np.ndarray) -> None:
        """Show (H, W, 3) uint8 BGR. Raises KeyboardInterrupt when a key that ends the run was pressed."""
        cv2.imshow(self._title, image)
        if cv2.waitKey(1) & 0xFF in KEYS:
            raise KeyboardInterrupt

    def __enter__(self) -> Window:
        return self

    def __exit__(self, *_: object) -> None:
        cv2.destroyAllWindows()


RATE = 25.0
"""Frames a second of what is drawn, where the source does not say."""

PAUSE = 1.0
"""Seconds between two frames of a live source; beyond, it was away, and people went on meanwhile."""


def parser() -> arguments.Parser:
    """The verb's options."""
    parser = arguments.Parser(prog="demo-video", description=__doc__)
    add = parser.add_argument
    add(
        "--source",
        required=True,
        help="a video, a camera's number (0), a stream's address, - for raw frames on standard input; or a "
        "folder, pattern or list (@list.txt) of pictures that follow each other",
    )
    add("--start", type=arguments.count(0, "frames"), default=0, metavar="N", help="the first frame, from 0")
    add("--every", type=arguments.count(1, "frames"), default=1, metavar="N", help="take each N-th")
    add("--max-frames", type=arguments.count(1, "frames"), metavar="N", help="end after N frames")
    add("--timeout", type=float, default=10.0, metavar="S", help="seconds a stream may take to go on (10)")
    add(
        "--reconnect",
        type=arguments.count(0, "tries"),
        default=5,
        metavar="N",
        help="tries to reach a stream again that broke off (5); 0: its end is the end",
    )
    add("--raw-size", type=_size, metavar="WxH", help="of frames on standard input (bgr24)")
    add("--raw-fps", type=float, default=RATE, metavar="F", help=f"of those ({RATE:g})")
    add("--track", action=argparse.BooleanOptionalAction, default=True, help="give people ids over frames")
    add("--show", action="store_true", help="show it in a window; q or Esc ends")
    common.add_results(parser)
    common.add_network(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb. Exit status 1 when a frame could not be read, 130 after Ctrl-C, else 0."""
    args = parser().parse_args(argv)
    if args.source == "-" and args.raw_size is None:
        raise ValueError("frames on standard input have no header; give their size by --raw-size WxH")
    if args.show:
        Window.require()
    malloc.keep()
    common.hush_libraries()
    predictor = common.load(args)
    paint = common.painter(args, predictor.skeleton, predictor.settings.targets.stride)
    source = open_source(args.source, _asked_for(args), common.tell)
    try:
        tracker = Tracker(predictor.skeleton, predictor.settings.tracking)
        track = tracking(tracker, source) if args.track else None
        pipeline = Pipeline(predictor, track, paint, args.heatmaps is not None, common.THREADS)
        run, codec = _run(args, predictor, pipeline, source)
    finally:
        source.close()
    film = f"; the film is {codec}" if codec else ""
    return common.conclude(args, run, f"results are in {args.output}{film}", run.bad)


def _run(
    args: argparse.Namespace, predictor: Predictor, pipeline: Pipeline, source: FrameSource
) -> tuple[Run, str | None]:
    """What became of it, and the film's codec."""
    with contextlib.ExitStack() as kept:
        ending = kept.enter_context(Ending())
        kept.enter_context(common.writing_to(args.output))
        film = kept.enter_context(_film(args, source)) if args.draw else None
        lines = kept.enter_context(writers.open_writers(args.format, args.output, predictor.skeleton))
        screen = kept.enter_context(Window(source.name)) if args.show else None
        kept.callback(ending.finish)

        def keep(seen: Seen) -> None:
            lines.write(seen.frame, seen.people)
            if film is not None and seen.drawn is not None:
                film.write(seen.drawn, seen.frame.seconds if source.live else None)
            if screen is not None:
                screen.show(seen.frame.image if seen.drawn is None else seen.drawn)

        def skip(bad: BadFrame) -> None:
            lines.skip(bad)
            if film is not None and not source.live:
                film.miss()

        run = runner.run(pipeline, source, ending.whole(keep), ending.whole(skip))
        if run.failure is not None and not run.frames + run.bad:
            lines.close(keep=False)  # those of an earlier run are worth more
        return run, film.codec if film is not None else None


def _film(args: argparse.Namespace, source: FrameSource) -> FilmWriter:
    return FilmWriter(film_path(args.output, source.name, args.source), source.frames_per_second or RATE)


def _asked_for(args: argparse.Namespace) -> SourceOptions:
    return SourceOptions(
        start=args.start,
        every=args.every,
        max_frames=args.max_frames,
        readers=common.THREADS,
        timeout=args.timeout,
        reconnect_attempts=args.reconnect,
        raw_size=args.raw_size,
        raw_fps=args.raw_fps,
    )


def tracking(tracker: Tracker, source: FrameSource) -> Track:
    """By the frames' numbers, so that those which were dropped count; and by what a live source paused."""
    last: list[Frame] = []
    rate = source.frames_per_second or RATE

    def track(people: People, frame: Frame) -> People:
        passed = 1.0
        if last:
            before = last.pop()
            passed = frame.number - before.number
            if source.live:
                passed += max(0.0, frame.seconds - before.seconds - PAUSE) * rate
        last.append(frame)
        return tracker(people, passed, frame.image)

    return track


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f"WIDTHxHEIGHT, for example 640x480, expected, got {text!r}")
    return int(width), int(height)
