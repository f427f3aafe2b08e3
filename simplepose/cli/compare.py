"""Compare two evaluations of the same images: differences with bootstrap intervals, and changed images."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO as Annotations

from simplepose.cli import arguments, common
from simplepose.evaluation import coco_eval, comparison, result_file
from simplepose.evaluation.comparison import COMPARED_METRICS, CONFIDENCE, ImageWeightedAP

MAX_CHANGED_IMAGES = 10


def build_parser() -> arguments.Parser:
    """Build the parser of the command's options."""
    parser = arguments.Parser(prog="compare", description=__doc__)
    add = parser.add_argument
    add("first", type=Path, metavar="DIR_A", help="output folder of evaluate")
    add("second", type=Path, metavar="DIR_B", help="output folder of evaluate for the same images")
    add(
        "--annotations",
        type=Path,
        metavar="FILE.json",
        help="COCO annotations of the images (default: those that DIR_B states)",
    )
    arguments.add_annotation_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status: 0."""
    args = build_parser().parse_args(argv)
    metrics = read_metrics(args.second)
    image_ids, skeleton = metrics["image_ids"], metrics["skeleton"]
    read_metrics(args.first, image_ids, skeleton)
    options = arguments.annotation_options(args)
    truth = coco_eval.read_annotations(
        args.annotations or metrics["annotations"], skeleton["annotated"], options
    )
    first, second = (_load(folder, truth, image_ids, skeleton) for folder in (args.first, args.second))
    _print_differences(first, second)
    _print_changed_images(first, second, truth)
    return 0


def read_metrics(
    folder: Path, image_ids: Sequence[int] | None = None, skeleton: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Read metrics.json of an evaluation's output folder.

    Args:
        folder: output folder of evaluate.
        image_ids: the images that must have been evaluated; None: any.
        skeleton: its "annotated" keypoints and "sigmas" must have been evaluated; None: any.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not a file of evaluate, or of other images or keypoints.
    """
    path = folder / "metrics.json"
    try:
        values = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: invalid json ({error}); run evaluate again") from error
    if not isinstance(values, dict) or not {"image_ids", "annotations", "skeleton"} <= values.keys():
        raise ValueError(f"{path}: written by an earlier version; run evaluate again")
    if image_ids is not None and values["image_ids"] != image_ids:
        raise ValueError(
            f"{path}: expected evaluations of the same images; evaluate both with the same --annotations, "
            "--split, --subset and --limit"
        )
    for name in ("annotated", "sigmas"):
        if skeleton is not None and values["skeleton"][name] != list(skeleton[name]):
            raise ValueError(
                f"{path}: expected evaluations of the same skeleton, got other {name}; evaluate "
                "models of one skeleton"
            )
    return values


def _load(
    folder: Path, truth: Annotations, image_ids: Sequence[int], skeleton: Mapping[str, Any]
) -> ImageWeightedAP:
    rows = result_file.read_rows(folder / "results.json", truth, len(skeleton["annotated"]))
    return ImageWeightedAP(truth, rows, image_ids, skeleton["sigmas"])


def _print_differences(first: ImageWeightedAP, second: ImageWeightedAP) -> None:
    print(f"metric      A       B    B - A   {CONFIDENCE:.0%} interval over images")
    differences = comparison.compare(first, second)
    for name in COMPARED_METRICS:
        value = differences[name]
        mark = "  *" if value.is_significant else ""
        print(
            f"{name:6} {value.first:7.3f} {value.second:7.3f} {value.second - value.first:+8.3f}   "
            f"[{value.low:+.3f}, {value.high:+.3f}]{mark}"
        )
    print("*: the interval excludes 0")


def _print_changed_images(first: ImageWeightedAP, second: ImageWeightedAP, truth: Annotations) -> None:
    before, after = first.per_image(), second.per_image()
    changes = np.where((before >= 0) & (after >= 0), after - before, 0)
    order = np.argsort(-np.abs(changes), kind="stable")[:MAX_CHANGED_IMAGES]
    changed = [index for index in order if changes[index]]
    print("\nAP of the images that changed most:" if changed else "\nno image changed")
    for index in changed:
        name = truth.imgs[first.image_ids[index]]["file_name"]
        line = f"{before[index]:6.3f} -> {after[index]:.3f}  {name}"
        print(common.escape_for_stdout(line))
