"""Drawn people: pictures a second on one core, and where the time goes.

    OMP_NUM_THREADS=1 python benchmarks/synthetic.py [--people 5] [--size 512 512] [--pictures 100]

OpenCV runs on one thread. Drawing is compared in the same run with decoding the same pictures from JPEG
(quality 95), which is what a picture costs that was drawn before: medians over the rounds. The shares are
of a round of their own, since the clock that finds them costs time too.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from stage_clock import clocked

from simplepose.synthetic import backdrops, bodies, painter, poses, scenes

STAGES = {  # name: whose function, which one
    "light, sizes, places, joints": (scenes, "draw_scene"),
    "backdrop": (backdrops, "draw_backdrop"),
    "poses": (poses, "draw_figure"),
    "bodies and clothes": (bodies, "draw_body"),
    "cut-outs": (painter, "cut_out"),
    "laid over the picture": (painter.Painter, "_lay"),
    "camera": (scenes, "_photograph"),
}


def draw(number: int, args: argparse.Namespace, **more: Any) -> np.ndarray:
    """Picture `number`."""
    return scenes.draw_scene(np.random.default_rng(number), tuple(args.size), args.people, **more).image


def seconds(call: Callable[[int], object], count: int) -> float:
    """For all of `count` calls."""
    start = time.perf_counter()
    for number in range(count):
        call(number)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--people", type=int, default=5)
    parser.add_argument("--size", type=int, nargs=2, default=(512, 512), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--pictures", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    encoded = [
        cv2.imencode(".jpg", draw(number, args), [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
        for number in range(args.pictures)
    ]
    drawing, decoding = [], []
    for _ in range(args.rounds):
        drawing.append(seconds(lambda number: draw(number, args), args.pictures))
        decoding.append(seconds(lambda n: cv2.imdecode(encoded[n], cv2.IMREAD_COLOR), args.pictures))
    drawn, decoded = (args.pictures / statistics.median(times) for times in (drawing, decoding))
    print(f"{args.size[0]} x {args.size[1]}, {args.people} people: {drawn:.1f} pictures drawn a second")
    print(f"decoding them from JPEG: {decoded:.0f} a second, {decoded / drawn:.1f} times as fast")
    spent: dict[str, float] = defaultdict(float)
    with clocked(STAGES, spent):
        for number in range(args.pictures):
            draw(number, args, figure=poses.draw_figure, backdrop=backdrops.draw_backdrop)
    for name, share in sorted(spent.items(), key=lambda item: -item[1]):
        print(f"{name:30}{100 * share / sum(spent.values()):5.1f} %")


if __name__ == "__main__":
    main()
