"""Accuracy and time of tracking, on synthetic videos of people who cross and occlude each other.

    OMP_NUM_THREADS=1 python benchmarks/tracking.py [--people 5 15 30] [--seeds 5] [--first-seed 0] [--quick]
    pip install trackers filterpy && pip install --no-deps norfair  # optional: published trackers

Detections are simulated: visible joints with noise and gaps, some hidden joints guessed, missed people and
false people. `Tracker` tracks each video, with and without its images, and so does a baseline in the same
run: each person, best first, gets the id whose last pose has the highest OKS, without motion and without
assignment; ids are kept equally long. MOTA and IDF1 (people with 3 or more visible joints, at OKS 0.5) and id
switches are over all videos; then follows the share of videos with at most one switch. Times are of the
tracking only, medians over frames. --quick: one video of 100 frames.

Published trackers run on the same people in the same run: ByteTrack (Zhang et al. 2022), OC-SORT (Cao et al.
2023) and BoT-SORT (Aharon et al. 2022; without its camera motion, as the camera is static) of the package
trackers get the boxes around the found keypoints, norfair gets the keypoints. Their settings are those of a
grid with the highest IDF1 on other videos (--tuning-seeds), with equally many people. `Tracker` and the
baseline have their default settings. A package that is not installed is skipped. norfair is installed without
its dependencies because its versions of rich and numpy exclude those of trackers.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import itertools
import logging
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import simulated_detector
from synthetic_video import BODY_AREA_RATIO, FrameTruth, SyntheticVideo

from simplepose.config import TrackingSettings
from simplepose.evaluation import FrameMatch, TrackScores, compute_track_scores, sum_scores
from simplepose.evaluation.tracking_metrics import oks
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


class BoxTracker:
    """A tracker of the package trackers, on the boxes around the found keypoints."""

    def __init__(self, name: str, **settings: Any) -> None:
        self._build_detections = importlib.import_module("supervision").Detections
        self._tracker = getattr(importlib.import_module("trackers"), name)(**settings)

    def __call__(self, people: People, _: np.ndarray) -> People:
        ids, rows = np.full(len(people), NO_ID), np.arange(len(people))
        detections = self._build_detections(
            xyxy=people.boxes_xyxy.astype(float),
            confidence=people.scores,
            class_id=np.zeros(len(people), int),
            data={"row": rows},
        )
        tracked = self._tracker.update(detections)
        if len(tracked):
            ids[tracked.data["row"]] = tracked.tracker_id  # -1 (NO_ID) without a track
        return People(people.keypoints, people.scores, ids)


class NorfairTracker:
    """norfair's tracker with its distance for poses: the number of near keypoints."""

    def __init__(self, max_distance_ratio: float, min_near_keypoints: int, **settings: Any) -> None:
        self._norfair = importlib.import_module("norfair")
        self._max_distance_ratio, self._frame = max_distance_ratio, 0
        # The distance is 1 / (1 + near keypoints); a match has a smaller one than the threshold.
        self._settings = {"distance_threshold": 1 / (min_near_keypoints + 0.5), **settings}
        self._tracker: Any = None

    def __call__(self, people: People, image: np.ndarray) -> People:
        if self._tracker is None:
            distance = self._norfair.distances.create_keypoints_voting_distance(
                self._max_distance_ratio * len(image), 0.0
            )
            self._tracker = self._norfair.Tracker(distance, **self._settings)
        self._frame += 1
        detections = [
            self._norfair.Detection(keypoints[:, :2], keypoints[:, 2], data=(self._frame, row))
            for row, keypoints in enumerate(people.keypoints)
        ]
        ids = np.full(len(people), NO_ID)
        for track in self._tracker.update(detections):
            frame, row = track.last_detection.data
            if frame == self._frame:
                ids[row] = track.id
        return People(people.keypoints, people.scores, ids)


@dataclass(frozen=True)
class Peer:
    """A published tracker.

    Attributes:
        package: that it needs.
        make: builds it with settings.
        grid: the values of each setting that are tried.
    """

    package: str
    make: Callable[..., Track]
    grid: dict[str, Sequence[Any]]


PEERS = {
    "ByteTrack": Peer(
        "trackers",
        lambda **settings: BoxTracker("ByteTrackTracker", **settings),
        {
            "track_activation_threshold": (0.15, 0.3),
            "high_conf_det_threshold": (0.1, 0.2, 0.35),
            "minimum_iou_threshold": (0.01, 0.05, 0.15),
            "lost_track_buffer": (30, 90),
        },
    ),
    "OC-SORT": Peer(
        "trackers",
        lambda **settings: BoxTracker("OCSORTTracker", **settings),
        {
            "high_conf_det_threshold": (0.1, 0.2, 0.35),
            "minimum_iou_threshold": (0.01, 0.05, 0.15),
            "direction_consistency_weight": (0.0, 0.2),
            "lost_track_buffer": (30, 90),
        },
    ),
    "BoT-SORT": Peer(
        "trackers",
        lambda **settings: BoxTracker("BoTSORTTracker", enable_cmc=False, **settings),
        {
            "track_activation_threshold": (0.15, 0.3),
            "high_conf_det_threshold": (0.1, 0.2),
            "minimum_iou_threshold_first_assoc": (0.01, 0.05, 0.2),
            "minimum_iou_threshold_second_assoc": (0.05, 0.2, 0.5),
            "lost_track_buffer": (30, 90),
        },
    ),
    "norfair": Peer(
        "norfair",
        NorfairTracker,
        {
            "max_distance_ratio": (1 / 40, 1 / 20, 1 / 10),
            "min_near_keypoints": (1, 3),
            "hit_counter_max": (8, 15, 30),
            "initialization_delay": (1, 3),
        },
    ),
}


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


