"""What a run tells in its end: how long each step took, what was found, what was left out."""

from __future__ import annotations

from typing import Any

from simplepose.inference.running import Run, in_words
from simplepose.inference.timing import Timing


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
