"""Detect, track and draw the people in a video, camera or stream."""

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
from simplepose.inference.pipeline import FrameResult, Pipeline, TrackFunction
from simplepose.inference.runner import PipelineRun
from simplepose.inference.topdown import AnyPredictor
from simplepose.people import People
from simplepose.sources import SourceOptions, open_source
from simplepose.tracking import Tracker
from simplepose.utils import malloc
from simplepose.utils.files import printable
from simplepose.utils.signals import GracefulShutdown
from simplepose.writers.base import ResultWriter
from simplepose.writers.drawn_video import MAX_EARLY_S, VideoWriter
from simplepose.writers.naming import video_path

QUIT_KEYS = (27, ord("q"))  # Esc and q stop the run


class Window:
    """A window that shows images; its quit keys act like Ctrl-C.

    Args:
        title: of the window.

    Raises:
        ValueError: there is no display, or OpenCV was built without GUI support.
    """

    def __init__(self, title: str) -> None:
        self.require()
        self._title = title

    @staticmethod
    def require() -> None:
        """Raise ValueError if no window can be shown; OpenCV itself would abort the process."""
        if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise ValueError("--show: no display found; set DISPLAY or WAYLAND_DISPLAY, or leave --show out")
        if re.search(r"GUI:\s+NONE", cv2.getBuildInformation()):
            raise ValueError("--show: this OpenCV was built without GUI support; install opencv-python")

    def show(self, image: np.ndarray) -> None:
        """Show an image (H, W, 3) uint8 BGR. Raises KeyboardInterrupt if a quit key was pressed."""
        cv2.imshow(self._title, image)
        if cv2.waitKey(1) & 0xFF in QUIT_KEYS:
            raise KeyboardInterrupt

    def __enter__(self) -> Window:
        return self

    def __exit__(self, *_: object) -> None:
        cv2.destroyAllWindows()


DEFAULT_FPS = 25.0  # frame rate of the drawn video if the source does not state one

# Seconds between two frames of a live source. After a longer gap (the stream was interrupted), people have
# moved on, and tracking counts the excess as missed frames.
MAX_FRAME_GAP_S = 1.0

# Frames by which times may differ from equal intervals because a container rounds them.
TIME_ROUNDING_FRAMES = 0.15


def build_parser() -> arguments.Parser:
    """Build the parser of the command's options."""
    parser = arguments.Parser(prog="demo-video", description=__doc__)
    add = parser.add_argument
    add(
        "--source",
        required=True,
        help="a video file, a camera number (0), a stream URL, - for raw frames on standard input; or a "
        "folder, glob pattern or list (@list.txt) of consecutive images",
    )
    common.add_range_options(parser, "frame")
    arguments.add_max_pixels(parser)
    add(
        "--timeout",
        type=float,
        default=10.0,
        metavar="S",
        help="seconds to wait for the next frame of a stream (default: 10)",
    )
    add(
        "--reconnect",
        type=arguments.integer_at_least(0, "tries"),
        default=5,
        metavar="N",
        help="attempts to reconnect to an interrupted stream; 0: stop (default: 5)",
    )
    add("--raw-size", type=_size, metavar="WxH", help="size of the raw frames on standard input (bgr24)")
    add(
        "--raw-fps",
        type=float,
        default=DEFAULT_FPS,
        metavar="F",
        help=f"frame rate of the raw frames (default: {DEFAULT_FPS:g})",
    )
    add(
        "--track",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="assign each person an id that stays the same from frame to frame",
    )
    add("--show", action="store_true", help="show the drawn frames in a window; q or Esc stops")
    common.add_output_options(parser)
    common.add_model_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        The exit status: 1 if a frame could not be read, 130 after Ctrl-C, else 0.
    """
    args = build_parser().parse_args(argv)
    if args.source == "-" and args.raw_size is None:
        raise ValueError("--source -: raw frames have no header; give their size with --raw-size WxH")
    if args.show:
        Window.require()
    malloc.tune_malloc()
    common.silence_opencv()
    predictor = common.load_predictor(args)
    draw = common.build_painter(args, predictor)
    source = open_source(args.source, _source_options(args), common.log_line)
    try:
        tracker = Tracker(predictor.skeleton, predictor.settings.tracking)
        track = build_track(tracker, source, args.every) if args.track else None
        pipeline = Pipeline(predictor, track, draw, args.heatmaps is not None, common.THREADS_PER_STAGE)
        run, video = process_video(args, predictor, pipeline, source)
    finally:
        source.close()
    video_note = _describe_video(video) if video is not None and video.codec else ""
    message = (
        f"{'partial results' if run.is_partial else 'results'} are in {printable(args.output)}{video_note}"
    )
    if run.failure is not None and not run.frames + run.bad:
        message = "no frame was read; no results were written"
    return common.report_run(args, run, message, run.bad)


def process_video(
    args: argparse.Namespace, predictor: AnyPredictor, pipeline: Pipeline, source: FrameSource
) -> tuple[PipelineRun, VideoWriter | None]:
    """Find the people in a source, and write results and a drawn video.

    Returns:
        The run, and the closed writer of the drawn video or None.
    """
    with contextlib.ExitStack() as stack:
        shutdown = stack.enter_context(GracefulShutdown())
        stack.enter_context(common.lock_output_folder(args.output))
        video = stack.enter_context(_open_video(args, source)) if args.draw else None
        records = stack.enter_context(writers.open_writers(args.format, args.output, predictor.skeleton))
        window = stack.enter_context(Window(source.name)) if args.show else None
        stack.callback(shutdown.defer)
        with runner.start_run(pipeline, source) as (results, run):
            for result in results:
                with shutdown.uninterrupted():
                    _write_result(result, source.live, records, video, window)
        if run.failure is not None and not run.frames + run.bad:
            records.close(keep=False)  # no frame was read: keep the results of an earlier run
        return run, video


def _write_result(
    result: FrameResult | BadFrame,
    live: bool,
    records: ResultWriter,
    video: VideoWriter | None,
    window: Window | None,
) -> None:
    """Write and show the result of one frame. In the drawn video, it has its source's time, if it has one."""
    if isinstance(result, BadFrame):
        records.skip(result)
        if video is not None and not live:
            video.write_missing()
        return
    records.write(result.frame, result.people)
    if video is not None and result.visualization is not None:
        has_time = result.frame.path is None
        video.write(result.visualization, result.frame.seconds if has_time else None)
    if window is not None:
        window.show(result.frame.image if result.visualization is None else result.visualization)


