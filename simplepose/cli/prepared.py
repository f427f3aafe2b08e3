"""What is said of a file of training samples when it is made or checked."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from simplepose.data.checking import check
from simplepose.data.coco import AnnotatedPicture, persons_of, read_annotations
from simplepose.data.hdf5 import SampleFile
from simplepose.data.preparation import AS_RULED, HELD_OUT, MENDED
from simplepose.data.record import PictureFault, Remark
from simplepose.skeleton import COCO

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
