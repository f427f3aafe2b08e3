"""Command-line options that several commands share, validated when they are parsed."""

from __future__ import annotations

import argparse
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import torch

from simplepose.coco_json import PERSON_CATEGORY, ReadOptions
from simplepose.data.mixing import DatasetSource
from simplepose.image_io import MAX_PIXELS
from simplepose.models.checkpoints import WEIGHT_SETS
from simplepose.utils.deprecation import log_deprecated
from simplepose.utils.files import printable

_SETTING = re.compile(r"[\w. ]+=")


class Parser(argparse.ArgumentParser):
    """An argument parser with `--set`, which takes all following words of the form KEY=VALUE.

    The first word of another form ends the list: `--set a.b=1 c.d=2` has two settings, and
    `--set a.b=1 images/` has one setting and one path.
    """

    def add_set(self, description: str) -> None:
        """Add `--set`; `args.set` is a list of "key.key=value". `description` begins the help text."""
        help_text = f"{description}; more than one KEY=VALUE may follow"
        self.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=help_text)

    def error(self, message: str) -> NoReturn:
        """Print the usage and an error, with control characters escaped, and exit with status 2."""
        super().error(printable(message))

    def parse_known_args(  # type: ignore[override]  # the signature that parse_args uses
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """Parse as argparse does, after `--set` is repeated before each setting."""
        words = sys.argv[1:] if args is None else args
        return super().parse_known_args(list(_repeat_set_option(words)), namespace)


def _repeat_set_option(words: Iterable[str]) -> Iterator[str]:
    """Yield the words, with `--set` before each setting that follows another setting."""
    previous, in_settings = "", False
    for word in words:
        in_settings = previous == "--set" or (in_settings and _SETTING.match(word) is not None)
        if in_settings and previous != "--set":
            yield "--set"
        yield word
        previous = word


class DeprecatedOption(argparse.Action):
    """The hidden old name of an option: stores the value under the new name, which it logs.

    `dest` is the new name. Use `default=argparse.SUPPRESS` and `help=argparse.SUPPRESS`.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Store the value."""
        log_deprecated(option_string or "", f"--{self.dest.replace('_', '-')}")
        setattr(namespace, self.dest, values)


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add `--device`; `args.device` is a torch.device that was tested and works."""
    default = "cuda" if torch.cuda.is_available() else "cpu"
    help_text = f"device of the network: cpu, cuda, cuda:1, ... (default: {default})"
    parser.add_argument("--device", type=_device, default=default, help=help_text)


def add_training_samples(parser: argparse.ArgumentParser) -> None:
    """Add `--train`, the files for `data.dataset.TrainingSamples`."""
    parser.add_argument(
        "--train",
        required=True,
        type=weighted_file,
        nargs="+",
        metavar="FILE.h5[=WEIGHT]",
        help="training samples, written by prepare; WEIGHT (default: 1) multiplies the samples of a "
        "file in an epoch",
    )


def add_weights(parser: argparse.ArgumentParser) -> None:
    """Add `--weights`, which selects a set of weights of a training checkpoint."""
    help_text = "which weights of a training checkpoint to load (auto: the first available of swa, ema, raw)"
    parser.add_argument("--weights", choices=WEIGHT_SETS, default="auto", help=help_text)


def add_max_pixels(parser: argparse.ArgumentParser) -> None:
    """Add `--max-pixels`, the limit of the size of an image file."""
    parser.add_argument(
        "--max-pixels",
        type=integer_at_least(1, "pixels"),
        default=MAX_PIXELS,
        metavar="N",
        help=f"skip images of more than N pixels, width times height (default: {MAX_PIXELS})",
    )


def add_annotation_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of how COCO jsons are read; `annotation_options` returns their values."""
    add = parser.add_argument
    add(
        "--category",
        default=PERSON_CATEGORY,
        metavar="NAME",
        help="category of the json whose annotations are the people; people of other categories are ignored "
        f"(default: {PERSON_CATEGORY})",
    )
    add(
        "--allow-outside-paths",
        action="store_true",
        help="also read images whose file_name in the json leads outside the image folder",
    )


def annotation_options(args: argparse.Namespace) -> ReadOptions:
    """Return how COCO jsons are read, by the options of `add_annotation_options`."""
    return ReadOptions(args.category, args.allow_outside_paths)


def weighted_file(text: str) -> DatasetSource:
    """Parse an argument FILE or FILE=WEIGHT: a file of training samples and its sampling weight."""
    path, equals, weight_text = text.rpartition("=")
    try:
        weight = float(weight_text) if equals else 1.0
    except ValueError:  # a path that contains "="
        return DatasetSource(Path(text))
    if not 0 < weight < math.inf or (equals and not path):
        raise argparse.ArgumentTypeError(
            f"expected FILE.h5, or FILE.h5=WEIGHT with a weight above 0, got {text!r}"
        )
    return DatasetSource(Path(path if equals else text), weight)


def integer_at_least(minimum: int, unit: str = "images") -> Callable[[str], int]:
    """Build an argument type: an integer of at least `minimum`; `unit` is what it counts."""

    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < minimum:
            raise argparse.ArgumentTypeError(f"expected an integer >= {minimum} ({unit}), got {text!r}")
        return int(text)

    return parse


def require_image_folder(path: Path) -> None:
    """Raise FileNotFoundError if the folder does not exist."""
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: expected a folder of COCO images, not found; see data/README.md")


def device_of_process(device: torch.device) -> torch.device:
    """Return the device of this process.

    A launcher (torchrun) sets LOCAL_RANK: then `cuda` without an index becomes the GPU of that local rank.
    """
    rank = os.environ.get("LOCAL_RANK")
    if device.type != "cuda" or device.index is not None or rank is None:
        return device
    return torch.device("cuda", int(rank) % max(1, torch.cuda.device_count()))


def _device(text: str) -> torch.device:
    """Parse a device and test it: reading a value back needs a driver, and rejects the device `meta`."""
    try:
        device = torch.device(text)
        # On this process's own GPU: a tensor on another one would allocate memory there.
        torch.zeros(1, device=device_of_process(device)).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # the last two: not in this torch
        reason = str(error).splitlines()[0][:160]
        raise argparse.ArgumentTypeError(
            f"device {text!r} does not work here ({reason}); expected cpu, or cuda with an NVIDIA driver"
        ) from error
    return device
