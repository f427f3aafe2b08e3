"""Memory over a long video: all that the demo does with it, frame after frame, and what the process holds.

    python tests/helpers/soak.py [--frames 20000] [--limit 50]

A video of drawn people is made and goes through reading, the network (at a small height), grouping, tracking,
drawing, a film and JSON. From frame 500 on what the process holds (RssAnon, /proc/self/status) may grow by
50 MB; else the exit status is 1.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from synthetic_video import Film

import simplepose
from simplepose import writers
from simplepose.cli.common import THREADS
from simplepose.inference import runner
from simplepose.inference.pipeline import Pipeline, Seen
from simplepose.sources import open_source
from simplepose.tracking import Tracker
from simplepose.utils import malloc
from simplepose.visualize.drawing import draw
from simplepose.writers.drawn_video import FilmWriter

SIZE_HW = (240, 320)
PEOPLE = 3
DRAWN = 100
"""Frames that are drawn; the video repeats them."""

SETTINGS = ("inference.height=96", "inference.flip=false")
RATE = 25.0
SAMPLES = 8
"""Times that memory is told after the first."""


def held() -> float:
    """Megabytes of this process's own memory."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1000
    raise OSError("/proc/self/status tells no RssAnon: Linux is needed")


def write_video(path: Path, frames: int) -> None:
    film = Film(3, PEOPLE, DRAWN, SIZE_HW)
    images = [film.draw(number)[0].image for number in range(min(frames, DRAWN))]
    with FilmWriter(path, RATE) as writer:
        for number in range(frames):
            writer.write(images[number % DRAWN])


def soak(video: Path, output: Path, samples: set[int]) -> tuple[dict[int, float], int]:
    """Megabytes held after so many frames, and how many people there were."""
    predictor = simplepose.load("imhn_mobile", "cpu", settings_overrides=SETTINGS)
    tracker = Tracker(predictor.skeleton, predictor.settings.tracking)
    pipeline = Pipeline(
        predictor,
        lambda people, frame: tracker(people, image=frame.image),
        lambda frame, people, maps: draw(frame.image, people, predictor.skeleton),
        threads=THREADS,
    )
    told: dict[int, float] = {}
    with (
        writers.open_writers(["coco", "jsonl"], output, predictor.skeleton) as lines,
        FilmWriter(output / "film.mp4", RATE) as film,
    ):

        def keep(seen: Seen) -> None:
            assert seen.drawn is not None
            lines.write(seen.frame, seen.people)
            film.write(seen.drawn)
            if film.frames in samples:
                told[film.frames] = held()
                print(f"frame {film.frames:6,d}: {told[film.frames]:8.1f} MB", flush=True)

        run = runner.run(pipeline, open_source(video), keep, bar=False)
    run.raise_failure()
    print(run)
    return told, run.people


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=20000)
    parser.add_argument("--first", type=int, default=500, help="memory may grow from this frame on (500)")
    parser.add_argument("--limit", type=float, default=50.0, help="MB that it may grow by (50)")
    args = parser.parse_args()
    malloc.keep()
    span = args.frames - args.first
    if span < SAMPLES:
        parser.error(f"at least {args.first + SAMPLES} frames expected, got {args.frames}")
    samples = {args.first + span * k // SAMPLES for k in range(SAMPLES + 1)}
    with tempfile.TemporaryDirectory() as folder:
        video, output = Path(folder, "video.mp4"), Path(folder, "output")
        write_video(video, args.frames)
        told, people = soak(video, output, samples)
    if args.frames not in told or not people:
        print(f"error: {max(told, default=0):,} of {args.frames:,} frames came out, {people:,} people")
        return 1
    grown = max(told.values()) - told[args.first]
    print(f"grown by {grown:.1f} MB from frame {args.first:,} to {args.frames:,} (limit {args.limit:g})")
    return int(grown > args.limit)


if __name__ == "__main__":
    sys.exit(main())
