"""COCO's pictures and annotations -> one HDF5 file of training samples; or the check of such a file.

Broken off at any moment, the same command goes on where it stopped. The exit status is 1 when a picture was
left out through a fault, or when a record that is checked is wrong.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from tqdm import tqdm

from simplepose import skeleton
from simplepose.cli import options, prepared
from simplepose.data import parallel
from simplepose.data.preparation import AS_RULED, Plan, Preparation
from simplepose.data.record import Remark


def main(argv: Sequence[str] | None = None) -> int:
    """Make or check a file, print a summary. Returns the exit status."""
    parser = _parser()
    args = parser.parse_args(argv)
    if args.check is not None:
        return prepared.check_file(args)
    absent = [f"--{name}" for name in ("annotations", "images", "output") if getattr(args, name) is None]
    if absent:
        parser.error(f"{', '.join(absent)} expected, or --check")
    for folder in args.images:
        options.require_folder_of_pictures(folder)
    return _prepare(args)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="prepare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--annotations", type=Path, metavar="FILE.json", help="person_keypoints_*.json")
    add(
        "--images",
        type=Path,
        nargs="+",
        metavar="DIR",
        help="the folder of its pictures; the first that has it",
    )
    add("--output", type=Path, metavar="FILE.h5", help="what to write")
    add(
        "--store",
        choices=("compressed", "raw"),
        default="compressed",
        help="the picture files as they are (default), or decoded: larger, and quicker to read",
    )
    add(
        "--split",
        default="",
        metavar="WHICH",
        help="hold pictures out: first:100 for the first 100 that the json lists, or a text of picture ids",
    )
    add("--held-out", action="store_true", help="take what --split holds out, and not the rest")
    add("--negatives", action="store_true", help="take pictures of nobody too")
    add(
        "--unlabeled",
        type=Path,
        metavar="RESULTS.json",
        help="a network's results on these images (tools/evaluate.py writes them): people found there that "
        "nobody annotated are left out of the loss",
    )
    add(
        "--skeleton",
        default=skeleton.COCO.name,
        metavar="FILE.yaml",
        help="whose annotated joints the json's are, see configs/skeletons/ (default: COCO's)",
    )
    add(
        "--workers",
        type=options.count(1, "processes"),
        default=parallel.cores(),
        metavar="N",
        help="processes that work at once (default: one a core)",
    )
    add(
        "--check",
        type=Path,
        metavar="FILE.h5",
        help="make nothing: read every record of this file, and with --annotations hold it against the json",
    )
    return parser


def _prepare(args: argparse.Namespace) -> int:
    joints = skeleton.load(args.skeleton).annotated
    folders = tuple(args.images)
    plan = Plan(
        args.annotations,
        folders,
        args.output,
        joints,
        args.store,
        args.negatives,
        args.split,
        args.held_out,
        args.unlabeled,
    )
    with Preparation(plan) as preparation:
        if preparation.begun_anew:
            print(f"{args.output}: begun anew, what was broken off had other annotations or options")
        if args.unlabeled is not None:
            print(f"people found but not annotated, left out of the loss: {preparation.unlabeled:,}")
        samples, remarks = _make_parts(preparation, args)
        if not samples:
            preparation.discard()
            counts = Counter(remark.kind for remark in remarks)
            reasons = ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "none was asked for"
            pictures = len(preparation.pictures)
            raise ValueError(
                f"not one training sample from {pictures} pictures: {reasons}; nothing was written"
            )
        with tqdm(desc=f"joining {args.output.name}", unit="B", unit_scale=True) as bar:
            for size in preparation.join(args.workers):
                bar.update(size)
        print(prepared.summary(args.output, len(preparation.pictures), preparation.listed))
    return 1 if any(map(prepared.is_fault, remarks)) else 0


def _make_parts(preparation: Preparation, args: argparse.Namespace) -> tuple[int, list[Remark]]:
    """The number of samples, and all remarks; what is wrong with a picture is told at once."""
    samples = 0
    remarks: list[Remark] = []
    with (
        closing(preparation.parts(args.workers)) as parts,
        tqdm(total=len(preparation.pictures), desc=f"preparing {args.output.name}", unit=" pictures") as bar,
    ):
        for part in parts:
            bar.initial += part.pictures if part.was_there else 0  # no part of the speed
            bar.update(part.pictures)
            samples += part.samples
            remarks += part.remarks
            for remark in part.remarks:
                if remark.kind not in AS_RULED:
                    what = "skipped" if prepared.is_fault(remark) else "mended"
                    tqdm.write(
                        f"{what} picture {remark.image_id}: {remark.kind}: {remark.detail}", sys.stderr
                    )
    return samples, remarks
