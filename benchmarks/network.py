"""The network alone: the plain path against the network for use, in one run.

    OMP_NUM_THREADS=1 python benchmarks/network.py [--models mobile four] [--rounds 5] [--run eager compile]

Plain: eager, contiguous NCHW, all heads, batch norms of their own, autocast in half precision. For use: what
`simplepose.models.fused` makes, to be run as --run says. Both begin at uint8 pictures where the network
lies and end at the finest maps; they take turns, and the medians over rounds are printed, with the median of
the rounds' ratios. FLOP are counted by torch (2 a product), so that a transposed convolution counts what it
does. On a GPU the share of the measured rate of a matrix product is told too. Last, what each stack costs.
Weights are drawn by chance: the time does not depend on them.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from simplepose import config
from simplepose.models.fused import for_use
from simplepose.models.imhn import IMHN
from simplepose.models.layers import DTYPES
from simplepose.skeleton import COCO

CONFIGS = Path(__file__).parents[1] / "configs"
LEAST = 0.2  # seconds that one timing lasts at least on a GPU, which starts work before it is done


@dataclass(frozen=True)
class Workload:
    """A network, and the pictures that it is given on CPUs and on GPUs."""

    config: str
    size: tuple[int, int]
    batches: tuple[int, ...]
    gpu_size: tuple[int, int]
    gpu_batches: tuple[int, ...]


WORKLOADS = {
    "mobile": Workload("imhn_mobile.yaml", (384, 512), (1, 4), (384, 512), (1, 8, 64)),
    "four": Workload("imhn4_384.yaml", (384, 384), (1,), (512, 512), (1, 8, 32)),
}

Step = Callable[[], Tensor]


def network_of(workload: Workload, device: torch.device) -> IMHN:
    """Weights that keep the size of signals: numbers near 0 would slow a CPU down."""
    torch.manual_seed(0)
    network = IMHN.from_settings(config.load(CONFIGS / workload.config).model, COCO.channels)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data.normal_(0, module.weight[0].numel() ** -0.5)
    return network.eval().to(device)


def plain(network: IMHN, images: Tensor, dtype: torch.dtype) -> Step:
    half = dtype != torch.float32

    def step() -> Tensor:
        x = images.permute(0, 3, 1, 2).float().div(255).contiguous()
        with torch.inference_mode(), torch.autocast(images.device.type, dtype, enabled=half):
            return network(x)[-1][0]

    return step


def used(module: nn.Module, images: Tensor) -> Step:
    def step() -> Tensor:
        with torch.inference_mode():
            return module(images)

    return step


def seconds(step: Step, device: torch.device) -> float:
    """A step's."""
    steps, start = 0, time.perf_counter()
    while not steps or (device.type == "cuda" and time.perf_counter() - start < LEAST):
        step()
        steps += 1
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    return (time.perf_counter() - start) / steps


def medians(steps: list[Step], args: argparse.Namespace) -> tuple[list[float], list[float]]:
    """Seconds of each step, and how many times as fast as the first it is; they take turns."""
    for step in steps:
        seconds(step, args.device)  # the first steps choose algorithms, compile, record, and fill caches
    rounds = [[seconds(step, args.device) for step in steps] for _ in range(args.rounds)]
    times = [statistics.median(column) for column in zip(*rounds, strict=True)]
    ratios = [statistics.median(row[0] / row[k] for row in rounds) for k in range(len(steps))]
    return times, ratios


def flop(step: Step) -> int:
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def matrix_product_rate(dtype: torch.dtype, device: torch.device) -> float:
    """FLOP a second of 8192 x 8192 x 8192."""
    a = torch.randn(8192, 8192, device=device, dtype=dtype)
    seconds(lambda: a @ a, device)
    return 2 * 8192**3 / statistics.median(seconds(lambda: a @ a, device) for _ in range(5))


def pictures(batch: int, size: tuple[int, int], device: torch.device) -> Tensor:
    return torch.randint(0, 256, (batch, *size, 3), dtype=torch.uint8, device=device)


def compare(network: IMHN, images: Tensor, precision: str, args: argparse.Namespace) -> None:
    """A row for each way to run."""
    dtype = DTYPES[precision]
    eager = for_use(network, dtype=dtype, device=args.device)
    others = [
        for_use(network, dtype=dtype, device=args.device, run=run) for run in args.run if run != "eager"
    ]
    steps = [plain(network, images, dtype), *(used(module, images) for module in [eager, *others])]
    names = ["plain", *(["eager"] + [run for run in args.run if run != "eager"])]
    work = [flop(steps[0]), *[flop(steps[1])] * (len(steps) - 1)]
    times, ratios = medians(steps, args)
    ceiling = matrix_product_rate(dtype, args.device) if args.device.type == "cuda" else None
    for name, second, ratio, count in zip(names, times, ratios, work, strict=True):
        share = f"{count / second / ceiling:.3f}" if ceiling else "-"
        row = f"{precision} {len(images):5d}   {name:8s} {len(images) / second:10.2f} {ratio:8.2f}"
        print(f"{row} {count / len(images) / 1e9:16.2f} {share:>24s}", flush=True)


def each_stack(network: IMHN, images: Tensor, args: argparse.Namespace) -> None:
    """What the maps of each stack cost, in float32 on a CPU and in bfloat16 on a GPU."""
    dtype = torch.bfloat16 if args.device.type == "cuda" else torch.float32
    counts = range(len(network.hourglasses), 0, -1)
    steps = [used(for_use(network, stacks=k, dtype=dtype, device=args.device), images) for k in counts]
    times, ratios = medians(steps, args)
    for stacks, step, second, ratio in zip(counts, steps, times, ratios, strict=True):
        print(
            f"stacks={stacks}: {1e3 * second:8.1f} ms, {flop(step) / 1e9:7.2f} GFLOP, "
            f"{ratio:.2f} times as fast as all"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", type=torch.device, default=default)
    parser.add_argument("--models", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--precisions", nargs="+", choices=DTYPES, help="fp16 is left out on CPUs")
    parser.add_argument("--batches", nargs="+", type=int, help="instead of each model's own")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--run", nargs="+", default=None, choices=("eager", "graphs", "compile"))
    args = parser.parse_args()
    gpu = args.device.type == "cuda"
    args.run = args.run or (["eager", "graphs", "compile"] if gpu else ["eager"])
    args.precisions = args.precisions or (list(DTYPES) if gpu else ["fp32", "bf16"])
    name = torch.cuda.get_device_name(args.device) if gpu else f"cpu, {torch.get_num_threads()} threads"
    for model in args.models:
        workload = WORKLOADS[model]
        network = network_of(workload, args.device)
        size = workload.gpu_size if gpu else workload.size
        batches = args.batches or (workload.gpu_batches if gpu else workload.batches)
        print(f"{workload.config}, {size[0]} x {size[1]}, {name}")
        print("     batch   way      pictures/s    ratio GFLOP a picture  share of matrix product")
        for precision in args.precisions:
            for batch in batches:
                compare(network, pictures(batch, size, args.device), precision, args)
        if len(network.hourglasses) > 1:
            each_stack(network, pictures(batches[0], size, args.device), args)
    if not gpu:
        print("GPU: not yet measured")


if __name__ == "__main__":
    main()
