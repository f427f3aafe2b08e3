"""Run a function in a forked process with limits of memory and time."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# Limits of one case. Memory is counted above that of the process that forks, which has loaded the libraries.
# Processor time does not depend on the load of the machine; wall-clock time also ends a process that waits.
MEMORY_LIMIT_BYTES = 2 << 30
PROCESSOR_LIMIT_S = 20
WALL_CLOCK_LIMIT_S = 60.0

_POLL_INTERVAL_S = 0.005


@dataclass(frozen=True)
class Ending:
    """How a forked process ended.

    Attributes:
        status: exit status; minus the number of the signal that ended it.
        seconds: processor time of the process and its children.
        peak_bytes: largest memory of the process or of a child of it, above the data of the parent process.
        output: standard output, then standard error.
        timed_out: whether the time limit ended it.
    """

    status: int
    seconds: float
    peak_bytes: int
    output: str
    timed_out: bool

    def find_fault(self) -> str | None:
        """Return which limit was reached, or how the process died; None if it ended by itself."""
        if self.timed_out:
            return f"did not end within {WALL_CLOCK_LIMIT_S:g} s"
        if self.status == -signal.SIGXCPU:
            return f"did not end within {PROCESSOR_LIMIT_S} s of processor time"
        if self.status < 0:
            return f"ended by signal {signal.Signals(-self.status).name}"
        if self.peak_bytes > MEMORY_LIMIT_BYTES:
            return f"used {self.peak_bytes / 2**20:,.0f} MiB"
        return None


def run_in_fork(
    function: Callable[[], int], folder: Path, log: Path, wall_clock_limit_s: float = WALL_CLOCK_LIMIT_S
) -> Ending:
    """Run a function in a forked process in `folder`; its result is the exit status.

    The limit of memory is one of data (`RLIMIT_DATA`: heap and private writable mappings), as that of
    addresses would also count libraries and mapped files. Allocations above it fail at once, so that a
    hostile file does not exhaust the machine. The peak that was resident is compared with the same limit.

    Args:
        function: must not depend on threads of this process. An exception is printed with its traceback.
        folder: working directory.
        log: files of standard output and standard error begin with this path.
        wall_clock_limit_s: after this time the process and its workers are killed.
    """
    start, baseline = time.monotonic(), _status_bytes("RssAnon")
    pid = os.fork()
    if pid == 0:
        _run_child(function, folder, log)
    usage, timed_out, waited = None, False, 0
    while usage is None:
        found, waited, used = os.wait4(pid, os.WNOHANG)
        usage = used if found else None
        if usage is None and time.monotonic() - start > wall_clock_limit_s:
            timed_out = True
            _kill_group(pid)
            _, waited, usage = os.wait4(pid, 0)
        time.sleep(0 if usage else _POLL_INTERVAL_S)
    _kill_group(pid)  # its workers, if it left any
    output = "".join(_log_path(log, number).read_text(errors="backslashreplace") for number in (1, 2))
    peak = max(0, usage.ru_maxrss * 1024 - baseline)
    seconds = usage.ru_utime + usage.ru_stime
    return Ending(os.waitstatus_to_exitcode(waited), seconds, peak, output, timed_out)


def _run_child(function: Callable[[], int], folder: Path, log: Path) -> None:
    """Run the function in this process, which then ends."""
    status = 3
    try:
        os.setsid()
        os.chdir(folder)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number in (1, 2):
            os.dup2(os.open(_log_path(log, number), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR_LIMIT_S, PROCESSOR_LIMIT_S + 1))
        limit = _status_bytes("VmData") + MEMORY_LIMIT_BYTES
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        try:
            status = function()
        except SystemExit as error:  # argparse
            status = error.code if isinstance(error.code, int) else 1
        for thread in threading.enumerate():  # as the interpreter does at its end
            if thread is not threading.main_thread() and not thread.daemon:
                thread.join()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _log_path(log: Path, number: int) -> Path:
    return log.with_name(f"{log.name}.{number}")


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _status_bytes(name: str) -> int:
    """Return a value of this process in /proc, bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))
