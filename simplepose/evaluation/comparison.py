"""Compare two results on the same images: differences of AP with bootstrap intervals, and changed images."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from pycocotools.coco import COCO as Annotations

from simplepose.evaluation import coco_eval
from simplepose.evaluation.coco_eval import Row
from simplepose.skeleton import COCO

# Metrics that are compared -> the range of areas and the OKS thresholds (slice of 0.50:0.95) of each.
COMPARED_METRICS = {
    "AP": ("all", slice(None)),
    "AP50": ("all", slice(0, 1)),
    "AP75": ("all", slice(5, 6)),
    "APM": ("medium", slice(None)),
    "APL": ("large", slice(None)),
}

# Bootstrap samples of the images, and the fraction of them that the interval contains.
SAMPLES, CONFIDENCE = 1000, 0.95

# OKS 0.50:0.05:0.95
OKS_THRESHOLDS = 10

EPSILON = float(np.spacing(1))


@dataclass(frozen=True)
class Difference:
    """A metric of two results.

    Attributes:
        first, second: values in [0, 1]; pycocotools' -1 if no such people are annotated.
        low, high: bootstrap interval of second - first over the images; 0 where a value is -1.
    """

    first: float
    second: float
    low: float
    high: float

    @property
    def is_significant(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, eq=False)
class _Detections:
    """All detections of an evaluation for one range of areas, best score first.

    Attributes:
        image: (D,) index of the image of each detection.
        positive, negative: (T, D) whether a detection is a true or a false positive at each OKS threshold.
        people: (I,) number of annotated people of each image.
    """

    image: np.ndarray
    positive: np.ndarray
    negative: np.ndarray
    people: np.ndarray


class ImageWeightedAP:
    """AP of a result for any weights of the images; equal weights give pycocotools' AP.

    Args:
        truth: as `coco_eval.read_annotations` returns them.
        rows: the found people in COCO's result format.
        image_ids: the evaluated images; None: all.
        sigmas: k/2 of object keypoint similarity for each keypoint.

    Attributes:
        image_ids: the images, in the order of the weights.
        curves: (T, R) precision of the whole result at each OKS threshold and recall; -1 without people.
    """

    def __init__(
        self,
        truth: Annotations,
        rows: Sequence[Row],
        image_ids: Collection[int] | None = None,
        sigmas: Sequence[float] = COCO.sigmas,
    ) -> None:
        evaluator = coco_eval.evaluate_images(truth, rows, image_ids, sigmas)
        self.image_ids = list(evaluator.params.imgIds)
        self._recalls = evaluator.params.recThrs
        self.curves: np.ndarray = evaluator.eval["precision"][:, :, 0, 0, 0]
        count = len(self.image_ids)
        self._areas = {
            label: _detections(evaluator.evalImgs[index * count : (index + 1) * count])
            for index, label in enumerate(evaluator.params.areaRngLbl)
        }

    def __call__(self, weights: np.ndarray) -> dict[str, float]:
        """Compute COMPARED_METRICS; `weights` (I,) are numbers of copies of each image."""
        precisions = {area: self._precisions(self._areas[area], weights) for area in self._areas}
        return {
            name: float(precisions[area][thresholds].mean())
            for name, (area, thresholds) in COMPARED_METRICS.items()
        }

    def per_image(self) -> np.ndarray:
        """Compute the AP of each image alone, (I,); -1 without annotated people."""
        detections = self._areas["all"]
        order = np.argsort(detections.image, kind="stable")
        bounds = np.searchsorted(detections.image[order], np.arange(len(self.image_ids) + 1))
        values = []
        for image, people in enumerate(detections.people):
            chosen = order[bounds[image] : bounds[image + 1]]
            alone = _Detections(
                np.zeros(len(chosen), int),
                detections.positive[:, chosen],
                detections.negative[:, chosen],
                np.array([people]),
            )
            values.append(self._precisions(alone, np.ones(1)).mean())
        return np.array(values)

    def _precisions(self, detections: _Detections, weights: np.ndarray) -> np.ndarray:
        """Compute the mean interpolated precision at each OKS threshold, (T,); -1 without people."""
        people = (detections.people * weights).sum()
        if people == 0:
            return np.full(len(detections.positive), -1.0)
        copies = weights[detections.image]
        true, false = (detections.positive * copies).cumsum(1), (detections.negative * copies).cumsum(1)
        recall, precision = true / people, true / (true + false + EPSILON)
        envelope = np.maximum.accumulate(precision[:, ::-1], 1)[:, ::-1]
        padded = np.concatenate([envelope, np.zeros((len(envelope), 1))], 1)
        means = [
            row[np.searchsorted(reached, self._recalls)].mean()
            for row, reached in zip(padded, recall, strict=True)
        ]
        return np.array(means)


def compare(
    first: ImageWeightedAP, second: ImageWeightedAP, samples: int = SAMPLES, seed: int = 0
) -> dict[str, Difference]:
    """Compare two results of the same images.

    Each bootstrap sample draws as many images as there are, with replacement, the same ones for both results.

    Raises:
        ValueError: the results are of different images.
    """
    if first.image_ids != second.image_ids:
        raise ValueError(
            f"results of the same images expected, got {len(first.image_ids)} and {len(second.image_ids)} "
            "images that differ; evaluate both with the same --annotations, --split and --limit"
        )
    count = len(first.image_ids)
    before, after = first(np.ones(count)), second(np.ones(count))
    rng = np.random.default_rng(seed)
    drawn: dict[str, list[float]] = {name: [] for name in COMPARED_METRICS}
    for _ in range(samples):
        weights = np.bincount(rng.integers(count, size=count), minlength=count)
        one, other = first(weights), second(weights)
        for name, differences in drawn.items():
            if one[name] >= 0 and other[name] >= 0:
                differences.append(other[name] - one[name])
    tails = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
    intervals = {name: np.quantile(values or [0.0], tails) for name, values in drawn.items()}
    return {
        name: Difference(before[name], after[name], *map(float, intervals[name])) for name in COMPARED_METRICS
    }


def _detections(images: Sequence[dict[str, np.ndarray] | None]) -> _Detections:
    """Join pycocotools' matches of the images for one range of areas."""
    present = [(index, image) for index, image in enumerate(images) if image is not None]
    people = np.zeros(len(images))
    for index, image in present:
        people[index] = (np.asarray(image["gtIgnore"]) == 0).sum()
    if not present:
        empty = np.zeros((OKS_THRESHOLDS, 0))
        return _Detections(np.zeros(0, int), empty, empty, people)
    scores = np.concatenate([image["dtScores"] for _, image in present])
    order = np.argsort(-scores, kind="mergesort")
    matched = np.concatenate([image["dtMatches"] for _, image in present], 1)[:, order] != 0
    ignored = np.concatenate([image["dtIgnore"] for _, image in present], 1)[:, order] != 0
    owner = np.concatenate([np.full(len(image["dtScores"]), index) for index, image in present])[order]
    return _Detections(owner, matched & ~ignored, ~matched & ~ignored, people)
