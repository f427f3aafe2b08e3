"""Pictures on the screen while they come."""

from __future__ import annotations

import os
import re
import sys

import cv2
import numpy as np

KEYS = (27, ord("q"))
"""Esc and q end the run."""


class Window:
    """A window that shows one picture after the other; its keys act as Ctrl-C does.

    Args:
        title: of the window.

    Raises:
        ValueError: there is no screen, or OpenCV was built without windows.
    """

    def __init__(self, title: str) -> None:
        self.require()
        self._title = title

    @staticmethod
    def require() -> None:
        """Raises ValueError where no window can be shown; OpenCV itself would end the process."""
        if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise ValueError("no screen to show a window on (neither DISPLAY nor WAYLAND_DISPLAY is set)")
        if re.search(r"GUI:\s+NONE", cv2.getBuildInformation()):
            raise ValueError("this OpenCV was built without windows; install opencv-python instead")

    def show(self, image: np.ndarray) -> None:
        """Show (H, W, 3) uint8 BGR. Raises KeyboardInterrupt when a key that ends the run was pressed."""
        cv2.imshow(self._title, image)
        if cv2.waitKey(1) & 0xFF in KEYS:
            raise KeyboardInterrupt

    def __enter__(self) -> Window:
        return self

    def __exit__(self, *_: object) -> None:
        cv2.destroyAllWindows()
