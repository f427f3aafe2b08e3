"""Checksums of files, random generator states, and whether a run may be resumed with other settings.

A checksummed file ends in 40 bytes: b"SPSHA256", then the SHA-256 of all bytes before them, so that any
change of any bit is detected. It is part of the file because a file beside it could be lost, or belong to
another save. torch.load, like other readers of zip files, ignores it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import torch

from simplepose.config import Settings
from simplepose.skeleton import Skeleton
from simplepose.utils import atomic

MARK = b"SPSHA256"
LENGTH = len(MARK) + hashlib.sha256().digest_size
PIECE = 2**20
"""Bytes that are read at once."""


class _Stream:
    """A binary file for writing only, whose content is hashed on its way.

    Attributes:
        failure: the first error that writing met, which some writers hide behind one of their own.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._hash = file, hashlib.sha256()
        self.failure: OSError | None = None

    def write(self, content: bytes | memoryview) -> int:
        """Write and hash; returns the number of bytes."""
        self._hash.update(content)
        try:
            return self._file.write(content)
        except OSError as error:
            self.failure = self.failure or error
            raise

    def flush(self) -> None:
        """Nothing: what is written in part is of no use to anyone."""

    def seal(self) -> bytes:
        """The seal of what was written so far."""
        return MARK + self._hash.digest()


def write(path: str | Path, write_to: Callable[[IO[bytes]], None]) -> None:
    """Write a file whole or not at all, as `atomic.write`, and seal it.

    Args:
        path: the final name; a file that is there is replaced.
        write_to: writes the content to the stream it is given, by `write` and `flush` alone.

    Raises:
        OSError: the disk is full or failing; `path` is as it was.
    """

    def write_sealed(temporary: Path) -> None:
        with temporary.open("wb") as file:
            stream = _Stream(file)
            try:
                write_to(cast(IO[bytes], stream))  # all that torch.save calls
            except Exception:
                if stream.failure is not None:
                    raise stream.failure from None  # torch.save makes of it a RuntimeError about positions
                raise
            file.write(stream.seal())

    atomic.write(path, write_sealed)


def verify_checksum(path: str | Path) -> None:
    """Read a file through and compare it with its seal.

    Raises:
        ValueError: the file has no seal at its end, or another content than was sealed.
        OSError: it cannot be read.
    """
    path = Path(path)
    left, found = path.stat().st_size - LENGTH, hashlib.sha256()
    with path.open("rb") as file:
        while left > 0 and (piece := file.read(min(left, PIECE))):
            found.update(piece)
            left -= len(piece)
        seal = file.read()
    if len(seal) != LENGTH or not seal.startswith(MARK):
        raise ValueError(f"{path} does not end in its hash; it was cut, or not written by this version")
    if seal != MARK + found.digest():
        raise ValueError(f"{path} is damaged: its content does not have the hash it was written with")


def capture(device: torch.device) -> dict[str, Any]:
    """The states of Python's, NumPy's (the global, legacy one) and torch's generators, the device's too.

    Returns:
        A dict of tensors, ints and floats, which torch.load reads with `weights_only`.
    """
    version, words, gauss = random.getstate()
    name, keys, place, has_gauss, cached = np.random.get_state()  # noqa: NPY002 (others may draw from it)
    return {
        "python": {"version": version, "words": torch.tensor(words), "gauss": gauss},
        "numpy": {
            "name": str(name),
            "keys": torch.from_numpy(np.asarray(keys).astype(np.int64)),
            "place": int(place),
            "has_gauss": int(has_gauss),
            "cached": float(cached),
        },
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }


def restore(states: dict[str, Any], device: torch.device) -> None:
    """Draw on from what `capture` gave, which is not changed.

    A state of CUDA's generator is left out where training goes on without CUDA, and the other way about.
    """
    python, legacy = states["python"], states["numpy"]
    random.setstate((python["version"], tuple(python["words"].tolist()), python["gauss"]))
    keys = legacy["keys"].numpy().astype(np.uint32)
    np.random.set_state(  # noqa: NPY002 (see above)
        (legacy["name"], keys, legacy["place"], legacy["has_gauss"], legacy["cached"])
    )
    torch.set_rng_state(states["torch"].cpu())
    if device.type == "cuda" and states["cuda"] is not None:
        torch.cuda.set_rng_state(states["cuda"].cpu(), device)


MAY_CHANGE = (
    "skeleton",  # where it lies; `check_skeleton` compares what it is
    *("inference.", "grouping.", "tracking."),
    *("train.epochs", "train.workers", "train.keep", "train.checkpoint_", "train.timeout_minutes"),
    *("train.log_steps", "train.picture_steps", "train.validate_epochs", "train.ap_"),
)
"""Settings, or their beginnings, that change neither the steps done nor how a step is done; but
the cosine schedule's rates depend on train.epochs."""


def check_resumable(before: Settings, now: Settings) -> None:
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
