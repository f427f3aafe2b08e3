"""The command line: one module a verb, each with `main(argv) -> exit status`: parse, build, call."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence

VERBS = {
    "prepare": "COCO's pictures and annotations -> one HDF5 file of training samples",
    "train": "train a network on an HDF5 file",
    "train-distributed": "the same in several processes, under torchrun",
    "evaluate": "COCO AP of a model, or a results file for COCO's server",
    "demo": "find and draw the people in pictures",
    "demo-video": "find, follow and draw the people in a video, camera or stream",
    "benchmark": "how fast a network is on this machine: one picture by step, and the best batch",
    "plot-run": "the curves of one or several training runs",
    "plot-schedule": "the learning rate of settings files, drawn",
    "draw-people": "drawn people as a data set in COCO's format",
    "draw-targets": "what a network is taught: samples of an HDF5 file with their masks, joints and maps",
    "convert": "published checkpoints <-> safetensors",
}

MODULES = {"prepare": "prepare_coco", "demo": "demo_image", "convert": "convert_checkpoint"}
"""Commands whose module has another name, that of their tool."""

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""


def main(argv: Sequence[str] | None = None) -> int:
    """The installed command: `simplepose VERB ...`."""
    args = list(sys.argv[1:] if argv is None else argv)
    if not args or args[0] in ("-h", "--help"):
        print("usage: simplepose VERB ... (--help after a verb tells more)\n")
        print("\n".join(f"  {verb:19}{what}" for verb, what in VERBS.items()))
        return 0 if args else 2
    if args[0] not in VERBS:
        print(f"simplepose: unknown verb {args[0]!r}; one of {', '.join(VERBS)} expected", file=sys.stderr)
        return 2
    module = importlib.import_module(f"simplepose.cli.{MODULES.get(args[0], args[0].replace('-', '_'))}")
    return door(module.main, args[1:])


def door(verb: Callable[[Sequence[str] | None], int], argv: Sequence[str] | None = None) -> int:
    """Run a verb; an error that its user can mend is one line on stderr and exit status 2."""
    try:
        return verb(argv)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
