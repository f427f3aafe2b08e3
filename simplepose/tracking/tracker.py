"""People frame by frame -> the same people with ids: forecast, compare, assign, remember, tell."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from simplepose.config import TrackingSettings
from simplepose.people import NO_ID, People
from simplepose.skeleton import COCO, Skeleton
from simplepose.tracking import appearance, motion
from simplepose.tracking.association import evidence, near_pairs, similarity
from simplepose.tracking.motion import Forecast, one_euro
from simplepose.tracking.tracks import Sights

LEAST_ALIKE = 0.05
"""Similarity of a pair from which on it is worth weighing."""
SEEN_EVIDENCE, LOST_EVIDENCE = 2.0, 1.0
"""Logarithms of the odds that a track is found which was seen the frame before, and one that was missed."""
LEAST_MARGIN, LEAST_MARGIN_WITH_COLOURS = 4.0, 6.0
"""Evidence by which the assignment must be better than one in which a person has another track, or none:
else one waits for a clearer sight, and the person has no id in this frame."""


class Tracker:
    """Follows people through one video; another video wants another one. For one thread at a time.

    A track is forecast to the frame's time, its body and each joint on it; the people near it are weighed as
    likelihoods (`evidence`), and so are the colours that their bodies show (`colours`). An optimal assignment
    gives sure people to tracks, then faint people to the tracks that are left (as ByteTrack, Zhang et al.
    2022, does). Where another assignment is almost as likely one waits: the person has no id in this frame,
    and the tracks go on unseen. Sure people who fit no track begin one, which has an id once it has been
    seen well enough; who fits a track that went to somebody else is taken for another sight of the same
    body. A track that is missed goes on unseen for `lost_frames`, and whoever fits it then has its id again.

    Args:
        skeleton: whose annotated joints the people have.
        settings: see `config.TrackingSettings`.
    """

    def __init__(self, skeleton: Skeleton = COCO, settings: TrackingSettings | None = None) -> None:
        self.settings = settings or TrackingSettings()
        self._joints, self._bones = len(skeleton.annotated), skeleton.bone_ends
        self._sigmas = np.array(skeleton.sigmas)
        self._time, self._next_id = 0.0, 0
        nobody = self._sights(People.nobody(self._joints), np.zeros(0, np.int64), None)
        self._tracks = motion.begin(nobody, self._sigmas, 0.0)

    def __call__(self, people: People, frames: float = 1.0, image: np.ndarray | None = None) -> People:
        """Give the people of the next frame their ids.

        Args:
            people: in any order, which decides nothing; ids that they have are not read.
            frames: since the last call; more than 1 where frames were left out or lost.
            image: (H, W, 3) uint8 BGR, the frame, for people's colours; without it ids hold less well.

        Returns:
            The same people in the same order, with ids: counted from 0, each given once, never to somebody
            else; or NO_ID, for who is not followed, cannot be told from another for now, or has not been
            seen well enough yet. With `smoothing`, found joints of people with an id are moved; nothing else
            is changed.

        Raises:
            ValueError: people of another skeleton, values that are not finite, no picture of that kind, or no
                time has passed.
        """
        self._check(people, frames, image)
        self._time += frames
        self._forget(frames)
        order = _canonical(people)
        sights = self._sights(people, order, image)
        sure = people.scores[order] >= self.settings.sure_score
        expected = motion.forecast(self._tracks, self._sigmas, self._time)
        missed = self._time - self._tracks.seen > frames
        alike, worth = self._compare(expected, sights, missed)
        rows = _assign(worth, sure)
        known = (alike.max(0, initial=0) >= self.settings.least_similarity) | (rows >= 0)
        rows[_margins(worth, rows) < (LEAST_MARGIN if image is None else LEAST_MARGIN_WITH_COLOURS)] = -1
        self._remember(rows, expected, sights)
        begun = sure & ~known & sights.found.any(1)
        rows[begun] = self._begin(sights.where(begun))
        self._name(rows[rows >= 0])
        ids = np.full(len(people), NO_ID)
        ids[order] = np.append(self._tracks.ids, NO_ID)[rows]  # row -1, of nobody, is the last
        named = ids[order] != NO_ID
        keypoints = self._smoothed(people, order[named], rows[named])
        return People(keypoints, people.scores, ids)

    def _sights(self, people: People, order: np.ndarray, image: np.ndarray | None) -> Sights:
        xy, found = people.keypoints[order, :, :2].astype(np.float64), people.found[order]
        return Sights(xy, found, *appearance.colours_of(image, xy, found, self._bones))

    def _check(self, people: People, frames: float, image: np.ndarray | None) -> None:
        if people.keypoints.shape[1] != self._joints:
            raise ValueError(
                f"{self._joints} joints a person expected, as the tracker's skeleton has; "
                f"got {people.keypoints.shape[1]}"
            )
        if not (np.isfinite(people.keypoints).all() and np.isfinite(people.scores).all()):
            raise ValueError("people to track have keypoints or scores that are not finite numbers")
        if not 0 < frames < np.inf:
            raise ValueError(f"frames since the last call: a number above 0 expected, got {frames}")
        if image is not None and not _is_picture(image):
            raise ValueError(f"a picture (H, W, 3) uint8 expected, got {image.shape} {image.dtype}")

    def _forget(self, frames: float) -> None:
        """Drop the tracks that were missed for too long; in frames that were left out nobody was missed."""
        gone = self._time - self._tracks.seen
        lost = gone - 1 > self.settings.lost_frames
        lost |= gone - frames > self.settings.trust * self._tracks.sightings
        if lost.any():
            self._tracks = self._tracks.where(~lost)

    def _compare(
        self, expected: Forecast, sights: Sights, missed: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """(T, P) how alike tracks and people are, and what speaks for each pair, 0 for what cannot be."""
        alike, worth = np.zeros((2, len(expected.xy), len(sights)))
        pairs, box_weight = near_pairs(expected, sights), self.settings.box_weight
        told = similarity(expected, pairs, self._sigmas, box_weight)
        alike[pairs.rows, pairs.people] = told
        pairs = pairs.where(told > LEAST_ALIKE)
        before = np.where(missed, LOST_EVIDENCE, SEEN_EVIDENCE)[pairs.rows]
        speaks = evidence(expected, pairs, sights.found, box_weight) + before
        speaks += appearance.evidence(self._tracks, sights, pairs)
        worth[pairs.rows, pairs.people] = np.maximum(speaks, 0)
        return alike, worth

    def _remember(self, rows: np.ndarray, expected: Forecast, sights: Sights) -> None:
        """Move the tracks to the people that they were given; rows (P,), -1 for none."""
        kept = rows >= 0
        rows, sights = rows[kept], sights.where(kept)
        tracks, was = self._tracks.where(rows), expected.where(rows)
        after = motion.seen_again(tracks, was, sights, self._sigmas, self._time)
        after.colours, after.colour_sights = appearance.learnt(tracks, sights)
        smooth_xy, smooth_velocity = one_euro(
            sights.xy,
            tracks.smooth_xy,
            tracks.smooth_velocity,
            was.ages,
            was.sizes,
            self.settings.smoothing_cutoff,
            self.settings.smoothing_speed,
        )
        there = sights.found[..., None]
        after.smooth_xy = np.where(there, smooth_xy, tracks.smooth_xy)
        after.smooth_velocity = np.where(there, smooth_velocity, tracks.smooth_velocity)
        self._tracks.replace(rows, after)

    def _smoothed(self, people: People, seen: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """(P, J, 3) keypoints; people `seen` are those of the tracks in `rows`."""
        if not self.settings.smoothing:
            return people.keypoints
        keypoints = people.keypoints.copy()
        there, xy = people.found[seen][..., None], self._tracks.smooth_xy[rows]
        keypoints[seen, :, :2] = np.where(there, xy, keypoints[seen, :, :2])
        return keypoints

    def _begin(self, sights: Sights) -> np.ndarray:
        """Begin a track for each of P people; returns their rows (P,)."""
        first = len(self._tracks)
        self._tracks = self._tracks.followed_by(motion.begin(sights, self._sigmas, self._time))
        return np.arange(first, len(self._tracks))

    def _name(self, rows: np.ndarray) -> None:
        """Give those tracks an id that have none yet and have been seen well enough."""
        sure = self._tracks.sureness[rows] >= self.settings.sure_sights
        fresh = rows[sure & (self._tracks.ids[rows] == NO_ID)]
        self._tracks.ids[fresh] = np.arange(self._next_id, self._next_id + len(fresh))
        self._next_id += len(fresh)


def _is_picture(image: np.ndarray) -> bool:
    return image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and image.size > 0


def _canonical(people: People) -> np.ndarray:
    """(P,) an order, best first, that does not depend on the order in which people come."""
    keys = list(zip((-people.scores).tolist(), people.keypoints.tolist(), strict=True))
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), np.int64)


def _assign(worth: np.ndarray, sure: np.ndarray) -> np.ndarray:
    """The track of each person, -1 for none: what is assigned is worth most in sum, to sure people first.

    Args:
        worth: (T, P) of each pair; 0 for one that cannot be.
        sure: (P,) bool.
    """
    rows = np.full(len(sure), -1)
    for wanted in (sure, ~sure):
        people, free = np.flatnonzero(wanted), np.setdiff1d(np.arange(len(worth)), rows)
        value = worth[np.ix_(free, people)]
        chosen, given = linear_sum_assignment(value, maximize=True)
        kept = value[chosen, given] > 0
        rows[people[given[kept]]] = free[chosen[kept]]
    return rows


def _margins(worth: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(P,) how much less is worth what gives the person's track or person to another pair, at least.

    Args:
        worth: (T, P) as `_assign` takes it.
        rows: (P,) what it gave.
    """
    given = np.flatnonzero(rows >= 0)
    taken, margins = rows[given], np.full(len(rows), np.inf)
    if not len(given):
        return margins
    own, crossed = worth[taken, given], worth[np.ix_(taken, given)]
    swapped = own[:, None] + own - crossed - crossed.T
    swapped[np.maximum(crossed, crossed.T) <= 0] = np.inf
    np.fill_diagonal(swapped, np.inf)
    left = worth[:, given]
    left[taken] = 0
    margins[given] = np.minimum(swapped.min(1), own - left.max(0))
    return margins
