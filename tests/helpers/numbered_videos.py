"""Videos and streams whose frames show their own number, made by ffmpeg and served over HTTP."""

import contextlib
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import imageio_ffmpeg
import numpy as np

from simplepose.frames import Frame

FFMPEG = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-y"]
BITS, BAR_WIDTH = 10, 16
WIDTH, HEIGHT = BITS * BAR_WIDTH, 48


def number_image(number):
    """Draw the number in white and black bars, the lowest bit at the left: (48, 160, 3) uint8."""
    bits = np.array([number >> bit & 1 for bit in range(BITS)], np.uint8) * 255
    return np.repeat(np.tile(bits[None, :, None], (HEIGHT, 1, 3)), BAR_WIDTH, axis=1)


def read_number(image):
    """Read the number in an image of `number_image`, also after lossy compression."""
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert image.dtype == np.uint8
    bars = image[:, BAR_WIDTH // 2 :: BAR_WIDTH].mean((0, 2)) > 128
    return sum(int(bar) << bit for bit, bar in enumerate(bars))


def ffmpeg(*options, given=b""):
    subprocess.run([*FFMPEG, *map(str, options)], input=given, check=True, timeout=60)


def make_video(path, count, *options, rate=25):
    """Write a video of `count` numbered frames, with the codec that the file extension implies."""
    raw = b"".join(number_image(n).tobytes() for n in range(count))
    size = ("-f", "rawvideo", "-pix_fmt", "bgr24", "-s", f"{WIDTH}x{HEIGHT}", "-r", rate)
    ffmpeg(*size, "-i", "-", "-pix_fmt", "yuv420p", *options, path, given=raw)
    return path


def read_numbers(frames):
    """Read the numbers in all frames that are not bad."""
    return [read_number(frame.image) for frame in frames if isinstance(frame, Frame)]


def wait_until(condition, seconds=30):
    """Wait until a condition is true; the time limit is long enough for a busy machine."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"the condition was not true within {seconds} s"
        time.sleep(0.005)


class Camera:
    """MJPEG over HTTP on localhost, as network cameras send it; can be paused, disconnected and switched off.

    Attributes:
        sent: number of numbered frames sent so far, over all connections.
        running: while it is clear, a connection stays open without data.
        damaged: numbers of frames that are sent as bytes that no decoder can read.
    """

    def __init__(self, port=0):
        self.sent = 0
        self.running = threading.Event()
        self.running.set()
        self.damaged = frozenset()
        self._connection = 0
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=part")
                self.end_headers()
                with contextlib.suppress(OSError):
                    camera.send_frames(self.wfile)

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = False
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}/cam"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), name="camera")
        self._thread.start()

    def send_frames(self, file):
        connection = self._connection
        while connection == self._connection:
            if not self.running.wait(0.01):
                continue
            jpeg = cv2.imencode(".jpg", number_image(self.sent))[1].tobytes()
            jpeg = bytes(len(jpeg)) if self.sent in self.damaged else jpeg
            head = f"--part\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            file.write(head.encode() + jpeg + b"\r\n")
            self.sent += 1
            time.sleep(0.005)

    def disconnect(self):
        """Close the connection; the next one is served."""
        self._connection += 1

    def switch_off(self):
        """Close the connection and serve no further one."""
        self.disconnect()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.switch_off()
