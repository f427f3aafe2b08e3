"""Synthetic people: images per second on one core, and the share of each step.

    OMP_NUM_THREADS=1 python benchmarks/synthetic.py [--people 5] [--size 512 512] [--num-images 100]

OpenCV runs on one thread. The same run measures decoding the same images from JPEG (quality 95), the cost of
an image that was rendered before. Values are medians over rounds. A separate round gives the shares, because
measuring them takes time too.
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
from stage_clock import measure_stages

from simplepose.synthetic import backdrops, bodies, painter, poses, scenes

STAGES = {  # name: (owner of the function, its name)
    "light, sizes, positions, joints": (scenes, "draw_scene"),
    "background": (backdrops, "draw_backdrop"),
    "poses": (poses, "sample_figure"),
    "bodies and clothes": (bodies, "build_body"),
    "cut-outs": (painter, "render_sprite"),
    "compositing": (painter.Painter, "_composite"),
    "camera": (scenes, "_simulate_camera"),
}


def draw(number: int, args: argparse.Namespace, **more: Any) -> np.ndarray:
    """Render image `number`."""
    return scenes.draw_scene(np.random.default_rng(number), tuple(args.size), args.people, **more).image


def measure_seconds(call: Callable[[int], object], count: int) -> float:
    """Measure the time of `count` calls, s."""
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
    parser.add_argument("--num-images", "--pictures", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    encoded = [
        cv2.imencode(".jpg", draw(number, args), [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
        for number in range(args.num_images)
    ]
    drawing, decoding = [], []
    for _ in range(args.rounds):
        drawing.append(measure_seconds(lambda number: draw(number, args), args.num_images))
        decoding.append(
            measure_seconds(lambda n: cv2.imdecode(encoded[n], cv2.IMREAD_COLOR), args.num_images)
        )
    rendered, decoded = (args.num_images / statistics.median(times) for times in (drawing, decoding))
    print(f"{args.size[0]} x {args.size[1]}, {args.people} people: {rendered:.1f} images rendered per second")
    print(f"decoding them from JPEG: {decoded:.0f} per second, {decoded / rendered:.1f} times as fast")
    seconds_by_stage: dict[str, float] = defaultdict(float)
    with measure_stages(STAGES, seconds_by_stage):
        for number in range(args.num_images):
            draw(number, args, figure=poses.sample_figure, backdrop=backdrops.draw_backdrop)
    for name, share in sorted(seconds_by_stage.items(), key=lambda item: -item[1]):
        print(f"{name:30}{100 * share / sum(seconds_by_stage.values()):5.1f} %")


if __name__ == "__main__":
    main()
