"""Measure the memory of the process while the demo's pipeline runs over a long video.

    python tests/helpers/soak.py [--frames 20000] [--limit 50]

A synthetic video goes through reading, the network (at a small height), grouping, tracking, drawing, a video
writer and JSON. From frame 500 on, the memory of the process (RssAnon, /proc/self/status) may grow by 50 MB;
otherwise the exit status is 1.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from synthetic_video import SyntheticVideo

import simplepose
from simplepose import writers
from simplepose.cli.common import THREADS_PER_STAGE
from simplepose.inference import runner
from simplepose.inference.pipeline import FrameResult, Pipeline
from simplepose.sources import open_source
from simplepose.tracking import Tracker
from simplepose.utils import malloc
from simplepose.visualize.drawing import draw_people
from simplepose.writers.drawn_video import VideoWriter

SIZE_HW = (240, 320)
PEOPLE = 3
UNIQUE_FRAMES = 100  # frames that are drawn; the video repeats them

SETTINGS = ("inference.height=96", "inference.flip=false")
FPS = 25.0
SAMPLES = 8  # number of memory samples after the first


def process_memory_mb() -> float:
    """Read this process's own memory, megabytes."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1000
    raise OSError("/proc/self/status: expected a line RssAnon, got none; Linux is needed")


def write_video(path: Path, frames: int) -> None:
    video = SyntheticVideo(3, PEOPLE, UNIQUE_FRAMES, SIZE_HW)
    images = [video.draw(number)[0].image for number in range(min(frames, UNIQUE_FRAMES))]
    with VideoWriter(path, FPS) as writer:
        for number in range(frames):
            writer.write(images[number % UNIQUE_FRAMES])


def soak(video_path: Path, output: Path, sample_frames: set[int]) -> tuple[dict[int, float], int]:
    """Run the pipeline; returns the memory (MB) after each of `sample_frames`, and the number of people."""
    predictor = simplepose.load("imhn_mobile", "cpu", settings_overrides=SETTINGS)
    tracker = Tracker(predictor.skeleton, predictor.settings.tracking)
    pipeline = Pipeline(
        predictor,
        lambda people, frame: tracker(people, image=frame.image),
        lambda frame, people, maps: draw_people(frame.image, people, predictor.skeleton),
        threads=THREADS_PER_STAGE,
    )
    memory_mb: dict[int, float] = {}
    with (
        writers.open_writers(["coco", "jsonl"], output, predictor.skeleton) as records,
        VideoWriter(output / "drawn.mp4", FPS) as video,
        runner.start_run(pipeline, open_source(video_path), show_progress=False) as (results, run),
    ):
        for result in results:
            assert isinstance(result, FrameResult), result
            assert result.visualization is not None
            records.write(result.frame, result.people)
            video.write(result.visualization)
            if video.frames in sample_frames:
                memory_mb[video.frames] = process_memory_mb()
                print(f"frame {video.frames:6,d}: {memory_mb[video.frames]:8.1f} MB", flush=True)
    run.raise_failure()
    print(run)
    return memory_mb, run.people


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=20000, help="frames of the video (default: 20000)")
    parser.add_argument(
        "--first", type=int, default=500, help="memory may grow from this frame on (default: 500)"
    )
    parser.add_argument("--limit", type=float, default=50.0, help="maximum growth, MB (default: 50)")
    args = parser.parse_args()
    malloc.tune_malloc()
    span = args.frames - args.first
    if span < SAMPLES:
        parser.error(f"--frames: expected at least {args.first + SAMPLES}, got {args.frames}")
    sample_frames = {args.first + span * k // SAMPLES for k in range(SAMPLES + 1)}
    with tempfile.TemporaryDirectory() as folder:
        video_path, output = Path(folder, "video.mp4"), Path(folder, "output")
        write_video(video_path, args.frames)
        memory_mb, people = soak(video_path, output, sample_frames)
    if args.frames not in memory_mb or not people:
        print(
            f"error: expected {args.frames:,} frames with people, got {max(memory_mb, default=0):,} frames "
            f"and {people:,} people"
        )
        return 1
    growth = max(memory_mb.values()) - memory_mb[args.first]
    print(f"grown by {growth:.1f} MB from frame {args.first:,} to {args.frames:,} (limit {args.limit:g})")
    return int(growth > args.limit)


if __name__ == "__main__":
    sys.exit(main())
