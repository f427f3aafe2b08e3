"""Cameras and streams as a source: the newest frame wins, and what breaks off is reached again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import cv2
import numpy as np

from simplepose.frames import BadFrame, Frame
from simplepose.sources.captures import go_on
from simplepose.sources.source_options import SourceOptions

LONGEST_WAIT = 30.0
"""Seconds between two tries to reach a source again, at most."""


class LiveSource:
    """A camera or stream; a thread of its own reads on, and keeps the newest frame for who asks next.

    Args:
        name: what results and messages call it.
        connect: opens a capture, or raises ConnectionError; runs in the reading thread.
        options: `start`, `every`, `max_frames`, `timeout` and `reconnect_*` matter; `max_frames` counts what
            is given.
        tell: is called with a line for people at each try to reach the source again, in the reading thread.

    Attributes:
        dropped: frames that the next one replaced before anybody took them; those that `start` and
            `every` leave out, or that cannot be decoded, are not among them.
        frames_per_second: as the source states it over `every`; streams of single pictures often state a
            made-up one.

    Raises:
        ConnectionError: there is no such source, or it gave no frame.
    """

    live = True
    total: int | None = None

    def __init__(
        self,
        name: str,
        connect: Callable[[], cv2.VideoCapture],
        options: SourceOptions,
        tell: Callable[[str], None],
    ) -> None:
        self.name = name
        self.dropped = 0
        self.frames_per_second: float | None = None
        self._connect = connect
        self._options = options
        self._tell = tell
        self._began = time.monotonic()
        self._arrived = 0  # frames, over all connections
        self._newest: Frame | None = None
        self._failure: Exception | None = None
        self._over = self._closed = False
        self._changed = threading.Condition()  # guards what is above, and `dropped`
        self._reader = threading.Thread(target=self._read, name=f"reads {name}", daemon=True)
        self._start()

    def _start(self) -> None:
        """Start to read, and wait for the first frame: a source that is not there is a fault at the door."""
        try:
            self._reader.start()
            with self._changed:
                while not (self._arrived or self._over):
                    self._changed.wait(0.5)  # a wait without end would not let Ctrl-C through everywhere
        except BaseException:
            self.close()
            raise
        if not self._arrived and self._failure is not None:
            self.close()
            raise self._failure

    def __iter__(self) -> Iterator[Frame | BadFrame]:
        """Give the newest frame that was not given yet, waiting for one where there is none.

        Raises:
            ConnectionError: the source broke off and could not be reached again.
        """
        try:
            given = 0
            while given != self._options.max_frames and (frame := self._take()) is not None:
                yield frame
                given += 1
        finally:
            self._stop()  # without waiting for a source that hangs

    def _take(self) -> Frame | None:
        with self._changed:
            while self._newest is None and not (self._over or self._closed):
                self._changed.wait(0.5)
            if self._closed:
                return None
            frame, self._newest = self._newest, None
            if frame is None and self._failure is not None:
                raise self._failure
            return frame

    def close(self) -> None:
        """End iteration at once, and wait for the reading thread: where a source hangs, for its `timeout`."""
        self._stop()
        if threading.current_thread() is not self._reader and self._reader.ident is not None:
            self._reader.join(self._options.timeout + 1)

    def _stop(self) -> None:
        with self._changed:
            self._closed = True
            self._newest = None
            self._changed.notify_all()

    def _read(self) -> None:
        """The reading thread: connect, receive, and again."""
        try:
            self._keep_receiving()
        except Exception as failure:  # is raised where frames are taken
            self._failure = failure
        finally:
            with self._changed:
                self._over = True
                self._changed.notify_all()

    def _keep_receiving(self) -> None:
        options, failed = self._options, 0  # tries in a row that failed
        while True:
            before = self._arrived
            fault = self._receive()
            if self._closed:
                return
            if not self._arrived:
                raise ConnectionError(f"{self.name}: {fault}")
            failed = 0 if self._arrived > before else failed + 1
            if failed >= options.reconnect_attempts:
                break
            wait = min(options.reconnect_wait * 2.0 ** min(failed, 30), LONGEST_WAIT)
            self._tell(
                f"{self.name}: {fault}; try {failed + 1} of {options.reconnect_attempts} to reach it again "
                f"in {wait:g} s"
            )
            with self._changed:
                self._changed.wait_for(lambda: self._closed, wait)
        if failed:
            raise ConnectionError(
                f"{self.name}: lost after {self._arrived:,} frames; {failed} tries to reach it again failed, "
                f"the last: {fault}"
            )
        self._tell(f"{self.name}: {fault}")

    def _receive(self) -> str:
        """Connect and read until that ends; why it ended."""
        try:
            capture = self._connect()
        except ConnectionError as error:
            return str(error)
        try:
            self.frames_per_second = self._options.rate_of(capture.get(cv2.CAP_PROP_FPS))
            while not self._closed:
                lost = go_on(capture, self._options.timeout)
                if lost is None:
                    return f"broke off after {self._arrived:,} frames" if self._arrived else "gave no frame"
                self._arrived += lost  # a damaged picture is no reason to connect anew
                taken = self._options.takes(self._arrived)
                fits, image = capture.retrieve() if taken else (True, None)
                if not fits:
                    return f"frame {self._arrived:,} could not be decoded"
                self._keep(image)
            return "closed"
        finally:
            capture.release()

    def _keep(self, image: np.ndarray | None) -> None:
        """Count a frame, and put it where the next one is taken; None: it is left out."""
        frame = None
        if image is not None:
            frame = Frame(self._arrived, self.name, image, time.monotonic() - self._began)
        with self._changed:
            self._arrived += 1
            if frame is not None and not self._closed:
                self.dropped += self._newest is not None
                self._newest = frame
            self._changed.notify_all()
