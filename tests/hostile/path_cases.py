"""Hostile lists, output paths and journals."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from base_inputs import NETWORK, SMALL_INPUT, created
from case import Case, Expected, refusal, reported
from image_files import HEALTHY

from simplepose.cli import (
    benchmark,
    convert_checkpoint,
    demo_image,
    draw_people,
    draw_targets,
    evaluate,
    plot_run,
    plot_schedule,
    prepare_coco,
)

Write = Callable[[Path], Sequence[str]]
Command = Callable[[Sequence[str] | None], int]
IMAGE = f"../base/images/{HEALTHY}"


def demo(*words: str, output: str = "out") -> list[str]:
    """Arguments of `demo`."""
    return [*words, "--output", output, "--format", "jsonl", *NETWORK, *SMALL_INPUT]


def listed(content: bytes) -> Write:
    """Return a function that writes a list of images."""

    def write(folder: Path) -> Sequence[str]:
        os.mkfifo(folder / "fifo.jpg")
        (folder / "list.txt").write_bytes(content)
        return demo("@list.txt")

    return write


HEALTHY_LINE = f"{IMAGE}\n".encode()
LISTS: dict[str, tuple[bytes, Expected]] = {
    "empty": (b"", refusal("list.txt")),
    "blank": (b"\n \n\n", refusal("list.txt")),
    "nul": (b"a\0b", refusal("list.txt")),
    "binary": (bytes(range(1, 256)) * 10, refusal("list.txt|jpg|no such")),
    "device": (HEALTHY_LINE + b"/dev/zero\n", reported("/dev/zero")),
    "device_only": (b"/dev/zero\n", refusal("/dev/zero")),
    "terminal": (HEALTHY_LINE + b"/dev/stdin\n/dev/null\n", reported("/dev/null")),
    "fifo": (HEALTHY_LINE + b"fifo.jpg\n", reported("fifo.jpg")),
    "fifo_only": (b"fifo.jpg\n", refusal("fifo.jpg")),
    "itself": (HEALTHY_LINE + b"@list.txt\n", reported("list.txt")),
    "itself_as_image": (HEALTHY_LINE + b"list.txt\n", reported("list.txt")),
    "long_line": (HEALTHY_LINE + b"x" * 100_000 + b".jpg\n", reported("xxx")),
    "escape": (HEALTHY_LINE + b"\x1b[31mred.jpg\n", reported("red.jpg")),
    "not_utf8": (HEALTHY_LINE + b"\xff\xfe.jpg\n", reported("jpg")),
    "missing": (HEALTHY_LINE + b"missing.jpg\n", reported("missing.jpg")),
    "carriage_returns": (HEALTHY_LINE + b"missing.jpg\r\r\r\n", reported("missing.jpg")),
    "url": (HEALTHY_LINE + b"http://127.0.0.1:9/a.jpg\n", reported("http")),
    "processes": (HEALTHY_LINE + b"/proc/self/mem\n", reported("/proc/self/mem")),
}
SPECIAL_FILES: dict[str, Callable[[Path], Any]] = {
    "fifo": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/null"),
    "device_zero": lambda path: path.symlink_to("/dev/zero"),
    "folder": lambda path: path.mkdir(),
}

OF_COCO = ["--annotations", "../base/person_keypoints.json", "--images", "../base/images"]
CONFIG = "../base/settings.yaml"
SAMPLES = "../base/compressed.h5"
# Commands with one output file: its name, and the arguments.
OUTPUTS: dict[str, tuple[Command, str, list[str]]] = {
    "prepare": (prepare_coco.main, "out.h5", [*OF_COCO, "--output", "out.h5", "--workers", "1"]),
    "convert": (
        convert_checkpoint.main,
        "out.safetensors",
        ["../base/network.safetensors", "out.safetensors"],
    ),
    "draw_targets": (
        draw_targets.main,
        "out.png",
        ["--config", CONFIG, "--samples", SAMPLES, "--output", "out.png", "--count", "1"],
    ),
    "plot_schedule": (plot_schedule.main, "out.png", [CONFIG, "--output", "out.png"]),
    "profile": (demo_image.main, "p.json", demo(IMAGE, "--profile", "p.json")),
    "json": (
        benchmark.main,
        "b.json",
        [IMAGE, "--json", "b.json", "--seconds", "0.001", "--batch", "1", *NETWORK, *SMALL_INPUT],
    ),
}
# Commands with an output folder.
FOLDERS: dict[str, tuple[Command, list[str]]] = {
    "demo": (demo_image.main, demo(IMAGE)),
    "evaluate": (evaluate.main, [*OF_COCO, "--output", "out", *NETWORK, *SMALL_INPUT]),
    "draw_people": (draw_people.main, ["--output", "out", "--count", "1", "--size", "64", "64"]),
}


JOURNALS: dict[str, bytes] = {
    "empty": b"",
    "binary": bytes(range(256)),
    "nested": b"[" * 100_000 + b"\n",
    "numbers": b"1\n2\n",
    "no_kind": b"{}\n{}\n",
    "words": b'{"kind": "step", "step": "one", "epoch": "two", "loss": "high"}\n' * 2,
    "nan": b'{"kind": "step", "step": NaN, "epoch": NaN, "loss": NaN, "learning_rate": NaN}\n' * 2,
    "large": b'{"kind": "step", "step": 1e308, "epoch": 1e308, "loss": 1e308, "learning_rate": -1e308}\n' * 2,
    "lists": b'{"kind": "step", "step": [1], "epoch": {}, "loss": [[]]}\n' * 2,
}


def journal(content: bytes | None) -> Write:
    """Return a function that writes the journal of a run; None: a FIFO."""

    def write(folder: Path) -> Sequence[str]:
        (folder / "run").mkdir()
        path = folder / "run/journal.jsonl"
        os.mkfifo(path) if content is None else path.write_bytes(content)
        return ["run"]

    return write


def target_planted(folder: Path) -> Sequence[str]:
    """Plant links under the names of temporary files; the target must not be written."""
    (folder / "precious").write_text("precious")
    for suffix in (".partial", ".tmp", ".part"):
        (folder / f"out.h5{suffix}").symlink_to("precious")
    return OUTPUTS["prepare"][2]


def precious_kept(folder: Path) -> None:
    """The target of the links is unchanged."""
    assert (folder / "precious").read_text() == "precious"


def interrupted(content: bytes) -> Write:
    """Return a function that writes hostile partial results of an earlier run."""

    def write(folder: Path) -> Sequence[str]:
        (folder / "out/parts").mkdir(parents=True)
        for name in ("0.jsonl", "part-0.jsonl", "fingerprint", "run.json"):
            (folder / "out/parts" / name).write_bytes(content)
        return demo(IMAGE)

    return write


def _path_cases() -> list[Case]:
    cases = [
        Case(f"path/list/{name}", listed(content), demo_image.main, expected)
        for name, (content, expected) in LISTS.items()
    ]
    for name, create in SPECIAL_FILES.items():
        write = created(create, "list.txt", demo("@list.txt"))
        cases.append(Case(f"path/list/is_{name}", write, demo_image.main, refusal("list.txt")))
        for command, (main, output, arguments) in OUTPUTS.items():
            cases.append(
                Case(
                    f"path/{command}/output_{name}",
                    created(create, output, arguments),
                    main,
                    refusal(output),
                )
            )
        for command, (main, arguments) in FOLDERS.items():
            if name != "folder":
                cases.append(
                    Case(
                        f"path/{command}/output_{name}",
                        created(create, "out", arguments),
                        main,
                        refusal("out"),
                    )
                )
    for name, content in [*JOURNALS.items(), ("fifo", None)]:
        cases.append(Case(f"path/plot_run/{name}", journal(content), plot_run.main, refusal("journal.jsonl")))
    for name, content in (
        ("binary", bytes(range(256))),
        ("words", json.dumps({"image": "x"}).encode() + b"\n"),
    ):
        expected = Expected((0, 2), ("out",))
        cases.append(Case(f"path/demo/resumed_{name}", interrupted(content), demo_image.main, expected))
    planted = Expected((0, 2), ("out.h5",), precious_kept)
    return [*cases, Case("path/prepare/planted_links", target_planted, prepare_coco.main, planted)]


CASES = _path_cases()
