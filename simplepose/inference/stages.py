"""A pipeline of stages, each with its own threads, and the time that each stage takes.

Many items are processed at once and leave the pipeline in the order in which they entered.
"""

from __future__ import annotations

import heapq
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

LEAST, STEP, BINS = 1e-6, 1.02, 1200
"""Bin k counts times from LEAST * STEP**k seconds on: 1 microsecond to 6 hours, 2 % apart."""


class Timing:
    """The times of one kind of work; threads may add at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = np.zeros(BINS, np.int64)
        self.total = 0.0

    @contextmanager
    def measure(self, of: int = 1) -> Iterator[None]:
        """Add what the block takes, shared evenly by so many things."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(time.perf_counter() - start, of)

    def add(self, seconds: float, of: int = 1) -> None:
        """Add a time, shared evenly by so many things."""
        place = math.log(max(seconds / of, LEAST) / LEAST) / math.log(STEP)
        with self._lock:
            self._counts[min(int(place), BINS - 1)] += of
            self.total += seconds

    @property
    def count(self) -> int:
        """Things that were timed."""
        return int(self._counts.sum())

    def percentile(self, share: float) -> float:
        """Seconds that this share, 0 to 1, of the things take at most, within 1 %; 0 where there are none."""
        if not self.count:
            return 0.0
        place = int(np.searchsorted(np.cumsum(self._counts), max(share * self.count, 1)))
        return float(LEAST * STEP ** (place + 0.5))


T = TypeVar("T")

LOOK_UP_SECONDS = 0.5
"""A wait without end would not let Ctrl-C through on every system."""


class Closed(Exception):
    """Nothing more comes out of a channel, or nobody wants what is put in."""


