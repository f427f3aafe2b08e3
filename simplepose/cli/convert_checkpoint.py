"""`simplepose convert`: checkpoints of the released code and of our training <-> safetensors.

MoveNet's encoder (a TensorFlow.js graph model, .json) -> safetensors that training can begin with.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from simplepose.cli import arguments
from simplepose.models import checkpoints, importers
from simplepose.models.importers import import_movenet
from simplepose.utils import atomic


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb; returns the exit status."""
    parser = argparse.ArgumentParser(prog="convert", description=__doc__)
    parser.add_argument(
        "source",
        type=Path,
        help="a .safetensors of ours, a checkpoint of either code, or MoveNet MultiPose's .json",
    )
    parser.add_argument("target", type=Path, help="*.safetensors: ours; *.pth or *.pt: for the released code")
    parser.add_argument("--half", action="store_true", help="write float16 (half the size, safetensors only)")
    parser.add_argument(
        "--finest",
        action="store_true",
        help="keep only the heads of stride 4: smaller, with the same results (safetensors only)",
    )
    arguments.add_weights(parser)
    args = parser.parse_args(argv)
    if args.target.suffix not in (".safetensors", ".pth", ".pt"):
        raise ValueError(f"target {args.target}: a name that ends in .safetensors, .pth or .pt expected")
    if not args.target.parent.is_dir():
        raise ValueError(
            f"target {args.target}: expected an existing folder, got {args.target.parent}; create it"
        )
    if args.source.suffix == ".json":
        option = "--half" if args.half else "--finest" if args.finest else None
        if option is not None:
            raise ValueError(f"{option}: expected a network, got an encoder; leave it out")
        return _import_encoder(args.source, args.target)
    model = checkpoints.load(args.source, weights=args.weights)
    if args.target.suffix == ".safetensors":
        model = checkpoints.without_coarse_heads(model) if args.finest else model
        checkpoints.save_released(args.target, model, torch.float16 if args.half else torch.float32)
    elif (encoder := model.settings.model.encoder) != "hourglass":
        raise ValueError(
            f"target {args.target}: expected a network with model.encoder=hourglass, got {encoder}, which "
            "the released code does not have; give a name that ends in .safetensors"
        )
    else:
        state = model.network.state_dict()
        atomic.write(args.target, lambda temporary: importers.save(temporary, state))
    print(f"{args.target}: {len(model.network.state_dict())} tensors, {args.target.stat().st_size:,} bytes")
    return 0


def _import_encoder(source: Path, target: Path) -> int:
    if target.suffix != ".safetensors":
        raise ValueError(f"target {target}: expected a name that ends in .safetensors for an encoder")
    encoder = import_movenet(source)
    checkpoints.save_encoder(target, encoder)
    print(encoder)
    print(f"{target}: {len(encoder.state)} tensors, {target.stat().st_size:,} bytes")
    return 0
