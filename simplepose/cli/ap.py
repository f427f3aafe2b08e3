"""Evaluate a network on annotated images: rows in COCO's result format, and AP during training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from simplepose import skeleton
from simplepose.cli import arguments
from simplepose.config import Settings
from simplepose.evaluation import coco_eval
from simplepose.inference import runner
from simplepose.inference.pipeline import Pipeline, Seen
from simplepose.inference.predictor import Predictor
from simplepose.inference.runner import Run
from simplepose.models.checkpoints import Model
from simplepose.sources import PictureSource, Source, SourceOptions
from simplepose.utils.distributed import World


def coco_rows(
    predictor: Predictor, pictures: Sequence[Source], threads: int = 1, bar: bool = True
) -> tuple[list[dict[str, Any]], Run]:
    """Run a predictor over pictures as they are stored, which is how they are annotated.

    Args:
        pictures: what to read; rows have their `image_id`.
        threads: that read, and of each step beside the network.
        bar: whether progress is shown.

    Returns:
        The rows, and what became of the run, which may have been ended early.
    """
    rows: list[dict[str, Any]] = []

    def keep(seen: Seen) -> None:
        rows.extend(seen.people.to_coco_rows(pictures[seen.frame.number].image_id))

    source = PictureSource(pictures, SourceOptions(upright=False, readers=threads))
    return rows, runner.run(Pipeline(predictor, threads=threads), source, keep, bar=bar)


def ap_of(
    annotations: Path | None, images: Path | None, settings: Settings, device: torch.device, world: World
) -> Callable[[Model], tuple[float, float]] | None:
    """A function from a model to its AP and AP50 on the first `train.ap_pictures` pictures.

    All processes call it together; a second Ctrl-C in it ends the run. None where there are no annotations,
    or AP is not asked for.

    Raises:
        ValueError, FileNotFoundError: AP is asked for, but there is nothing to tell it on.
    """
    if not settings.train.ap_epochs:
        return None
    if annotations is None or images is None:
        raise ValueError("train.ap_epochs asks for AP; give --ap-annotations and --ap-images")
    truth = coco_eval.read_annotations(annotations, skeleton.load(settings.skeleton).annotated)
    if not truth.anns:
        raise ValueError(f"{annotations} has no annotations; AP needs some")
    arguments.require_folder_of_pictures(images)
    listed = truth.dataset["images"][: settings.train.ap_pictures]
    sources = [Source(images / image["file_name"], image["file_name"], image["id"]) for image in listed]

    def measure(model: Model) -> tuple[float, float]:
        model.network.eval()
        predictor = Predictor(model, device, settings.train.precision, runtime="torch")
        shared = sources[world.rank :: world.size]
        found, run = coco_rows(predictor, shared, bar=world.is_first)
        run.raise_failure()
        if run.interrupted:
            raise KeyboardInterrupt  # AP of a part is no AP
        rows = world.gather(found)
        metrics = coco_eval.evaluate_rows(truth, rows, [s.image_id for s in sources], model.skeleton.sigmas)
        return metrics["AP"], metrics["AP50"]

    return measure
