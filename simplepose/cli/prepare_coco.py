"""Convert COCO images and annotations to one HDF5 file of training samples, or check such a file.

After an interruption, the same command continues where it stopped. The exit status is 1 if an image was
skipped because of an error, or if a checked record is wrong, and 130 after Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from tqdm import tqdm

from simplepose import skeleton
from simplepose.cli import arguments, common
from simplepose.data.coco import AnnotatedImage, parse_persons, read_annotations
from simplepose.data.hdf5.preparation import (
    EXPECTED_SKIP_KINDS,
    HELD_OUT,
    REPAIRED_KINDS,
    Preparation,
    PreparationPlan,
)
from simplepose.data.hdf5.reader import SampleFile
from simplepose.data.hdf5.verify import verify_samples
from simplepose.data.record import Issue, UnusableImageError
from simplepose.skeleton import COCO
from simplepose.utils import parallel
from simplepose.utils.files import check_output_file, printable
from simplepose.utils.signals import GracefulShutdown

# Counts of COCO's person_keypoints_train2017.json.
TRAIN2017_COUNTS = {"images with people": 64_115, "people with keypoints": 149_813}


def is_error(issue: Issue) -> bool:
    """Return whether an image was skipped because something is wrong with it."""
    return issue.kind not in (*EXPECTED_SKIP_KINDS, *REPAIRED_KINDS)


def format_summary(path: Path, preparation: Preparation) -> str:
    """Format a table of the contents of a new file, `path`, and of what its preparation left out."""
    requested, listed = len(preparation.images), preparation.num_listed
    of = f"{requested:,}" if requested == listed else f"{requested:,} (the json lists {listed:,})"
    file = SampleFile(path)
    rows = {"images": f"{len(file.image_ids):,} of {of}", **_file_rows(file)}
    if preparation.num_masked:
        rows["people of other categories"] = f"{preparation.num_masked:,}, masked out of the loss"
    return _table(rows)


def check_file(args: argparse.Namespace) -> int:
    """Check the file `args.check`, against `args.annotations` if given; returns the exit status."""
    file = SampleFile(args.check)
    if args.annotations is not None and file.contents() is None:
        raise ValueError(
            f"{args.check}: a file in the published layout cannot be compared with the json, because it was "
            "made by other rules; leave --annotations out"
        )
    options = arguments.annotation_options(args)
    annotations = read_annotations(args.annotations, file.joints, options) if args.annotations else None
    wrong = people = 0
    with tqdm(
        total=len(file.image_ids), desc=f"checking {printable(args.check.name)}", unit=" images"
    ) as bar:
        for checked in verify_samples(file, annotations, args.workers):
            bar.update()
            people += checked.people
            wrong += bool(checked.faults)
            for fault in checked.faults:
                common.log_line(f"wrong image {checked.image_id}: {fault}")
    rows = {"images": f"{len(file.image_ids):,}", **_file_rows(file), "people with keypoints": f"{people:,}"}
    if file.joints == COCO.annotated:
        rows |= _annotation_rows(annotations)
    print(_table({**rows, "wrong images": f"{wrong:,}"}))
    return 1 if wrong else 0


def _file_rows(file: SampleFile) -> dict[str, str]:
    """Rows of the summary about the file itself."""
    size = file.path.stat().st_size
    contents = file.contents()
    rows = {"samples": f"{len(file):,}"}
    if contents is not None:
        issues = [issue for issue in contents.issues if issue.kind != HELD_OUT]
        rows["people with keypoints"] = f"{contents.people:,}"
        rows["images without people"] = f"{contents.images_without_people:,}"
        rows |= _count_rows("skipped images", [issue for issue in issues if issue.kind not in REPAIRED_KINDS])
        rows |= _count_rows("repaired images", [issue for issue in issues if issue.kind in REPAIRED_KINDS])
        if contents.store != "raw":
            ratio = contents.raw_bytes / size
            rows["bytes in a raw store"] = f"{contents.raw_bytes:,} ({ratio:.1f} times as many)"
    rows["bytes"] = f"{size:,} in {printable(file.path)}"
    if file.joints == COCO.annotated:
        gigabytes = size / len(file.image_ids) * TRAIN2017_COUNTS["images with people"] / 1e9
        rows["COCO's train2017"] = (
            f"{gigabytes:.1f} GB at this size per image, if every image with people gives samples"
        )
    return rows


def _count_rows(name: str, issues: Sequence[Issue]) -> dict[str, str]:
    """List the number of issues, and of each kind, as rows."""
    kinds = Counter(issue.kind for issue in issues)
    return {name: f"{len(issues):,}", **{f"  {kind}": f"{count:,}" for kind, count in kinds.most_common()}}


def _annotation_rows(annotations: list[AnnotatedImage] | None) -> dict[str, str]:
    """Rows that compare the json with COCO's train2017."""
    if annotations is None:
        return {f"COCO's train2017 has {name}": f"{count:,}" for name, count in TRAIN2017_COUNTS.items()}
    counts = (
        sum(bool(image.persons) for image in annotations),
        sum(any((p.get("keypoints") or [])[2::3]) for image in annotations for p in image.persons),
    )
    rows = {
        f"the json's {name}": f"{count:,} (COCO's train2017: {expected:,})"
        for (name, expected), count in zip(TRAIN2017_COUNTS.items(), counts, strict=True)
    }
    return {**rows, "the json's samples": f"{sum(map(_sample_count, annotations)):,}"}


