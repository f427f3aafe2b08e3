"""Whether memory that a process frees stays with it."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Names of glibc's settings, mallopt(3)."""

LARGEST = 2**25
"""Bytes, the most that all versions of glibc take: what a larger array leaves is handed back at once."""

KEPT = 2**30
"""Bytes that may lie free in the end."""


def keep() -> bool:
    """Keep what is freed for the next arrays, in this whole process and from now on.

    By default glibc hands the memory of pictures and maps back to the kernel, which then clears and maps
    each of their pages anew: that took a third of the time of making a training sample, and more on busy
    machines. What the process holds grows to the most that it ever had in use, and no further.

    Returns:
        Whether this C library can be told to; where it cannot, nothing is changed.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, LARGEST)) and bool(mallopt(_M_TRIM_THRESHOLD, KEPT))
