"""The folder of a run: its settings, journal, newest checkpoints, best and final network."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Any

import safetensors
import torch

from simplepose import config
from simplepose.config import Settings
from simplepose.models import checkpoints
from simplepose.models.checkpoints import Model
from simplepose.training import checkpointing
from simplepose.utils import atomic
from simplepose.utils.file_lock import hold

JOURNAL = "journal.jsonl"
"""The journal's name in the folder."""

logger = logging.getLogger(__name__)


class SaveFailed(OSError):
    """A full or failing disk: nothing was written, and what was saved before is as it was."""


class RunFolder:
    """Where one run keeps what must survive it. Of a run's processes only one makes and uses it.

    Raises:
        ValueError: the folder holds a run already, and it was not asked to go on with it; or another process
            uses it now.
    """

    def __init__(self, path: str | Path, resume: bool) -> None:
        self.path = Path(path)
        if self.checkpoints() and not resume:
            raise ValueError(
                f"{self.path} holds a run already; go on with it by --resume, or name another folder"
            )
        self.path.mkdir(parents=True, exist_ok=True)
        self._held = hold(
            self.path / "lock",
            f"another process trains in {self.path} now; wait for its end, or name another folder",
        )
        for left_by_a_kill in self.path.glob("*.partial"):
            left_by_a_kill.unlink()

    @property
    def journal(self) -> Path:
        """The journal's path."""
        return self.path / JOURNAL

    @property
    def environment(self) -> Path:
        """The path of what the run's starts ran on."""
        return self.path / "environment.json"

    @property
    def tensorboard(self) -> Path:
        """The folder of TensorBoard's files."""
        return self.path / "tensorboard"

    @property
    def released(self) -> Path:
        """The path of the finished network, safetensors."""
        return self.path / "model.safetensors"

    @property
    def best(self) -> Path:
        """The path of the network with the best score so far, safetensors; best.json tells the score."""
        return self.path / "best.safetensors"

    def checkpoints(self) -> list[Path]:
        """The checkpoints, newest first."""
        return sorted(self.path.glob("checkpoint_*.pt"), reverse=True)

    def write_settings(self, settings: Settings) -> None:
        """Keep what the run was asked to do."""
        atomic.write_bytes(self.path / "settings.yaml", config.to_text(settings).encode())

    def save(self, step: int, values: dict[str, Any], keep: int) -> Path:
        """Write a checkpoint, sealed; once it is safely on the disk, remove all but the newest `keep`.

        Raises:
            SaveFailed: the run may go on and try again later; the checkpoints before are all there.
        """
        path = self.path / f"checkpoint_{step:08d}.pt"
        try:
            checkpointing.write(path, lambda stream: torch.save(values, stream))
        except OSError as error:
            raise SaveFailed(f"{path} could not be written: {error}") from error
        for old in self.checkpoints()[keep:]:
            try:
                old.unlink()
            except OSError as error:
                logger.warning("%s could not be removed: %s", old, error)
        return path

    def newest_checkpoint(self) -> Path | None:
        """The newest checkpoint that is as it was written, or None if there is none at all.

        Torn and damaged ones that are newer are put aside (`*.torn`), with a warning.

        Raises:
            ValueError: there are some, but none is whole.
        """
        torn = []
        for path in self.checkpoints():
            try:
                checkpointing.verify_checksum(path)
            except (ValueError, OSError) as error:
                logger.warning("%s; the one before it is tried", error)
                torn.append(path)
                continue
            for path_of_torn in torn:
                path_of_torn.rename(path_of_torn.with_suffix(".torn"))
            return path
        if torn:
            raise ValueError(f"none of the checkpoints in {self.path} can be read; begin in another folder")
        return None

    def newest(self) -> dict[str, Any] | None:
        """What the newest whole checkpoint holds; see `newest_checkpoint`."""
        path = self.newest_checkpoint()
        return None if path is None else checkpoints.read_training(path)

    def save_best(self, model: Model, measure: str, score: float, step: int) -> bool:
        """Keep the network if no step before had so good a score in the same measure.

        Args:
            measure: what the score is, for example "AP".
            score: larger is better; one that is not a number is never the best.

        Returns:
            Whether it was kept.

        Raises:
            SaveFailed: the best before is as it was.
        """
        told = self._told_best()
        if math.isnan(score) or (told["measure"] == measure and told["score"] >= score):
            return False
        self._write_network(self.best, model)
        told = {"measure": measure, "score": score, "step": step}
        try:
            atomic.write_bytes(self._best_score, (json.dumps(told) + "\n").encode())
        except OSError as error:
            raise SaveFailed(f"{self._best_score} could not be written: {error}") from error
        return True

    def save_released(self, model: Model) -> None:
        """Write the finished network. Raises SaveFailed."""
        self._write_network(self.released, model)

    @property
    def _best_score(self) -> Path:
        return self.path / "best.json"

    def _told_best(self) -> dict[str, Any]:
        nothing = {"measure": None, "score": -math.inf}
        if not (self._best_score.exists() and self.best.exists()):
            return nothing
        try:
            told = json.loads(self._best_score.read_text(encoding="utf-8"))
            return {"measure": told["measure"], "score": float(told["score"])}
        except (ValueError, KeyError, TypeError) as error:
            logger.warning("%s is not readable (%s); the next score is the best", self._best_score, error)
            return nothing

    def _write_network(self, path: Path, model: Model) -> None:
        try:
            checkpoints.save_released(path, model)
        except (OSError, safetensors.SafetensorError) as error:  # the latter: its writer met a full disk
            raise SaveFailed(f"{path} could not be written: {error}") from error
