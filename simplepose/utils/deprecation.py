"""Messages about names of an earlier release that this release still accepts."""

from __future__ import annotations

import functools
import logging

logger = logging.getLogger(__name__)


@functools.cache
def log_deprecated(old: str, new: str) -> None:
    """Log that a setting or option has a new name, or ("") no effect: once per old name and process."""
    if new:
        logger.warning("deprecated: %s is now %s", old, new)
    else:
        logger.warning("deprecated: %s was removed and has no effect", old)
