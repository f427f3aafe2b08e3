"""`simplepose convert`: checkpoints of the released code and of our training <-> safetensors."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from simplepose import atomic
from simplepose.cli import options
from simplepose.models import checkpoints, published


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb; returns the exit status."""
    parser = argparse.ArgumentParser(prog="convert", description=__doc__)
    parser.add_argument("source", type=Path, help="a .safetensors of ours, or a checkpoint of either code")
    parser.add_argument("target", type=Path, help="*.safetensors: ours; *.pth or *.pt: for the released code")
    parser.add_argument("--half", action="store_true", help="write float16 (half the size, safetensors only)")
    options.add_weights(parser)
    args = parser.parse_args(argv)
    if args.target.suffix not in (".safetensors", ".pth", ".pt"):
        raise ValueError(f"target {args.target}: a name that ends in .safetensors, .pth or .pt expected")
    model = checkpoints.load(args.source, weights=args.weights)
    if args.target.suffix == ".safetensors":
        checkpoints.save_released(args.target, model, torch.float16 if args.half else torch.float32)
    else:
        state = model.network.state_dict()
        atomic.write(args.target, lambda temporary: published.save(temporary, state))
    print(f"{args.target}: {len(model.network.state_dict())} tensors, {args.target.stat().st_size:,} bytes")
    return 0
