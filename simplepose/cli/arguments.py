"""Options that several verbs take, checked where they are read."""

from __future__ import annotations

import argparse
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from simplepose.data.mixing import Source
from simplepose.models.checkpoints import WEIGHTS

_SETTING = re.compile(r"[\w. ]+=")


class Parser(argparse.ArgumentParser):
    """One that has `--set`: all that looks like a setting after it is one, and what follows is not.

    So both `--set a.b=1 c.d=2` and `--set a.b=1 pictures/` mean what they seem to.
    """

    def add_set(self, told: str) -> None:
        """Add `--set`; `args.set` is a list of "key.key=value". `told`: what of, or over what they win."""
        several = f"{told}; several may follow each other"
        self.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=several)

    def parse_known_args(  # type: ignore[override]  # as the parser calls it
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """As argparse has it."""
        words = sys.argv[1:] if args is None else args
        return super().parse_known_args(list(_with_a_set_each(words)), namespace)


def _with_a_set_each(words: Iterable[str]) -> Iterator[str]:
    """Every setting that follows another with a `--set` of its own."""
    before, among = "", False
    for word in words:
        among = before == "--set" or (among and _SETTING.match(word) is not None)
        if among and before != "--set":
            yield "--set"
        yield word
        before = word


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add `--device`; `args.device` is a torch.device that was tried and works."""
    default = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", type=_device, default=default, help="cpu, cuda, cuda:1, ...")


def add_weights(parser: argparse.ArgumentParser) -> None:
    """Add `--weights`, which set of a training checkpoint is taken."""
    told = "of a training checkpoint (auto: the first that it has of swa, ema, raw)"
    parser.add_argument("--weights", choices=WEIGHTS, default="auto", help=told)


def source(text: str) -> Source:
    """An argument's `type`: a file of training samples, or FILE=WEIGHT."""
    path, equals, after = text.rpartition("=")
    try:
        weight = float(after) if equals else 1.0
    except ValueError:  # a path with = in it
        return Source(Path(text))
    if not 0 < weight < math.inf or (equals and not path):
        raise argparse.ArgumentTypeError(f"FILE.h5, or FILE.h5=WEIGHT with a weight above 0, got {text!r}")
    return Source(Path(path if equals else text), weight)


def count(least: int, of: str = "pictures") -> Callable[[str], int]:
    """An argument's `type`: a number of such things, at least `least`."""

    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"a number of {of}, at least {least}, is expected, got {text!r}")
        return int(text)

    return read


def require_folder_of_pictures(path: Path) -> None:
    """Raises FileNotFoundError where no folder is."""
    if not path.is_dir():
        raise FileNotFoundError(f"no folder of pictures at {path}; COCO's is expected, see data/README.md")


def own_gpu(device: torch.device) -> torch.device:
    """`device`; where it names no GPU and a launcher has begun several processes, the one of our number."""
    rank = os.environ.get("LOCAL_RANK")
    if device.type != "cuda" or device.index is not None or rank is None:
        return device
    return torch.device("cuda", int(rank) % max(1, torch.cuda.device_count()))


def _device(text: str) -> torch.device:
    """Reading a value back tries the driver, and refuses devices that hold no values (meta)."""
    try:
        device = torch.device(text)
        torch.zeros(1, device=own_gpu(device)).item()  # a value on another GPU would keep memory there
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # the last two: not in this torch
        reason = str(error).splitlines()[0][:160]
        raise argparse.ArgumentTypeError(
            f"{text!r} is no device that works here ({reason}); "
            "cpu is expected, or cuda with an NVIDIA driver"
        ) from error
    return device
