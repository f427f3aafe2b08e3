"""A line of steps, each in threads of its own; many works go through it at once and leave it in order."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from simplepose.inference.channel import Channel, Closed, OrderedChannel
from simplepose.inference.timing import Timing


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
