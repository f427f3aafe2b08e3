"""The fused network in each inference runtime on a CPU, in one run.

    python benchmarks/runtimes.py [--model NAME_OR_PATH] [--threads 1 2] [--rounds 15] [--size 384 512]

One image at a time: the CPU time (of all threads) and the wall time of a forward pass, as medians over
rounds in which the runtimes take turns; how many times as fast as torch it is, as the median of the rounds'
ratios; and the largest difference from torch's maps, relative to the largest value. Many images: one
forward pass with all threads, or several at once with a share of the threads each, as in a pipeline. Once:
the cost of converting the network, and of the first image of another shape.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from simplepose.inference import concurrency
from simplepose.inference.predictor import find_model
from simplepose.models import checkpoints
from simplepose.models.backends import PACKAGES, Backend, build_backend
from simplepose.models.imhn import IMHN

IMAGES = 8  # of a round of many images


@dataclass(frozen=True)
class Cost:
    """CPU time of all threads and wall time, ms."""

    cpu: float
    wall: float


def measure(function: Callable[..., object], *args: object) -> Cost:
    cpu, wall = time.process_time(), time.perf_counter()
    function(*args)
    return Cost(1e3 * (time.process_time() - cpu), 1e3 * (time.perf_counter() - wall))


def median(values: Sequence[Cost]) -> Cost:
    return Cost(statistics.median(c.cpu for c in values), statistics.median(c.wall for c in values))


def random_images(height: int, width: int) -> Tensor:
    return torch.randint(0, 256, (1, height, width, 3), dtype=torch.uint8)


def build_backends(network: IMHN) -> list[Backend]:
    """Torch and each runtime that is installed."""
    backends = []
    for runtime in ("torch", *PACKAGES):
        try:
            backends.append(build_backend(network, runtime, "fp32"))
        except ValueError as error:
            print(error)
    return backends


def compare_latency(backends: list[Backend], images: Tensor, threads: int, rounds: int) -> None:
    torch.set_num_threads(threads)
    maps = [backend.network(images) for backend in backends]  # and compile
    costs = [[measure(backend.network, images) for backend in backends] for _ in range(rounds)]
    for k, backend in enumerate(backends):
        cost = median([row[k] for row in costs])
        ratios = [Cost(row[0].cpu / row[k].cpu, row[0].wall / row[k].wall) for row in costs]
        ratio = median(ratios)
        difference = ((maps[k] - maps[0]).abs().max() / maps[0].abs().max()).item()
        row = f"{threads:7d}  {backend.runtime:9}{cost.cpu:8.1f}{cost.wall:9.1f}"
        print(f"{row}{ratio.cpu:11.2f}{ratio.wall:12.2f}{difference:12.1e}", flush=True)


def infer_many(pool: ThreadPoolExecutor, backend: Backend, images: Tensor, count: int) -> None:
    """`IMAGES` forward passes in `count` threads."""

    def infer(_: int) -> None:
        for _ in range(IMAGES // count):
            backend.network(images)

    list(pool.map(infer, range(count)))


def compare_throughput(backends: list[Backend], images: Tensor, threads: int, rounds: int) -> None:
    torch.set_num_threads(threads)
    ways = [(backend, count) for backend in backends for count in (1, 2, 4) if count <= threads]
    pools = [concurrency.forward_thread_pool(count) for _, count in ways]
    costs = [
        [
            measure(infer_many, pool, backend, images, count)
            for pool, (backend, count) in zip(pools, ways, strict=True)
        ]
        for _ in range(rounds + 1)
    ]
    for k, (backend, count) in enumerate(ways):
        cost = median([row[k] for row in costs[1:]])  # the first round compiles
        row = f"{count:6d}  {threads // count:7d}  {backend.runtime:9}{cost.cpu / IMAGES:8.1f}"
        print(f"{row}{cost.wall / IMAGES:9.1f}{1e3 * IMAGES / cost.wall:10.2f}", flush=True)


def compare_first_calls(backends: list[Backend], network: IMHN, height: int, width: int) -> None:
    for backend in backends:
        built = measure(build_backend, network, backend.runtime, "fp32")
        images = [random_images(height, width + 64 * (k + 1)) for k in range(5)]
        first = median([measure(backend.network, image) for image in images])
        again = median([measure(backend.network, image) for image in images])
        print(f"{backend.runtime:9}{built.cpu:14.0f}{first.cpu:21.1f}{again.cpu:12.1f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="imhn_mobile", metavar="NAME_OR_PATH")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--size", nargs=2, type=int, default=[384, 512], metavar=("HEIGHT", "WIDTH"))
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(max(args.threads))
    network = checkpoints.load(find_model(args.model), "cpu", "auto").network
    backends, images = build_backends(network), random_images(*args.size)
    with torch.inference_mode():
        print(f"{args.model}, {args.size[0]} x {args.size[1]}\none image at a time")
        print("threads  runtime  CPU ms  wall ms  CPU ratio  wall ratio  difference")
        for threads in args.threads:
            compare_latency(backends, images, threads, args.rounds)
        print("\nmany images, time of each\npasses  threads  runtime  CPU ms  wall ms  images/s")
        compare_throughput(backends, images, max(args.threads), max(1, args.rounds // 3))
        print("\nonce, CPU time\nruntime  to build, ms  first of a shape, ms  later, ms")
        compare_first_calls(backends, network, *args.size)


if __name__ == "__main__":
    main()
