"""Time of grouping maps on a GPU by number of people: reduced on the GPU, or copied as a whole.

    OMP_NUM_THREADS=1 python benchmarks/grouping_device.py [--scenes 40] [--precision fp32]

From maps on the GPU to people on the CPU, all in one run; medians over scenes, the median of 20 calls each.
Copied: with `.cpu()`, and into reused page-locked memory, the fastest possible copy; then grouped in C++ on
one core. The scenes are the synthetic ones of benchmarks/grouping.py, maps of 50 x 128 x 160. Without a GPU
nothing is measured.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable

import torch
from grouping import synthetic_maps

from simplepose.grouping import group
from simplepose.skeleton import COCO

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def measure_ms(call: Callable[[], object], repeats: int = 20) -> float:
    """Measure the median time of several calls after two warmup calls, ms."""
    times = []
    for _ in range(repeats + 2):
        torch.cuda.synchronize()
        start = time.perf_counter()
        call()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times[2:])


def measure(maps: torch.Tensor) -> tuple[float, float, float]:
    """Measure one image's maps in ms: reduced on the GPU, copied, copied to page-locked memory."""
    pinned = torch.empty(maps.shape, dtype=maps.dtype, pin_memory=True)
    return (
        measure_ms(lambda: group(maps, COCO)),
        measure_ms(lambda: group(maps.cpu().float(), COCO)),
        measure_ms(lambda: group(pinned.copy_(maps).float(), COCO)),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenes", type=int, default=40)
    parser.add_argument("--precision", choices=DTYPES, default="fp32", help="of the maps")
    args = parser.parse_args()
    if not torch.cuda.is_available():
        print("no CUDA device; nothing measured")
        return
    times = defaultdict(list)
    for people, maps in synthetic_maps(args.scenes):
        gpu_maps = torch.from_numpy(maps).to("cuda", DTYPES[args.precision])
        times[people].append(measure(gpu_maps))
    print(f"{torch.cuda.get_device_name()}, {args.precision}")
    print("people   reduced, ms   copied, ms   copied, page-locked, ms   page-locked / reduced")
    for people in sorted(times):
        reduced, copied, pinned = (statistics.median(column) for column in zip(*times[people], strict=True))
        print(f"{people:6d} {reduced:13.2f} {copied:12.2f} {pinned:25.2f} {pinned / reduced:23.2f}")


if __name__ == "__main__":
    main()
