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

# Bin k counts times from MIN_TIME_S * BIN_RATIO**k seconds on: 1 microsecond to 6 hours in steps of 2 %.
MIN_TIME_S, BIN_RATIO, BIN_COUNT = 1e-6, 1.02, 1200


class Timing:
    """A histogram of the times that one kind of work takes. Safe to use from several threads at once.

    Attributes:
        total: sum of all times, seconds.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = np.zeros(BIN_COUNT, np.int64)
        self.total = 0.0

    @contextmanager
    def measure(self, items: int = 1) -> Iterator[None]:
        """Add the time that the block takes, split evenly among `items` items."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(time.perf_counter() - start, items)

    def add(self, seconds: float, items: int = 1) -> None:
        """Add a time, split evenly among `items` items."""
        position = math.log(max(seconds / items, MIN_TIME_S) / MIN_TIME_S) / math.log(BIN_RATIO)
        with self._lock:
            self._counts[min(int(position), BIN_COUNT - 1)] += items
            self.total += seconds

    @property
    def count(self) -> int:
        """Number of timed items."""
        return int(self._counts.sum())

    def percentile(self, fraction: float) -> float:
        """Return the seconds within which this fraction (0 to 1) of the items was done; 0 without items.

        The value is accurate to 1 %.
        """
        if not self.count:
            return 0.0
        bin_index = int(np.searchsorted(np.cumsum(self._counts), max(fraction * self.count, 1)))
        return float(MIN_TIME_S * BIN_RATIO ** (bin_index + 0.5))


T = TypeVar("T")

# Waits are limited to this, seconds: on some systems Ctrl-C does not interrupt a wait without a limit.
MAX_WAIT_S = 0.5


class ChannelClosedError(Exception):
    """A channel is finished and empty, or it was canceled."""


