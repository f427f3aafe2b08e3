"""Build C++ programs of tests/csrc with the grouping's kernels, and the package with sanitizers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from repo_paths import ROOT

CSRC = ROOT / "simplepose/grouping/csrc"


def list_kernels() -> list[Path]:
    """List the kernels' source files: all but the Python binding."""
    return sorted(path for path in CSRC.glob("*.cpp") if path.stem != "bindings")


def find_compiler() -> str:
    """Find the C++ compiler; skip the test without one."""
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    if compiler is None:
        pytest.skip("no C++ compiler found (set CXX to one)")
    return compiler


def build(name: str, folder: Path, *flags: str) -> Path:
    """Build the program of tests/csrc/`name`*.cpp, warnings are errors; skip the test without a compiler."""
    compiler = find_compiler()
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


def build_package(folder: Path, *flags: str) -> Path:
    """Build the package with its extension, for PYTHONPATH; skip the test without a compiler."""
    find_compiler()
    environment = {**os.environ, "SIMPLEPOSE_CXXFLAGS": " ".join(flags), "LDFLAGS": " ".join(flags)}
    command = [sys.executable, "setup.py", "build", "--build-base", folder, "--build-lib", folder / "lib"]
    subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT, env=environment)
    return folder / "lib"


def list_runtimes(*names: str) -> str:
    """List the compiler's shared libraries with these names, for LD_PRELOAD; skip the test without them."""
    compiler = find_compiler()
    paths = [
        subprocess.run(
            [compiler, f"-print-file-name={name}"], check=True, capture_output=True, text=True
        ).stdout.strip()
        for name in names
    ]
    if not all(map(os.path.isabs, paths)):
        pytest.skip(f"{compiler} has no shared {' and '.join(names)}")
    return " ".join(paths)
