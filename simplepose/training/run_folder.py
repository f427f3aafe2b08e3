"""The folder of a run: its settings, its journal and its newest checkpoints."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch

from simplepose import atomic, config
from simplepose.config import Settings
from simplepose.models import checkpoints

logger = logging.getLogger(__name__)


class RunFolder:
    """Where one run keeps what must survive it.

    Raises:
        ValueError: the folder holds a run already, and it was not asked to go on with it.
    """

    def __init__(self, path: str | Path, resume: bool) -> None:
        self.path = Path(path)
        if self.checkpoints() and not resume:
            raise ValueError(
                f"{self.path} holds a run already; go on with it by --resume, or name another folder"
            )
        self.path.mkdir(parents=True, exist_ok=True)
        for left_by_a_kill in self.path.glob("*.partial"):
            left_by_a_kill.unlink()

    @property
    def journal(self) -> Path:
        """The journal's path."""
        return self.path / "journal.jsonl"

    @property
    def released(self) -> Path:
        """The path of the finished network, safetensors."""
        return self.path / "model.safetensors"

    def checkpoints(self) -> list[Path]:
        """The checkpoints, newest first."""
        return sorted(self.path.glob("checkpoint_*.pt"), reverse=True)

    def write_settings(self, settings: Settings) -> None:
        """Keep what the run was asked to do."""
        atomic.write_bytes(self.path / "settings.yaml", config.to_text(settings).encode())

    def save(self, step: int, values: dict[str, Any], keep: int) -> Path:
        """Write a checkpoint, then remove all but the newest `keep`."""
        path = self.path / f"checkpoint_{step:08d}.pt"
        atomic.write(path, lambda temporary: torch.save(values, temporary))
        for old in self.checkpoints()[keep:]:
            old.unlink()
        return path

    def newest(self) -> dict[str, Any] | None:
        """The newest checkpoint that can be read, or None if there is none at all.

        Torn ones that are newer are put aside (`*.torn`), with a warning.

        Raises:
            ValueError: there are some, but none can be read.
        """
        torn = []
        for path in self.checkpoints():
            try:
                values = checkpoints.read_training(path)
            except ValueError as error:
                logger.warning("%s; the one before it is tried", error)
                torn.append(path)
                continue
            for path in torn:
                path.rename(path.with_suffix(".torn"))
            return values
        if torn:
            raise ValueError(f"none of the checkpoints in {self.path} can be read; begin in another folder")
        return None
