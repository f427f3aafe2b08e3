"""The folder of a training run: settings, journal, newest checkpoints, best and final network."""

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
from simplepose.utils.file_lock import acquire_lock
from simplepose.utils.files import create_folder

# File name of the journal in the folder.
JOURNAL_NAME = "journal.jsonl"

logger = logging.getLogger(__name__)


class SaveError(OSError):
    """The disk is full or failing: nothing was written, and earlier files are unchanged."""


class RunFolder:
    """The folder of a training run, locked by its main process.

    Args:
        path: the folder; it is created if missing.
        resume: continue the run in the folder, if there is one.

    Raises:
        ValueError: the folder contains a run and `resume` is False, or another process uses the folder.
    """

    def __init__(self, path: str | Path, resume: bool) -> None:
        self.path = Path(path)
        if self.checkpoints() and not resume:
            raise ValueError(
                f"{self.path} already contains a run; resume it with --resume, or use another folder"
            )
        create_folder(self.path)
        self._lock = acquire_lock(
            self.path / "lock",
            f"another process is training in {self.path}; wait until it ends, or use another folder",
        )
        for partial in self.path.glob("*.partial"):  # left by a kill
            partial.unlink()

    def close(self) -> None:
        """Release the lock, so that another process can use the folder."""
        self._lock.release()

    @property
    def journal(self) -> Path:
        """Path of the journal."""
        return self.path / JOURNAL_NAME

    @property
    def environment(self) -> Path:
        """Path of the list of environments, one for each start of the run."""
        return self.path / "environment.json"

    @property
    def tensorboard(self) -> Path:
        """Folder of the TensorBoard event files."""
        return self.path / "tensorboard"

    @property
    def final_network(self) -> Path:
        """Path of the final network, as safetensors."""
        return self.path / "model.safetensors"

    @property
    def best(self) -> Path:
        """Path of the network with the best score so far, as safetensors; best.json has the score."""
        return self.path / "best.safetensors"

    def checkpoints(self) -> list[Path]:
        """Return the paths of the checkpoints, newest first."""
        return sorted(self.path.glob("checkpoint_*.pt"), reverse=True)

    def write_settings(self, settings: Settings) -> None:
        """Write the settings of the run."""
        atomic.write_bytes(self.path / "settings.yaml", config.to_text(settings).encode())

    def save(self, step: int, values: dict[str, Any], keep: int) -> Path:
        """Write a checkpoint with a checksum; once it is on the disk, remove all but the newest `keep`.

        Args:
            step: number of steps done.
            values: the content.
            keep: number of checkpoints to keep.

        Raises:
            SaveError: the checkpoint could not be written; all earlier ones are kept, a retry is possible.
        """
        path = self.path / f"checkpoint_{step:08d}.pt"
        try:
            checkpointing.write_checksummed(path, lambda stream: torch.save(values, stream))
        except OSError as error:
            raise SaveError(f"{path} could not be written: {error}") from error
        for old in self.checkpoints()[keep:]:
            try:
                old.unlink()
            except OSError as error:
                logger.warning("%s could not be removed: %s", old, error)
        return path

    def find_newest_checkpoint(self) -> Path | None:
        """Return the newest undamaged checkpoint, or None if the folder has no checkpoints.

        Newer checkpoints that are truncated or damaged are renamed to `*.torn`, with a warning.

        Raises:
            ValueError: all checkpoints are damaged.
        """
        damaged = []
        for path in self.checkpoints():
            try:
                checkpointing.verify_checksum(path)
            except (ValueError, OSError) as error:
                logger.warning("%s; trying the checkpoint before it", error)
                damaged.append(path)
                continue
            for damaged_path in damaged:
                damaged_path.rename(damaged_path.with_suffix(".torn"))
            return path
        if damaged:
            raise ValueError(f"none of the checkpoints in {self.path} can be read; use another folder")
        return None

    def load_newest_checkpoint(self) -> dict[str, Any] | None:
        """Load the newest undamaged checkpoint; see `find_newest_checkpoint`."""
        path = self.find_newest_checkpoint()
        return None if path is None else checkpoints.load_training_checkpoint(path)

    def save_best(self, model: Model, metric: str, score: float, step: int) -> bool:
        """Save the network if its score is the best so far in this metric.

        Args:
            model: the network.
            metric: name of the metric, for example "AP".
            score: larger is better; NaN is never the best.
            step: number of steps done.

        Returns:
            Whether the network was saved.

        Raises:
            SaveError: the network could not be written; the previous best is unchanged.
        """
        best = self._read_best_score()
        if math.isnan(score) or (best["measure"] == metric and best["score"] >= score):
            return False
        self._write_network(self.best, model)
        best = {"measure": metric, "score": score, "step": step}
        try:
            atomic.write_bytes(self._best_score_path, (json.dumps(best) + "\n").encode())
        except OSError as error:
            raise SaveError(f"{self._best_score_path} could not be written: {error}") from error
        return True

    def save_final_network(self, model: Model) -> None:
        """Save the final network.

        Raises:
            SaveError: the network could not be written.
        """
        self._write_network(self.final_network, model)

    @property
    def _best_score_path(self) -> Path:
        return self.path / "best.json"

    def _read_best_score(self) -> dict[str, Any]:
        """Read the metric ("measure") and score of the best network; None and -inf if there is none."""
        default = {"measure": None, "score": -math.inf}
        if not (self._best_score_path.exists() and self.best.exists()):
            return default
        try:
            best = json.loads(self._best_score_path.read_text(encoding="utf-8"))
            return {"measure": best["measure"], "score": float(best["score"])}
        except (ValueError, LookupError, TypeError, OSError, RecursionError) as error:
            logger.warning(
                "%s: cannot be read (%s); the next score becomes the best", self._best_score_path, error
            )
            return default

    def _write_network(self, path: Path, model: Model) -> None:
        try:
            checkpoints.save_safetensors(path, model)
        except (OSError, safetensors.SafetensorError) as error:  # SafetensorError: a full disk
            raise SaveError(f"{path} could not be written: {error}") from error
