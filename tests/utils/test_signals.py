"""Graceful shutdown: at a safe point on the first signal, immediately on the second."""

import os
import signal
import sys
import threading
import time

import pytest
import runs

from simplepose.utils import signals
from simplepose.utils.signals import GracefulShutdown


@pytest.fixture(autouse=True)
def restore_handlers():
    """Enable SIGINT, which a shell may have disabled, and check that each test restores the handlers."""
    before = [signal.signal(signal.SIGINT, signal.default_int_handler), signal.getsignal(signal.SIGTERM)]
    yield
    after = [signal.getsignal(number) for number in signals.SIGNALS]
    assert after == [signal.default_int_handler, before[1]]
    signal.signal(signal.SIGINT, before[0])


@pytest.mark.parametrize("number", signals.SIGNALS)
def test_uninterrupted_block_completes_before_the_interrupt(number):
    kept = []

    def keep_all(shutdown):
        for result in range(5):
            with shutdown.uninterrupted():
                if result == 2:
                    signal.raise_signal(number)
                kept.append(result)

    with GracefulShutdown() as shutdown, pytest.raises(KeyboardInterrupt):
        keep_all(shutdown)
    assert kept == [0, 1, 2]


@pytest.mark.parametrize("number", signals.SIGNALS)
def test_signal_interrupts_immediately_outside_of_uninterrupted_blocks(number):
    with GracefulShutdown(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)


def test_defer_prevents_the_interrupt():
    with GracefulShutdown() as shutdown:
        shutdown.defer()
        signal.raise_signal(signal.SIGINT)


def test_echo_is_ignored_and_a_later_signal_interrupts_immediately(monkeypatch):
    with GracefulShutdown() as shutdown, shutdown.uninterrupted():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        monkeypatch.setattr(signals, "ECHO_WINDOW_S", -1.0)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_deferred_shutdown_only_sets_requested():
    with GracefulShutdown(deferred=True) as shutdown:
        assert not shutdown.requested
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)  # the echo
        assert shutdown.requested


@pytest.mark.parametrize("number", signals.SIGNALS)
@pytest.mark.parametrize("deferred", [True, False])
def test_second_signal_has_its_usual_effect(monkeypatch, number, deferred):
    default_calls = []
    before = signal.signal(number, lambda number, _: default_calls.append(number))
    with GracefulShutdown(deferred) as shutdown:
        shutdown.defer()
        signal.raise_signal(signal.SIGTERM)
        assert not default_calls
        later = time.monotonic() + 2 * signals.ECHO_WINDOW_S
        monkeypatch.setattr(signals.time, "monotonic", lambda: later)
        signal.raise_signal(number)
        assert default_calls == [number]
    signal.signal(number, before)


def test_ignored_signals_stay_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with GracefulShutdown():
        signal.raise_signal(signal.SIGINT)
    assert signal.signal(signal.SIGINT, signal.default_int_handler) == signal.SIG_IGN


def test_in_another_thread_the_handlers_stay():
    handlers = []

    def use():
        with GracefulShutdown(), GracefulShutdown(deferred=True) as shutdown:
            handlers.append((signal.getsignal(signal.SIGTERM), shutdown.requested))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert handlers == [(before, False)]


WORKERS = """
import os, signal, sys, time
from pathlib import Path
from simplepose.utils import parallel
from simplepose.utils.signals import GracefulShutdown

def write(path):
    path.with_suffix(".started").touch()
    time.sleep(1)
    path.touch()

if __name__ == "__main__":
    paths = [Path(sys.argv[1]) / str(number) for number in range(50)]
    with GracefulShutdown():
        list(parallel.map_unordered(write, paths, 2))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_group_lets_workers_finish_their_tasks(tmp_path, number):
    process = runs.start([sys.executable, "-c", WORKERS, str(tmp_path)], start_new_session=True)
    runs.wait_for(lambda: len(list(tmp_path.glob("*.started"))) >= 3, process)
    os.killpg(process.pid, number)
    output = process.communicate(timeout=60)[0]
    assert "KeyboardInterrupt" in output
    started = {path.stem for path in tmp_path.glob("*.started")}
    assert len(started) < 50
    assert started == {path.name for path in tmp_path.iterdir() if not path.suffix}


def test_a_killed_worker_ends_the_others(tmp_path):
    """The pool ends them by SIGTERM, which they ignore from other processes."""
    process = runs.start([sys.executable, "-c", WORKERS, str(tmp_path)], start_new_session=True)
    runs.wait_for(lambda: len(list(tmp_path.glob("*.started"))) >= 2, process)
    os.kill(runs.child_pids(process)[-1], signal.SIGKILL)
    assert "a worker process was killed" in process.communicate(timeout=60)[0]


def test_workers_end_with_a_killed_parent(tmp_path):
    process = runs.start([sys.executable, "-c", WORKERS, str(tmp_path)], start_new_session=True)
    runs.wait_for(lambda: len(list(tmp_path.glob("*.started"))) >= 2, process)
    process.kill()
    process.communicate(timeout=60)  # its output ends when no process holds it
