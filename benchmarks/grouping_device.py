"""Time of the grouping of maps that lie on a GPU, reduced there or copied whole, by number of people.

    OMP_NUM_THREADS=1 python benchmarks/grouping_device.py [--scenes 40] [--precision fp32]

Medians over scenes of each one's median of 20, from maps on the GPU to people on the CPU, all in one run.
Copied: with `.cpu()`, and into page-locked memory that is kept, the fastest copy there is; then grouped in
C++ on one core. The pictures are the drawn ones of benchmarks/grouping.py, maps of 50 x 128 x 160. Without a
GPU nothing is measured.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable

import torch
from grouping import drawn_maps

from simplepose.grouping import group
from simplepose.skeleton import COCO

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def milliseconds(call: Callable[[], object], repeats: int = 20) -> float:
    """The median of some calls, after two that do not count."""
    times = []
    for _ in range(repeats + 2):
        torch.cuda.synchronize()
        start = time.perf_counter()
        call()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times[2:])


def measure(maps: torch.Tensor) -> tuple[float, float, float]:
    """ms of one picture's maps, on the GPU: reduced there, copied, copied to page-locked memory."""
    locked = torch.empty(maps.shape, dtype=maps.dtype, pin_memory=True)
    return (
        milliseconds(lambda: group(maps, COCO)),
        milliseconds(lambda: group(maps.cpu().float(), COCO)),
        milliseconds(lambda: group(locked.copy_(maps).float(), COCO)),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenes", type=int, default=40)
    parser.add_argument("--precision", choices=DTYPES, default="fp32", help="of the maps")
    args = parser.parse_args()
    if not torch.cuda.is_available():
        print("no CUDA device: nothing measured")
        return
    times = defaultdict(list)
    for people, maps in drawn_maps(args.scenes):
        there = torch.from_numpy(maps).to("cuda", DTYPES[args.precision])
        times[people].append(measure(there))
    print(f"{torch.cuda.get_device_name()}, {args.precision}")
    print("people   reduced, ms   copied, ms   copied, page-locked, ms   page-locked / reduced")
    for people in sorted(times):
        reduced, copied, locked = (statistics.median(column) for column in zip(*times[people], strict=True))
        print(f"{people:6d} {reduced:13.2f} {copied:12.2f} {locked:25.2f} {locked / reduced:23.2f}")


if __name__ == "__main__":
    main()
