"""Cameras and streams as a source: it gives the newest frame, and reconnects after a lost connection."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import cv2
import numpy as np

from simplepose.frames import BadFrame, Frame
from simplepose.sources.captures import grab_next_frame
from simplepose.sources.source_options import SourceOptions

# Maximum time between two attempts to reconnect, seconds.
MAX_RECONNECT_WAIT_S = 30.0

# Waits are limited to this, seconds: on some systems Ctrl-C does not interrupt a wait without a limit.
_MAX_WAIT_S = 0.5

# Seconds that `close` waits for the reading thread. Where the source hangs, the thread ends after the
# time limit of the source.
_MAX_CLOSE_WAIT_S = 2.0


class StreamSource:
    """A camera or stream. Its own thread reads all frames and keeps the newest one for the next request.

    Args:
        name: of the source in results and messages.
        connect: opens a capture, or raises ConnectionError; runs in the reading thread.
        options: `start`, `every`, `max_frames`, `timeout` and `reconnect_*` apply; `max_frames` counts the
            frames that are given.
        log: called with a message at each attempt to reconnect and at the end, in the reading thread.

    Attributes:
        dropped: number of frames that the next frame replaced before they were given, without the frames that
            `start` and `every` skip or that cannot be decoded.
        frames_per_second: the rate that the source states, divided by `every`. Streams of single images often
            state a wrong rate.

    Raises:
        ConnectionError: the source does not exist, or sent no frame.
    """

    live = True
    total: int | None = None

    def __init__(
        self,
        name: str,
        connect: Callable[[], cv2.VideoCapture],
        options: SourceOptions,
        log: Callable[[str], None],
    ) -> None:
        self.name = name
        self.dropped = 0
        self.frames_per_second: float | None = None
        self._connect = connect
        self._options = options
        self._log = log
        self._start_time = time.monotonic()
        self._received = 0  # frames, over all connections
        self._newest: Frame | None = None
        self._failure: Exception | None = None
        self._ended = self._closed = False
        self._changed = threading.Condition()  # guards the attributes above and `dropped`
        self._reader = threading.Thread(target=self._read, name=f"stream reader {name}", daemon=True)
        self._start()

    def _start(self) -> None:
        """Start to read and wait for the first frame, so that a missing source is an error at once."""
        try:
            self._reader.start()
            with self._changed:
                while not (self._received or self._ended):
                    self._changed.wait(_MAX_WAIT_S)
        except BaseException:
            self.close()
            raise
        if not self._received and self._failure is not None:
            self.close()
            raise self._failure

    def __iter__(self) -> Iterator[Frame | BadFrame]:
        """Yield the newest frame that was not given yet; wait if there is none.

        Raises:
            ConnectionError: the connection was lost, and all attempts to reconnect failed.
        """
        try:
            yielded = 0
            while yielded != self._options.max_frames and (frame := self._take_newest()) is not None:
                yield frame
                yielded += 1
        finally:
            self._stop()  # without waiting for a source that hangs

    def _take_newest(self) -> Frame | None:
        with self._changed:
            while self._newest is None and not (self._ended or self._closed):
                self._changed.wait(_MAX_WAIT_S)
            if self._closed:
                return None
            frame, self._newest = self._newest, None
            if frame is None and self._failure is not None:
                raise self._failure
            return frame

    def close(self) -> None:
        """End the iteration at once and wait for the reading thread, but not long if the source hangs."""
        self._stop()
        if threading.current_thread() is not self._reader and self._reader.ident is not None:
            self._reader.join(_MAX_CLOSE_WAIT_S)

    def _stop(self) -> None:
        with self._changed:
            self._closed = True
            self._newest = None
            self._changed.notify_all()

    def _read(self) -> None:
        """Run the reading thread: connect, receive, reconnect."""
        try:
            self._receive_with_reconnects()
        except Exception as failure:  # raised in the thread that requests frames
            self._failure = failure
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _receive_with_reconnects(self) -> None:
        options, failed_attempts = self._options, 0
        while True:
            received_before = self._received
            reason = self._receive()
            if self._closed:
                return
            if not self._received:
                raise ConnectionError(f"{self.name}: {reason}")
            failed_attempts = 0 if self._received > received_before else failed_attempts + 1
            if failed_attempts >= options.reconnect_attempts:
                break
            wait = min(options.reconnect_wait * 2.0 ** min(failed_attempts, 30), MAX_RECONNECT_WAIT_S)
            self._log(
                f"{self.name}: {reason}; reconnect attempt {failed_attempts + 1} of "
                f"{options.reconnect_attempts} in {wait:g} s"
            )
            with self._changed:
                self._changed.wait_for(lambda: self._closed, wait)
        if failed_attempts:
            raise ConnectionError(
                f"{self.name}: connection lost after {self._received:,} frames; {failed_attempts} reconnect "
                f"attempts failed, the last: {reason}"
            )
        self._log(f"{self.name}: {reason}")

    def _receive(self) -> str:
        """Connect and read until the connection ends; returns the reason."""
        try:
            capture = self._connect()
        except ConnectionError as error:
            return str(error)
        try:
            self.frames_per_second = self._options.selected_rate(capture.get(cv2.CAP_PROP_FPS))
            while not self._closed:
                undecoded = grab_next_frame(capture, self._options.timeout)
                if undecoded is None:
                    return (
                        f"connection lost after {self._received:,} frames"
                        if self._received
                        else "the source sent no frame"
                    )
                self._received += undecoded  # damaged frames are no reason to reconnect
                selected = self._options.selects(self._received)
                decoded, image = capture.retrieve() if selected else (True, None)
                if not decoded:
                    return f"frame {self._received:,} could not be decoded"
                self._offer(image)
            return "closed"
        finally:
            capture.release()

    def _offer(self, image: np.ndarray | None) -> None:
        """Count a frame and make it the newest one; None: a frame that `start` or `every` skips."""
        frame = None
        if image is not None:
            frame = Frame(self._received, self.name, image, time.monotonic() - self._start_time)
        with self._changed:
            self._received += 1
            if frame is not None and not self._closed:
                self.dropped += self._newest is not None
                self._newest = frame
            self._changed.notify_all()
