"""Evaluate a network on annotated images: rows in COCO's result format, and AP during training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pycocotools.coco import COCO as Annotations

from simplepose import skeleton
from simplepose.cli import arguments
from simplepose.coco_json import ReadOptions
from simplepose.config import Settings
from simplepose.evaluation import coco_eval
from simplepose.frames import BadFrame
from simplepose.inference import runner
from simplepose.inference.crops import CropPredictor
from simplepose.inference.pipeline import FrameResult, Pipeline
from simplepose.inference.predictor import Predictor
from simplepose.inference.runner import PipelineRun
from simplepose.inference.topdown import AnyPredictor
from simplepose.models.checkpoints import Model
from simplepose.sources import ImageFile, ImageSource, SourceOptions
from simplepose.utils.distributed import World


def list_annotated_images(folder: Path, entries: Sequence[dict[str, Any]]) -> list[ImageFile]:
    """List the image files of a json's entries, as `coco_eval.read_annotations` returns them."""
    return [
        ImageFile(
            folder / entry["file_name"],
            entry["file_name"],
            entry["id"],
            (entry["height"], entry["width"]) if {"height", "width"} <= entry.keys() else None,
        )
        for entry in entries
    ]


def predict_coco_rows(
    predictor: AnyPredictor, images: Sequence[ImageFile], show_progress: bool
) -> tuple[list[dict[str, Any]], PipelineRun]:
    """Run a predictor over images in their stored orientation, in which they are annotated.

    Args:
        predictor: the model to run.
        images: image files to read; each row gets the `image_id` of its image.
        show_progress: whether to show a progress bar.

    Returns:
        The rows in COCO's result format, and the run, which may have ended early.
    """
    rows: list[dict[str, Any]] = []
    source = ImageSource(images, SourceOptions(upright=False))
    with runner.start_run(Pipeline(predictor), source, show_progress) as (results, run):
        for result in results:
            if isinstance(result, FrameResult):
                rows += result.people.to_coco_rows(images[result.frame.number].image_id)
    return rows, run


def predict_boxes_coco_rows(
    predictor: CropPredictor, images: Sequence[ImageFile], ground_truth: Annotations
) -> list[dict[str, Any]]:
    """Find the keypoints of each annotated person with keypoints in its annotated box.

    Args:
        predictor: the model to run.
        images: image files to read, in their stored orientation; each row gets the `image_id` of its image.
        ground_truth: of these images.

    Raises:
        ValueError: an image cannot be read.
    """
    rows: list[dict[str, Any]] = []
    for frame in ImageSource(images, SourceOptions(upright=False)):
        if isinstance(frame, BadFrame):
            raise ValueError(f"{runner.describe_bad_frame(frame)}; AP needs all images")
        image_id = images[frame.number].image_id
        people = coco_eval.annotated_people(ground_truth, image_id)
        boxes = np.array([person["bbox"] for person in people], np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        rows += predictor(frame.image, boxes).to_coco_rows(image_id)
    return rows


def build_ap_metric(
    annotations: Path | None,
    images: Path | None,
    settings: Settings,
    device: torch.device,
    world: World,
    options: ReadOptions = ReadOptions(),  # noqa: B008 (frozen)
) -> Callable[[Model], tuple[float, float]] | None:
    """Build the function that computes AP during training.

    Args:
        annotations: COCO person keypoints json, or None.
        images: folder of its images, or None.
        settings: `train.ap_epochs` 0 disables AP; `train.ap_max_images` limits the number of images.
        device: device of the network.
        world: the training processes, which share the images.
        options: how the json is read.

    Returns:
        A function from a model to its AP and AP50 on the first `train.ap_max_images` images; None if
        `train.ap_epochs` is 0. FastPose gets the annotated boxes. All processes must call the function
        together. A second Ctrl-C in it ends the run.

    Raises:
        ValueError, FileNotFoundError: AP is enabled, but annotations or images are missing.
    """
    if not settings.train.ap_epochs:
        return None
    if annotations is None or images is None:
        raise ValueError("train.ap_epochs: AP needs annotated images; give --ap-annotations and --ap-images")
    joints = skeleton.load(settings.skeleton).annotated
    ground_truth = coco_eval.read_annotations(annotations, joints, options)
    if not ground_truth.anns:
        raise ValueError(f"{annotations}: expected annotations to compute AP, got none")
    arguments.require_image_folder(images)
    files = list_annotated_images(images, ground_truth.dataset["images"][: settings.train.ap_max_images])

    def compute_ap(model: Model) -> tuple[float, float]:
        model.network.eval()
        own_files, precision = files[world.rank :: world.size], settings.train.precision
        if settings.network == "fastpose":
            top_down = CropPredictor(model, device, precision, runtime="torch")
            own_rows = predict_boxes_coco_rows(top_down, own_files, ground_truth)
        else:
            predictor = Predictor(model, device, precision, runtime="torch")
            own_rows, run = predict_coco_rows(predictor, own_files, world.is_main)
            run.raise_failure()
            if run.interrupted:
                raise KeyboardInterrupt  # AP of a part of the images is not comparable
        rows = world.all_gather(own_rows)
        metrics = coco_eval.evaluate_rows(
            ground_truth, rows, [file.image_id for file in files], model.skeleton.sigmas
        )
        return metrics["AP"], metrics["AP50"]

    return compute_ap
