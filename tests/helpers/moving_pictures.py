"""Videos and streams whose frames carry their own number, made and served by real programs."""

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
BITS, SIDE = 10, 16
WIDTH, HEIGHT = BITS * SIDE, 48


def numbered(number):
    """(48, 160, 3) uint8 with the number in white and black bars, the lowest bit at the left."""
    bits = np.array([number >> bit & 1 for bit in range(BITS)], np.uint8) * 255
    return np.repeat(np.tile(bits[None, :, None], (HEIGHT, 1, 3)), SIDE, axis=1)


def number_in(image):
    """What `numbered` wrote, after whatever a codec has done to it."""
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert image.dtype == np.uint8
    bars = image[:, SIDE // 2 :: SIDE].mean((0, 2)) > 128
    return sum(int(bar) << bit for bit, bar in enumerate(bars))


def ffmpeg(*options, given=b""):
    subprocess.run([*FFMPEG, *map(str, options)], input=given, check=True, timeout=60)


def make_video(path, count, *options, rate=25):
    """Write `count` numbered frames to a video, by the codec that the name asks for."""
    raw = b"".join(numbered(n).tobytes() for n in range(count))
    size = ("-f", "rawvideo", "-pix_fmt", "bgr24", "-s", f"{WIDTH}x{HEIGHT}", "-r", rate)
    ffmpeg(*size, "-i", "-", "-pix_fmt", "yuv420p", *options, path, given=raw)
    return path


def numbers(places):
    return [number_in(place.image) for place in places if isinstance(place, Frame)]


def wait_until(condition, seconds=30):
    """Wait for what must come; far longer than it takes on a busy machine."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.005)


class Camera:
    """MJPEG over HTTP on localhost, as network cameras have it; can be paused, cut and switched off.

    Attributes:
        sent: numbered frames sent so far, over all connections.
        running: while clear, a connection is open and nothing comes.
        damaged: frame numbers that are sent as nothing a decoder reads.
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
        self.address = f"http://127.0.0.1:{self.port}/cam"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), name="camera")
        self._thread.start()

    def send_frames(self, file):
        mine = self._connection
        while mine == self._connection:
            if not self.running.wait(0.01):
                continue
            jpeg = cv2.imencode(".jpg", numbered(self.sent))[1].tobytes()
            jpeg = bytes(len(jpeg)) if self.sent in self.damaged else jpeg
            head = f"--part\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            file.write(head.encode() + jpeg + b"\r\n")
            self.sent += 1
            time.sleep(0.005)

    def cut(self):
        """Break off the connection; the next one is served."""
        self._connection += 1

    def switch_off(self):
        """Break off, and serve nothing any more."""
        self.cut()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.switch_off()
