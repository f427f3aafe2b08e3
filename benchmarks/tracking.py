"""How well ids hold over frames, and what that costs, on films of drawn people who cross and hide each other.

    OMP_NUM_THREADS=1 python benchmarks/tracking.py [--people 5 15 30] [--seeds 5] [--first-seed 0] [--quick]

What a network finds is imitated: visible joints with noise and gaps, some hidden ones guessed, people
missed, false people. Each film is tracked by `Tracker`, with the drawn frames and without, and in the same
run by the baseline: each person, best first, goes on with the id whose last pose is nearest by OKS, with no
motion and no assignment, ids as long kept. MOTA and IDF1 (of people of whom 3 joints or more are visible, at
OKS 0.5) and switches are of all films together, then the share of films with at most one switch; times are
of the tracking alone, medians over the frames. --quick: one film of 100 frames.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import fields

import finding
import numpy as np
from synthetic_video import AREA, Film, Shot

from simplepose.config import TrackingSettings
from simplepose.evaluation.tracking_metrics import Judged, TrackScores, oks, track_scores
from simplepose.people import NO_ID, People
from simplepose.skeleton import COCO
from simplepose.tracking import Tracker

SIGMAS = np.array(COCO.sigmas)
LEAST_JOINTS = 3
Track = Callable[[People, np.ndarray], People]
"""People of a frame, and its picture -> the people with ids."""


class Greedy:
    """The baseline, with the same settings as `Tracker` where they mean the same."""

    def __init__(self) -> None:
        self.settings = TrackingSettings()
        self.poses: dict[int, tuple[np.ndarray, int]] = {}
        self.frame, self.next_id = 0, 0

    def __call__(self, people: People, _: np.ndarray) -> People:
        self.frame += 1
        kept = self.frame - self.settings.lost_frames - 1
        self.poses = {name: told for name, told in self.poses.items() if told[1] >= kept}
        names = list(self.poses)
        poses = np.array([self.poses[name][0] for name in names]).reshape(-1, *people.keypoints.shape[1:])
        tall = _heights(poses)
        alike = oks(poses, AREA * tall**2, people.keypoints[..., :2], people.found, SIGMAS)
        ids = np.full(len(people), NO_ID)
        for person in np.argsort(-people.scores, kind="stable"):
            best = int(alike[:, person].argmax()) if len(names) else -1
            if best >= 0 and alike[best, person] >= self.settings.least_similarity:
                ids[person] = names[best]
                alike[best] = 0
            elif people.scores[person] >= self.settings.sure_score:
                ids[person], self.next_id = self.next_id, self.next_id + 1
            if ids[person] != NO_ID:
                self.poses[int(ids[person])] = people.keypoints[person], self.frame
        return People(people.keypoints, people.scores, ids)


def _heights(poses: np.ndarray) -> np.ndarray:
    boxes = People(poses, np.ones(len(poses))).boxes_xyxy
    return (boxes[:, 2:] - boxes[:, :2]).max(1)


def judged(shot: Shot, tracked: People) -> Judged:
    """One frame of a film, of the people who can be seen."""
    visible = np.where(shot.keypoints[..., 2:] == 2, shot.keypoints, 0)
    there = (visible[..., 2] > 0).sum(1) >= LEAST_JOINTS
    named = tracked.ids != NO_ID
    likeness = oks(
        visible[there], shot.areas[there], tracked.keypoints[named, :, :2], tracked.found[named], SIGMAS
    )
    return Judged(shot.ids[there], tracked.ids[named], likeness)


class Rating:
    """One tracker's work on some films.

    Attributes:
        scores: of each film.
        times: milliseconds of each frame.
    """

    def __init__(self, make: Callable[[], Track]) -> None:
        self.scores: list[TrackScores] = []
        self.times: list[float] = []
        self._make = make

    def begin(self) -> None:
        """A new film."""
        self._track, self._frames = self._make(), list[Judged]()

    def add(self, shot: Shot, people: People, image: np.ndarray) -> None:
        """A frame of it."""
        start = time.perf_counter()
        tracked = self._track(people, image)
        self.times.append(1e3 * (time.perf_counter() - start))
        self._frames.append(judged(shot, tracked))

    def end(self) -> None:
        """The film is over."""
        self.scores.append(track_scores(self._frames))


def follow(film: Film, seed: int, ratings: Iterable[Rating]) -> None:
    """Have all of them follow a film."""
    rng = np.random.default_rng(seed)
    for rating in ratings:
        rating.begin()
    for number in range(len(film)):
        shot, image = film.shot(number), film.draw(number)[0].image
        people, _ = finding.find(rng, shot.keypoints, shot.areas, film.size_hw, finding.USUAL)
        for rating in ratings:
            rating.add(shot, people, image)
    for rating in ratings:
        rating.end()


def total(scores: list[TrackScores]) -> TrackScores:
    """Their sum."""
    return TrackScores(
        *(sum(getattr(score, field.name) for score in scores) for field in fields(TrackScores))
    )


def _blind() -> Track:
    tracker = Tracker()
    return lambda people, _: tracker(people)


def _seeing(settings: TrackingSettings) -> Track:
    tracker = Tracker(settings=settings)
    return lambda people, image: tracker(people, image=image)


TRACKERS: dict[str, Callable[[], Track]] = {
    "greedy OKS, no motion": Greedy,
    "Tracker, without pictures": _blind,
    "Tracker": lambda: _seeing(TrackingSettings()),
    "Tracker, smoothing": lambda: _seeing(TrackingSettings(smoothing=True)),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--people", type=int, nargs="+", default=(5, 15, 30))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--size", type=int, nargs=2, default=(720, 1280), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    if args.quick:
        args.seeds, args.frames = 1, 100
    print(f"people  {'':26} MOTA   IDF1  switches  of the baseline's  films with <= 1   ms a frame")
    for people in args.people:
        ratings = {name: Rating(make) for name, make in TRACKERS.items()}
        for seed in range(args.first_seed, args.first_seed + args.seeds):
            follow(Film(seed, people, args.frames, tuple(args.size)), seed, ratings.values())
        baseline = None
        for name, rating in ratings.items():
            all_of = total(rating.scores)
            baseline = baseline or max(all_of.switches, 1)
            few = statistics.mean(score.switches <= 1 for score in rating.scores)
            print(
                f"{people:6d}  {name:26} {all_of.mota:5.3f}  {all_of.idf1:5.3f}  {all_of.switches:8d}  "
                f"{all_of.switches / baseline:17.3f}  {few:15.2f}   {statistics.median(rating.times):10.2f}"
            )


if __name__ == "__main__":
    main()
