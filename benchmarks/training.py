"""The training step: the trainer against a bare loop, and the cost of each option, in one run.

    python benchmarks/training.py [--config FILE.yaml] [--batch 16] [--rounds 5] [--device cuda]

The bare loop has the same network, targets, loss, optimizer and batch, and nothing else. It alternates with
the trainer; printed is the median of the ratios of each round. Then follow, as ratios to the plain step of
the trainer: a moving average; activation checkpointing (and the peak memory of both, each in a separate
process); on a GPU every precision, with and without channels_last and torch.compile, and the share of the
measured matrix product rate. Last is the share of time that the loop waits for data, with synthetic samples.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from simplepose import config, targets
from simplepose.config import Settings
from simplepose.data.batch import Batch
from simplepose.losses import MultiScaleLoss
from simplepose.models.checkpoints import Model
from simplepose.models.imhn import IMHN
from simplepose.models.layers import DTYPES
from simplepose.skeleton import COCO
from simplepose.training.optim import build_optimizer
from simplepose.training.trainer import Trainer

STEPS = 3  # a round
PEOPLE = 4
LEARNING_RATE = 1e-6


def make_settings(args: argparse.Namespace, *overrides: str) -> Settings:
    """Load the config; float32, nothing frozen and no moving average unless overridden."""
    plain = ["train.precision=fp32", "train.freeze=[]", "train.ema_decay=0", "train.loss_limit=1e30"]
    return config.load(args.config, [*plain, *overrides])


def make_batch(settings: Settings, size: int) -> Batch:
    """Make a batch of noise with random joints: the time does not depend on the content."""
    torch.manual_seed(0)
    height, width = settings.augment.size
    cells = (size, height // settings.targets.stride, width // settings.targets.stride)
    joints = torch.rand(size, PEOPLE, len(COCO.joints), 3) * torch.tensor([width, height, 2.0])
    return Batch(
        torch.randint(0, 256, (size, height, width, 3), dtype=torch.uint8),
        torch.full(cells, 255, dtype=torch.uint8),
        torch.zeros(cells, dtype=torch.uint8),
        joints,
    )


def make_model(settings: Settings) -> Model:
    torch.manual_seed(0)
    return Model(IMHN.from_settings(settings.model, COCO.channels), settings, COCO)


def trainer_step(settings: Settings, device: torch.device, batch: Batch) -> Callable[[], None]:
    """Build a step of the trainer."""
    trainer = Trainer(make_model(settings), device)
    return lambda: trainer.step([batch], LEARNING_RATE)


def bare_step(settings: Settings, device: torch.device, batch: Batch) -> Callable[[], None]:
    """Build a minimal step: network, targets, loss and optimizer."""
    network = make_model(settings).network.to(device, memory_format=torch.channels_last).train()
    loss_of = MultiScaleLoss(settings.loss, COCO).to(device)
    optimizer = build_optimizer(network, settings.train)

    def step() -> None:
        here = Batch(*(tensor.to(device, non_blocking=True) for tensor in batch))
        target = targets.draw(batch.joints, here.person_mask.float() / 255, COCO, settings.targets)
        outputs = network(here.images.permute(0, 3, 1, 2).float().div_(255))
        loss = loss_of(outputs, target, here.mask_miss[:, None].float() / 255)[0]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def measure_seconds(step: Callable[[], None], device: torch.device) -> float:
    """Measure the mean time of a step over a round, s."""
    start = time.perf_counter()
    for _ in range(STEPS):
        step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - start) / STEPS


def compare(name: str, steps: list[Callable[[], None]], args: argparse.Namespace) -> None:
    """Print the speed of the second step relative to the first; they alternate."""
    for step in steps:
        measure_seconds(step, args.device)  # warmup: select algorithms, compile, fill caches
    rounds = [[measure_seconds(step, args.device) for step in steps] for _ in range(args.rounds)]
    ratio = statistics.median(first / second for first, second in rounds)
    first, second = (args.batch / statistics.median(times) for times in zip(*rounds, strict=True))
    print(f"{name:58s} {first:8.2f} {second:8.2f} samples/s {ratio:7.3f}", flush=True)


def peak_gib(args: argparse.Namespace) -> float:
    """Measure the peak memory of this process over two steps, GiB."""
    settings = make_settings(args, *args.set)
    step = trainer_step(settings, args.device, make_batch(settings, args.batch))
    step()
    step()
    if args.device.type == "cuda":
        return torch.cuda.max_memory_allocated(args.device) / 2**30
    status = Path("/proc/self/status").read_text(encoding="utf-8")  # getrusage includes the parent's peak
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 2**20


def peak_gib_in_subprocess(args: argparse.Namespace, *overrides: str) -> float:
    """`peak_gib` in a process of its own."""
    command = [sys.executable, __file__, "--config", args.config, "--batch", str(args.batch)]
    command += ["--device", str(args.device), "--peak", "--set", "train.seed=0", *overrides]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def compare_on_gpu(args: argparse.Namespace, batch: Batch) -> None:
    """Print the options that matter on a GPU, and their share of the matrix product rate."""
    plain = trainer_step(make_settings(args), args.device, batch)
    for precision in ("fp32", "bf16", "fp16"):
        for way in ((), ("train.channels_last=false",), ("train.compile=true",)):
            settings = make_settings(args, f"train.precision={precision}", *way)
            step = trainer_step(settings, args.device, batch)
            compare(f"trainer: fp32, then {precision} {' '.join(way)}", [plain, step], args)
        ceiling = matrix_product_rate(DTYPES[precision], args.device)
        with FlopCounterMode(display=False) as counter:
            step = trainer_step(make_settings(args, f"train.precision={precision}"), args.device, batch)
            step()
        rate = counter.get_total_flops() / measure_seconds(step, args.device)
        print(
            f"  {precision}: {rate / 1e12:.1f} TFLOP/s, {rate / ceiling:.3f} of the matrix product rate",
            flush=True,
        )


def matrix_product_rate(dtype: torch.dtype, device: torch.device) -> float:
    """Measure the rate of an 8192 x 8192 x 8192 matrix product, FLOP/s."""
    a = torch.randn(8192, 8192, device=device, dtype=dtype)
    measure_seconds(lambda: a @ a, device)
    return 2 * 8192**3 / statistics.median(measure_seconds(lambda: a @ a, device) for _ in range(5))


def measure_data_wait(args: argparse.Namespace) -> float:
    """Measure the share of time that a run of two epochs waits for synthetic samples."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests/helpers"))
    from synthetic_coco import write_synthetic_coco

    from simplepose.cli import prepare_coco, train
    from simplepose.training import loggers

    with tempfile.TemporaryDirectory() as folder:
        run, samples = Path(folder) / "run", Path(folder) / "drawn.h5"
        annotations, images = write_synthetic_coco(Path(folder) / "coco", num_images=8 * args.batch)
        prepare_coco.main(
            ["--annotations", str(annotations), "--images", str(images), "--output", str(samples)]
        )
        command = ["--config", args.config, "--train", str(samples), "--output", str(run)]
        command += ["--device", str(args.device), "--set", "train.epochs=2", "train.log_steps=4"]
        train.main([*command, f"train.batch_size={args.batch}", "train.loss_limit=1e30"])
        lines = [line for line in loggers.read_journal(run / "journal.jsonl") if line["kind"] == "step"]
        return statistics.median(line["data_wait"] for line in lines[1:])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    root = Path(__file__).parents[1]
    parser.add_argument("--config", default=str(root / "configs/imhn_mobile.yaml"))
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    default = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", type=torch.device, default=default)
    parser.add_argument("--peak", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--set", nargs="+", default=[], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peak:
        print(peak_gib(args))
        return
    plain = make_settings(args)
    batch = make_batch(plain, args.batch)
    steps = trainer_step(plain, args.device, batch)
    print(f"{args.config}, batch {args.batch}, {args.device}; first, second, and second / first:")
    compare("bare loop, then the trainer", [bare_step(plain, args.device, batch), steps], args)
    average = trainer_step(make_settings(args, "train.ema_decay=0.999"), args.device, batch)
    compare("trainer, then with a moving average", [steps, average], args)
    checkpointed = trainer_step(
        make_settings(args, "train.activation_checkpointing=true"), args.device, batch
    )
    compare("trainer, then with activation checkpointing", [steps, checkpointed], args)
    without, recomputed = (
        peak_gib_in_subprocess(args),
        peak_gib_in_subprocess(args, "train.activation_checkpointing=true"),
    )
    print(f"peak memory: {without:.2f} GiB, with activation checkpointing {recomputed:.2f} GiB")
    if args.device.type == "cuda":
        compare_on_gpu(args, batch)
    else:
        print(
            "precisions, channels_last, torch.compile, share of the matrix product rate: no GPU, not measured"
        )
    print(f"share of time waiting for data: {measure_data_wait(args):.3f}")


if __name__ == "__main__":
    main()
