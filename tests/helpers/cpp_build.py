"""Build C++ programs of tests/csrc, and the package, with sanitizers; each source is compiled once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pybind11
import pytest
from filelock import FileLock
from repo_paths import ROOT

CSRC = ROOT / "simplepose/grouping/csrc"
BINDINGS = CSRC / "bindings.cpp"
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
FLAGS = ("-std=c++17", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-fPIC", f"-I{CSRC}", *SANITIZERS)
BINDINGS_FLAGS = (  # -O0: pybind11's templates take twice as long to compile with -O1
    *("-O0", "-fvisibility=hidden", f"-I{pybind11.get_include()}", f"-I{sysconfig.get_path('include')}"),
)


def find_compiler() -> str:
    """Find the C++ compiler; skip the test without one."""
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    if compiler is None:
        pytest.skip("no C++ compiler found (set CXX to one)")
    return compiler


def run_compiler(*arguments: str | Path) -> None:
    """Run the compiler with the flags of this module; skip the test without a compiler."""
    command = [find_compiler(), *FLAGS, *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True, text=True)


def compile_source(source: Path, objects: Path) -> Path:
    """Compile a source to a file in the folder `objects`, unless it is there; warnings are errors."""
    path = objects / f"{source.stem}.o"
    with FileLock(f"{path}.lock"):  # another process may compile it for its own tests
        if not path.exists():
            partial = path.with_suffix(".partial")
            run_compiler(*(BINDINGS_FLAGS if source == BINDINGS else ()), "-c", source, "-o", partial)
            partial.rename(path)
    return path


def link(sources: list[Path], objects: Path, output: Path, *flags: str) -> None:
    """Link sources and all kernels, compiled in the folder `objects`, to a program or library."""
    kernels = sorted(path for path in CSRC.glob("*.cpp") if path != BINDINGS)
    run_compiler(*flags, *(compile_source(path, objects) for path in [*sources, *kernels]), "-o", output)


def build(name: str, objects: Path, folder: Path) -> Path:
    """Build the program of tests/csrc/`name`*.cpp in a folder; skip the test without a compiler."""
    program = folder / name
    link(sorted((ROOT / "tests/csrc").glob(f"{name}*.cpp")), objects, program)
    return program


def build_package(objects: Path, folder: Path) -> Path:
    """Build the package with its extension in a folder, for PYTHONPATH; skip the test without a compiler."""
    package = folder / "simplepose"
    shutil.copytree(ROOT / "simplepose", package, ignore=shutil.ignore_patterns("*.so", "assets"))
    extension = package / f"grouping/_grouping{sysconfig.get_config_var('EXT_SUFFIX')}"
    link([BINDINGS], objects, extension, "-shared")
    return folder


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
