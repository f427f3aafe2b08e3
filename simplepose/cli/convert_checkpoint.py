"""Convert between checkpoints (of the published code or of SimplePose's training) and safetensors.

Also converts the encoder of MoveNet (a TensorFlow.js graph model, .json) to safetensors for --init-from.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from simplepose.cli import arguments
from simplepose.models import checkpoints, importers
from simplepose.models.importers import import_movenet
from simplepose.utils import atomic
from simplepose.utils.files import check_output_file, printable


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = arguments.Parser(prog="convert", description=__doc__)
    parser.add_argument(
        "source",
        type=Path,
        help="a checkpoint or .safetensors of SimplePose, a checkpoint of the published code, or the .json "
        "of a MoveNet",
    )
    parser.add_argument(
        "target", type=Path, help="*.safetensors for SimplePose; *.pth or *.pt for the published code"
    )
    parser.add_argument("--half", action="store_true", help="store float16: half the size (safetensors only)")
    parser.add_argument(
        "--finest",
        action="store_true",
        help="keep only the heads of stride 4: a smaller file with the same results (safetensors only)",
    )
    arguments.add_weights(parser)
    args = parser.parse_args(argv)
    if args.target.suffix not in (".safetensors", ".pth", ".pt"):
        raise ValueError(f"target {args.target}: expected a name that ends in .safetensors, .pth or .pt")
    if not args.target.parent.is_dir():
        raise ValueError(
            f"target {args.target}: expected an existing folder, got {args.target.parent}; create it"
        )
    check_output_file(args.target)
    if args.source.suffix == ".json":
        option = "--half" if args.half else "--finest" if args.finest else None
        if option is not None:
            raise ValueError(f"{option}: expected a network, got an encoder; leave it out")
        return _import_encoder(args.source, args.target)
    model = checkpoints.load(args.source, weights=args.weights)
    if args.target.suffix == ".safetensors":
        model = checkpoints.remove_coarse_heads(model) if args.finest else model
        checkpoints.save_safetensors(args.target, model, torch.float16 if args.half else torch.float32)
    elif (encoder := model.settings.model.encoder) != "hourglass":
        raise ValueError(
            f"target {args.target}: expected a network with model.encoder=hourglass, got {encoder}, which "
            "the published code does not have; use a name that ends in .safetensors"
        )
    else:
        state = model.network.state_dict()
        atomic.write(args.target, lambda temporary: importers.save_published(temporary, state))
    print(
        f"{printable(args.target)}: {len(model.network.state_dict())} tensors, "
        f"{args.target.stat().st_size:,} bytes"
    )
    return 0


def _import_encoder(source: Path, target: Path) -> int:
    if target.suffix != ".safetensors":
        raise ValueError(f"target {target}: expected a name that ends in .safetensors for an encoder")
    encoder = import_movenet(source)
    checkpoints.save_encoder(target, encoder)
    print(encoder)
    print(f"{printable(target)}: {len(encoder.state)} tensors, {target.stat().st_size:,} bytes")
    return 0
