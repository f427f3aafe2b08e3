"""A video file as a source: every frame in order, with its own time.

What can be observed outranks what a file states: times of frames outrank its frame rate, and frames that were
read outrank its frame count.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

import cv2
import numpy as np

from simplepose.frames import BadFrame, Frame
from simplepose.sources.captures import (
    MAX_PLAUSIBLE_S,
    PacketScan,
    call_in_thread,
    grab_next_frame,
    is_url,
    open_video,
    redact_url,
    scan_packets,
    url_file_name,
)
from simplepose.sources.containers import describe_missing_video, is_text, missing_bytes, states_duration_only
from simplepose.sources.source_options import SourceOptions
from simplepose.utils.files import check_regular_file

T = TypeVar("T")

# A frame rate that no times confirm is believed up to this, fps.
MAX_STATED_RATE = 1000.0

# Frame rate of a video whose times are usable and disagree with the stated rate, fps.
MIN_OBSERVED_RATE, MAX_OBSERVED_RATE = 0.01, 240.0

# The stated rate is right if the median interval of frames agrees with it within this fraction. Containers
# round times to milliseconds.
_RATE_TOLERANCE = 0.06

# Otherwise rates are measured over this number of intervals. If this percentile of them is near the mean
# rate, the video has the mean rate. Else the percentile is its rate: frames of its fast parts stay apart, and
# short bursts do not decide.
_RATE_WINDOW, _RATE_PERCENTILE, _MAX_UNIFORM_RATIO = 8, 90, 1.15

# Times that jump further ahead, or back, than this are a new clock (joined recordings), seconds.
MAX_TIME_GAP_S, MAX_TIME_STEP_BACK_S = 600.0, 1.0

# Codecs that OpenCV lists and its wheels cannot decode.
_UNDECODABLE_CODECS = ("AV01",)
_CODEC_NAMES = {"AV01": "AV1", "vvc1": "VVC (H.266)", "rle": "QuickTime Animation"}


def estimate_frame_rate(seconds: np.ndarray, stated: float) -> float | None:
    """Estimate a video's frame rate from the times of its frames.

    Args:
        seconds: (N,) times, sorted; empty if the video has none.
        stated: frame rate that the file states, fps; may be nonsense.

    Returns:
        The stated rate if the times confirm it or are unusable, else the rate of the video's faster parts;
        None if neither is known.
    """
    believed = stated if 0 < stated <= MAX_STATED_RATE else None
    times = np.unique(seconds)
    if len(times) < 2 or len(times) * 2 < len(seconds):
        return believed
    if believed and abs(float(np.median(np.diff(times))) * believed - 1) <= _RATE_TOLERANCE:
        return believed
    window = min(_RATE_WINDOW, len(times) - 1)
    fast = float(np.percentile(window / (times[window:] - times[:-window]), _RATE_PERCENTILE))
    mean = (len(times) - 1) / (times[-1] - times[0])
    return float(
        np.clip(mean if fast <= _MAX_UNIFORM_RATIO * mean else fast, MIN_OBSERVED_RATE, MAX_OBSERVED_RATE)
    )


class _Clock:
    """Turns the times that FFmpeg gives for the frames of a video into increasing seconds from 0.

    Args:
        frame_seconds: seconds from a frame without a usable time to the next.

    Attributes:
        seconds: time of the newest frame.
        jumps: number of times that were a new clock.
    """

    def __init__(self, frame_seconds: float) -> None:
        self.seconds = 0.0
        self.jumps = 0
        self._frame_seconds = frame_seconds
        self._offset: float | None = None
        self._last_time = math.nan

    def advance(self, number: int, time: float) -> float:
        """Return the seconds of the frame at position `number`; its own time may be missing or repeated."""
        is_usable = abs(time) < MAX_PLAUSIBLE_S and time != self._last_time
        self._last_time = time
        if self._offset is None:
            self.seconds = number * self._frame_seconds
            self._offset = self.seconds - time if is_usable else 0.0
            return self.seconds
        step = time + self._offset - self.seconds
        self.seconds += step if is_usable and 0 < step <= MAX_TIME_GAP_S else self._frame_seconds
        if is_usable and not -MAX_TIME_STEP_BACK_S < step <= MAX_TIME_GAP_S:
            self.jumps += 1
            self._offset = self.seconds - time
        return self.seconds


class VideoSource:
    """A video file by its path or URL, decoded by OpenCV's FFmpeg.

    A frame that cannot be decoded is a `BadFrame`. A truncated file gives the frames that can be decoded,
    then one `BadFrame` with the number of missing bytes, unless all frames that it states were read. A
    complete file with fewer frames than it states is only logged: its edit list may hide frames, or its sound
    may be longer.

    Args:
        path_or_url: a path, or an http(s) URL.
        options: `start`, `every`, `max_frames` and `upright` apply; `timeout` for a URL.
        log: called with messages.

    Attributes:
        total: number of frames by the count that the file states, which some containers only estimate.
        frames_per_second: the video's rate by the times of its first frames, see `estimate_frame_rate`,
            divided by `every`.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the path is a device or named pipe, or the file contains no video frame that can be
            decoded; states the cause.
    """

    live = False
    dropped = 0

    def __init__(self, path_or_url: str, options: SourceOptions, log: Callable[[str], None]) -> None:
        self._is_file = not is_url(path_or_url)
        self._location = path_or_url if self._is_file else redact_url(path_or_url)
        self._options = options
        self._log = log
        self._lock = threading.Lock()  # close() waits for the frame that is being read
        self._closed = False
        self._undecoded = 0  # frames right before the newest one that could not be decoded
        if self._is_file and not os.path.exists(path_or_url):
            raise FileNotFoundError(f"{path_or_url}: no such video file")
        if self._is_file:
            check_regular_file(path_or_url)
            if is_text(path_or_url):  # FFmpeg would open the files that a playlist names
                raise ValueError(self._no_video_message(None, is_open=False))
        scan = self._wait(partial(scan_packets, path_or_url, options.timeout))
        self._capture = self._wait(partial(open_video, path_or_url, options.upright, options.timeout))
        if self._capture is None or not self._grab(self._capture):
            is_open = self._capture is not None
            self.close()
            raise ValueError(self._no_video_message(scan, is_open))
        count, rate, first = map(
            self._capture.get, (cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FPS, cv2.CAP_PROP_PTS)
        )
        self._stated_count = int(count) if 0 < count < 1e9 else None
        self._stated_rate = rate if rate > 0 else None
        # Position of the first frame by the stated rate: Matroska states the duration from 0.
        self._first_position = first if 0 < first < 1e9 else 0.0
        rate = estimate_frame_rate(scan.seconds if scan is not None else np.zeros(0), rate) or 0.0
        self._clock = _Clock(1 / rate if rate else 0.0)
        self._frame_seconds = 1 / rate if rate else 0.0
        self.name = os.path.basename(path_or_url) if self._is_file else url_file_name(path_or_url)
        self.total = options.count_selected(self._stated_count)
        self.frames_per_second = options.selected_rate(rate)

    def __iter__(self) -> Iterator[Frame | BadFrame]:
        """Decode the frames in order.

        Raises:
            ValueError: the video ends before `start`.
        """
        options, yielded, count = self._options, 0, 0
        try:
            for frame in self._all_positions():
                count += 1
                if frame is not None:
                    yield frame
                    yielded += 1
                if yielded == options.max_frames:
                    return
            if self._capture is None:  # closed before the end, which is not an error of the video
                return
            if not yielded:
                raise ValueError(
                    f"{self._location}: expected more than {options.start:,} frames, got {count:,}"
                )
            if (message := self._check_complete(count)) is not None:
                yield BadFrame(count, self.name, message)
        finally:
            self.close()

    def _all_positions(self) -> Iterator[Frame | BadFrame | None]:
        """Yield an entry for each position of the video: a frame, or None if it is not selected."""
        number = 0
        while (decoded := self._decode(number)) is not None:
            for undecoded in range(number, number + self._undecoded):
                yield self._bad_frame(undecoded) if self._options.selects(undecoded) else None
            number += self._undecoded + 1
            yield decoded[0]

    def _wait(self, function: Callable[[], T]) -> T | None:
        """Call a function that reads the video. A URL may hang, and then closing ends the wait."""
        return function() if self._is_file else call_in_thread(function, lambda: self._closed)

    def _grab(self, capture: cv2.VideoCapture) -> bool:
        """Advance to the next frame that can be decoded; returns whether one exists."""
        undecoded = self._wait(partial(grab_next_frame, capture, self._options.timeout))
        self._undecoded = undecoded or 0
        return undecoded is not None

    def _decode(self, number: int) -> tuple[Frame | BadFrame | None] | None:
        """Decode the next frame.

        Args:
            number: position after the previous frame; the constructor has already grabbed the first frame.

        Returns:
            The frame, None in its place if it is not selected; None at the end.
        """
        with self._lock:
            capture = self._capture
            if capture is None or (number and not self._grab(capture)):
                return None
            number += self._undecoded
            seconds = self._clock.advance(number, capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
            if not self._options.selects(number):
                return (None,)
            decoded, image = capture.retrieve()
        return (Frame(number, self.name, image, seconds) if decoded else self._bad_frame(number),)

    def _bad_frame(self, number: int) -> BadFrame:
        return BadFrame(number, self.name, f"{self._location}: frame {number} could not be decoded")

    def _check_complete(self, count: int) -> str | None:
        """Return an error message if a video that ended after `count` frames is certainly truncated."""
        if self._clock.jumps:
            self._log(f"{self._location}: its times jump {self._clock.jumps:,} times; the jumps are left out")
        if self._has_all_frames(count):
            return None
        frames = (
            f"it states {self._stated_count:,} frames and ends after {count:,}"
            if self._stated_count
            else f"it ends after {count:,} frames"
        )
        if self._is_file and (missing := missing_bytes(self._location)):
            return f"{self._location}: truncated: at least {missing:,} bytes are missing at its end; {frames}"
        if self._stated_count and self._stated_count - count > max(2, self._stated_count // 100):
            self._log(f"{self._location}: {frames}: edited, damaged, or its sound is longer")
        return None

    def _has_all_frames(self, count: int) -> bool:
        """Whether the frames that were read reach the stated number, or the duration that it stands for."""
        if not self._stated_count:
            return False
        if count >= self._stated_count and not (self._is_file and states_duration_only(self._location)):
            return True
        if not self._stated_rate:
            return False
        stated_end = (self._stated_count - self._first_position) / self._stated_rate
        return self._clock.seconds + 1.5 * self._frame_seconds > stated_end

    def _no_video_message(self, scan: PacketScan | None, is_open: bool) -> str:
        """Return the error message for a video without a frame: the cause, and what to do."""
        if not self._is_file and scan is None:
            return f"{self._location}: expected the URL of a video file, got no video that FFmpeg can read"
        if scan is None or not scan.packets:
            size = os.path.getsize(self._location) if self._is_file else 0
            reason = describe_missing_video(self._location) if self._is_file else "it is empty"
            return f"{self._location}: no video frame in these {size:,} bytes; {reason}"
        codec = _CODEC_NAMES.get(scan.codec, scan.codec) or "of this video"
        if not is_open or scan.codec in _UNDECODABLE_CODECS:
            return (
                f"{self._location}: codec {codec} is not supported by this build of OpenCV; convert the "
                "video to H.264, for example with ffmpeg -i INPUT -c:v libx264 OUTPUT.mp4"
            )
        return (
            f"{self._location}: none of its frames could be decoded (codec {codec}): the frames are "
            "damaged, or this build of OpenCV does not support their encoding; convert the video again"
        )

    def close(self) -> None:
        """Release the file; the iteration ends after the frame that is being read."""
        self._closed = True
        with self._lock:
            if self._capture is not None and self._is_file:
                self._capture.release()
            self._capture = None  # a URL's is released when no thread reads it
