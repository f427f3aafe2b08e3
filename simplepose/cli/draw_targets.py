"""Draw training samples as an epoch yields them, with their masks, joints and target maps."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from simplepose import config, skeleton, targets
from simplepose.cli import arguments
from simplepose.config import Settings
from simplepose.data.batch import collate
from simplepose.data.dataset import EpochSampler, TrainingSamples
from simplepose.data.sample import Sample
from simplepose.skeleton import Skeleton
from simplepose.utils.files import check_output_file, printable
from simplepose.visualize import maps
from simplepose.writers.drawn_images import write_image

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")


def build_parser() -> arguments.Parser:
    """Build the parser of the command's options."""
    parser = arguments.Parser(prog="draw-targets", description=__doc__)
    add = parser.add_argument
    add(
        "--config",
        required=True,
        metavar="FILE.yaml",
        help="settings file, for example configs/imhn4_512.yaml",
    )
    add("--samples", required=True, type=Path, metavar="FILE.h5", help="training samples, written by prepare")
    add(
        "--output", required=True, type=Path, metavar="FILE.png", help="image to write, in an existing folder"
    )
    add(
        "--count",
        type=arguments.integer_at_least(1, "samples"),
        default=4,
        metavar="N",
        help="number of samples (default: 4)",
    )
    add(
        "--epoch",
        type=arguments.integer_at_least(0, "epochs"),
        default=0,
        help="epoch whose first N samples are drawn (default: 0)",
    )
    add("--plain", action="store_true", help="no augmentation, as in validation")
    add(
        "--height",
        type=arguments.integer_at_least(1, "pixels"),
        default=256,
        help="height of each tile in pixels (default: 256)",
    )
    parser.add_set("override values of the settings file")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    args = build_parser().parse_args(argv)
    if args.output.suffix.lower() not in IMAGE_SUFFIXES:
        raise ValueError(f"--output {args.output}: expected a name that ends in {', '.join(IMAGE_SUFFIXES)}")
    check_output_file(args.output)
    settings = config.load(args.config, args.set)
    body = skeleton.load(settings.skeleton)
    samples = TrainingSamples(args.samples, settings, body, augmented=not args.plain)
    sampler = EpochSampler(len(samples), settings.train.seed)
    sampler.epoch = args.epoch
    order = [(args.epoch, index) for index in range(len(samples))] if args.plain else sampler
    keys = list(islice(order, args.count))
    write_image(
        args.output,
        maps.tile_grid([_sample_tiles(samples[key], settings, body, args.height) for key in keys]),
    )
    print(f"wrote {len(keys)} of {len(samples):,} samples to {printable(args.output)}")
    return 0


def _sample_tiles(sample: Sample, settings: Settings, body: Skeleton, height: int) -> list[np.ndarray]:
    """Draw the tiles of one sample, each of this height in pixels."""
    batch = collate([sample])
    target = targets.draw(batch.joints, batch.person_mask.float() / 255, body, settings.targets)[0].numpy()
    stride = settings.targets.stride
    tiles = maps.draw_sample(
        sample.image, sample.mask_miss, sample.person_mask, sample.joints, target, stride, body
    )
    size = max(1, round(height * sample.image.shape[1] / sample.image.shape[0])), height
    return [maps.add_title(tile, size, title) for title, tile in tiles.items()]