class Channel(Generic[T]):
    """A queue between threads that can be closed from either end; safe to use from any number of them.

    It holds any number of things: how many are on their way is bounded where they are begun.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[T] = deque()
        self._finished = self._abandoned = False

    def put(self, thing: T) -> None:
        """Add a thing. Raises Closed where nobody wants it."""
        with self._changed:
            if self._abandoned:
                raise Closed
            self._add(thing)
            self._changed.notify_all()

    def take(self) -> T:
        """The next thing, waited for. Raises Closed when there are no more."""
        with self._changed:
            self._wait()
            return self._next()

    def take_alike(self, most: int, kind: Callable[[T], Hashable]) -> list[T]:
        """The next thing and those that wait behind it and are of its kind, at most so many in all.

        Raises:
            Closed: when there are no more.
        """
        with self._changed:
            self._wait()
            wanted = kind(self._waiting[0])
            taken = [thing for thing in self._waiting if kind(thing) == wanted][:most]
            for thing in taken:
                self._waiting.remove(thing)
            return taken

    def finish(self) -> None:
        """No more will be put; what is there can still be taken."""
        with self._changed:
            self._finished = True
            self._changed.notify_all()

    def abandon(self) -> None:
        """Nobody wants more: what is there is dropped, and who puts or takes is told."""
        with self._changed:
            self._finished = self._abandoned = True
            self._waiting.clear()
            self._changed.notify_all()

    def _wait(self) -> None:
        while not self._ready():
            if self._finished:
                raise Closed
            self._changed.wait(LOOK_UP_SECONDS)

    def _add(self, thing: T) -> None:
        self._waiting.append(thing)

    def _ready(self) -> bool:
        return bool(self._waiting)

    def _next(self) -> T:
        return self._waiting.popleft()


class OrderedChannel(Channel[T]):
    """A channel that gives things in the order of their places, 0, 1, 2, ..., however they come.

    Args:
        place: of a thing.
    """

    def __init__(self, place: Callable[[T], int]) -> None:
        super().__init__()
        self._place = place
        self._heap: list[tuple[int, T]] = []
        self._given = 0

    def abandon(self) -> None:
        """As `Channel.abandon`."""
        with self._changed:
            self._heap.clear()
        super().abandon()

    def _add(self, thing: T) -> None:
        heapq.heappush(self._heap, (self._place(thing), thing))

    def _ready(self) -> bool:
        return bool(self._heap) and self._heap[0][0] == self._given

    def _next(self) -> T:
        self._given += 1
        return heapq.heappop(self._heap)[1]


class Work(Protocol):
    """What goes through a line."""

    place: int
    """0 for the first, 1 for the next, ..."""

    @property
    def failed(self) -> bool:
        """Whether a step failed on it; later ones leave it out."""

    def fail(self, step: str, error: Exception) -> None:
        """Note it."""


W = TypeVar("W", bound=Work)


@dataclass(frozen=True)
class Step(Generic[W]):
    """One step.

    Attributes:
        name: its key in the timings.
        run: does the step on some works at once, at most `batch`, all of one kind.
        threads: so many run it.
        batch: more than 1: those that wait are taken together, if they are of one kind.
        kind: of a work.
        in_order: it takes works in the order of their places.
        begin: called first in each of its threads.
    """

    name: str
    run: Callable[[Sequence[W]], None]
    threads: int = 1
    batch: int = 1
    kind: Callable[[W], Hashable] = id
    in_order: bool = False
    begin: Callable[[], None] | None = None


class Line(Generic[W]):
    """Threads that run steps; iterate it to start them and to get the works, in order.

    Args:
        works: begun one after the other, in a thread too, when there is room.
        steps: one after the other.
        timings: of each step, and of "read", the iteration over `works`.
        room: so many works may be on their way.

    Attributes:
        failure: what iterating `works` raised; None where nothing.
    """

    def __init__(
        self, works: Iterator[W], steps: Sequence[Step[W]], timings: Mapping[str, Timing], room: int
    ) -> None:
        self.failure: Exception | None = None
        self._works, self._timings = works, timings
        self._room: Channel[None] = Channel()
        for _ in range(room):
            self._room.put(None)
        self._channels: list[Channel[W]] = [_channel(step.in_order) for step in steps] + [_channel(True)]
        self._threads = [threading.Thread(target=self._read, name="read", daemon=True)]
        for step, inbox, outbox in zip(steps, self._channels, self._channels[1:], strict=False):
            running = _Count(step.threads)
            for _ in range(step.threads):
                serve = threading.Thread(
                    target=self._serve, args=(step, inbox, outbox, running), name=step.name, daemon=True
                )
                self._threads.append(serve)

    def __iter__(self) -> Iterator[W]:
        """The works as they come out; there is room for another when the next is asked for."""
        for thread in self._threads:
            thread.start()
        try:
            while True:
                yield self._channels[-1].take()
                self._room.put(None)
        except Closed:
            return

    def stop(self) -> None:
        """Drop all that is on its way."""
        self._room.abandon()
        for channel in self._channels:
            channel.abandon()

    def join(self) -> None:
        """Wait until all threads have done what they are at; after `stop`, or the end of iteration."""
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _read(self) -> None:
        inbox = self._channels[0]
        try:
            while True:
                self._room.take()
                start = time.perf_counter()
                work = next(self._works)
                self._timings["read"].add(time.perf_counter() - start)
                inbox.put(work)
        except (Closed, StopIteration):
            pass
        except Exception as failure:  # told when all before it has come out
            self.failure = failure
        finally:
            inbox.finish()

    def _serve(self, step: Step[W], inbox: Channel[W], outbox: Channel[W], running: _Count) -> None:
        try:
            if step.begin is not None:
                step.begin()
            while True:
                works = [inbox.take()] if step.batch == 1 else inbox.take_alike(step.batch, step.kind)
                self._do(step, [work for work in works if not work.failed])
                for work in works:
                    outbox.put(work)
        except Closed:
            pass
        finally:
            if running.down() == 0:
                outbox.finish()

    def _do(self, step: Step[W], works: Sequence[W]) -> None:
        """A batch that fails is tried again one by one, to learn which of it fails."""
        if not works:
            return
        try:
            with self._timings[step.name].measure(len(works)):
                step.run(works)
        except Exception as error:
            if len(works) == 1:
                works[0].fail(step.name, error)
                return
            for work in works:
                self._do(step, [work])


class _Count:
    """How many threads of a step still run."""

    def __init__(self, count: int) -> None:
        self._lock, self._count = threading.Lock(), count

    def down(self) -> int:
        with self._lock:
            self._count -= 1
            return self._count


def _channel(in_order: bool) -> Channel[Any]:
    return OrderedChannel(lambda work: work.place) if in_order else Channel()
