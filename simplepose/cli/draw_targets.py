"""Draw what a network is taught: samples of a file as an epoch shows them, with masks, joints and maps."""

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
from simplepose.visualize import maps
from simplepose.writers.drawn_images import write_picture

FORMATS = (".png", ".jpg", ".jpeg")


def parser() -> arguments.Parser:
    """The verb's options."""
    parser = arguments.Parser(prog="draw-targets", description=__doc__)
    add = parser.add_argument
    add("--config", required=True, help="settings, for example configs/imhn4_512.yaml")
    add("--samples", required=True, type=Path, metavar="FILE.h5", help="made by prepare")
    add("--output", required=True, type=Path, metavar="FILE.png", help="the sheet; its folder must be there")
    add("--count", type=arguments.count(1, "samples"), default=4, metavar="N", help="(default: 4)")
    add("--epoch", type=arguments.count(0, "epochs"), default=0, help="whose first N samples (default: 0)")
    add("--plain", action="store_true", help="without augmentation, as in validation")
    add("--height", type=arguments.count(1, "pixels"), default=256, help="of each part (default: 256)")
    parser.add_set("win over the file's")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb; returns the exit status."""
    args = parser().parse_args(argv)
    if args.output.suffix.lower() not in FORMATS:
        raise ValueError(f"--output {args.output}: a name that ends in {', '.join(FORMATS)} expected")
    settings = config.load(args.config, args.set)
    body = skeleton.load(settings.skeleton)
    samples = TrainingSamples(args.samples, settings, body, augmented=not args.plain)
    sampler = EpochSampler(len(samples), settings.train.seed)
    sampler.epoch = args.epoch
    order = [(args.epoch, index) for index in range(len(samples))] if args.plain else sampler
    places = list(islice(order, args.count))
    write_picture(
        args.output, maps.grid([_row(samples[place], settings, body, args.height) for place in places])
    )
    print(f"wrote {len(places)} of {len(samples):,} samples to {args.output}")
    return 0


def _row(sample: Sample, settings: Settings, body: Skeleton, height: int) -> list[np.ndarray]:
    """One sample's tiles, of that height."""
    batch = collate([sample])
    target = targets.draw(batch.joints, batch.person_mask.float() / 255, body, settings.targets)[0].numpy()
    stride = settings.targets.stride
    shown = maps.row(sample.image, sample.mask_miss, sample.person_mask, sample.joints, target, stride, body)
    size = max(1, round(height * sample.image.shape[1] / sample.image.shape[0])), height
    return [maps.titled(tile, size, title) for title, tile in shown.items()]
