"""Ctrl-C, and a scheduler's SIGTERM, that end a run in a safe place."""

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
    """Within its block the first SIGINT or SIGTERM ends a run safely; one after its echo acts as usual.

    The first one is a KeyboardInterrupt, but waits while what is to be whole is not. Signals that are
    ignored stay so, as a shell has it for SIGINT of what runs in the background. For the main thread.

    Attributes:
        asked: whether a signal has come.

    Args:
        waits: the first one never is a KeyboardInterrupt: who runs looks at `asked` in safe places.
    """

    def __init__(self, waits: bool = False) -> None:
        self.asked = False
        self._waits, self._due = waits, False
        self._before: dict[int, Any] = {}
        self._asked_at = 0.0

    def whole(self, keep: Callable[[T], None]) -> Callable[[T], None]:
        """`keep`, not to be interrupted: so all files of results hold the same frames."""

        def kept(result: T) -> None:
            self._waits = True
            try:
                keep(result)
            finally:
                self._waits = False
            if self._due:
                self._due = False
                raise KeyboardInterrupt

        return kept

    def finish(self) -> None:
        """From now on the first signal waits for the block's end: files are being closed."""
        self._waits = True

    def __enter__(self) -> Ending:
        for number in SIGNALS:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):  # None: not Python's to put back
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._restore()

    def _note(self, number: int, _: FrameType | None) -> None:
        if not self.asked:
            self.asked, self._asked_at, self._due = True, time.monotonic(), self._waits
            if not self._waits:
                raise KeyboardInterrupt
        elif time.monotonic() - self._asked_at > ECHO_SECONDS:
            self._due = False
            self._restore()
            signal.raise_signal(number)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
