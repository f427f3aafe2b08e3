"""COCO AP of the network in training, on a few pictures, which its processes share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from simplepose import skeleton
from simplepose.cli import options
from simplepose.config import Settings
from simplepose.evaluation import coco
from simplepose.inference.coco_rows import coco_rows
from simplepose.inference.predictor import Predictor
from simplepose.inference.sources import Source
from simplepose.models.checkpoints import Model
from simplepose.training.distributed import World


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
    truth = coco.read_annotations(annotations, skeleton.load(settings.skeleton).annotated)
    if not truth.anns:
        raise ValueError(f"{annotations} has no annotations; AP needs some")
    options.require_folder_of_pictures(images)
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
        metrics = coco.evaluate_rows(truth, rows, [s.image_id for s in sources], model.skeleton.sigmas)
        return metrics["AP"], metrics["AP50"]

    return measure
