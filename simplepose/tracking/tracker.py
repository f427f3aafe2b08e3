"""Tracker: gives the people of successive frames ids that stay with each person."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from simplepose.config import TrackingSettings
from simplepose.people import NO_ID, People
from simplepose.skeleton import COCO, Skeleton
from simplepose.tracking import appearance, motion
from simplepose.tracking.association import evidence, find_candidate_pairs, similarity
from simplepose.tracking.motion import Forecast, one_euro
from simplepose.tracking.tracks import Detections

# Minimum similarity of a pair of a track and a person to be considered.
MIN_PAIR_SIMILARITY = 0.05
# Prior log odds that a track is found again: one seen in the previous frame, and one missed there.
RECENT_TRACK_EVIDENCE, MISSED_TRACK_EVIDENCE = 2.0, 1.0
# Minimum evidence by which the assignment must beat any in which a person has another track or none. Below it
# the person gets no id in this frame.
MIN_MARGIN, MIN_MARGIN_WITH_COLORS = 4.0, 6.0


class Tracker:
    """Track people through one video. Use a new instance for each video, and from one thread at a time.

    Each track's body and joints are forecast to the time of the frame. Nearby people are compared with the
    forecast by likelihood ratios of positions (`association.evidence`) and colors
    (`appearance.color_evidence`). An optimal assignment matches confident people to tracks, then low-score
    people to the remaining tracks (as in ByteTrack, Zhang et al. 2022). If another assignment is almost as
    likely, the person gets no id in this frame, and the tracks continue without an observation.

    A confident person who matches no track starts a new one, which gets an id once enough of the body was
    observed. A person who matches a track that was assigned to another person is a duplicate detection of the
    same body. A missed track continues for `max_lost_frames`; a person who matches it within that time gets
    its id again.

    Args:
        skeleton: the skeleton whose annotated joints the people have.
        settings: see `config.TrackingSettings`.
    """

    def __init__(self, skeleton: Skeleton = COCO, settings: TrackingSettings | None = None) -> None:
        self.settings = settings or TrackingSettings()
        self._joints, self._bones = len(skeleton.annotated), skeleton.bone_ends
        self._sigmas = np.array(skeleton.sigmas)
        self._time, self._next_id = 0.0, 0
        no_people = self._build_detections(People.empty(self._joints), np.zeros(0, np.int64), None)
        self._tracks = motion.start_tracks(no_people, self._sigmas, 0.0)

    def __call__(self, people: People, frames: float = 1.0, image: np.ndarray | None = None) -> People:
        """Assign ids to the people of the next frame.

        Args:
            people: in any order, which has no effect on the ids; their own ids are ignored.
            frames: frames since the last call; > 1 if frames were skipped or lost.
            image: (H, W, 3) uint8 BGR frame, for color appearance; without it ids are less stable.

        Returns:
            The same people in the same order, with ids. Ids count from 0 and are never reused for another
            person. NO_ID marks a person who is not tracked, is ambiguous in this frame, or was not observed
            well enough yet. With `smoothing`, the found joints of people with an id are moved. Nothing else
            is changed.

        Raises:
            ValueError: the people have another skeleton or non-finite values, the image has the wrong shape
                or dtype, or no time has passed.
        """
        self._validate(people, frames, image)
        self._time += frames
        self._remove_lost_tracks(frames)
        order = _canonical_order(people)
        detections = self._build_detections(people, order, image)
        is_confident = people.scores[order] >= self.settings.confident_score
        expected = motion.forecast(self._tracks, self._sigmas, self._time)
        was_missed = self._time - self._tracks.last_seen > frames
        similarities, pair_scores = self._score_pairs(expected, detections, was_missed)
        rows = _assign_tracks(pair_scores, is_confident)
        matches_track = (similarities.max(0, initial=0) >= self.settings.min_similarity) | (rows >= 0)
        rows[
            _assignment_margins(pair_scores, rows) < (MIN_MARGIN if image is None else MIN_MARGIN_WITH_COLORS)
        ] = -1
        self._update_tracks(rows, expected, detections)
        is_new = is_confident & ~matches_track & detections.found.any(1)
        rows[is_new] = self._start_tracks(detections.select(is_new))
        self._assign_ids(rows[rows >= 0])
        ids = np.full(len(people), NO_ID)
        ids[order] = np.append(self._tracks.ids, NO_ID)[rows]  # row -1 (no track) is the last one
        has_id = ids[order] != NO_ID
        keypoints = self._smooth_keypoints(people, order[has_id], rows[has_id])
        return People(keypoints, people.scores, ids)

    def _build_detections(self, people: People, order: np.ndarray, image: np.ndarray | None) -> Detections:
        xy, found = people.keypoints[order, :, :2].astype(np.float64), people.found[order]
        return Detections(xy, found, *appearance.sample_colors(image, xy, found, self._bones))

    def _validate(self, people: People, frames: float, image: np.ndarray | None) -> None:
        if people.keypoints.shape[1] != self._joints:
            raise ValueError(
                f"expected people with {self._joints} joints, as in the tracker's skeleton, "
                f"got {people.keypoints.shape[1]}"
            )
        if not (np.isfinite(people.keypoints).all() and np.isfinite(people.scores).all()):
            raise ValueError("people to track: expected finite keypoints and scores, got NaN or infinity")
        if not 0 < frames < np.inf:
            raise ValueError(f"frames since the last call: expected a finite number > 0, got {frames}")
        if image is not None and not _is_bgr_image(image):
            raise ValueError(
                f"expected an image of shape (H, W, 3) and dtype uint8, got {image.shape} {image.dtype}"
            )

    def _remove_lost_tracks(self, frames: float) -> None:
        """Remove tracks that were missed for too long. Skipped frames do not count as missed."""
        elapsed = self._time - self._tracks.last_seen
        is_lost = elapsed - 1 > self.settings.max_lost_frames
        is_lost |= elapsed - frames > self.settings.max_lost_ratio * self._tracks.observation_counts
        if is_lost.any():
            self._tracks = self._tracks.select(~is_lost)

    def _score_pairs(
        self, expected: Forecast, detections: Detections, was_missed: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Compute the similarity of and the evidence for each pair: (T, P), 0 for impossible pairs."""
        similarities, scores = np.zeros((2, len(expected.xy), len(detections)))
        pairs, box_weight = find_candidate_pairs(expected, detections), self.settings.box_weight
        pair_similarities = similarity(expected, pairs, self._sigmas, box_weight)
        similarities[pairs.track_rows, pairs.person_rows] = pair_similarities
        pairs = pairs.select(pair_similarities > MIN_PAIR_SIMILARITY)
        prior = np.where(was_missed, MISSED_TRACK_EVIDENCE, RECENT_TRACK_EVIDENCE)[pairs.track_rows]
        pair_scores = evidence(expected, pairs, detections.found, box_weight) + prior
        pair_scores += appearance.color_evidence(self._tracks, detections, pairs)
        scores[pairs.track_rows, pairs.person_rows] = np.maximum(pair_scores, 0)
        return similarities, scores

    def _update_tracks(self, rows: np.ndarray, expected: Forecast, detections: Detections) -> None:
        """Update the tracks with the people assigned to them; `rows` is (P,), -1 for no track."""
        is_matched = rows >= 0
        rows, detections = rows[is_matched], detections.select(is_matched)
        tracks, forecasts = self._tracks.select(rows), expected.select(rows)
        updated = motion.update(tracks, forecasts, detections, self._sigmas, self._time)
        updated.colors, updated.color_counts = appearance.update_colors(tracks, detections)
        smooth_xy, smooth_velocity = one_euro(
            detections.xy,
            tracks.smooth_xy,
            tracks.smooth_velocity,
            forecasts.ages,
            forecasts.sizes,
            self.settings.smoothing_cutoff,
            self.settings.smoothing_speed,
        )
        found = detections.found[..., None]
        updated.smooth_xy = np.where(found, smooth_xy, tracks.smooth_xy)
        updated.smooth_velocity = np.where(found, smooth_velocity, tracks.smooth_velocity)
        self._tracks.replace(rows, updated)

    def _smooth_keypoints(self, people: People, person_rows: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Smooth the keypoints of `person_rows`, which belong to the tracks in `rows`: (P, J, 3)."""
        if not self.settings.smoothing:
            return people.keypoints
        keypoints: np.ndarray = people.keypoints.copy()
        found, xy = people.found[person_rows][..., None], self._tracks.smooth_xy[rows]
        keypoints[person_rows, :, :2] = np.where(found, xy, keypoints[person_rows, :, :2])
        return keypoints

    def _start_tracks(self, detections: Detections) -> np.ndarray:
        """Start a track for each of P people and return their rows (P,)."""
        first = len(self._tracks)
        self._tracks = self._tracks.concatenate(motion.start_tracks(detections, self._sigmas, self._time))
        return np.arange(first, len(self._tracks))

    def _assign_ids(self, rows: np.ndarray) -> None:
        """Give an id to each of these tracks that has none and was observed well enough."""
        is_confident = self._tracks.confidence[rows] >= self.settings.min_observations
        new_rows = rows[is_confident & (self._tracks.ids[rows] == NO_ID)]
        self._tracks.ids[new_rows] = np.arange(self._next_id, self._next_id + len(new_rows))
        self._next_id += len(new_rows)


def _is_bgr_image(image: np.ndarray) -> bool:
    return image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and image.size > 0


def _canonical_order(people: People) -> np.ndarray:
    """Sort people by score, highest first, independently of their input order: (P,) indices."""
    keys = list(zip((-people.scores).tolist(), people.keypoints.tolist(), strict=True))
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), np.int64)


def _assign_tracks(scores: np.ndarray, is_confident: np.ndarray) -> np.ndarray:
    """Assign people to tracks with the maximum total score, confident people first.

    Args:
        scores: (T, P) score of each pair; 0 if the pair is impossible.
        is_confident: (P,) bool.

    Returns:
        (P,) row of each person's track, -1 for none.
    """
    rows = np.full(len(is_confident), -1)
    for selected in (is_confident, ~is_confident):
        person_rows, free_rows = np.flatnonzero(selected), np.setdiff1d(np.arange(len(scores)), rows)
        free_scores = scores[np.ix_(free_rows, person_rows)]
        row_indices, person_indices = linear_sum_assignment(free_scores, maximize=True)
        is_valid = free_scores[row_indices, person_indices] > 0
        rows[person_rows[person_indices[is_valid]]] = free_rows[row_indices[is_valid]]
    return rows


def _assignment_margins(scores: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Compute how much lower the score is of the best alternative to each person's assignment: (P,).

    An alternative exchanges the tracks of two people or leaves the person's track to an unassigned one.

    Args:
        scores: (T, P) as for `_assign_tracks`.
        rows: (P,) result of `_assign_tracks`.
    """
    matched = np.flatnonzero(rows >= 0)
    matched_rows, margins = rows[matched], np.full(len(rows), np.inf)
    if not len(matched):
        return margins
    matched_scores, cross_scores = scores[matched_rows, matched], scores[np.ix_(matched_rows, matched)]
    swap_loss = matched_scores[:, None] + matched_scores - cross_scores - cross_scores.T
    swap_loss[np.maximum(cross_scores, cross_scores.T) <= 0] = np.inf
    np.fill_diagonal(swap_loss, np.inf)
    unmatched_scores = scores[:, matched]
    unmatched_scores[matched_rows] = 0
    margins[matched] = np.minimum(swap_loss.min(1), matched_scores - unmatched_scores.max(0))
    return margins
