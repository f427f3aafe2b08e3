"""The network alone: the plain network against the fused network, in one run.

    OMP_NUM_THREADS=1 python benchmarks/network.py [--models mobile four] [--rounds 5] [--run eager compile]

Plain: eager, contiguous NCHW, all heads, separate batch norm, autocast in half precision. Fused: the network
of `simplepose.models.fused`, in the mode --run. Both take uint8 images on the network's device and return the
finest maps. They alternate; printed are medians over rounds, and the median of the ratios of each round.
Torch counts FLOP (2 a multiply-add), transposed convolutions included. On a GPU the share of the measured
matrix product rate is printed too. Last follows the time of each number of stacks. Weights are random: the
time does not depend on them.
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
from simplepose.models.fused import fuse
from simplepose.models.imhn import IMHN
from simplepose.models.layers import DTYPES
from simplepose.skeleton import COCO

CONFIGS = Path(__file__).parents[1] / "configs"
MIN_TIMING_S = 0.2  # minimum duration of one timing on a GPU, which runs asynchronously


@dataclass(frozen=True)
class Workload:
    """A network, and its image sizes and batch sizes on CPUs and GPUs."""

    config: str
    size: tuple[int, int]
    batches: tuple[int, ...]
    gpu_size: tuple[int, int]
    gpu_batches: tuple[int, ...]


WORKLOADS = {
    "mobile": Workload("imhn_mobile.yaml", (384, 512), (1, 4), (384, 512), (1, 8, 64)),
    "four": Workload("imhn4_384.yaml", (384, 384), (1,), (512, 512), (1, 8, 32)),
}

Forward = Callable[[], Tensor]


def build_network(workload: Workload, device: torch.device) -> IMHN:
    """Build a network whose weights preserve signal size: denormal numbers would slow a CPU down."""
    torch.manual_seed(0)
    network = IMHN.from_settings(config.load(CONFIGS / workload.config).model, COCO.channels)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data.normal_(0, module.weight[0].numel() ** -0.5)
    return network.eval().to(device)


def plain_step(network: IMHN, images: Tensor, dtype: torch.dtype) -> Forward:
    half = dtype != torch.float32

    def step() -> Tensor:
        x = images.permute(0, 3, 1, 2).float().div(255).contiguous()
        with torch.inference_mode(), torch.autocast(images.device.type, dtype, enabled=half):
            return network(x)[-1][0]

    return step


def fused_step(module: nn.Module, images: Tensor) -> Forward:
    def step() -> Tensor:
        with torch.inference_mode():
            return module(images)

    return step


def measure_seconds(step: Forward, device: torch.device) -> float:
    """Measure the time of one forward pass, s."""
    steps, start = 0, time.perf_counter()
    while not steps or (device.type == "cuda" and time.perf_counter() - start < MIN_TIMING_S):
        step()
        steps += 1
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    return (time.perf_counter() - start) / steps


def measure_alternating(steps: list[Forward], args: argparse.Namespace) -> tuple[list[float], list[float]]:
    """Measure the median time of each step in s and its speedup over the first; the steps alternate."""
    for step in steps:
        measure_seconds(step, args.device)  # warmup: select algorithms, compile, record graphs, fill caches
    rounds = [[measure_seconds(step, args.device) for step in steps] for _ in range(args.rounds)]
    times = [statistics.median(column) for column in zip(*rounds, strict=True)]
    ratios = [statistics.median(row[0] / row[k] for row in rounds) for k in range(len(steps))]
    return times, ratios


def count_flop(step: Forward) -> int:
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def matrix_product_rate(dtype: torch.dtype, device: torch.device) -> float:
    """Measure the rate of an 8192 x 8192 x 8192 matrix product, FLOP/s."""
    a = torch.randn(8192, 8192, device=device, dtype=dtype)
    measure_seconds(lambda: a @ a, device)
    return 2 * 8192**3 / statistics.median(measure_seconds(lambda: a @ a, device) for _ in range(5))


def random_images(batch: int, size: tuple[int, int], device: torch.device) -> Tensor:
    return torch.randint(0, 256, (batch, *size, 3), dtype=torch.uint8, device=device)


def compare(network: IMHN, images: Tensor, precision: str, args: argparse.Namespace) -> None:
    """Print a row for the plain network and for each run mode."""
    dtype = DTYPES[precision]
    eager = fuse(network, dtype=dtype, device=args.device)
    others = [fuse(network, dtype=dtype, device=args.device, run=run) for run in args.run if run != "eager"]
    steps = [plain_step(network, images, dtype), *(fused_step(module, images) for module in [eager, *others])]
    names = ["plain", *(["eager"] + [run for run in args.run if run != "eager"])]
    work = [count_flop(steps[0]), *[count_flop(steps[1])] * (len(steps) - 1)]
    times, ratios = measure_alternating(steps, args)
    ceiling = matrix_product_rate(dtype, args.device) if args.device.type == "cuda" else None
    for name, second, ratio, count in zip(names, times, ratios, work, strict=True):
        share = f"{count / second / ceiling:.3f}" if ceiling else "-"
        row = f"{precision} {len(images):5d}   {name:8s} {len(images) / second:10.2f} {ratio:8.2f}"
        print(f"{row} {count / len(images) / 1e9:16.2f} {share:>24s}", flush=True)


def compare_stacks(network: IMHN, images: Tensor, args: argparse.Namespace) -> None:
    """Print the time of each number of stacks, in float32 on a CPU and in bfloat16 on a GPU."""
    dtype = torch.bfloat16 if args.device.type == "cuda" else torch.float32
    counts = range(len(network.hourglasses), 0, -1)
    steps = [fused_step(fuse(network, stacks=k, dtype=dtype, device=args.device), images) for k in counts]
    times, ratios = measure_alternating(steps, args)
    for stacks, step, second, ratio in zip(counts, steps, times, ratios, strict=True):
        print(
            f"stacks={stacks}: {1e3 * second:8.1f} ms, {count_flop(step) / 1e9:7.2f} GFLOP, "
            f"{ratio:.2f} times as fast as all"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", type=torch.device, default=default)
    parser.add_argument("--models", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument(
        "--precisions", nargs="+", choices=DTYPES, help="default: all on a GPU; fp32 and bf16 on a CPU"
    )
    parser.add_argument("--batches", nargs="+", type=int, help="default: those of each model")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--run", nargs="+", default=None, choices=("eager", "graphs", "compile"))
    args = parser.parse_args()
    gpu = args.device.type == "cuda"
    args.run = args.run or (["eager", "graphs", "compile"] if gpu else ["eager"])
    args.precisions = args.precisions or (list(DTYPES) if gpu else ["fp32", "bf16"])
    name = torch.cuda.get_device_name(args.device) if gpu else f"cpu, {torch.get_num_threads()} threads"
    for model in args.models:
        workload = WORKLOADS[model]
        network = build_network(workload, args.device)
        size = workload.gpu_size if gpu else workload.size
        batches = args.batches or (workload.gpu_batches if gpu else workload.batches)
        print(f"{workload.config}, {size[0]} x {size[1]}, {name}")
        print("     batch   network    images/s    ratio  GFLOP an image  share of matrix product")
        for precision in args.precisions:
            for batch in batches:
                compare(network, random_images(batch, size, args.device), precision, args)
        if len(network.hourglasses) > 1:
            compare_stacks(network, random_images(batches[0], size, args.device), args)
    if not gpu:
        print("GPU: not yet measured")


if __name__ == "__main__":
    main()
