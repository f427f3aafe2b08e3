"""Top-down pose estimation: the box of each person -> a crop -> heatmaps -> keypoints.

The crops of several images can share a batch. Cell k of the heatmaps lies at crop pixel
stride * k + `FastPoseSettings.origin`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from simplepose import geometry
from simplepose.inference.concurrency import require_own_threads
from simplepose.inference.preprocess import PADDING_VALUE, check_image
from simplepose.models.backends import Runtime, build_backend
from simplepose.models.checkpoints import Model
from simplepose.models.run_modes import RunMode
from simplepose.people import People
from simplepose.skeleton import Skeleton

# Maximum number of crops in a batch. Larger ones are not faster, and need more memory.
DEFAULT_BATCH = {"cuda": 64, "cpu": 8}

# A peak and its neighbors count as at least this fraction of the peak, so that their logarithms are finite.
MIN_NEIGHBOR_RATIO = 0.01

# Radius of the blur's kernel, in standard deviations.
BLUR_RADIUS = 2.5

# A map with its maximum closer to the border than this is not blurred, standard deviations.
BORDER = 3

# The true maximum is at most this far from the highest cell, cells.
MAX_OFFSET = 0.5


@dataclass(frozen=True, eq=False)
class Crop:
    """The part of an image around one person, at the size of the network's input.

    Attributes:
        pixels: (H, W, 3) uint8 BGR.
        to_image: (2, 3) float64 matrix from crop pixels to image pixels.
    """

    pixels: np.ndarray
    to_image: np.ndarray


class CropPredictor:
    """Finds the keypoints of the person in each box. Safe to call from several threads at once.

    Args:
        model: FastPose in float32 with its settings and skeleton, on `device`.
        device: "cpu", "cuda", "cuda:1", ...
        precision: fp32, bf16 or fp16.
        batch: maximum number of crops in a batch. None: 64 on a GPU, 8 on a CPU.
        run, runtime: see `models.backends.build_backend`.

    Attributes:
        network: FastPose in float32, not fused.
        settings: the checkpoint's settings. Crops have the size and framing of `augment`, as in training;
            `topdown.flip` averages with the maps of the mirrored crop.
        skeleton: the joints; `People` come in its annotated order.
        batch: see Args.
        runtime, precision: of the network that runs.

    Raises:
        ValueError: the network is not FastPose, or an argument is not usable.
    """

    def __init__(
        self,
        model: Model,
        device: str | torch.device = "cpu",
        precision: str = "fp32",
        batch: int | None = None,
        run: RunMode = "eager",
        runtime: Runtime = "auto",
    ) -> None:
        if model.settings.network != "fastpose":
            raise ValueError(f"expected the network fastpose, got {model.settings.network}; choose its file")
        if batch is not None and batch < 1:
            raise ValueError(f"batch: expected at least 1 crop, got {batch}")
        self.network, self.settings, self.skeleton = model.network, model.settings, model.skeleton
        self._device = device = torch.device(device)
        self.batch = batch or DEFAULT_BATCH.get(device.type, 1)
        backend = build_backend(model.network, runtime, precision, device=device, run=run)
        self._run_network, self.runtime, self.precision = backend.network, backend.runtime, backend.precision

    def __call__(
        self, image: np.ndarray, boxes_xyxy: np.ndarray, box_scores: np.ndarray | None = None
    ) -> People:
        """Find the keypoints of the person in each box of an image.

        Args:
            image: (H, W, 3) uint8 BGR.
            boxes_xyxy: (P, 4) left, top, right, bottom, image pixels with pixel centers at integers.
            box_scores: (P,) confidence of each box; None: all 1.

        Returns:
            P people, in the order of the boxes. A box that has no area or lies outside the image gives a
            person without keypoints and with a score of 0.

        Raises:
            ValueError: the image, the boxes or the scores have another shape or type, or are not finite.
            RuntimeError: this process was forked after a prediction.
        """
        require_own_threads(uses_network=True)
        check_image(image)
        boxes = _check_boxes(boxes_xyxy)
        scores = np.ones(len(boxes)) if box_scores is None else np.asarray(box_scores, np.float64)
        if scores.shape != (len(boxes),) or not np.isfinite(scores).all():
            raise ValueError(f"box_scores: expected {len(boxes)} finite values, got shape {scores.shape}")
        visible = find_visible_boxes(boxes, image.shape[:2])
        keypoints = np.zeros((len(boxes), len(self.skeleton.annotated), 3), np.float32)
        keypoints[visible] = self.find_keypoints([self.crop(image, box) for box in boxes[visible]])
        return People(keypoints, keypoints[..., 2].mean(1) * scores)

    def crop(self, image: np.ndarray, box_xyxy: np.ndarray) -> Crop:
        """Crop one person: the first of three steps.

        The box is widened to the aspect ratio of the crop, and by its margin.

        Args:
            image: (H, W, 3) uint8 BGR.
            box_xyxy: (4,) left, top, right, bottom, image pixels.
        """
        framing = self.settings.augment
        height, width = framing.size
        left, top, right, bottom = map(float, box_xyxy)
        scale = geometry.crop_scale((right - left, bottom - top), framing.size, framing.person_height)
        matrix = geometry.compose(
            geometry.translation(-(left + right) / 2, -(top + bottom) / 2),
            geometry.scaling(scale, scale),
            geometry.translation(width / 2 - 0.5, height / 2 - 0.5),
        )
        pixels = geometry.apply_to_image(matrix, image, framing.size, (PADDING_VALUE,) * 3)
        return Crop(pixels, geometry.inverse(matrix))

    @torch.inference_mode()
    def infer(self, crops: Sequence[Crop]) -> Tensor:
        """Compute the heatmaps of at most `batch` crops, of any images: the second step.

        Returns:
            (N, A, h, w) float32, on the network's device.
        """
        images = torch.from_numpy(np.stack([crop.pixels for crop in crops])).to(self._device)
        if not self.settings.topdown.flip:
            return self._run_network(images).float()
        maps, mirrored = self._run_network(torch.cat([images, images.flip(2)])).float().chunk(2)
        return (maps + unflip(mirrored, self.skeleton, self._mirror_shift)) / 2

    def decode(self, maps: Tensor, crops: Sequence[Crop]) -> np.ndarray:
        """Find the keypoints in the heatmaps of the crops: the third step.

        Returns:
            (N, A, 3) float32 x, y in pixels of the image, score in [0, 1]; 0, 0, 0 where the maximum is not
            above 0.
        """
        drawing = self.settings.targets
        cells = find_maxima(maps, drawing.keypoint_sigma / drawing.stride).cpu().numpy()
        keypoints = np.zeros(cells.shape, np.float32)
        in_crop = cells[..., :2] * drawing.stride + self.settings.fastpose.origin
        for row, crop in enumerate(crops):
            keypoints[row, :, :2] = geometry.apply_to_points(crop.to_image, in_crop[row])
        keypoints[..., 2] = cells[..., 2].clip(0, 1)
        return np.where(keypoints[..., 2:] > 0, keypoints, 0)

    def find_keypoints(self, crops: Sequence[Crop]) -> np.ndarray:
        """Run the second and third step in batches; (N, A, 3) as from `decode`."""
        keypoints = [np.zeros((0, len(self.skeleton.annotated), 3), np.float32)]
        for first in range(0, len(crops), self.batch):
            batch = crops[first : first + self.batch]
            keypoints.append(self.decode(self.infer(batch), batch))
        return np.concatenate(keypoints)

    @property
    def _mirror_shift(self) -> int:
        """Whole cells by which the mirrored maps are off, because cells are not centered in their pixels."""
        stride = self.settings.targets.stride
        return round((stride - 1 - 2 * self.settings.fastpose.origin) / stride)


def find_visible_boxes(boxes_xyxy: np.ndarray, image_hw: tuple[int, ...]) -> np.ndarray:
    """Return which boxes (P, 4) have an area and overlap the image, (P,) bool."""
    low, high = boxes_xyxy[:, :2], boxes_xyxy[:, 2:]
    limits = np.array([image_hw[1], image_hw[0]]) - 0.5
    return np.asarray(((high > low) & (high > -0.5) & (low < limits)).all(1), bool)


def unflip(mirrored: Tensor, skeleton: Skeleton, shift: int) -> Tensor:
    """Turn the heatmaps (N, A, h, w) of mirrored crops back, and move them right by `shift` cells."""
    order = torch.as_tensor(skeleton.annotated_flip, device=mirrored.device)
    width = mirrored.shape[3]
    columns = (width - 1 + shift - torch.arange(width, device=mirrored.device)).clamp(0, width - 1)
    return mirrored[:, order][..., columns]


def find_maxima(maps: Tensor, blur_sigma: float) -> Tensor:
    """Find the maximum of each heatmap with sub-cell precision, as arXiv:1910.06278 (DARK).

    A map is blurred, which joins the several peaks that a network gives, unless its maximum is close to the
    border, towards which a blur would move it. The logarithm of a Gaussian is a parabola: its maximum follows
    from the first and second derivatives at the highest cell.

    Args:
        maps: (N, A, h, w) float32.
        blur_sigma: of the blur, cells.

    Returns:
        (N, A, 3) float32: x and y in cells, and the highest value before the blur.
    """
    height, width = maps.shape[2:]
    scores, cells = maps.flatten(2).max(2)
    rows, columns = cells // width, cells % width
    border = torch.stack([rows, height - 1 - rows, columns, width - 1 - columns]).amin(0)
    is_inside = border >= BORDER * blur_sigma
    maps = torch.where(is_inside[..., None, None], blur(maps.clamp(min=0), blur_sigma), maps)
    peaks, cells = maps.flatten(2).max(2)
    rows, columns = cells // width, cells % width
    window = torch.arange(3, device=maps.device)
    padded_width = width + 2
    first = rows * padded_width + columns
    neighbors = first[..., None, None] + window[:, None] * padded_width + window
    padded = functional.pad(maps, (1, 1, 1, 1), mode="replicate").flatten(2)
    values = padded.gather(2, neighbors.flatten(2)).unflatten(2, (3, 3))
    floor = (peaks * MIN_NEIGHBOR_RATIO).clamp(min=torch.finfo(maps.dtype).tiny)
    offset_x, offset_y = _taylor_offset(torch.maximum(values, floor[..., None, None]).log())
    return torch.stack([columns + offset_x, rows + offset_y, scores], 2)


def blur(maps: Tensor, sigma: float) -> Tensor:
    """Blur maps (N, A, h, w) with a Gaussian of `sigma` cells; they are continued by their border cells."""
    radius = math.ceil(BLUR_RADIUS * sigma)
    distances = torch.arange(-radius, radius + 1, device=maps.device, dtype=maps.dtype)
    kernel = torch.exp(-(distances**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum())[None, None, None]
    single = maps.flatten(0, 1)[:, None]
    single = functional.pad(single, (radius, radius, radius, radius), mode="replicate")
    blurred: Tensor = functional.conv2d(functional.conv2d(single, kernel), kernel.mT)[:, 0]
    return blurred.reshape(maps.shape)


def _taylor_offset(log: Tensor) -> tuple[Tensor, Tensor]:
    """Offset of the maximum of a parabola through (..., 3, 3) values, in cells from the middle: x, y.

    It is 0 where the values have no maximum.
    """
    center = log[..., 1, 1]
    dx, dy = (log[..., 1, 2] - log[..., 1, 0]) / 2, (log[..., 2, 1] - log[..., 0, 1]) / 2
    dxx = log[..., 1, 2] - 2 * center + log[..., 1, 0]
    dyy = log[..., 2, 1] - 2 * center + log[..., 0, 1]
    dxy = (log[..., 2, 2] - log[..., 2, 0] - log[..., 0, 2] + log[..., 0, 0]) / 4
    determinant = dxx * dyy - dxy**2
    is_maximum = (determinant > torch.finfo(log.dtype).eps) & (dxx < 0)
    safe = torch.where(is_maximum, determinant, 1.0)
    offsets = (dxy * dy - dyy * dx) / safe, (dxy * dx - dxx * dy) / safe
    x, y = (torch.where(is_maximum, offset, 0.0).clamp(-MAX_OFFSET, MAX_OFFSET) for offset in offsets)
    return x, y


def _check_boxes(boxes_xyxy: np.ndarray) -> np.ndarray:
    boxes = np.asarray(boxes_xyxy, np.float64)
    if boxes.size == 0:
        return boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"boxes: expected shape (P, 4), left, top, right, bottom; got {boxes.shape}")
    if not np.isfinite(boxes).all():
        raise ValueError("boxes: expected finite values, got NaN or infinity")
    return boxes
