"""Graceful shutdown on Ctrl-C and on a scheduler's SIGTERM."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
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
    sets SIGINT for background processes. In another thread than the main one it changes nothing: Python
    handles signals in the main thread only.

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
        for number in SIGNALS if threading.current_thread() is threading.main_thread() else ():
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


@contextlib.contextmanager
def block_in_children() -> Iterator[None]:
    """Block SIGINT and SIGTERM in the processes that start within the block; see `follow_parent`.

    A signal that this process receives meanwhile is handled at the end of the block.
    """
    if not hasattr(signal, "sigwaitinfo"):
        yield
        return
    resource_tracker.ensure_running()  # its start would unblock the signals
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


def follow_parent() -> None:
    """In a worker process, leave SIGINT and SIGTERM to the parent process, and end when it ends.

    A terminal, `timeout` and many schedulers send a signal to all processes of a group. The parent responds
    to it, and ends its workers when their work is saved. SIGTERM from the parent itself ends the worker. On
    systems without `signal.sigwaitinfo`, which reports the sender, any SIGTERM does.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_exit_after, args=(parent.join,), daemon=True).start()
    if hasattr(signal, "sigwaitinfo"):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])

        def wait_for_sigterm() -> None:
            while signal.sigwaitinfo([signal.SIGTERM]).si_pid != parent.pid:
                pass  # sent to the whole group

        threading.Thread(target=_exit_after, args=(wait_for_sigterm,), daemon=True).start()


def _exit_after(wait: Callable[[], object]) -> None:
    """End the process as soon as `wait` returns, whatever its other threads do."""
    wait()
    os._exit(1)
