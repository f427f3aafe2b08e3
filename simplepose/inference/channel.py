"""How threads hand things to threads."""

from __future__ import annotations

import heapq
import threading
from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

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