def detections(video: SyntheticVideo, seed: int) -> Iterable[tuple[FrameTruth, People]]:
    """Simulate the people found in each frame of a video."""
    rng = np.random.default_rng(seed)
    for number in range(len(video)):
        truth = video.truth(number)
        yield (
            truth,
            simulated_detector.simulate_detections(
                rng, truth.keypoints, truth.areas, video.size_hw, simulated_detector.TYPICAL_ERRORS
            )[0],
        )


def run_trackers(video: SyntheticVideo, seed: int, tracker_runs: Iterable[TrackerRun]) -> None:
    """Run several trackers on one video."""
    for tracker_run in tracker_runs:
        tracker_run.begin()
    for number, (truth, people) in enumerate(detections(video, seed)):
        image = video.draw(number)[0].image
        for tracker_run in tracker_runs:
            tracker_run.add(truth, people, image)
    for tracker_run in tracker_runs:
        tracker_run.end()


def tune(peer: Peer, videos: Sequence[Sequence[tuple[FrameTruth, People]]], image: np.ndarray) -> Any:
    """Return the settings of the grid with the highest IDF1 on these videos, and this IDF1."""
    best_settings, best_idf1 = dict[str, Any](), -1.0
    for values in itertools.product(*peer.grid.values()):
        settings = dict(zip(peer.grid, values, strict=True))
        tracker_run = TrackerRun(lambda settings=settings: peer.make(**settings))
        for video in videos:
            tracker_run.begin()
            for truth, people in video:
                tracker_run.add(truth, people, image)
            tracker_run.end()
        idf1 = sum_scores(tracker_run.scores).idf1
        if idf1 > best_idf1:
            best_settings, best_idf1 = settings, idf1
    return best_settings, best_idf1


def find_peers() -> dict[str, Peer]:
    """Return the published trackers whose packages are installed; print the others."""
    peers = {}
    for name, peer in PEERS.items():
        try:
            importlib.import_module(peer.package)
            peers[name] = peer
        except ImportError as error:
            print(f"{name}: skipped, the package {peer.package} cannot be imported: {error}")
    for package in sorted({peer.package for peer in peers.values()}):
        print(f"{package} {importlib.metadata.version(package)}")
    return peers


def build_peer_runs(
    people: int, seeds: Sequence[int], frames: int, size_hw: tuple[int, int], peers: dict[str, Peer]
) -> dict[str, TrackerRun]:
    """Tune each published tracker on the videos of these seeds, and print its settings."""
    videos = [list(detections(SyntheticVideo(seed, people, frames, size_hw), seed)) for seed in seeds]
    image, tracker_runs = np.zeros((*size_hw, 3), np.uint8), {}
    for name, peer in peers.items():
        settings, idf1 = tune(peer, videos, image)
        values = ", ".join(f"{key} {value:.3g}" for key, value in settings.items())
        print(f"{people:6d}  {name} tuned: IDF1 {idf1:.3f} with {values}")
        tracker_runs[name] = TrackerRun(lambda peer=peer, settings=settings: peer.make(**settings))
    return tracker_runs


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
    parser.add_argument("--tuning-seeds", type=int, nargs="+", default=(9000, 9001, 9002, 9003))
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--size", type=int, nargs=2, default=(720, 1280), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    if args.quick:
        args.seeds, args.frames, args.tuning_seeds = 1, 100, args.tuning_seeds[:1]
    evaluated_seeds, size_hw = range(args.first_seed, args.first_seed + args.seeds), tuple(args.size)
    if {*args.tuning_seeds} & {*evaluated_seeds}:
        parser.error("--tuning-seeds: expected other videos than those that are evaluated")
    logging.disable(logging.WARNING)  # of norfair, about the speed of its distance
    peers = find_peers()
    peer_runs = {
        people: build_peer_runs(people, args.tuning_seeds, args.frames, size_hw, peers)
        for people in args.people
    }
    print(f"people  {'':26} MOTA   IDF1  switches  of the baseline's videos with <= 1   ms a frame")
    for people in args.people:
        tracker_runs = {name: TrackerRun(make) for name, make in TRACKERS.items()} | peer_runs[people]
        for seed in evaluated_seeds:
            run_trackers(SyntheticVideo(seed, people, args.frames, size_hw), seed, tracker_runs.values())
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
