"""Accuracy and time of tracking, on synthetic videos of people who cross and occlude each other.

    OMP_NUM_THREADS=1 python benchmarks/tracking.py [--people 5 15 30] [--seeds 5] [--first-seed 0] [--quick]

Detections are simulated: visible joints with noise and gaps, some hidden joints guessed, missed people and
false people. `Tracker` tracks each video, with and without its images, and so does a baseline in the same
run: each person, best first, gets the id whose last pose has the highest OKS, without motion and without
assignment; ids are kept equally long. MOTA and IDF1 (people with 3 or more visible joints, at OKS 0.5) and id
switches are over all videos; then follows the share of videos with at most one switch. Times are of the
tracking only, medians over frames. --quick: one video of 100 frames.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import fields

import numpy as np
import simulated_detector
from synthetic_video import BODY_AREA_RATIO, FrameTruth, SyntheticVideo

from simplepose.config import TrackingSettings
from simplepose.evaluation.tracking_metrics import FrameMatch, TrackScores, compute_track_scores, oks
from simplepose.people import NO_ID, People
from simplepose.skeleton import COCO
from simplepose.tracking import Tracker

SIGMAS = np.array(COCO.sigmas)
MIN_VISIBLE_JOINTS = 3
Track = Callable[[People, np.ndarray], People]
"""People of a frame and its image -> the people with ids."""


class Greedy:
    """Baseline: greedy OKS matching, with the settings of `Tracker` where they apply."""

    def __init__(self) -> None:
        self.settings = TrackingSettings()
        self.poses: dict[int, tuple[np.ndarray, int]] = {}
        self.frame, self.next_id = 0, 0

    def __call__(self, people: People, _: np.ndarray) -> People:
        self.frame += 1
        oldest_frame = self.frame - self.settings.max_lost_frames - 1
        self.poses = {id_: pose for id_, pose in self.poses.items() if pose[1] >= oldest_frame}
        ids_in_memory = list(self.poses)
        poses = np.array([self.poses[id_][0] for id_ in ids_in_memory]).reshape(
            -1, *people.keypoints.shape[1:]
        )
        heights = _heights(poses)
        similarities = oks(
            poses, BODY_AREA_RATIO * heights**2, people.keypoints[..., :2], people.found, SIGMAS
        )
        ids = np.full(len(people), NO_ID)
        for person in np.argsort(-people.scores, kind="stable"):
            best = int(similarities[:, person].argmax()) if len(ids_in_memory) else -1
            if best >= 0 and similarities[best, person] >= self.settings.min_similarity:
                ids[person] = ids_in_memory[best]
                similarities[best] = 0
            elif people.scores[person] >= self.settings.confident_score:
                ids[person], self.next_id = self.next_id, self.next_id + 1
            if ids[person] != NO_ID:
                self.poses[int(ids[person])] = people.keypoints[person], self.frame
        return People(people.keypoints, people.scores, ids)


def _heights(poses: np.ndarray) -> np.ndarray:
    boxes = People(poses, np.ones(len(poses))).boxes_xyxy
    return (boxes[:, 2:] - boxes[:, :2]).max(1)


def match_frame(truth: FrameTruth, tracked: People) -> FrameMatch:
    """Match one frame, for the people with enough visible joints."""
    visible = np.where(truth.keypoints[..., 2:] == 2, truth.keypoints, 0)
    evaluated = (visible[..., 2] > 0).sum(1) >= MIN_VISIBLE_JOINTS
    confirmed = tracked.ids != NO_ID
    similarity = oks(
        visible[evaluated],
        truth.areas[evaluated],
        tracked.keypoints[confirmed, :, :2],
        tracked.found[confirmed],
        SIGMAS,
    )
    return FrameMatch(truth.ids[evaluated], tracked.ids[confirmed], similarity)


class TrackerRun:
    """Scores of one tracker over several videos.

    Attributes:
        scores: of each video.
        times: of each frame, ms.
    """

    def __init__(self, make: Callable[[], Track]) -> None:
        self.scores: list[TrackScores] = []
        self.times: list[float] = []
        self._make = make

    def begin(self) -> None:
        """Start a video."""
        self._track, self._frames = self._make(), list[FrameMatch]()

    def add(self, truth: FrameTruth, people: People, image: np.ndarray) -> None:
        """Track a frame."""
        start = time.perf_counter()
        tracked = self._track(people, image)
        self.times.append(1e3 * (time.perf_counter() - start))
        self._frames.append(match_frame(truth, tracked))

    def end(self) -> None:
        """Finish the video."""
        self.scores.append(compute_track_scores(self._frames))


def run_trackers(video: SyntheticVideo, seed: int, tracker_runs: Iterable[TrackerRun]) -> None:
    """Run several trackers on one video."""
    rng = np.random.default_rng(seed)
    for tracker_run in tracker_runs:
        tracker_run.begin()
    for number in range(len(video)):
        truth, image = video.truth(number), video.draw(number)[0].image
        people, _ = simulated_detector.simulate_detections(
            rng, truth.keypoints, truth.areas, video.size_hw, simulated_detector.TYPICAL_ERRORS
        )
        for tracker_run in tracker_runs:
            tracker_run.add(truth, people, image)
    for tracker_run in tracker_runs:
        tracker_run.end()


def sum_scores(scores: list[TrackScores]) -> TrackScores:
    """Add the scores of several videos."""
    return TrackScores(
        *(sum(getattr(score, field.name) for score in scores) for field in fields(TrackScores))
    )


def _without_images() -> Track:
    tracker = Tracker()
    return lambda people, _: tracker(people)


def _with_images(settings: TrackingSettings) -> Track:
    tracker = Tracker(settings=settings)
    return lambda people, image: tracker(people, image=image)


TRACKERS: dict[str, Callable[[], Track]] = {
    "greedy OKS, no motion": Greedy,
    "Tracker, without images": _without_images,
    "Tracker": lambda: _with_images(TrackingSettings()),
    "Tracker, smoothing": lambda: _with_images(TrackingSettings(smoothing=True)),
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
    print(f"people  {'':26} MOTA   IDF1  switches  of the baseline's videos with <= 1   ms a frame")
    for people in args.people:
        tracker_runs = {name: TrackerRun(make) for name, make in TRACKERS.items()}
        for seed in range(args.first_seed, args.first_seed + args.seeds):
            run_trackers(
                SyntheticVideo(seed, people, args.frames, tuple(args.size)), seed, tracker_runs.values()
            )
        baseline = None
        for name, tracker_run in tracker_runs.items():
            summed = sum_scores(tracker_run.scores)
            baseline = baseline or max(summed.switches, 1)
            share_with_few = statistics.mean(score.switches <= 1 for score in tracker_run.scores)
            print(
                f"{people:6d}  {name:26} {summed.mota:5.3f}  {summed.idf1:5.3f}  {summed.switches:8d}  "
                f"{summed.switches / baseline:17.3f}  {share_with_few:15.2f}   "
                f"{statistics.median(tracker_run.times):10.2f}"
            )


if __name__ == "__main__":
    main()
