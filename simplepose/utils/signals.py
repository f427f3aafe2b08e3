"""Graceful shutdown on Ctrl-C and on a scheduler's SIGTERM."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)

# Seconds after the first signal in which further signals are ignored: a launcher forwards the signal that the
# terminal has already sent to its processes.
ECHO_WINDOW_S = 2.0


class GracefulShutdown:
    """Within its block, turn the first SIGINT or SIGTERM into a safe shutdown.

    The first signal raises KeyboardInterrupt, but not before a running `uninterrupted` block ends. A later
    signal, after `ECHO_WINDOW_S`, has its usual effect. Signals that are ignored stay ignored, as a shell
    sets SIGINT for background processes. Use it in the main thread.

    Args:
        deferred: never raise KeyboardInterrupt on the first signal; the caller checks `requested` at safe
            points.

    Attributes:
        requested: whether a signal was received.
    """

    def __init__(self, deferred: bool = False) -> None:
        self.requested = False
        self._deferred, self._pending = deferred, False
        self._old_handlers: dict[int, Any] = {}
        self._requested_at = 0.0

    @contextlib.contextmanager
    def uninterrupted(self) -> Iterator[None]:
        """Let no signal interrupt a block: all result files then have the same frames."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False
        if self._pending:
            self._pending = False
            raise KeyboardInterrupt

    def defer(self) -> None:
        """From now on, the first signal raises nothing: files are being closed."""
        self._deferred = True

    def __enter__(self) -> GracefulShutdown:
        for number in SIGNALS:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):  # None: not installed from Python
                self._old_handlers[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._restore_handlers()

    def _handle(self, number: int, _: FrameType | None) -> None:
        if not self.requested:
            self.requested, self._requested_at, self._pending = True, time.monotonic(), self._deferred
            if not self._deferred:
                raise KeyboardInterrupt
        elif time.monotonic() - self._requested_at > ECHO_WINDOW_S:
            self._pending = False
            self._restore_handlers()
            signal.raise_signal(number)

    def _restore_handlers(self) -> None:
        for number, handler in self._old_handlers.items():
            signal.signal(number, handler)
