"""COCO images and annotations -> one HDF5 file of training samples; or the check of such a file.

After an interruption, the same command continues where it stopped. The exit status is 1 when an image was
skipped because of a fault, or when a checked record is wrong.
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
from simplepose.cli import arguments
from simplepose.data.coco import AnnotatedPicture, persons_of, read_annotations
from simplepose.data.hdf5.preparation import AS_RULED, HELD_OUT, MENDED, Plan, Preparation
from simplepose.data.hdf5.reader import SampleFile
from simplepose.data.hdf5.verify import check
from simplepose.data.record import PictureFault, Remark
from simplepose.skeleton import COCO
from simplepose.utils import parallel

TRAIN2017 = {"pictures with people": 64_115, "people with keypoints": 149_813}
"""What COCO's person_keypoints_train2017.json holds."""


def is_fault(remark: Remark) -> bool:
    """Whether a picture was left out because something is wrong."""
    return remark.kind not in (*AS_RULED, *MENDED)


def summary(path: Path, asked_for: int, listed: int) -> str:
    """What a new file holds, of how many pictures that were asked for and that the json lists."""
    of = f"{asked_for:,}" if asked_for == listed else f"{asked_for:,} (the json lists {listed:,})"
    file = SampleFile(path)
    rows = {"pictures": f"{len(file.pictures):,} of {of}", **_held(file)}
    return _table(rows)


def check_file(args: argparse.Namespace) -> int:
    """Check `args.check` with `args.workers` processes, against `args.annotations` where it is given."""
    file = SampleFile(args.check)
    if args.annotations is not None and file.contents() is None:
        raise ValueError(
            f"{args.check}: a file in the published layout follows other rules than ours and cannot be held "
            "against the json; leave --annotations out"
        )
    annotations = read_annotations(args.annotations, file.joints) if args.annotations else None
    wrong = people = 0
    with tqdm(total=len(file.pictures), desc=f"checking {args.check.name}", unit=" pictures") as bar:
        for checked in check(file, annotations, args.workers):
            bar.update()
            people += checked.people
            wrong += bool(checked.faults)
            for fault in checked.faults:
                tqdm.write(f"wrong picture {checked.image_id}: {fault}", sys.stderr)
    rows = {"pictures": f"{len(file.pictures):,}", **_held(file), "people with keypoints": f"{people:,}"}
    if file.joints == COCO.annotated:
        rows |= _of_json(annotations)
    print(_table({**rows, "wrong pictures": f"{wrong:,}"}))
    return 1 if wrong else 0


def _held(file: SampleFile) -> dict[str, str]:
    """The rows of a summary that the file itself tells."""
    size = file.path.stat().st_size
    contents = file.contents()
    rows = {"samples": f"{len(file):,}"}
    if contents is not None:
        remarks = [remark for remark in contents.remarks if remark.kind != HELD_OUT]
        rows["people with keypoints"] = f"{contents.people:,}"
        rows["pictures of nobody"] = f"{contents.pictures_of_nobody:,}"
        rows |= _counts("skipped pictures", [r for r in remarks if r.kind not in MENDED])
        rows |= _counts("mended pictures", [r for r in remarks if r.kind in MENDED])
        if contents.store != "raw":
            times = contents.raw_bytes / size
            rows["bytes in a raw store"] = f"{contents.raw_bytes:,}, {times:.1f} times as many"
    rows["bytes"] = f"{size:,} in {file.path}"
    if file.joints == COCO.annotated:
        gigabytes = size / len(file.pictures) * TRAIN2017["pictures with people"] / 1e9
        rows["COCO's train2017"] = (
            f"{gigabytes:.1f} GB at this rate, if all pictures with people give samples"
        )
    return rows


def _counts(name: str, remarks: Sequence[Remark]) -> dict[str, str]:
    kinds = Counter(remark.kind for remark in remarks)
    return {name: f"{len(remarks):,}", **{f"  {kind}": f"{count:,}" for kind, count in kinds.most_common()}}


def _of_json(annotations: list[AnnotatedPicture] | None) -> dict[str, str]:
    """Rows on what the json holds, beside what COCO's train2017 does."""
    if annotations is None:
        return {f"COCO's train2017 has {name}": f"{count:,}" for name, count in TRAIN2017.items()}
    counts = (
        sum(bool(picture.persons) for picture in annotations),
        sum(any((p.get("keypoints") or [])[2::3]) for picture in annotations for p in picture.persons),
    )
    rows = {
        f"the json's {name}": f"{count:,} (COCO's train2017: {expected:,})"
        for (name, expected), count in zip(TRAIN2017.items(), counts, strict=True)
    }
    return {**rows, "the json's samples": f"{sum(map(_samples_of, annotations)):,}"}


def _samples_of(picture: AnnotatedPicture) -> int:
    """How many samples a picture gives if nothing is wrong with it."""
    try:
        return len(persons_of(picture, len(COCO.annotated)).main_persons)
    except PictureFault:
        return 0


def _table(rows: dict[str, str]) -> str:
    width = max(map(len, rows)) + 2
    return "\n".join(f"{name:{width}}{value}" for name, value in rows.items())


def main(argv: Sequence[str] | None = None) -> int:
    """Make or check a file, print a summary. Returns the exit status."""
    parser = _parser()
    args = parser.parse_args(argv)
    if args.check is not None:
        return check_file(args)
    absent = [f"--{name}" for name in ("annotations", "images", "output") if getattr(args, name) is None]
    if absent:
        parser.error(f"{', '.join(absent)} expected, or --check")
    for folder in args.images:
        arguments.require_folder_of_pictures(folder)
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
        type=arguments.count(1, "processes"),
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
        print(summary(args.output, len(preparation.pictures), preparation.listed))
    return 1 if any(map(is_fault, remarks)) else 0


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
                    what = "skipped" if is_fault(remark) else "mended"
                    tqdm.write(
                        f"{what} picture {remark.image_id}: {remark.kind}: {remark.detail}", sys.stderr
                    )
    return samples, remarks
