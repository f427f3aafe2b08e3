"""Ctrl-C, and a SIGTERM, that end a run between two frames and not within one."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, TypeVar

T = TypeVar("T")

SIGNALS = (signal.SIGINT, signal.SIGTERM)
ECHO_SECONDS = 2.0
"""A launcher passes on the signal that the terminal has sent to its processes already."""


class Ending:
    """Within its block the first SIGINT or SIGTERM is a KeyboardInterrupt, but waits while a result is kept.

    So all files of results hold the same frames. One after its echo does not wait. Those that are ignored
    stay so, as a shell has it for SIGINT of what runs in the background. For the main thread.
    """

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}
        self._asked_at: float | None = None
        self._keeping = self._due = False

    def whole(self, keep: Callable[[T], None]) -> Callable[[T], None]:
        """`keep`, not to be interrupted."""

        def kept(result: T) -> None:
            self._keeping = True
            try:
                keep(result)
            finally:
                self._keeping = False
            if self._due:
                self._due = False
                raise KeyboardInterrupt

        return kept

    def finish(self) -> None:
        """From now on the first signal waits for the block's end: files are being closed."""
        self._keeping = True

    def __enter__(self) -> Ending:
        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        now = time.monotonic()
        if self._asked_at is None:
            self._asked_at, self._due = now, self._keeping
            if self._due:
                return
        elif now - self._asked_at <= ECHO_SECONDS:
            return
        self._due = False
        raise KeyboardInterrupt
