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

MAGIC = b"SPSHA256"
FOOTER_BYTES = len(MAGIC) + hashlib.sha256().digest_size

# Bytes that are read at once.
CHUNK_BYTES = 2**20


class _HashingWriter:
    """A write-only binary file that hashes its content.

    Attributes:
        failure: the first write error; some callers replace it by an error of their own.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._hash = file, hashlib.sha256()
        self.failure: OSError | None = None

    def write(self, content: bytes | memoryview) -> int:
        """Write and hash; returns the number of bytes written."""
        self._hash.update(content)
        try:
            return self._file.write(content)
        except OSError as error:
            self.failure = self.failure or error
            raise

    def flush(self) -> None:
        """Do nothing: a partly written file is useless."""

    def footer(self) -> bytes:
        """Return the footer with the checksum of the content so far."""
        return MAGIC + self._hash.digest()


def write_checksummed(path: str | Path, write_content: Callable[[IO[bytes]], None]) -> None:
    """Write a file atomically (see `atomic.write`), with a checksum at its end.

    Args:
        path: the final path; an existing file is replaced.
        write_content: writes the content to the stream that it is given, using only `write` and `flush`.

    Raises:
        OSError: the disk is full or failing; `path` is unchanged.
    """

    def write_with_footer(temporary: Path) -> None:
        with temporary.open("wb") as file:
            stream = _HashingWriter(file)
            try:
                write_content(cast(IO[bytes], stream))  # torch.save calls only its methods
            except Exception:
                if stream.failure is not None:
                    raise stream.failure from None  # torch.save turns it into a RuntimeError about positions
                raise
            file.write(stream.footer())

    atomic.write(path, write_with_footer)


def verify_checksum(path: str | Path) -> None:
    """Read a file and compare its content with its checksum.

    Raises:
        ValueError: the file has no checksum at its end, or its content does not match the checksum.
        OSError: the file cannot be read.
    """
    path = Path(path)
    remaining, content_hash = path.stat().st_size - FOOTER_BYTES, hashlib.sha256()
    with path.open("rb") as file:
        while remaining > 0 and (chunk := file.read(min(remaining, CHUNK_BYTES))):
            content_hash.update(chunk)
            remaining -= len(chunk)
        footer = file.read()
    if len(footer) != FOOTER_BYTES or not footer.startswith(MAGIC):
        raise ValueError(
            f"{path}: no checksum at the end; the file is truncated, or another version wrote it"
        )
    if footer != MAGIC + content_hash.digest():
        raise ValueError(f"{path}: damaged, its content does not match its checksum")


def capture_rng_states(device: torch.device) -> dict[str, Any]:
    """Return the states of Python's, NumPy's (global, legacy), torch's and CUDA's random generators.

    Returns:
        A dict of tensors, ints and floats, which torch.load reads with `weights_only=True`.
    """
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002 (libraries may use it)
    return {
        "python": {"version": version, "words": torch.tensor(words), "gauss": gauss},
        "numpy": {
            "name": str(name),
            "keys": torch.from_numpy(np.asarray(keys).astype(np.int64)),
            "place": int(position),
            "has_gauss": int(has_gauss),
            "cached": float(cached),
        },
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }


def restore_rng_states(states: dict[str, Any], device: torch.device) -> None:
    """Restore the result of `capture_rng_states`, which is not modified.

    CUDA's state is skipped if it was not captured, or if training continues without CUDA.
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


# Settings (or prefixes of settings) that change neither which steps a run takes nor how. The exception is
# train.epochs with the cosine schedule, whose learning rates depend on it.
CHANGEABLE_SETTINGS = (
    "skeleton",  # the path; `check_skeleton` compares the content
    *("inference.", "grouping.", "tracking."),
    *(
        "train.epochs",
        "train.workers",
        "train.keep_checkpoints",
        "train.checkpoint_",
        "train.timeout_minutes",
    ),
    *("train.log_steps", "train.image_log_steps", "train.validate_epochs", "train.ap_"),
)


def check_resumable(before: Settings, now: Settings) -> None:
    """Check that a run with the settings `now` may resume from a checkpoint with the settings `before`.

    Raises:
        ValueError: a setting differs that may not; the message names each.
    """
    changes = [
        f"{key} was {old!r} and is {new!r}"
        for key, old, new in _differences("", before, now)
        if not key.startswith(CHANGEABLE_SETTINGS)
        or (key == "train.epochs" and now.train.schedule == "cosine")
    ]
    if changes:
        raise ValueError(
            f"the run was started with other settings: {'; '.join(changes)}; "
            "use the same settings, or start another run with --init-from"
        )


def check_skeleton(before: Skeleton, now: Skeleton) -> None:
    """Check that a run with the skeleton `now` may resume from a checkpoint with the skeleton `before`.

    The name of the skeleton and the bones that are drawn may differ.

    Raises:
        ValueError: another part differs; the message names each.
    """
    changes = [key for key, _, _ in _differences("", before, now) if key not in ("name", "bones")]
    if changes:
        raise ValueError(
            f"the run was started with another skeleton: its {', '.join(changes)} differ from those of "
            f"{now.name!r}; use the same skeleton, or start another run with --init-from"
        )


def _differences(prefix: str, before: Any, now: Any) -> list[tuple[str, Any, Any]]:
    """List (key, old value, new value) of each differing field of two nested dataclasses."""
    differences = []
    for field in dataclasses.fields(before):
        old, new = getattr(before, field.name), getattr(now, field.name)
        if dataclasses.is_dataclass(old):
            differences += _differences(f"{prefix}{field.name}.", old, new)
        elif old != new:
            differences.append((prefix + field.name, old, new))
    return differences
