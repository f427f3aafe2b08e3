"""Evaluation: COCO AP, and the tracking metrics MOTA, IDF1 and HOTA."""

from simplepose.evaluation.track_files import TrackedVideo, match_frames, read_mot, read_pose_files
from simplepose.evaluation.tracking_metrics import (
    FrameMatch,
    TrackScores,
    compute_hota,
    compute_track_scores,
    sum_scores,
)

__all__ = [
    "FrameMatch",
    "TrackScores",
    "TrackedVideo",
    "compute_hota",
    "compute_track_scores",
    "match_frames",
    "read_mot",
    "read_pose_files",
    "sum_scores",
]
