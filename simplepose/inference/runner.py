"""Run a pipeline over a source to its end: progress, skipped inputs, Ctrl-C, and the final summary."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm

from simplepose.frames import BadFrame, FrameSource
from simplepose.inference.pipeline import Pipeline, Seen
from simplepose.inference.stages import Timing

NAMED = 20
"""Bad frames that a report names; the others are counted."""


@dataclass
class Run:
    """What became of a run.

    Attributes:
        unit: what frames are called: "pictures" or "frames".
        timings: of the pipeline's steps.
        frames: in which people were looked for.
        people: found in all of them.
        bad: how many could not be read, or failed.
        named: the first of those.
        dropped: frames of a live source that nobody took.
        seconds: it took.
        interrupted: Ctrl-C ended it early.
        failure: what else ended it early, for example a full disk.
    """

    unit: str
    timings: Mapping[str, Timing]
    frames: int = 0
    people: int = 0
    bad: int = 0
    named: list[BadFrame] = field(default_factory=list)
    dropped: int = 0
    seconds: float = 0.0
    interrupted: bool = False
    failure: Exception | None = None

    @property
    def is_part(self) -> bool:
        """Whether something ended the run early."""
        return self.interrupted or self.failure is not None

    def raise_failure(self) -> None:
        """Raise what ended the run, if anything but Ctrl-C did; to be called when results are safe."""
        if self.failure is not None:
            raise self.failure

    def note(self, bad: BadFrame) -> None:
        """Count one, and name it if it is one of the first."""
        self.bad += 1
        if len(self.named) < NAMED:
            self.named.append(bad)

    @property
    def frames_per_second(self) -> float:
        """All steps together."""
        return self.frames / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        """What came of it, in one line."""
        found = f"{counted(self.frames, self.unit)}, {counted(self.people, 'people')}"
        told = [f"{found} in {self.seconds:.1f} s: {self.frames_per_second:.1f} {self.unit} a second"]
        if self.dropped:
            told.append(f"{counted(self.dropped, 'frames')} dropped for newer ones")
        if self.bad:
            told.append(f"{counted(self.bad, self.unit)} could not be read")
        if self.is_part:
            told.append(f"{'interrupted' if self.interrupted else 'failed'}, this is a part")
        return "; ".join(told)


def run(
    pipeline: Pipeline,
    source: FrameSource,
    keep: Callable[[Seen], None],
    skip: Callable[[BadFrame], None] | None = None,
    bar: bool = True,
) -> Run:
    """Run a pipeline over a source, with a progress bar on stderr.

    Args:
        keep: called with what came of each frame, in order.
        skip: called with each frame that could not be read, or failed; it is told on stderr as well.
        bar: whether there is one.

    Returns:
        What became of it, also where the source, the pipeline, `keep` or `skip` failed: see `Run.failure`.
    """
    unit = "pictures" if source.frames_per_second is None and not source.live else "frames"
    outcome = Run(unit, pipeline.timings)
    start = time.monotonic()
    try:
        with contextlib.closing(pipeline.run(source)) as results:
            for result in tqdm(results, total=source.total, unit=f" {unit}", disable=not bar, smoothing=0.05):
                if isinstance(result, BadFrame):
                    tqdm.write(f"skipped {in_words(result)}", file=sys.stderr)
                    outcome.note(result)
                    if skip is not None:
                        skip(result)
                    continue
                keep(result)
                outcome.frames += 1
                outcome.people += len(result.people)
    except KeyboardInterrupt:
        outcome.interrupted = True
    except Exception as failure:  # hours of results are not lost to one frame; the caller raises it later
        outcome.failure = failure
    outcome.seconds = time.monotonic() - start
    outcome.dropped = getattr(source, "dropped", 0)
    return outcome


def counted(count: int, things: str) -> str:
    """A number with its noun, which is "people", "pictures" or "frames": "1 person", "2,000 people"."""
    one = {"people": "person", "pictures": "picture", "frames": "frame"}
    return f"{count:,} {one[things] if count == 1 else things}"


def in_words(bad: BadFrame) -> str:
    """A bad frame in one line, in characters that every terminal takes."""
    told = bad.reason if bad.name in bad.reason else f"{bad.name}, frame {bad.number}: {bad.reason}"
    return told.encode(errors="backslashreplace").decode()


def table(run: Run) -> str:
    """For people: milliseconds a frame of each step, what was skipped, and what came of it all."""
    rows = [f"{'step':8}{'p50 ms':>10}{'p95 ms':>10}{'in all s':>10}"]
    for name, timing in run.timings.items():
        p50, p95 = (1e3 * timing.percentile(share) for share in (0.5, 0.95))
        rows.append(f"{name:8}{p50:10.2f}{p95:10.2f}{timing.total:10.2f}")
    rows += [f"skipped {in_words(bad)}" for bad in run.named]
    if run.bad > len(run.named):
        rows.append(f"and {run.bad - len(run.named):,} more")
    return "\n".join([*rows, str(run)])


def profile(run: Run) -> dict[str, Any]:
    """For programs: plain values; of what was skipped the first `running.NAMED` with their reasons."""
    return {
        "frames": run.frames,
        "people": run.people,
        "bad": run.bad,
        "dropped": run.dropped,
        "seconds": round(run.seconds, 4),
        "frames_per_second": round(run.frames_per_second, 4),
        "is_part": run.is_part,
        "steps": {name: _step(timing) for name, timing in run.timings.items()},
        "skipped": [{"frame": bad.number, "file_name": bad.name, "reason": bad.reason} for bad in run.named],
    }


def _step(timing: Timing) -> dict[str, Any]:
    return {
        "count": timing.count,
        "p50_ms": round(1e3 * timing.percentile(0.5), 4),
        "p95_ms": round(1e3 * timing.percentile(0.95), 4),
        "total_s": round(timing.total, 4),
    }
