"""Compare settings of the grouping on maps that evaluate --cache-maps wrote; no network runs.

Prints AP and the time of the grouping for each combination of values, and the best one as YAML.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from tqdm import tqdm

from simplepose import config
from simplepose.cli import arguments, common
from simplepose.config import GroupingSettings, Settings
from simplepose.evaluation import coco_eval, map_cache
from simplepose.evaluation.coco_eval import Row
from simplepose.inference.predictor import find_model, group_maps, load_model
from simplepose.skeleton import Skeleton

# Values that are compared by default: 24 combinations.
DEFAULT_SWEEP = (
    "grouping.peak_threshold=0.05,0.1,0.15",
    "grouping.limb_threshold=0.05,0.1",
    "grouping.limb_support=0.6,0.8",
    "grouping.min_person_score=0.3,0.45",
)


@dataclass
class Candidate:
    """One combination of values.

    Attributes:
        overrides: the values as "grouping.key=value".
        settings: the grouping settings with them.
        rows: the people in all images.
        seconds: time of the grouping of each image.
        metrics: as `coco_eval.evaluate_rows` returns them.
    """

    overrides: tuple[str, ...]
    settings: GroupingSettings
    rows: list[Row] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def milliseconds(self) -> float:
        """Median time of an image."""
        return 1e3 * statistics.median(self.seconds)


def build_parser() -> arguments.Parser:
    """Build the parser of the command's options."""
    parser = arguments.Parser(
        prog="tune-grouping", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("maps", type=Path, metavar="MAPS_DIR", help="folder that evaluate --cache-maps wrote")
    add("--annotations", required=True, type=Path, metavar="FILE.json", help="COCO annotations of the images")
    add(
        "--model",
        default=common.DEFAULT_MODEL,
        metavar="NAME_OR_PATH",
        help=f"the model of the maps: its skeleton and settings (default: {common.DEFAULT_MODEL})",
    )
    add(
        "--sweep",
        action="append",
        metavar="KEY=VALUE,VALUE",
        help=f"a grouping setting and its values; may be repeated (default: {' '.join(DEFAULT_SWEEP)})",
    )
    arguments.add_annotation_options(parser)
    parser.add_set("override grouping.* in all combinations")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status: 0."""
    args = build_parser().parse_args(argv)
    image_ids = map_cache.cached_ids(args.maps)
    model = load_model(find_model(args.model), "cpu", args.set, "auto", "default")
    candidates = _build_candidates(model.settings, args.sweep or DEFAULT_SWEEP)
    truth = coco_eval.read_annotations(
        args.annotations, model.skeleton.annotated, arguments.annotation_options(args)
    )
    image_ids = [image_id for image_id in image_ids if image_id in truth.imgs]
    if not any(coco_eval.annotated_people(truth, image_id) for image_id in image_ids):
        raise ValueError(
            f"{args.maps}: expected maps of images with people in {args.annotations}, found none"
        )
    for image_id in tqdm(image_ids, unit=" images"):
        _group_image(args.maps, image_id, candidates, model.skeleton)
    for candidate in candidates:
        candidate.metrics = coco_eval.evaluate_rows(truth, candidate.rows, image_ids, model.skeleton.sigmas)
    candidates.sort(key=lambda candidate: (-candidate.metrics["AP"], candidate.milliseconds))
    print(_format_table(candidates))
    print("\ngrouping:")
    for override in candidates[0].overrides:
        name, _, value = override.removeprefix("grouping.").partition("=")
        print(f"  {name}: {value}")
    return 0


def _format_table(candidates: Sequence[Candidate]) -> str:
    """Format the candidates, best AP first."""
    lines = ["     AP   AP50  ms/image  settings (*: no settings with a higher AP are as fast)"]
    fastest = float("inf")
    for candidate in candidates:
        mark = "*" if candidate.milliseconds < fastest else " "
        fastest = min(fastest, candidate.milliseconds)
        text = " ".join(override.removeprefix("grouping.") for override in candidate.overrides)
        ap, ap50 = candidate.metrics["AP"], candidate.metrics["AP50"]
        lines.append(f"{mark} {ap:.3f}  {ap50:.3f}  {candidate.milliseconds:8.2f}  {text}")
    return "\n".join(lines)


def _build_candidates(settings: Settings, sweep: Sequence[str]) -> list[Candidate]:
    """Build all combinations of the values in "grouping.key=value,value" texts.

    Raises:
        ValueError: a text has another form, or a value is invalid.
    """
    choices = []
    for text in sweep:
        key, _, values = text.partition("=")
        if not key.startswith("grouping.") or not values:
            raise ValueError(f"--sweep: expected grouping.KEY=VALUE,VALUE, got {text!r}")
        choices.append([f"{key}={value}" for value in values.split(",")])
    return [
        Candidate(overrides, config.apply_overrides(settings, overrides, "--sweep").grouping)
        for overrides in itertools.product(*choices)
    ]


def _group_image(folder: Path, image_id: int, candidates: Sequence[Candidate], skeleton: Skeleton) -> None:
    """Group the maps of an image with each candidate's settings."""
    values, to_image = map_cache.read_maps(folder, image_id)
    maps = torch.from_numpy(values)
    for candidate in candidates:
        start = time.perf_counter()
        people = group_maps(maps, to_image, skeleton, candidate.settings)
        candidate.seconds.append(time.perf_counter() - start)
        candidate.rows += people.to_coco_rows(image_id)