def _sample_count(image: AnnotatedImage) -> int:
    """Count the samples of an image; 0 if its annotations are unusable."""
    try:
        return len(parse_persons(image, len(COCO.annotated)).main_persons)
    except UnusableImageError:
        return 0


def _table(rows: dict[str, str]) -> str:
    width = max(map(len, rows)) + 2
    return "\n".join(f"{name:{width}}{value}" for name, value in rows.items())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command: create or check a file and print a summary; returns the exit status."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.check is not None:
        return check_file(args)
    missing = [f"--{name}" for name in ("annotations", "images", "output") if vars(args)[name] is None]
    if missing:
        parser.error(f"expected {', '.join(missing)}, or --check")
    check_output_file(args.output)
    for folder in args.images:
        arguments.require_image_folder(folder)
    return _prepare(args)


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command's options."""
    parser = arguments.Parser(
        prog="prepare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--annotations", type=Path, metavar="FILE.json", help="COCO annotations, person_keypoints_*.json")
    add(
        "--images",
        type=Path,
        nargs="+",
        metavar="DIR",
        help="folders of the images; the first folder that contains a file is used",
    )
    add("--output", type=Path, metavar="FILE.h5", help="file to write")
    add(
        "--store",
        choices=("compressed", "raw"),
        default="compressed",
        help="store the image files unchanged (default), or decoded: larger, but faster to read",
    )
    add(
        "--split",
        default="",
        metavar="WHICH",
        help="images to hold out: first:N for the first N in the json, or a text file of image ids",
    )
    arguments.add_annotation_options(parser)
    add("--held-out", action="store_true", help="use only the images that --split holds out")
    add("--negatives", action="store_true", help="also use images without people")
    add(
        "--unlabeled",
        type=Path,
        metavar="RESULTS.json",
        help="results of a network on these images (written by tools/evaluate.py); people detected there but "
        "not annotated are masked out of the loss",
    )
    add(
        "--skeleton",
        default=skeleton.COCO.name,
        metavar="FILE.yaml",
        help="skeleton whose keypoints the json annotates, see configs/skeletons/ (default: COCO)",
    )
    add(
        "--workers",
        type=arguments.integer_at_least(1, "processes"),
        default=parallel.available_cores(),
        metavar="N",
        help="number of worker processes (default: one per core)",
    )
    add(
        "--check",
        type=Path,
        metavar="FILE.h5",
        help="only check this file: read every record, and compare it with --annotations if given",
    )
    return parser


def _prepare(args: argparse.Namespace) -> int:
    joints = skeleton.load(args.skeleton).annotated
    folders = tuple(args.images)
    plan = PreparationPlan(
        args.annotations,
        folders,
        args.output,
        joints,
        args.store,
        args.negatives,
        args.split,
        args.held_out,
        args.unlabeled,
        arguments.annotation_options(args),
    )
    with GracefulShutdown(), Preparation(plan) as preparation:
        if preparation.restarted:
            print(
                f"{printable(args.output)}: restarted, because the interrupted run had other annotations or "
                "options"
            )
        if args.unlabeled is not None:
            print(f"people detected but not annotated, masked out of the loss: {preparation.num_unlabeled:,}")
        samples, issues = _prepare_parts(preparation, args)
        if not samples:
            preparation.discard()
            counts = Counter(issue.kind for issue in issues)
            reasons = (
                ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "no image was selected"
            )
            image_count = len(preparation.images)
            raise ValueError(f"no training sample from {image_count} images: {reasons}; no file was written")
        with tqdm(desc=f"joining {printable(args.output.name)}", unit="B", unit_scale=True) as bar:
            for size in preparation.join_parts(args.workers):
                bar.update(size)
        print(format_summary(args.output, preparation))
    return 1 if any(map(is_error, issues)) else 0


def _prepare_parts(preparation: Preparation, args: argparse.Namespace) -> tuple[int, list[Issue]]:
    """Prepare all parts and report each issue at once; returns the number of samples and all issues."""
    samples = 0
    issues: list[Issue] = []
    with (
        closing(preparation.prepare_parts(args.workers)) as parts,
        tqdm(
            total=len(preparation.images), desc=f"preparing {printable(args.output.name)}", unit=" images"
        ) as bar,
    ):
        for part in parts:
            bar.initial += part.num_images if part.reused else 0  # not counted in the displayed speed
            bar.update(part.num_images)
            samples += part.num_samples
            issues += part.issues
            for issue in part.issues:
                if issue.kind not in EXPECTED_SKIP_KINDS:
                    action = "skipped" if is_error(issue) else "repaired"
                    common.log_line(f"{action} image {issue.image_id}: {issue.kind}: {issue.detail}")
    return samples, issues
