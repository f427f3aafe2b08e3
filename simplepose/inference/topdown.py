"""Top-down pose estimation: a detector's boxes -> a crop of each person -> keypoints -> merged people.

It has the steps of `predictor.Predictor`, and two more: `crop` and `find_people`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from torch import nn

from simplepose.config import Settings, TopDownSettings
from simplepose.frames import Frame
from simplepose.inference.concurrency import require_own_threads
from simplepose.inference.crops import Crop, CropPredictor, find_visible_boxes
from simplepose.inference.detectors import BottomUpDetector, Detections, Detector, open_detector
from simplepose.inference.predictor import Predictor, find_model, load_model
from simplepose.inference.preprocess import check_image
from simplepose.models.backends import Runtime
from simplepose.models.run_modes import RunMode
from simplepose.people import People, boxes_around
from simplepose.skeleton import Skeleton

# Finds the boxes for a FastPose model if no other detector is chosen.
DEFAULT_DETECTOR = "imhn_mobile"

# Included bottom-up model and preset -> the included FastPose that finds its people's keypoints again.
PRESET_REFINEMENTS = {("imhn_mobile", "accurate"): "fastpose_mobile"}

# A crop shows the person for whom it was made if at least this fraction of the keypoints of the detector's
# pose is found there again, within this fraction of the longer side of the pose. The score of a pose that is
# not found again is multiplied by the last factor. Chosen on 300 training images.
MIN_FOUND_AGAIN, FOUND_AGAIN_RADIUS, NOT_FOUND_AGAIN_FACTOR = 0.2, 0.15, 0.5


class TopDownPredictor:
    """Finds the people in images with a detector and a network for crops. Safe to call from several threads.

    Args:
        detector: finds the boxes. If it finds poses with the same keypoints too, they are refined.
        crops: finds the keypoints of the person in each box.
        settings: of the run: `topdown` and `tracking` apply.

    Attributes:
        detector, crops, settings: see Args.
        skeleton: the joints; `People` come in its annotated order.
        device, batch, max_concurrent_forwards: the detector's.
    """

    def __init__(self, detector: Detector, crops: CropPredictor, settings: Settings) -> None:
        self.detector, self.crops, self.settings = detector, crops, settings
        self.skeleton: Skeleton = crops.skeleton
        self.device, self.batch = detector.device, detector.batch
        self.max_concurrent_forwards = detector.max_concurrent_forwards
        found = detector.skeleton
        self._refines_poses = found is not None and found.annotated == self.skeleton.annotated

    @property
    def network(self) -> nn.Module:
        """The network for crops, in float32, not fused."""
        return self.crops.network

    @property
    def _settings(self) -> TopDownSettings:
        return self.settings.topdown

    @overload
    def __call__(self, images: np.ndarray, boxes_xyxy: np.ndarray | None = None) -> People: ...

    @overload
    def __call__(self, images: Sequence[np.ndarray]) -> list[People]: ...

    def __call__(
        self, images: np.ndarray | Sequence[np.ndarray], boxes_xyxy: np.ndarray | None = None
    ) -> People | list[People]:
        """Find the people in one or several images.

        Args:
            images: (H, W, 3) uint8 BGR; or a list of such images of any sizes, or an array (N, H, W, 3).
            boxes_xyxy: for one image (P, 4) left, top, right, bottom of its people in image pixels, in place
                of the detector's.

        Returns:
            People, best first; for several images a list, in their order. With given boxes, one person for
            each box, in their order.

        Raises:
            ValueError: an array is not such an image.
        """
        if isinstance(images, np.ndarray) and images.ndim != 4:
            if boxes_xyxy is not None:
                return self.crops(images, boxes_xyxy)
            return self._predict([images])[0]
        if not isinstance(images, np.ndarray | list | tuple):
            raise ValueError(f"expected an image, a list of images or an array, got {type(images).__name__}")
        return self._predict(images)

    def preprocess_frame(self, frame: Frame) -> Any:
        """Prepare a frame for the detector: the first of five steps.

        Raises:
            ValueError: the frame's array is not an image.
            RuntimeError: this process was forked after a prediction.
        """
        require_own_threads(uses_network=True)
        check_image(frame.image)
        return self.detector.preprocess_frame(frame)

    def infer(self, inputs: Sequence[Any]) -> Sequence[Any]:
        """Run the detector on prepared frames of the same `shape`: the second step."""
        return self.detector.infer(inputs)

    def group(self, output: Any, model_input: Any) -> Detections:
        """Convert the detector's output for a frame to its best detections: the third step."""
        return self.detector.detect(output, model_input).select(self._settings)

    def crop(self, image: np.ndarray, detections: Detections) -> tuple[list[Crop], Detections]:
        """Crop the people of an image: the fourth step.

        Returns:
            The crops, and their detections. Boxes without area or outside the image are left out.
        """
        visible = detections[find_visible_boxes(detections.boxes_xyxy, image.shape[:2])]
        return [self.crops.crop(image, box) for box in visible.boxes_xyxy], visible

    def find_people(self, crops: Sequence[tuple[Sequence[Crop], Detections]]) -> list[People]:
        """Find the keypoints in the crops of several images, and merge each image's poses: the last step.

        The crops of all images share batches.

        Args:
            crops: from `crop`, for each image.
        """
        keypoints = self.crops.find_keypoints([crop for image_crops, _ in crops for crop in image_crops])
        people, start = [], 0
        for image_crops, detections in crops:
            own = keypoints[start : start + len(image_crops)]
            start += len(image_crops)
            people.append(self._merge(own, detections))
        return people

    def _merge(self, keypoints: np.ndarray, detections: Detections) -> People:
        """Score the poses (P, J, 3) of an image and merge equal ones; poses without keypoints are dropped."""
        factors = np.ones(len(keypoints))
        if self._refines_poses and detections.poses is not None:
            keypoints, factors = refine_poses(detections.poses, keypoints, self._settings.nms_radius)
        counted = keypoints[..., 2] >= self._settings.min_keypoint_score
        means = (keypoints[..., 2] * counted).sum(1) / np.maximum(counted.sum(1), 1)
        scores = factors * means * detections.scores**self._settings.box_score_exponent
        found = counted.any(1)
        return merge_poses(People(keypoints[found], scores[found]), self._settings)

    def _predict(self, images: Sequence[np.ndarray] | np.ndarray) -> list[People]:
        crops = []
        for number, image in enumerate(images):
            model_input = self.preprocess_frame(Frame(number, str(number), image))
            (output,) = self.infer([model_input])
            crops.append(self.crop(image, self.group(output, model_input)))
        return self.find_people(crops)


