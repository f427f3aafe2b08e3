"""From a source's frames to their people, every step in threads of its own.

    read -> frame -> see -> group -> track -> draw -> (whoever iterates: write)

Frames come out in the order in which they were read. How many are on their way is bounded: the slowest step
sets the pace, and memory stays flat. What fails for one frame is told in its place, and the rest goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from torch import Tensor

from simplepose.frames import BadFrame, Frame, FrameSource
from simplepose.inference.concurrency import Queues, share
from simplepose.inference.heatmaps import Maps
from simplepose.inference.predictor import Predictor
from simplepose.inference.preprocess import Framed
from simplepose.inference.stages import Line, Step, Timing
from simplepose.people import People

T = TypeVar("T")

STEPS = {
    "frame": "resizing",
    "see": "the network",
    "group": "grouping",
    "track": "tracking",
    "draw": "drawing",
}
"""The steps between reading and writing, as people call them."""

IN_A_ROW = 20
"""So many failures in a row are not the frames' fault."""

AHEAD = 3
"""Batches that may be on their way besides those that the network is at."""

Track = Callable[[People, Frame], People]
Draw = Callable[[Frame, People, Maps | None], np.ndarray]


@dataclass(frozen=True, eq=False)
class Seen:
    """What came of a frame.

    Attributes:
        frame: as the source gave it.
        people: in it, with ids where they are tracked.
        drawn: what `draw` made of it, (H, W, 3) uint8 BGR; None without one.
    """

    frame: Frame
    people: People
    drawn: np.ndarray | None = None


class Pipeline:
    """Finds the people in the frames of a source.

    Args:
        predictor: its three steps are run; its batch is the network's, and so many of its passes at once.
        track: gives the people of a frame their ids, by the frame's seconds; called in order.
        draw: (frame, people, maps) -> a picture; maps are None unless `keep_maps` is set.
        keep_maps: for `draw`.
        threads: of each step that may work on several frames at once: framing, grouping, drawing.

    Attributes:
        timings: of each step that is run, seconds a frame; what a batch takes is shared by its frames. Of
            what runs several times at once, the network too, they are those of each.
    """

    def __init__(
        self,
        predictor: Predictor,
        track: Track | None = None,
        draw: Draw | None = None,
        keep_maps: bool = False,
        threads: int = 1,
    ) -> None:
        self._predictor, self._keep_maps = predictor, keep_maps
        self._queues = Queues(predictor.device)
        self._before = [Step("frame", self._frame, threads)]
        self._after = [Step("group", self._group, threads)]
        if track is not None:
            self._after.append(Step("track", _tracking(track), in_order=True))
        if draw is not None:
            self._after.append(Step("draw", _drawing(draw), threads))
        names = ("read", "frame", "see", *(step.name for step in self._after), "write")
        self.timings = {name: Timing() for name in names}

    def run(self, source: FrameSource) -> Generator[Seen | BadFrame, None, None]:
        """What comes of each frame, in order; one that cannot be read, or fails later, is a `BadFrame`.

        Leaving the iteration ends all threads and closes the source.

        Raises:
            Exception: what the source raised, after all frames that it gave before.
            ValueError: one frame after the other fails.
        """
        passes = 1 if source.live else self._predictor.passes  # of a live source the newest frame, soon
        see = Step("see", self._see, passes, self._predictor.batch, _shape, begin=share(passes))
        room = 2 + self._predictor.batch * (passes + (0 if source.live else AHEAD))
        works = _begin(source)
        line = Line(works, [*self._before, see, *self._after], self.timings, room)
        try:
            yield from self._results(line)
        finally:
            line.stop()
            source.close()
            line.join()
            works.close()
        if line.failure is not None:
            raise line.failure

    def _results(self, line: Line[_Work]) -> Iterator[Seen | BadFrame]:
        in_a_row = 0
        for work in line:
            in_a_row = in_a_row + 1 if work.failed and not isinstance(work.frame, BadFrame) else 0
            result = work.result()
            start = time.perf_counter()
            yield result
            self.timings["write"].add(time.perf_counter() - start)
            if in_a_row >= IN_A_ROW and isinstance(result, BadFrame):
                raise ValueError(
                    f"{in_a_row} frames in a row failed; the last, {result.name}: {result.reason}"
                )

    def _frame(self, works: Sequence[_Work]) -> None:
        for work in works:
            work.framed = self._predictor.frame(work.good.image)

    def _see(self, works: Sequence[_Work]) -> None:
        with self._queues.finished():
            seen = self._predictor.see([_of(work.framed) for work in works])
        for work, maps in zip(works, seen, strict=True):
            work.maps = maps

    def _group(self, works: Sequence[_Work]) -> None:
        for work in works:
            maps, picture = _of(work.maps), _of(work.framed)
            with self._queues.beside():
                work.people = self._predictor.group(maps, picture)
                work.shown = Maps(maps.cpu().numpy(), picture.to_picture) if self._keep_maps else None
            work.maps = work.framed = None


@dataclass(eq=False)
class _Work:
    """A frame on its way, and what is known of it so far."""

    place: int
    frame: Frame | BadFrame
    fault: BadFrame | None = None
    framed: Framed | None = None
    maps: Tensor | None = None
    shown: Maps | None = None
    people: People | None = None
    drawn: np.ndarray | None = None

    @property
    def failed(self) -> bool:
        return self.fault is not None

    def fail(self, step: str, error: Exception) -> None:
        reason = f"{STEPS[step]} failed: {str(error).strip() or type(error).__name__}"
        self.fault = BadFrame(self.frame.number, self.frame.name, " ".join(reason.split()))

    @property
    def good(self) -> Frame:
        """The frame, where it could be read."""
        assert isinstance(self.frame, Frame)
        return self.frame

    def result(self) -> Seen | BadFrame:
        return self.fault or Seen(self.good, _of(self.people), self.drawn)


def _begin(source: FrameSource) -> Generator[_Work, None, None]:
    for place, frame in enumerate(source):
        yield _Work(place, frame, frame if isinstance(frame, BadFrame) else None)


def _shape(work: _Work) -> Hashable:
    return work.framed.shape if work.framed is not None else None


def _tracking(track: Track) -> Callable[[Sequence[_Work]], None]:
    def run(works: Sequence[_Work]) -> None:
        for work in works:
            work.people = track(_of(work.people), work.good)

    return run


def _drawing(draw: Draw) -> Callable[[Sequence[_Work]], None]:
    def run(works: Sequence[_Work]) -> None:
        for work in works:
            work.drawn = draw(work.good, _of(work.people), work.shown)
            work.shown = None

    return run


def _of(value: T | None) -> T:
    """What an earlier step has left."""
    assert value is not None
    return value
