"""Build C++ programs of tests/csrc with the grouping's kernels."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from repo_paths import ROOT

CSRC = ROOT / "simplepose/grouping/csrc"


def list_kernels() -> list[Path]:
    """List the kernels' source files: all but the Python binding."""
    return sorted(path for path in CSRC.glob("*.cpp") if path.stem != "bindings")


def build(name: str, folder: Path, *flags: str) -> Path:
    """Build the program of tests/csrc/`name`*.cpp, warnings are errors; skip the test without a compiler."""
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    if compiler is None:
        pytest.skip("no C++ compiler found (set CXX to one)")
    program = folder / name
    common_flags = ["-std=c++17", "-O1", "-g", "-Wall", "-Wextra", "-Werror", f"-I{CSRC}"]
    sources = [*(ROOT / "tests/csrc").glob(f"{name}*.cpp"), *list_kernels()]
    subprocess.run(
        [compiler, *common_flags, *flags, *map(str, sources), "-o", str(program)],
        check=True,
        capture_output=True,
        text=True,
    )
    return program
