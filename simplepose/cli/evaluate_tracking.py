"""Compute the tracking metrics of results: MOTA, IDF1, id switches, precision, recall, MOTP and HOTA.

Truth and results are MOT challenge text files (gt.txt), compared by boxes, or json files as PoseTrack's and
as the output of demo-video, compared by object keypoint similarity (OKS).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from simplepose.cli import arguments, common
from simplepose.evaluation import (
    FrameMatch,
    TrackedVideo,
    TrackScores,
    compute_hota,
    compute_track_scores,
    match_frames,
    read_mot,
    read_pose_files,
    sum_scores,
)
from simplepose.utils import atomic
from simplepose.utils.files import check_output_file, printable

METRICS = ("mota", "idf1", "precision", "recall", "motp")
HOTA_METRICS = ("HOTA", "DetA", "AssA")
MATCHES = ("keypoints", "boxes")

# Characters of a video's name in the table.
MAX_NAME_LENGTH = 24


def build_parser() -> arguments.Parser:
    """Build the parser of the command's options."""
    parser = arguments.Parser(
        prog="evaluate-tracking",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--truth",
        type=Path,
        nargs="+",
        required=True,
        metavar="FILE",
        help="true people: .txt in MOT challenge format, or .json; one or several",
    )
    add(
        "--results",
        type=Path,
        nargs="+",
        required=True,
        metavar="FILE",
        help="found people in the same format, one file for each file of --truth, in the same order",
    )
    add(
        "--match",
        choices=MATCHES,
        help="what is compared: keypoints by OKS, or boxes by intersection over union "
        "(default: keypoints for .json, boxes for .txt)",
    )
    add(
        "--min-similarity",
        type=_fraction,
        default=0.5,
        metavar="S",
        help="smallest OKS or intersection over union of a match (default: 0.5)",
    )
    add("--hota", action="store_true", help="also compute HOTA, with the package trackeval")
    add("--output", type=Path, metavar="FILE.json", help="write the metrics to this file")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status: 0."""
    args = build_parser().parse_args(argv)
    if len(args.truth) != len(args.results):
        raise ValueError(
            f"--results: expected one file for each file of --truth ({len(args.truth)}), "
            f"got {len(args.results)}"
        )
    if args.output:
        check_output_file(args.output)
    pairs = [
        pair
        for truth, results in zip(args.truth, args.results, strict=True)
        for pair in _read_pair(truth, results, args.match)
    ]
    _log_untracked([results for _, results in pairs])
    frames = [match_frames(truth, results, args.min_similarity) for truth, results in pairs]
    scores = [compute_track_scores(video, args.min_similarity) for video in frames]
    names = [truth.name for truth, _ in pairs]
    rows = [
        {"video": name, **_metrics(score, [video], args.hota)}
        for name, score, video in zip(names, scores, frames, strict=True)
    ]
    total = {"video": "all", **_metrics(sum_scores(scores), frames, args.hota)}
    _print_table(rows if len(rows) == 1 else [*rows, total])
    if args.output:
        settings = {
            "match": "boxes" if pairs[0][0].sigmas is None else "keypoints",
            "min_similarity": args.min_similarity,
            "truth": [str(path) for path in args.truth],
            "results": [str(path) for path in args.results],
        }
        atomic.write_json(args.output, {"settings": settings, "all": total, "videos": rows})
    return 0


def _read_pair(truth: Path, results: Path, match: str | None) -> list[tuple[TrackedVideo, TrackedVideo]]:
    """Read a file of true people and one of results, by the extension of the first."""
    suffixes = (truth.suffix.lower(), results.suffix.lower())
    if suffixes == (".txt", ".txt"):
        if match == "keypoints":
            raise ValueError(f"{printable(truth)}: --match keypoints: expected json files, got text files")
        return read_mot(truth, results)
    if suffixes == (".json", ".json"):
        return read_pose_files(truth, results, match_boxes=match == "boxes")
    raise ValueError(
        f"{printable(truth)} and {printable(results)}: expected two files in MOT challenge format (.txt), or "
        "two json files (.json)"
    )


def _log_untracked(videos: Sequence[TrackedVideo]) -> None:
    untracked = sum(video.untracked for video in videos)
    if untracked:
        common.log_line(f"{untracked:,} found people without an id (-1) are left out")


def _metrics(scores: TrackScores, videos: Sequence[Sequence[FrameMatch]], hota: bool) -> dict[str, Any]:
    """Return all values of a video, or of several."""
    values = {name: getattr(scores, name) for name in METRICS}
    return {**values, **(compute_hota(videos) if hota else {}), **asdict(scores)}


def _print_table(rows: Sequence[dict[str, Any]]) -> None:
    """Print a line for each video."""
    names = [common.escape_for_stdout(printable(row["video"]))[:MAX_NAME_LENGTH] for row in rows]
    width = max(map(len, names))
    hota = [name for name in HOTA_METRICS if name in rows[0]]
    titles = ["MOTA", "IDF1", "switches", "precision", "recall", "MOTP", *hota, "people", "found"]
    print("  ".join([" " * width, *(f"{title:>9}" for title in titles)]))
    for name, row in zip(names, rows, strict=True):
        fractions = [f"{row[key]:9.3f}" for key in (*METRICS, *hota)]
        fractions.insert(2, f"{row['switches']:9d}")
        print("  ".join([name.ljust(width), *fractions, f"{row['truth']:9d}", f"{row['found']:9d}"]))


def _fraction(text: str) -> float:
    """Parse a number in (0, 1]."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number above 0 and at most 1, got {text!r}")
    return value
