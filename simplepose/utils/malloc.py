"""Configure glibc's malloc to reuse freed memory."""

from __future__ import annotations

import ctypes
import sys

# Parameter numbers of glibc, see mallopt(3).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3

# Bytes; the maximum that all versions of glibc accept. The memory of a larger array is returned to the kernel
# when it is freed.
MMAP_THRESHOLD_BYTES = 2**25

# Bytes of free memory at the top of the heap that the process keeps.
TRIM_THRESHOLD_BYTES = 2**30


def tune_malloc() -> bool:
    """Reuse freed memory for later arrays, in the whole process and from now on.

    By default glibc returns the memory of images and maps to the kernel, which clears and maps each page
    again on the next use. That took a third of the time to make a training sample, and more on busy machines.
    The process keeps at most the memory that it once had in use.

    Returns:
        Whether the C library supports it; if not, nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES)) and bool(
        mallopt(_M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES)
    )
