"""Run a pipeline over a source to its end: progress, skipped inputs, Ctrl-C, and the final summary."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm

from simplepose.frames import BadFrame, FrameSource
from simplepose.inference.pipeline import FrameResult, Pipeline
from simplepose.inference.stages import Timing
from simplepose.utils.files import printable

# Bad frames that a summary lists with their reasons; the others are only counted.
MAX_REPORTED_BAD_FRAMES = 20


@dataclass
class PipelineRun:
    """Counts, times and failures of a run.

    Attributes:
        unit: how the summary calls frames: "images" or "frames".
        timings: of the pipeline's stages.
        frames: number of frames that were processed.
        people: number of people found in all frames.
        bad: number of frames that could not be read, or on which a stage failed.
        first_bad_frames: the first MAX_REPORTED_BAD_FRAMES of them.
        dropped: frames of a live source that were replaced by newer ones before they were processed.
        seconds: duration.
        interrupted: whether Ctrl-C ended it early.
        failure: another exception that ended it early, for example because the disk is full.
    """

    unit: str
    timings: Mapping[str, Timing]
    frames: int = 0
    people: int = 0
    bad: int = 0
    first_bad_frames: list[BadFrame] = field(default_factory=list)
    dropped: int = 0
    seconds: float = 0.0
    interrupted: bool = False
    failure: Exception | None = None

    @property
    def is_partial(self) -> bool:
        """Whether the run ended early."""
        return self.interrupted or self.failure is not None

    def raise_failure(self) -> None:
        """Raise the exception that ended the run, except Ctrl-C. Call it after the results are saved."""
        if self.failure is not None:
            raise self.failure

    def add_bad_frame(self, bad: BadFrame) -> None:
        """Count a bad frame, and keep it if it is one of the first."""
        self.bad += 1
        if len(self.first_bad_frames) < MAX_REPORTED_BAD_FRAMES:
            self.first_bad_frames.append(bad)

    @property
    def frames_per_second(self) -> float:
        """Throughput of the whole pipeline."""
        return self.frames / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        """Summarize the run in one line."""
        counts = f"{format_count(self.frames, self.unit)}, {format_count(self.people, 'people')}"
        parts = [f"{counts} in {self.seconds:.1f} s: {self.frames_per_second:.1f} {self.unit}/s"]
        if self.dropped:
            parts.append(f"{format_count(self.dropped, 'frames')} dropped for newer ones")
        if self.bad:
            parts.append(f"{format_count(self.bad, self.unit)} could not be read")
        if self.is_partial:
            parts.append(f"{'interrupted' if self.interrupted else 'failed'}, results are partial")
        return "; ".join(parts)


@contextlib.contextmanager
def start_run(
    pipeline: Pipeline, source: FrameSource, show_progress: bool = True
) -> Iterator[tuple[Iterator[FrameResult | BadFrame], PipelineRun]]:
    """Run a pipeline over a source within a `with` block, with a progress bar on stderr.

        with start_run(pipeline, source) as (results, run):
            for result in results:
                ...
        print(run)

    Ctrl-C and any other exception of the source, the pipeline or the block end the block; then `run` is
    partial, see `PipelineRun.failure`. A frame that could not be read, or on which a stage failed, is a
    `BadFrame` and is also logged on stderr.

    Args:
        pipeline: finds the people.
        source: gives the frames.
        show_progress: whether to show the progress bar.

    Yields:
        The result of each frame, in order, and the run, which is complete after the block.
    """
    unit = "images" if source.frames_per_second is None and not source.live else "frames"
    run = PipelineRun(unit, pipeline.timings)
    start = time.monotonic()
    try:
        with (
            contextlib.closing(pipeline.run(source)) as results,
            tqdm(
                results, total=source.total, unit=f" {unit}", disable=not show_progress, smoothing=0.05
            ) as progress,
        ):
            yield _count_results(progress, run), run
    except KeyboardInterrupt:
        run.interrupted = True
    except Exception as failure:  # one frame must not cost hours of results; the caller raises it later
        run.failure = failure
    run.seconds = time.monotonic() - start
    run.dropped = source.dropped


def _count_results(
    results: Iterable[FrameResult | BadFrame], run: PipelineRun
) -> Iterator[FrameResult | BadFrame]:
    """Count the results in the run; a frame counts when the caller is done with it. Logs bad frames."""
    for result in results:
        if isinstance(result, BadFrame):
            tqdm.write(f"skipped {describe_bad_frame(result)}", file=sys.stderr)
            run.add_bad_frame(result)
            yield result
        else:
            yield result
            run.frames += 1
            run.people += len(result.people)


def format_count(count: int, noun: str) -> str:
    """Format a number with its noun, "people", "images" or "frames": "1 person", "2,000 people"."""
    singular = {"people": "person", "images": "image", "frames": "frame"}
    return f"{count:,} {singular[noun] if count == 1 else noun}"


def describe_bad_frame(bad: BadFrame) -> str:
    """Describe a bad frame in one line, in characters that every terminal can print."""
    return printable(
        bad.reason if bad.name in bad.reason else f"{bad.name}, frame {bad.number}: {bad.reason}"
    )


def format_summary(run: PipelineRun) -> str:
    """Format a run for people: milliseconds a frame of each stage, skipped frames, and the summary line."""
    rows = [f"{'stage':8}{'p50 ms':>10}{'p95 ms':>10}{'total s':>10}"]
    for name, timing in run.timings.items():
        p50, p95 = (1e3 * timing.percentile(fraction) for fraction in (0.5, 0.95))
        rows.append(f"{name:8}{p50:10.2f}{p95:10.2f}{timing.total:10.2f}")
    rows += [f"skipped {describe_bad_frame(bad)}" for bad in run.first_bad_frames]
    if run.bad > len(run.first_bad_frames):
        rows.append(f"and {run.bad - len(run.first_bad_frames):,} more")
    return "\n".join([*rows, str(run)])


def build_profile(run: PipelineRun) -> dict[str, Any]:
    """Convert a run to plain values for JSON, with the first MAX_REPORTED_BAD_FRAMES skipped frames."""
    return {
        "frames": run.frames,
        "people": run.people,
        "bad": run.bad,
        "dropped": run.dropped,
        "seconds": round(run.seconds, 4),
        "frames_per_second": round(run.frames_per_second, 4),
        "is_part": run.is_partial,
        "steps": {name: _timing_values(timing) for name, timing in run.timings.items()},
        "skipped": [
            {"frame": bad.number, "file_name": bad.name, "reason": bad.reason} for bad in run.first_bad_frames
        ],
    }


def _timing_values(timing: Timing) -> dict[str, Any]:
    return {
        "count": timing.count,
        "p50_ms": round(1e3 * timing.percentile(0.5), 4),
        "p95_ms": round(1e3 * timing.percentile(0.95), 4),
        "total_s": round(timing.total, 4),
    }
