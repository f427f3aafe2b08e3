"""Compare two results on the same images: differences of AP with bootstrap intervals, and changed images."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from pycocotools.coco import COCO as Annotations

from simplepose.evaluation import coco_eval
from simplepose.evaluation.coco_eval import AP_THRESHOLDS, Row
from simplepose.skeleton import COCO

# Metrics that are compared -> the range of areas and the OKS thresholds (slice of 0.50:0.95) of each.
COMPARED_METRICS = {
    **{name: ("all", thresholds) for name, thresholds in AP_THRESHOLDS.items()},
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


@dataclass(frozen=True, eq=False)
class _Curve:
    """The true positives at one OKS threshold, best score first. Precision rises at them only.

    Attributes:
        image: (P,) index of the image of each.
        rank: (P,) number of `_Curves.negatives` with a higher score.
        excluded: (E,) images of those `_Curves.negatives` that are not false positives at this threshold.
        excluded_rank: (P,) number of these with a higher score.
    """

    image: np.ndarray
    rank: np.ndarray
    excluded: np.ndarray
    excluded_rank: np.ndarray


class _Curves:
    """The curves of precision over recall for one range of areas, for any weights of the images.

    The false positives of all thresholds are nearly the same, and many more than the true positives. Those of
    any threshold are counted once, and corrected at each threshold.

    Attributes:
        people: (I,) number of annotated people of each image.
        negatives: (N,) images of the detections that are false positives at a threshold, best score first.
        curves: of each OKS threshold.
    """

    def __init__(self, detections: _Detections) -> None:
        self.people = detections.people
        anywhere = detections.negative.any(0)
        self.negatives = detections.image[anywhere]
        self.curves = []
        for positive, negative in zip(detections.positive, detections.negative, strict=True):
            excluded = anywhere & ~negative
            ranks = [np.flatnonzero(chosen) for chosen in (positive, anywhere, excluded)]
            self.curves.append(
                _Curve(
                    detections.image[positive],
                    np.searchsorted(ranks[1], ranks[0]),
                    detections.image[excluded],
                    np.searchsorted(ranks[2], ranks[0]),
                )
            )

    def precisions(self, weights: np.ndarray, recalls: np.ndarray) -> np.ndarray:
        """Compute the mean interpolated precision at each OKS threshold, (T,); -1 without people."""
        people = (self.people * weights).sum()
        if people == 0:
            return np.full(len(self.curves), -1.0)
        negatives = _count(weights[self.negatives])
        means = []
        for curve in self.curves:
            false = negatives[curve.rank] - _count(weights[curve.excluded])[curve.excluded_rank]
            means.append(_mean_precision(weights[curve.image].cumsum(), false, people, recalls))
        return np.array(means)


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
        detections = [
            _detections(evaluator.evalImgs[start : start + count])
            for start in range(0, len(evaluator.evalImgs), count)
        ]
        self._all = detections[0]
        self._areas = dict(zip(evaluator.params.areaRngLbl, map(_Curves, detections), strict=True))

    def __call__(self, weights: np.ndarray) -> dict[str, float]:
        """Compute COMPARED_METRICS; `weights` (I,) are numbers of copies of each image."""
        precisions = {area: curves.precisions(weights, self._recalls) for area, curves in self._areas.items()}
        return {
            name: float(precisions[area][thresholds].mean())
            for name, (area, thresholds) in COMPARED_METRICS.items()
        }

    def per_image(self) -> np.ndarray:
        """Compute the AP of each image alone, (I,); -1 without annotated people."""
        order = np.argsort(self._all.image, kind="stable")
        bounds = np.searchsorted(self._all.image[order], np.arange(len(self.image_ids) + 1))
        values = np.full(len(self.image_ids), -1.0)
        for image in np.flatnonzero(self._all.people):
            chosen = order[bounds[image] : bounds[image + 1]]
            positive, negative = self._all.positive[:, chosen], self._all.negative[:, chosen]
            counts = positive.cumsum(1), negative.cumsum(1)
            values[image] = np.mean(
                [
                    _mean_precision(true[found], false[found], self._all.people[image], self._recalls)
                    for found, true, false in zip(positive, *counts, strict=True)
                ]
            )
        return values


def _count(copies: np.ndarray) -> np.ndarray:
    """(N,) copies -> (N + 1,) sum of the first 0 to N of them."""
    counts = np.zeros(len(copies) + 1, copies.dtype)
    np.cumsum(copies, out=counts[1:])
    return counts


def _mean_precision(true: np.ndarray, false: np.ndarray, people: float, recalls: np.ndarray) -> float:
    """Compute the mean of the interpolated precision at these recalls, as pycocotools does.

    Args:
        true, false: (P,) numbers of true and of false positives up to each true positive, best score first.
        people: number of annotated people.
        recalls: (R,) in [0, 1].
    """
    precision, envelope = true / (true + false + EPSILON), np.zeros(len(true) + 1)
    np.maximum.accumulate(precision[::-1], out=envelope[-2::-1])
    return float(envelope[np.searchsorted(true / people, recalls)].sum() / len(recalls))


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
        empty = np.zeros((OKS_THRESHOLDS, 0), bool)
        return _Detections(np.zeros(0, int), empty, empty, people)
    scores = np.concatenate([image["dtScores"] for _, image in present])
    order = np.argsort(-scores, kind="mergesort")
    matched = np.concatenate([image["dtMatches"] for _, image in present], 1)[:, order] != 0
    ignored = np.concatenate([image["dtIgnore"] for _, image in present], 1)[:, order] != 0
    owner = np.concatenate([np.full(len(image["dtScores"]), index) for index, image in present])[order]
    return _Detections(owner, matched & ~ignored, ~matched & ~ignored, people)
