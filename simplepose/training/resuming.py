"""Whether a run may go on under other settings: only where the steps would have been the same."""

from __future__ import annotations

import dataclasses
from typing import Any

from simplepose.config import Settings
from simplepose.skeleton import Skeleton

MAY_CHANGE = (
    "skeleton",  # where it lies; `check_skeleton` compares what it is
    *("inference.", "grouping.", "tracking."),
    *("train.epochs", "train.workers", "train.keep", "train.checkpoint_", "train.timeout_minutes"),
    *("train.log_steps", "train.picture_steps", "train.validate_epochs", "train.ap_"),
)
"""Settings, or their beginnings, that change neither the steps done nor how a step is done; but
the cosine schedule's rates depend on train.epochs."""


def check(before: Settings, now: Settings) -> None:
    """Compare the settings of a checkpoint with those of the run that would go on from it.

    Raises:
        ValueError: names each setting that differs and may not.
    """
    told = [
        f"{key} was {old!r} and is {new!r}"
        for key, old, new in _differences("", before, now)
        if not key.startswith(MAY_CHANGE) or (key == "train.epochs" and now.train.schedule == "cosine")
    ]
    if told:
        raise ValueError(
            f"the run was begun with other settings: {'; '.join(told)}; "
            "give the same, or begin another run with --init-from"
        )


def check_skeleton(before: Skeleton, now: Skeleton) -> None:
    """Compare the skeleton of a checkpoint with that of the run that would go on from it; what it is called
    and how it is drawn may change.

    Raises:
        ValueError: names each part that differs.
    """
    told = [key for key, _, _ in _differences("", before, now) if key not in ("name", "bones")]
    if told:
        raise ValueError(
            f"the run was begun with another skeleton: its {', '.join(told)} differ from those of "
            f"{now.name!r}; give the same, or begin another run with --init-from"
        )


def _differences(prefix: str, before: Any, now: Any) -> list[tuple[str, Any, Any]]:
    found = []
    for field in dataclasses.fields(before):
        old, new = getattr(before, field.name), getattr(now, field.name)
        if dataclasses.is_dataclass(old):
            found += _differences(f"{prefix}{field.name}.", old, new)
        elif old != new:
            found.append((prefix + field.name, old, new))
    return found
