"""Why an AP is not higher: the errors of keypoints, scores and people, and the AP that each kind costs.

The method is that of Ronchi and Perona, "Benchmarking and Error Diagnosis in Multi-Instance Pose Estimation",
ICCV 2017: found people are matched to annotated people; each labeled keypoint of a match is good or has one
kind of error; a kind of error costs the AP that its correction alone would gain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools.coco import COCO as Annotations

from simplepose.evaluation import coco_eval
from simplepose.evaluation.coco_eval import MAX_PEOPLE, Row

# Kinds of keypoint errors, in the order in which they are tested; "good" is no error.
KEYPOINT_ERRORS = ("jitter", "inversion", "swap", "miss")
# Kinds of errors of whole people.
PERSON_ERRORS = ("score", "background", "missed")

# Object keypoint similarity (OKS) at which a found person is matched to an annotated person.
MATCH_OKS = 0.1
# Similarity of one keypoint, exp(-d^2 / (2 area (2 sigma)^2)): good from the first, jitter from the second.
GOOD_SIMILARITY, NEAR_SIMILARITY = 0.85, 0.5

# People of at least this area are large, pixels; the others are medium.
LARGE_AREA = 96**2
# Bounding boxes with a larger intersection over union than this are crowded.
CROWDED_IOU = 0.1


@dataclass(frozen=True)
class Match:
    """A found person and the annotated person that it is matched to.

    Attributes:
        row: index of the found person in the result rows.
        annotation: id of the annotated person.
        oks: object keypoint similarity of both.
        errors: for each keypoint one of KEYPOINT_ERRORS or "good"; "" if it is not labeled.
    """

    row: int
    annotation: int
    oks: float
    errors: tuple[str, ...]


@dataclass(frozen=True)
class Matches:
    """All matches of an evaluation.

    Attributes:
        matched: the matches.
        background: indices of rows that match neither a person nor an ignored region.
        missed: ids of annotated people without a match.
    """

    matched: tuple[Match, ...]
    background: tuple[int, ...]
    missed: tuple[int, ...]


def match_people(
    truth: Annotations,
    rows: Sequence[Row],
    sigmas: Sequence[float],
    flip: Sequence[int],
    image_ids: Sequence[Any] | None = None,
) -> Matches:
    """Match found people to annotated people, best score first, and classify the errors of their keypoints.

    Args:
        truth: as `coco_eval.read_annotations` returns them.
        rows: the found people in COCO's result format.
        sigmas: k/2 of object keypoint similarity for each keypoint.
        flip: for each keypoint the index of its mirror image: the left wrist of the right wrist.
        image_ids: the evaluated images; None: all.
    """
    by_image: dict[Any, list[int]] = {}
    for index, row in enumerate(rows):
        by_image.setdefault(row["image_id"], []).append(index)
    matched: list[Match] = []
    background: list[int] = []
    missed: list[int] = []
    for image_id in truth.imgs if image_ids is None else image_ids:
        image = _ImagePeople(truth.imgToAnns[image_id], np.asarray(sigmas), np.asarray(flip))
        indices = sorted(by_image.get(image_id, ()), key=lambda index: -rows[index]["score"])[:MAX_PEOPLE]
        found = np.array([rows[index]["keypoints"] for index in indices], float).reshape(-1, len(sigmas), 3)
        pairs, unmatched = image.match(found)
        matched += [
            Match(indices[person], image.ids[target], oks, image.classify(found[person], target))
            for person, target, oks in pairs
        ]
        background += [indices[person] for person in unmatched]
        taken = {target for _, target, _ in pairs}
        missed += [identifier for target, identifier in enumerate(image.ids) if target not in taken]
    return Matches(tuple(matched), tuple(background), tuple(missed))


class _ImagePeople:
    """The annotated people of one image, those with labeled keypoints; the others are ignored regions."""

    def __init__(self, annotations: Sequence[Row], sigmas: np.ndarray, flip: np.ndarray) -> None:
        people = [a for a in annotations if a["num_keypoints"] > 0 and not a["iscrowd"]]
        others = [a for a in annotations if a["num_keypoints"] == 0 or a["iscrowd"]]
        self.ids = [int(person["id"]) for person in people]
        self._joints = np.array([a["keypoints"] for a in people], float).reshape(-1, len(sigmas), 3)
        self._spread = np.array([a["area"] for a in people], float)[:, None] * 2 * (2 * sigmas) ** 2
        self._regions = np.array([a["bbox"] for a in others], float).reshape(-1, 4)
        self._flip = flip

    def match(self, found: np.ndarray) -> tuple[list[tuple[int, int, float]], list[int]]:
        """Match greedily in the order of `found`, (D, J, 3).

        Returns:
            (index in `found`, index of the annotated person, OKS) of each match; and the unmatched of `found`
            that lie in no ignored region.
        """
        oks = self._oks(found)
        pairs, unmatched, free = [], [], np.ones(len(self.ids), bool)
        for person in range(len(found)):
            values = np.where(free, oks[person], -1)
            target = int(values.argmax()) if len(values) else -1
            if target >= 0 and values[target] >= MATCH_OKS:
                free[target] = False
                pairs.append((person, target, float(values[target])))
            elif not self._is_ignored(found[person]):
                unmatched.append(person)
        return pairs, unmatched

    def classify(self, found: np.ndarray, target: int) -> tuple[str, ...]:
        """Classify the error of each keypoint of a found person, (J, 3), matched to a target."""
        own = self._similarity(found, self._joints[target], self._spread[target])
        mirrored = self._joints[target][self._flip]
        inverted = self._similarity(found, mirrored, self._spread[target])
        inverted[self._flip == np.arange(len(found))] = 0
        others = [index for index in range(len(self.ids)) if index != target]
        swapped = np.zeros(len(found))
        for index in others:
            for joints in (self._joints[index], self._joints[index][self._flip]):
                swapped = np.maximum(swapped, self._similarity(found, joints, self._spread[index]))
        kinds = np.select(
            [
                own >= GOOD_SIMILARITY,
                own >= NEAR_SIMILARITY,
                inverted >= NEAR_SIMILARITY,
                swapped >= NEAR_SIMILARITY,
            ],
            ["good", "jitter", "inversion", "swap"],
            "miss",
        )
        return tuple(np.where(self._joints[target][:, 2] > 0, kinds, "").tolist())

    def _oks(self, found: np.ndarray) -> np.ndarray:
        """(D, J, 3) -> (D, G) object keypoint similarity: the mean over the labeled keypoints."""
        if not len(self.ids):
            return np.zeros((len(found), 0))
        squared = ((found[:, None, :, :2] - self._joints[None, :, :, :2]) ** 2).sum(-1)
        similarity = np.exp(-squared / (self._spread + np.spacing(1)))
        labeled = self._joints[..., 2] > 0
        mean: np.ndarray = (similarity * labeled).sum(-1) / labeled.sum(-1)
        return mean

    @staticmethod
    def _similarity(found: np.ndarray, joints: np.ndarray, spread: np.ndarray) -> np.ndarray:
        """(J,) similarity of the keypoints; 0 where one is not found or not labeled."""
        squared = ((found[:, :2] - joints[:, :2]) ** 2).sum(-1)
        present = (joints[:, 2] > 0) & (found[:, :2].any(-1) | (found[:, 2] > 0))
        return np.where(present, np.exp(-squared / (spread + np.spacing(1))), 0)

    def _is_ignored(self, found: np.ndarray) -> bool:
        """Return whether most found keypoints lie in one ignored region, doubled in size as COCO does."""
        x, y, width, height = self._regions.T
        xs, ys = found[found[:, :2].any(-1), :2].T
        inside = (
            (xs >= (x - width / 2)[:, None])
            & (xs <= (x + 1.5 * width)[:, None])
            & (ys >= (y - height / 2)[:, None])
            & (ys <= (y + 1.5 * height)[:, None])
        )
        return bool(inside.size and inside.mean(1).max() > 0.5)


def analyze(
    truth: Annotations,
    rows: Sequence[Row],
    sigmas: Sequence[float],
    flip: Sequence[int],
    names: Sequence[str],
    image_ids: Sequence[Any] | None = None,
) -> dict[str, Any]:
    """Count the errors of each kind, and compute the AP that the correction of each kind alone would gain.

    Args:
        truth, rows, sigmas, flip, image_ids: see `match_people`.
        names: of the keypoints.

    Returns:
        Plain values:
        "gains": for each of KEYPOINT_ERRORS and PERSON_ERRORS, the gain of AP, AP50 and AP75;
        "keypoints": for each keypoint the fraction of each kind among its labeled ones in matched people;
        "sizes", "crowding": the same for medium and large people, and for people alone and crowded;
        "people": numbers of matched, background and missed people.
    """
    matches = match_people(truth, rows, sigmas, flip, image_ids)
    before = coco_eval.evaluate_ap(truth, rows, image_ids, sigmas)
    gains = {}
    for kind in (*KEYPOINT_ERRORS, *PERSON_ERRORS):
        corrected_truth, corrected_rows = correct(truth, rows, matches, kind)
        after = coco_eval.evaluate_ap(corrected_truth, corrected_rows, image_ids, sigmas)
        gains[kind] = {name: after[name] - before[name] for name in after}
    crowded = _crowded_ids(truth)
    return {
        "gains": gains,
        "keypoints": {
            name: _fractions([match.errors[joint] for match in matches.matched])
            for joint, name in enumerate(names)
        },
        "sizes": _group_fractions(
            matches, lambda identifier: "large" if truth.anns[identifier]["area"] > LARGE_AREA else "medium"
        ),
        "crowding": _group_fractions(
            matches, lambda identifier: "crowded" if identifier in crowded else "alone"
        ),
        "people": {
            "matched": len(matches.matched),
            "background": len(matches.background),
            "missed": len(matches.missed),
        },
    }


def correct(
    truth: Annotations, rows: Sequence[Row], matches: Matches, kind: str
) -> tuple[Annotations, list[Row]]:
    """Correct all errors of one kind.

    Keypoint errors move to the annotated position. Of score errors, a matched person's score becomes its OKS
    and a background person's 0. Background people are removed, and so are the annotations of missed people.

    Args:
        truth, rows: see `match_people`, which `matches` is of.
        kind: one of KEYPOINT_ERRORS or PERSON_ERRORS.
    """
    corrected = [dict(row) for row in rows]
    if kind in KEYPOINT_ERRORS:
        for match in matches.matched:
            corrected[match.row]["keypoints"] = _corrected_keypoints(truth, rows, match, kind)
    elif kind == "score":
        for index in matches.background:
            corrected[index]["score"] = 0.0
        for match in matches.matched:
            corrected[match.row]["score"] = match.oks
    elif kind == "background":
        background = set(matches.background)
        corrected = [row for index, row in enumerate(corrected) if index not in background]
    elif kind == "missed":
        missed = set(matches.missed)
        kept = [a for a in truth.dataset["annotations"] if a["id"] not in missed]
        truth = coco_eval.index_annotations({**truth.dataset, "annotations": kept})
    else:
        expected = ", ".join((*KEYPOINT_ERRORS, *PERSON_ERRORS))
        raise ValueError(f"error kind: expected one of {expected}, got {kind!r}")
    return truth, corrected


def _corrected_keypoints(truth: Annotations, rows: Sequence[Row], match: Match, kind: str) -> list[float]:
    keypoints = np.array(rows[match.row]["keypoints"], float).reshape(-1, 3)
    annotated = np.array(truth.anns[match.annotation]["keypoints"], float).reshape(-1, 3)
    wrong = np.array(match.errors) == kind
    keypoints[wrong, :2] = annotated[wrong, :2]
    values: list[float] = keypoints.ravel().tolist()
    return values


def _fractions(errors: Sequence[str]) -> dict[str, float]:
    labeled = [error for error in errors if error]
    return {kind: labeled.count(kind) / max(1, len(labeled)) for kind in ("good", *KEYPOINT_ERRORS)}


def _group_fractions(matches: Matches, group: Callable[[int], str]) -> dict[str, dict[str, float]]:
    errors: dict[str, list[str]] = {}
    for match in matches.matched:
        errors.setdefault(group(match.annotation), []).extend(match.errors)
    return {name: _fractions(errors[name]) for name in sorted(errors)}


def _crowded_ids(truth: Annotations) -> set[int]:
    """Return the ids of annotated people whose bounding box overlaps another person's."""
    crowded = set()
    for people in truth.imgToAnns.values():
        boxes = np.array([a["bbox"] for a in people], float).reshape(-1, 4)
        overlaps = coco_eval.box_ious(boxes)
        np.fill_diagonal(overlaps, 0)
        crowded |= {a["id"] for a, row in zip(people, overlaps, strict=True) if row.max() > CROWDED_IOU}
    return crowded
