"""Control a headless Chromium through the pipe of its DevTools protocol; no other package is needed."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome") if os.name == "posix" else ()
EXECUTABLE = next(filter(None, map(shutil.which, NAMES)), None)
# Chromium reads commands from file descriptor 3, and writes answers to 4.
REDIRECT = 'exec "$@" 250<&{reader} 251>&{writer} 3<&250 4>&251 250<&- 251>&-'
TIMEOUT_S = 60
# Keys that tests press -> (code of the DOM, Windows' virtual key code, text).
KEYS = {
    "Tab": ("Tab", 9, ""),
    "Enter": ("Enter", 13, "\r"),
    "Escape": ("Escape", 27, ""),
    " ": ("Space", 32, " "),
    "ArrowLeft": ("ArrowLeft", 37, ""),
    "ArrowRight": ("ArrowRight", 39, ""),
}
OPTIONS = (
    "--headless --disable-gpu --disable-dev-shm-usage --disable-quic --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update --disable-extensions "
    "--remote-debugging-pipe --hide-scrollbars"
)


def start(profile: Path) -> Chromium:
    """Start Chromium with a new folder for its profile; skip the test where it is not installed."""
    if EXECUTABLE is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    return Chromium(profile)


class Chromium:
    """One browser with one page; use it as a context manager.

    Attributes:
        problems: messages of the console, exceptions and requests to the network since `open`.
    """

    def __init__(self, profile: Path) -> None:
        reader, self._commands = os.pipe()
        self._answers, writer = os.pipe()
        command = [str(EXECUTABLE), *OPTIONS.split(), f"--user-data-dir={profile}", "about:blank"]
        if os.getuid() == 0:
            command.append("--no-sandbox")
        self._process = subprocess.Popen(
            ["bash", "-c", REDIRECT.format(reader=reader, writer=writer), "bash", *command],
            pass_fds=(reader, writer),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(reader)
        os.close(writer)
        self.problems: list[str] = []
        self._buffer, self._number, self._session, self._events = b"", 0, "", []

    def __enter__(self) -> Chromium:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._commands)  # ends the browser
        try:
            self._process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._answers)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command of the DevTools protocol; return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != self._number:
            self._events.append(answer)
            self._collect_problem(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def _read(self) -> dict[str, Any]:
        end = time.monotonic() + TIMEOUT_S
        while b"\0" not in self._buffer:
            if not select.select([self._answers], [], [], max(0, end - time.monotonic()))[0]:
                raise TimeoutError(f"expected an answer of Chromium within {TIMEOUT_S} s")
            part = os.read(self._answers, 1 << 20)
            if not part:
                raise EOFError("Chromium ended")
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def _collect_problem(self, event: dict[str, Any]) -> None:
        name, parameters = event.get("method"), event.get("params", {})
        if name in ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled"):
            self.problems.append(json.dumps(parameters))
        elif name == "Network.requestWillBeSent":
            url = parameters["request"]["url"]
            if not url.startswith(("file:", "data:", "blob:", "about:")):
                self.problems.append(url)

    def open(self, path: Path, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Open a file, without what earlier pages stored, and wait until it is loaded.

        Args:
            width, height: of the viewport, CSS pixels; phones have widths below 640.
            dark: whether the user prefers dark colors.
        """
        self.call("Storage.clearDataForOrigin", origin="file://", storageTypes="local_storage")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 640}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.problems.clear()
        self._events.clear()
        self.call("Page.navigate", url=path.resolve().as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self._events):
            event = self._read()
            self._events.append(event)
            self._collect_problem(event)

    def evaluate(self, script: str) -> Any:
        """Return the value of an expression, of a promise after it is kept."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(json.dumps(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def press(self, key: str, times: int = 1) -> None:
        """Press and release a key of KEYS as a user does."""
        code, number, text = KEYS[key]
        common = {"key": key, "code": code, "windowsVirtualKeyCode": number}
        for _ in range(times):
            self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
            self.call("Input.dispatchKeyEvent", type="keyUp", **common)
