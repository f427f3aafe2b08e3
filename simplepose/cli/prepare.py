"""COCO's pictures and annotations -> one HDF5 file of training samples."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from simplepose.cli import options
from simplepose.data.coco import AnnotatedPicture, prepare_picture, read_annotations
from simplepose.data.hdf5_own import SampleWriter
from simplepose.data.record import PictureFault

NO_MAIN_PERSON = "no main person"


def main(argv: Sequence[str] | None = None) -> int:
    """Make the file, print a summary. Exit status 1 when a picture was left out through a fault, else 0."""
    args = _parser().parse_args(argv)
    options.require_folder_of_pictures(args.images)
    listed = read_annotations(args.annotations)
    end = None if args.only_first is None else args.skip_first + args.only_first
    chosen = listed[args.skip_first : end]
    counts, skipped = _write(chosen, args)
    print(_summary(args.output, len(listed), len(chosen), counts, skipped))
    return 1 if set(skipped) - {NO_MAIN_PERSON} else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="prepare", description=__doc__)
    parser.add_argument(
        "--annotations", type=Path, required=True, metavar="FILE.json", help="person_keypoints_*.json"
    )
    parser.add_argument(
        "--images", type=Path, required=True, metavar="DIR", help="the folder of its pictures"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.h5", help="what to write")
    parser.add_argument(
        "--skip-first",
        type=options.count(0),
        default=0,
        metavar="N",
        help="leave out the first N pictures that the json lists",
    )
    parser.add_argument(
        "--only-first",
        type=options.count(0),
        metavar="N",
        help="take N pictures at most (after those skipped)",
    )
    return parser


def _write(pictures: list[AnnotatedPicture], args: argparse.Namespace) -> tuple[Counter[str], Counter[str]]:
    """Prepare and write the pictures; counts of what was written, and of what was left out by reason."""
    counts: Counter[str] = Counter()
    skipped: Counter[str] = Counter()
    with SampleWriter(args.output, annotations=args.annotations.name) as writer:
        for picture in tqdm(pictures, desc=f"preparing {args.output.name}", unit=" pictures"):
            try:
                prepared = prepare_picture(picture, args.images)
            except PictureFault as fault:
                tqdm.write(f"skipped picture {picture.image_id}: {fault}", file=sys.stderr)
                skipped[fault.reason] += 1
                continue
            if prepared is None:
                skipped[NO_MAIN_PERSON] += 1
                continue
            writer.append(prepared)
            counts.update(pictures=1, people=len(prepared.keypoints), samples=len(prepared.main_persons))
        if not counts["samples"]:
            reasons = (
                ", ".join(f"{count} {reason}" for reason, count in skipped.items())
                or "no picture was asked for"
            )
            raise ValueError(
                f"not one training sample from {len(pictures)} pictures: {reasons}; nothing was written"
            )
    return counts, skipped


def _summary(output: Path, listed: int, chosen: int, counts: Counter[str], skipped: Counter[str]) -> str:
    of = f"{chosen:,}" if chosen == listed else f"{chosen:,} (the json lists {listed:,})"
    rows = {
        "pictures": f"{counts['pictures']:,} of {of}",
        "people with keypoints": f"{counts['people']:,}",
        "samples": f"{counts['samples']:,}",
        "skipped pictures": f"{skipped.total():,}",
        **{f"  {reason}": f"{count:,}" for reason, count in skipped.most_common()},
        "bytes": f"{output.stat().st_size:,} in {output}",
    }
    return "\n".join(f"{name:26}{value}" for name, value in rows.items())
