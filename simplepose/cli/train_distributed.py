"""Train in several processes, one per GPU, on one or more machines; start it with torchrun."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from simplepose import config
from simplepose.cli import train
from simplepose.utils import distributed


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = train.build_parser("train-distributed", __doc__)
    parser.add_argument(
        "--local-rank",
        "--local_rank",
        type=int,
        help="passed by torch.distributed.launch; must equal LOCAL_RANK in the environment",
    )
    args = parser.parse_args(argv)
    timeout = config.load(args.config, args.set).train.timeout_minutes
    with distributed.process_group(timeout) as world:
        if args.local_rank not in (None, world.local_rank):
            raise ValueError(
                f"--local-rank: expected {world.local_rank}, as LOCAL_RANK in the environment, "
                f"got {args.local_rank}"
            )
        device = args.device
        if device.type == "cuda":
            device = _gpu(world.local_rank, torch.cuda.device_count())
            torch.cuda.set_device(device)
        return train.run(args, world, device)


def _gpu(local_rank: int, gpus: int) -> torch.device:
    """Return the GPU of a process."""
    if local_rank >= gpus:
        raise ValueError(
            f"process {local_rank} of this machine has no GPU: the machine has {gpus}; "
            f"use --nproc-per-node={gpus}, or --device cpu"
        )
    return torch.device("cuda", local_rank)
