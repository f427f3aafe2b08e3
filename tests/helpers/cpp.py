"""Builds a C++ program of tests/csrc together with the grouping's kernels."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from places import ROOT

CSRC = ROOT / "simplepose/grouping/csrc"


def kernels() -> list[Path]:
    """The sources that setup.py names."""
    (names,) = re.findall(r"^KERNELS = \((.*?)\)", (ROOT / "setup.py").read_text(encoding="utf-8"), re.M)
    return [CSRC / f"{name}.cpp" for name in re.findall(r'"(\w+)"', names)]


def build(name: str, folder: Path, *flags: str) -> Path:
    """The program of tests/csrc/`name`*.cpp, warnings being errors; skips where there is no compiler."""
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    if compiler is None:
        pytest.skip("no C++ compiler found (set CXX to one)")
    program = folder / name
    always = ["-std=c++17", "-O1", "-g", "-Wall", "-Wextra", "-Werror", f"-I{CSRC}"]
    sources = [*(ROOT / "tests/csrc").glob(f"{name}*.cpp"), *kernels()]
    subprocess.run(
        [compiler, *always, *flags, *map(str, sources), "-o", str(program)],
        check=True,
        capture_output=True,
        text=True,
    )
    return program
