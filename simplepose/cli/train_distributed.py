"""`train` in several processes, one a GPU, on one machine or many: start it with torchrun."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from simplepose import config
from simplepose.cli import train
from simplepose.utils import distributed


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb; returns the exit status."""
    parser = train.parser("train-distributed", __doc__)
    parser.add_argument(
        "--local-rank",
        "--local_rank",
        type=int,
        help="as torch.distributed.launch passes it; its environment says it too",
    )
    args = parser.parse_args(argv)
    timeout = config.load(args.config, args.set).train.timeout_minutes
    with distributed.join(timeout) as world:
        if args.local_rank not in (None, world.local_rank):
            raise ValueError(
                f"--local-rank is {args.local_rank}, LOCAL_RANK in the environment {world.local_rank}"
            )
        device = args.device
        if device.type == "cuda":
            device = _gpu(world.local_rank, torch.cuda.device_count())
            torch.cuda.set_device(device)
        return train.run(args, world, device)


def _gpu(local_rank: int, gpus: int) -> torch.device:
    """The GPU of a process."""
    if local_rank >= gpus:
        raise ValueError(
            f"process {local_rank} of this machine has no GPU, there are {gpus}; start {gpus} "
            "(--nproc-per-node), or give --device cpu"
        )
    return torch.device("cuda", local_rank)
