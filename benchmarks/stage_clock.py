"""Measure the time of a program's stages without changing it; several benchmarks print shares of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch


@contextmanager
def measure_stages(
    stages: Mapping[str, tuple[Any, str]], seconds_by_stage: dict[str, float]
) -> Iterator[None]:
    """Within the block, add up the seconds of each stage, without those of the stages that it calls.

    Args:
        stages: by name, the owner of the function and its name.
        seconds_by_stage: seconds by stage name, a defaultdict; updated in place.
    """
    inner = [0.0]

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **more: Any) -> Any:
            before, inner[0], start = inner[0], 0.0, time.perf_counter()
            result = function(*args, **more)
            elapsed = time.perf_counter() - start
            seconds_by_stage[name] += elapsed - inner[0]
            inner[0] = before + elapsed
            return result

        return run

    with ExitStack() as patches:
        for name, (owner, function) in stages.items():
            patches.enter_context(patch.object(owner, function, timed(name, getattr(owner, function))))
        yield
