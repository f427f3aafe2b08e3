"""Compare two evaluations of the same images: differences with bootstrap intervals, and changed images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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
    first, second = (_read_evaluation(folder) for folder in (args.first, args.second))
    for name in ("image_ids", "keypoints", "sigmas"):
        if getattr(first, name) != getattr(second, name):
            raise ValueError(
                f"{args.first} and {args.second}: expected evaluations of the same images and the same "
                f"skeleton, got other {name}; evaluate both with the same --annotations, --split, --subset "
                "and --limit, and with models of one skeleton"
            )
    annotations = args.annotations or second.annotations
    truth = coco_eval.read_annotations(annotations, first.keypoints, arguments.annotation_options(args))
    before, after = (_load(evaluation, truth) for evaluation in (first, second))
    _print_differences(before, after)
    _print_changed_images(before, after, truth)
    return 0


@dataclass(frozen=True)
class _Evaluation:
    """What an output folder of `evaluate` states in its metrics.json.

    Attributes:
        folder: the output folder.
        annotations: path of the json.
        image_ids: of the evaluated images.
        keypoints, sigmas: those of the results, in their order.
    """

    folder: Path
    annotations: str
    image_ids: list[int]
    keypoints: list[str]
    sigmas: list[float]


def _read_evaluation(folder: Path) -> _Evaluation:
    path = folder / "metrics.json"
    try:
        values = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: invalid json ({error}); run evaluate again") from error
    if not isinstance(values, dict) or not {"image_ids", "annotations", "skeleton"} <= values.keys():
        raise ValueError(f"{path}: written by an earlier version; run evaluate again")
    skeleton = values["skeleton"]
    return _Evaluation(
        folder, values["annotations"], values["image_ids"], skeleton["annotated"], skeleton["sigmas"]
    )


def _load(evaluation: _Evaluation, truth: Annotations) -> ImageWeightedAP:
    rows = result_file.read_rows(evaluation.folder / "results.json", truth, len(evaluation.keypoints))
    return ImageWeightedAP(truth, rows, evaluation.image_ids, evaluation.sigmas)


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