class Channel(Generic[T]):
    """A queue between threads that either end can close. Safe to use from several threads at once.

    Its length is not limited: the pipeline limits the number of items in progress at its entry.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[T] = deque()
        self._finished = self._canceled = False

    def put(self, item: T) -> None:
        """Add an item.

        Raises:
            ChannelClosedError: the channel was canceled.
        """
        with self._changed:
            if self._canceled:
                raise ChannelClosedError
            self._add(item)
            self._changed.notify_all()

    def get(self) -> T:
        """Wait for the next item and return it.

        Raises:
            ChannelClosedError: no more items will come.
        """
        with self._changed:
            self._wait()
            return self._next()

    def get_batch(self, max_items: int, key: Callable[[T], Hashable]) -> list[T]:
        """Wait for the next item; return it with the waiting items of the same key, at most `max_items`.

        Raises:
            ChannelClosedError: no more items will come.
        """
        with self._changed:
            self._wait()
            first_key = key(self._waiting[0])
            batch = [item for item in self._waiting if key(item) == first_key][:max_items]
            for item in batch:
                self._waiting.remove(item)
            return batch

    def finish(self) -> None:
        """Declare that no more items will be put. Waiting items can still be read."""
        with self._changed:
            self._finished = True
            self._changed.notify_all()

    def cancel(self) -> None:
        """Drop all waiting items and raise ChannelClosedError in all threads that put or get."""
        with self._changed:
            self._finished = self._canceled = True
            self._waiting.clear()
            self._changed.notify_all()

    def _wait(self) -> None:
        while not self._ready():
            if self._finished:
                raise ChannelClosedError
            self._changed.wait(MAX_WAIT_S)

    def _add(self, item: T) -> None:
        self._waiting.append(item)

    def _ready(self) -> bool:
        return bool(self._waiting)

    def _next(self) -> T:
        return self._waiting.popleft()


class OrderedChannel(Channel[T]):
    """A channel that returns items in the order of their indices 0, 1, 2, ..., in whatever order they arrive.

    Args:
        index: returns the index of an item.
    """

    def __init__(self, index: Callable[[T], int]) -> None:
        super().__init__()
        self._index = index
        self._heap: list[tuple[int, T]] = []
        self._next_index = 0

    def cancel(self) -> None:
        """See `Channel.cancel`."""
        with self._changed:
            self._heap.clear()
        super().cancel()

    def _add(self, item: T) -> None:
        heapq.heappush(self._heap, (self._index(item), item))

    def _ready(self) -> bool:
        return bool(self._heap) and self._heap[0][0] == self._next_index

    def _next(self) -> T:
        self._next_index += 1
        return heapq.heappop(self._heap)[1]


class Item(Protocol):
    """What a pipeline processes.

    Attributes:
        index: position in the pipeline's input: 0, 1, 2, ...
    """

    index: int

    @property
    def failed(self) -> bool:
        """Whether a stage failed on the item; later stages skip it."""

    def fail(self, stage: str, error: Exception) -> None:
        """Record that a stage failed on the item."""


ItemT = TypeVar("ItemT", bound=Item)


@dataclass(frozen=True)
class Stage(Generic[ItemT]):
    """One stage of a pipeline.

    Attributes:
        name: its key in the timings.
        run: processes a list of at most `batch` items, all with the same `batch_key`.
        threads: number of threads that run it.
        batch: maximum number of items that are processed together.
        batch_key: items with equal keys can be processed together.
        in_order: whether it processes the items in the order of their indices.
        initializer: called first in each of its threads.
    """

    name: str
    run: Callable[[Sequence[ItemT]], None]
    threads: int = 1
    batch: int = 1
    batch_key: Callable[[ItemT], Hashable] = id
    in_order: bool = False
    initializer: Callable[[], None] | None = None


class StagePipeline(Generic[ItemT]):
    """Runs stages in threads. Iterate over it to start the threads and to get the items in order.

    Args:
        items: input; read in a thread, when the number of items in progress allows.
        stages: in the order in which they run.
        timings: of each stage, and of "read", the iteration over `items`.
        max_in_progress: maximum number of items in the pipeline.

    Attributes:
        failure: the exception that the iteration over `items` raised, or None.
    """

    def __init__(
        self,
        items: Iterator[ItemT],
        stages: Sequence[Stage[ItemT]],
        timings: Mapping[str, Timing],
        max_in_progress: int,
    ) -> None:
        self.failure: Exception | None = None
        self._items, self._timings = items, timings
        self._permits: Channel[None] = Channel()
        for _ in range(max_in_progress):
            self._permits.put(None)
        self._channels: list[Channel[ItemT]] = [_open_channel(stage.in_order) for stage in stages]
        self._channels.append(_open_channel(in_order=True))
        self._threads = [threading.Thread(target=self._read, name="read", daemon=True)]
        for stage, inbox, outbox in zip(stages, self._channels, self._channels[1:], strict=False):
            running = _Countdown(stage.threads)
            for _ in range(stage.threads):
                worker = threading.Thread(
                    target=self._work, args=(stage, inbox, outbox, running), name=stage.name, daemon=True
                )
                self._threads.append(worker)

    def __iter__(self) -> Iterator[ItemT]:
        """Yield the finished items; each request for the next item lets one more item in."""
        for thread in self._threads:
            thread.start()
        try:
            while True:
                yield self._channels[-1].get()
                self._permits.put(None)
        except ChannelClosedError:
            return

    def stop(self) -> None:
        """Drop all items in progress."""
        self._permits.cancel()
        for channel in self._channels:
            channel.cancel()

    def join(self) -> None:
        """Wait for the end of all threads. Call it after `stop` or after the end of the iteration."""
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _read(self) -> None:
        inbox = self._channels[0]
        try:
            while True:
                self._permits.get()
                start = time.perf_counter()
                item = next(self._items)
                self._timings["read"].add(time.perf_counter() - start)
                inbox.put(item)
        except (ChannelClosedError, StopIteration):
            pass
        except Exception as failure:  # raised by the caller after all earlier items
            self.failure = failure
        finally:
            inbox.finish()

    def _work(
        self, stage: Stage[ItemT], inbox: Channel[ItemT], outbox: Channel[ItemT], running: _Countdown
    ) -> None:
        try:
            if stage.initializer is not None:
                stage.initializer()
            while True:
                items = [inbox.get()] if stage.batch == 1 else inbox.get_batch(stage.batch, stage.batch_key)
                self._process(stage, [item for item in items if not item.failed])
                for item in items:
                    outbox.put(item)
        except ChannelClosedError:
            pass
        finally:
            if running.decrement() == 0:
                outbox.finish()

    def _process(self, stage: Stage[ItemT], items: Sequence[ItemT]) -> None:
        """Run a stage on a batch; after a failure, run it on each item alone to find which of them fail."""
        if not items:
            return
        try:
            with self._timings[stage.name].measure(len(items)):
                stage.run(items)
        except Exception as error:
            if len(items) == 1:
                items[0].fail(stage.name, error)
                return
            for item in items:
                self._process(stage, [item])


class _Countdown:
    """Counts the threads of a stage that still run."""

    def __init__(self, count: int) -> None:
        self._lock, self._count = threading.Lock(), count

    def decrement(self) -> int:
        with self._lock:
            self._count -= 1
            return self._count


def _open_channel(in_order: bool) -> Channel[Any]:
    return OrderedChannel(lambda item: item.index) if in_order else Channel()