def refine_poses(poses: np.ndarray, found: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Combine the poses of a detector with those found again in the crops around them.

    In a crop of two people who overlap, the network may find the other one; then the detector's pose remains.
    Else keypoints that are close become averages, weighted by score.

    Args:
        poses: (P, J, 3) from the detector.
        found: (P, J, 3) from the crops.
        radius: up to this distance keypoints are close, as a fraction of the longer side of the found pose.

    Returns:
        (P, J, 3) combined poses, and (P,) factors of their scores.
    """
    combined, factors = found.astype(np.float64), np.ones(len(found))
    for row, (pose, again) in enumerate(zip(poses, found, strict=True)):
        visible = pose[:, 2] > 0
        distance = np.hypot(*(again[visible, :2] - pose[visible, :2]).T)
        near = distance < FOUND_AGAIN_RADIUS * _longer_side(pose)
        if near.sum() < MIN_FOUND_AGAIN * len(near):
            combined[row], factors[row] = pose, NOT_FOUND_AGAIN_FACTOR
        else:
            combined[row] = _merge(again, np.stack([again, pose]), radius * _longer_side(again))
    return combined, factors


def merge_poses(people: People, settings: TopDownSettings) -> People:
    """Merge the poses that several boxes gave for one person: parametric pose NMS.

    After Fang, Xie, Tai and Lu, "RMPE: Regional Multi-person Pose Estimation", ICCV 2017 (arXiv:1612.00137),
    section 3.3. Two poses are equal if their keypoints are close, weighted by score (equation 8), or if
    enough keypoints match. The best pose of each group remains; its keypoints become averages over the group.

    Args:
        people: with unmerged poses.
        settings: the `nms_` settings, and `min_keypoint_score`: lower keypoints do not count as equal.

    Returns:
        The merged people, best first.
    """
    order = np.argsort(-people.scores, kind="stable")
    keypoints, scores = people.keypoints[order].astype(np.float64), people.scores[order]
    merged, kept = [], []
    free = np.ones(len(order), bool)
    for best in range(len(order)):
        if not free[best]:
            continue
        radius = settings.nms_radius * _longer_side(keypoints[best])
        equal = free & _are_equal(keypoints[best], keypoints, radius, settings)
        equal[best] = True
        merged.append(_merge(keypoints[best], keypoints[equal], radius))
        kept.append(best)
        free &= ~equal
    if not kept:
        return People.empty(people.keypoints.shape[1])
    return People(np.stack(merged), scores[kept])


def _are_equal(
    best: np.ndarray, keypoints: np.ndarray, radius: float, settings: TopDownSettings
) -> np.ndarray:
    """Compare a pose (J, 3) with poses (P, J, 3); return (P,) bool.

    Distances are in units of `radius`, so that people of all sizes are treated equally.
    """
    distance = np.hypot(*(keypoints[..., :2] - best[:, :2]).transpose(2, 0, 1)) / max(radius, 1e-6)
    counted = np.minimum(keypoints[..., 2], best[:, 2]) >= settings.min_keypoint_score
    near = (distance <= 1) & counted
    weights = np.tanh(keypoints[..., 2] / settings.nms_score_scale) * np.tanh(
        best[:, 2] / settings.nms_score_scale
    )
    similarity = (weights * near).sum(1)
    similarity += settings.nms_distance_weight * (
        np.exp(-distance / settings.nms_distance_scale) * counted
    ).sum(1)
    enough = near.sum(1) >= np.minimum(settings.nms_min_matches, np.maximum(counted.sum(1), 1))
    equal: np.ndarray = (similarity > settings.nms_max_similarity) | enough
    return equal


def _merge(best: np.ndarray, group: np.ndarray, radius: float) -> np.ndarray:
    """Average the keypoints of a group (P, J, 3) near those of its best pose (J, 3), weighted by score."""
    distance = np.hypot(*(group[..., :2] - best[:, :2]).transpose(2, 0, 1))
    weights = np.where(distance <= radius, group[..., 2], 0)
    total = weights.sum(0)
    mean = (group * weights[..., None]).sum(0) / np.maximum(total, 1e-12)[:, None]
    return np.where(total[:, None] > 0, mean, best)


def _longer_side(keypoints: np.ndarray) -> float:
    left, top, right, bottom = boxes_around(keypoints[None, :, :2], keypoints[None, :, 2] > 0)[0]
    return float(max(right - left, bottom - top))


AnyPredictor = Predictor | TopDownPredictor
"""Finds the people in images: `__call__`, and the steps that `pipeline.Pipeline` runs."""


def load(
    name_or_path: str | Path,
    device: str | torch.device = "cpu",
    precision: str = "fp32",
    settings_overrides: Iterable[str] = (),
    weights: str = "auto",
    stacks: int | None = None,
    batch: int | None = None,
    run: RunMode = "eager",
    preset: str = "default",
    runtime: Runtime = "auto",
    refine: str | Path | None = None,
    detector: str | None = None,
) -> AnyPredictor:
    """Load a predictor from a model that ships with the package ("imhn_mobile") or from a file.

    A separate thread loads it, so that the OpenMP threads that torch starts for loading end with it. With
    more such threads than cores, libgomp lets none of them wait actively, and the threads that run the
    network would have to be woken for each of its hundred layers.

    Args:
        name_or_path: the model, or any file that `models.checkpoints.load` reads.
        device: "cpu", "cuda", "cuda:1", ...
        precision, stacks, batch, run, runtime: see `Predictor`.
        settings_overrides: inference.*, grouping.*, topdown.* and tracking.* as "key.key=value", for example
            "inference.scales=[0.5, 1, 1.5]". They replace the settings of the preset.
        weights: of a training checkpoint: raw, ema, swa, or auto, the first that it contains of swa, ema and
            raw.
        preset: name of inference settings in `config.PRESETS`: fast, default, accurate, ... They replace
            those of the file. With accurate, fastpose_mobile refines the people of imhn_mobile.
        refine: of a bottom-up model: the FastPose model (name or path) that finds the keypoints of each
            person again, in a crop.
        detector: of a FastPose model: finds the boxes, see `detectors.open_detector`; None: imhn_mobile.

    Raises:
        FileNotFoundError: a file does not exist.
        ValueError: a file, an override or the preset is invalid, or an argument does not apply to the model.
        RuntimeError: this process was forked after a prediction.
    """
    require_own_threads(uses_network=False)
    overrides = settings_overrides if isinstance(settings_overrides, str) else list(settings_overrides)
    options: dict[str, Any] = {"device": device, "precision": precision, "run": run, "runtime": runtime}

    def load_bottom_up(name: str) -> Predictor:
        own = _select_overrides(overrides, ("inference", "grouping"))
        return Predictor(load_model(find_model(name), device, own, "auto", preset), batch=batch, **options)

    def build() -> AnyPredictor:
        model = load_model(find_model(name_or_path), device, overrides, weights, preset)
        if model.settings.network == "fastpose":
            _require_unused(name_or_path, "starts from boxes", refine=refine, stacks=stacks)
            boxes = detector or DEFAULT_DETECTOR
            opened = open_detector(boxes, load_bottom_up, torch.device(device), model.settings.topdown)
            return TopDownPredictor(opened, CropPredictor(model, **options), model.settings)
        _require_unused(name_or_path, "is bottom-up and needs no detector", detector=detector)
        predictor = Predictor(model, stacks=stacks, batch=batch, **options)
        own = _select_overrides(overrides, ("topdown",))
        refinement = refine or PRESET_REFINEMENTS.get((str(name_or_path), preset))
        if refinement is None:
            _require_unused(name_or_path, "is bottom-up", **{"settings topdown.*": own or None})
            return predictor
        crops = CropPredictor(load_model(find_model(refinement), device, own, "auto", "default"), **options)
        settings = replace(model.settings, topdown=crops.settings.topdown)
        return TopDownPredictor(BottomUpDetector(predictor, settings.topdown.box_margin), crops, settings)

    with ThreadPoolExecutor(1, "load network") as thread:
        return thread.submit(build).result()


def _select_overrides(overrides: Iterable[str], sections: Sequence[str]) -> list[str]:
    """Select the "key.key=value" overrides of some sections of the settings."""
    return [text for text in overrides if text.partition("=")[0].strip().partition(".")[0] in sections]


def _require_unused(name: str | Path, reason: str, **arguments: object) -> None:
    """Raise ValueError if one of the arguments, which do not apply to the model, is not None."""
    for argument, value in arguments.items():
        if value is not None:
            raise ValueError(f"{argument}: expected none, got {value!r}; the model {name} {reason}")