def _open_video(args: argparse.Namespace, source: FrameSource) -> VideoWriter:
    path = video_path(args.output, source.name, args.source)
    fps = source.frames_per_second or DEFAULT_FPS
    return VideoWriter(path, fps, max_early_s=MAX_EARLY_S if source.live else 0.0)


def _describe_video(video: VideoWriter) -> str:
    """Describe the drawn video, with the frames by which it differs from its source."""
    changes = [
        f"{runner.format_count(count, 'frames')} {verb}"
        for count, verb in ((video.repeated, "repeated"), (video.dropped, "left out"))
        if count
    ]
    timing = f"; {' and '.join(changes)} in it to keep the source's timing" if changes else ""
    return f"; video codec: {video.codec}{timing}"


def _source_options(args: argparse.Namespace) -> SourceOptions:
    return SourceOptions(
        start=args.start,
        every=args.every,
        max_frames=args.max_frames,
        readers=common.THREADS_PER_STAGE,
        max_pixels=args.max_pixels,
        timeout=args.timeout,
        reconnect_attempts=args.reconnect,
        raw_size=args.raw_size,
        raw_fps=args.raw_fps,
    )


def build_track(tracker: Tracker, source: FrameSource, every: int = 1) -> TrackFunction:
    """Build the tracking stage.

    Time is measured in frames of the source at its rate: by the frames' own times where these differ from
    equal intervals, else by the frame numbers; skipped frames count. For a live source, a gap of more than
    MAX_FRAME_GAP_S counts beside the numbers. In a video, a gap counts at most that long: a recorder leaves
    out frames in which nothing moves.

    Args:
        tracker: assigns the ids.
        source: gives the frames.
        every: step between the frames that the source selects.
    """
    last: list[Frame] = []
    fps = (source.frames_per_second or DEFAULT_FPS) * every

    def track(people: People, frame: Frame) -> People:
        elapsed_frames = 1.0
        if last:
            previous = last.pop()
            elapsed_frames = frame.number - previous.number
            seconds = frame.seconds - previous.seconds
            if source.live:
                elapsed_frames += max(0.0, seconds - MAX_FRAME_GAP_S) * fps
            elif seconds > 0 and abs(seconds * fps - elapsed_frames) > TIME_ROUNDING_FRAMES:
                elapsed_frames = min(seconds * fps, max(elapsed_frames, MAX_FRAME_GAP_S * fps))
        last.append(frame)
        return tracker(people, elapsed_frames, frame.image)

    return track


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f"expected WIDTHxHEIGHT, for example 640x480, got {text!r}")
    return int(width), int(height)
