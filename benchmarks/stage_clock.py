"""How long the stages of a program take, without a change to it: what several benchmarks print shares of."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch


@contextmanager
def clocked(stages: Mapping[str, tuple[Any, str]], spent: dict[str, float]) -> Iterator[None]:
    """Within, the stages add the seconds that they spend, without those of the stages that they call.

    Args:
        stages: by name, whose function each is, and which one.
        spent: seconds by name; what is missing counts as 0 (a defaultdict).
    """
    inner = [0.0]

    def with_clock(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **more: Any) -> Any:
            before, inner[0], start = inner[0], 0.0, time.perf_counter()
            result = function(*args, **more)
            whole = time.perf_counter() - start
            spent[name] += whole - inner[0]
            inner[0] = before + whole
            return result

        return run

    with ExitStack() as patches:
        for name, (owner, function) in stages.items():
            patches.enter_context(patch.object(owner, function, with_clock(name, getattr(owner, function))))
        yield
