"""The architecture: imports go down only, base names are unique, and few modules have a single importer."""

import ast
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from repo_paths import ROOT

PACKAGE = ROOT / "simplepose"
SHARED_MODULES = {
    "skeleton",
    "people",
    "config",
    "yaml_config",
    "geometry",
    "image_formats",
    "image_io",
    "coco_json",
    "frames",
    "utils",
}
MAY_IMPORT = {
    "utils": set(),
    "yaml_config": {"utils"},
    "config": {"yaml_config"},
    "skeleton": {"yaml_config"},
    "geometry": set(),
    "image_formats": set(),
    "image_io": {"image_formats", "utils"},
    "people": set(),
    "frames": set(),
    "coco_json": {"people", "utils"},
    "data": SHARED_MODULES,
    "synthetic": SHARED_MODULES | {"data"},
    "models": SHARED_MODULES,
    "losses": SHARED_MODULES,
    "targets": SHARED_MODULES,
    "grouping": SHARED_MODULES,
    "sources": SHARED_MODULES,
    "tracking": SHARED_MODULES,
    "visualize": SHARED_MODULES,
    "writers": SHARED_MODULES,
    "evaluation": SHARED_MODULES,
    "inference": SHARED_MODULES | {"models", "grouping", "sources"},
    "training": SHARED_MODULES | {"data", "models", "losses", "targets"},
    "__init__": SHARED_MODULES | {"inference"},
}
MAY_IMPORT["cli"] = set(MAY_IMPORT)  # uses all packages; no module imports it, or tools
MAX_SINGLE_IMPORTERS = 20
MAX_LOADED_MODULES = 40
MAX_DEMO_LINES = 80  # of the function with a demo's loop and of `main` together


def imported_packages(source: str) -> set[str]:
    """The packages of simplepose that a source imports, and `tools`; `simplepose` itself is `__init__`."""
    modules = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            modules += [f"{node.module}.{alias.name}" for alias in node.names]
    paths = [module.split(".") for module in modules]
    names = {"".join(path[1:2]) for path in paths if path[0] == "simplepose"}
    packages = {name if name in MAY_IMPORT else "__init__" for name in names}
    return packages | {path[0] for path in paths if path[0] == "tools"}


def module_importers() -> dict[str, set[str]]:
    """Each module by its dotted name, with the modules that import it or a name from it."""
    files = {module_name(path): path for path in PACKAGE.rglob("*.py")}
    importers: dict[str, set[str]] = {name: set() for name in files}
    for name, path in files.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("simplepose"):
                for alias in node.names:
                    submodule = f"{node.module}.{alias.name}"
                    target = submodule if submodule in files else node.module
                    importers.setdefault(target, set()).add(name)
    return importers


def module_name(path: Path) -> str:
    """The dotted module name of a file."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize(
    ("source", "packages"),
    [
        ("import simplepose", {"__init__"}),
        ("import os, simplepose as sp", {"__init__"}),
        ("def f():\n    from simplepose import load", {"__init__"}),
        ("import simplepose.data.coco", {"data"}),
        ("from simplepose.models import IMHN", {"models"}),
        ("from tools import train", {"tools"}),
        ("import tools.train", {"tools"}),
        ("import torch\nfrom simpleposed import cli", set()),
    ],
)
def test_imported_packages_finds_every_form_of_import(source, packages):
    assert imported_packages(source) == packages


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down_only(path):
    package = path.relative_to(PACKAGE).with_suffix("").parts[0]
    forbidden = imported_packages(path.read_text()) - MAY_IMPORT[package] - {package}
    assert not forbidden, f"{path.name} in {package} imports {sorted(forbidden)}"


def test_no_relative_imports():
    files = {p: ast.walk(ast.parse(p.read_text())) for p in PACKAGE.rglob("*.py")}
    assert not [p for p, nodes in files.items() for n in nodes if isinstance(n, ast.ImportFrom) and n.level]


def test_no_two_modules_share_a_base_name():
    names = Counter(path.stem for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
    packages = {path.parent.name for path in PACKAGE.rglob("__init__.py")}
    assert not [name for name, count in names.items() if count > 1 or name in packages - {"grouping"}]


def test_few_modules_have_a_single_importer():
    """A module with a single importer usually belongs inside that importer.

    Not counted: packages, the modules that their package's `__init__` exposes, and the C++ extension.
    """
    importers = module_importers()
    packages = {module_name(path) for path in PACKAGE.rglob("__init__.py")}
    single = [
        name for name, by in importers.items() if len(by) == 1 and name not in packages and not by & packages
    ]
    print(f"{len(single)} of {len(importers)} modules have a single importer")
    assert len(single) <= MAX_SINGLE_IMPORTERS, "\n".join(sorted(single))


@pytest.mark.parametrize("demo", ["demo_image", "demo_video"])
def test_the_main_road_of_a_demo_is_a_short_loop(demo):
    tree = ast.parse((PACKAGE / "cli" / f"{demo}.py").read_text())
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    (loop,) = [
        name
        for name, function in functions.items()
        if any(
            isinstance(node, ast.For) and ast.unparse(node.iter) == "results" for node in ast.walk(function)
        )
    ]
    lines = sum(functions[name].end_lineno - functions[name].lineno + 1 for name in {loop, "main"})
    print(f"{demo}: {lines} lines in main and {loop}")
    assert lines < MAX_DEMO_LINES


def test_few_modules_are_loaded_for_a_prediction():
    script = (
        "import json, sys, simplepose; simplepose.load('imhn_mobile', runtime='torch'); "
        "print(json.dumps(sorted(m for m in sys.modules if m.startswith('simplepose'))))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    loaded = json.loads(result.stdout)
    print(f"{len(loaded)} modules of simplepose behind simplepose.load")
    assert len(loaded) <= MAX_LOADED_MODULES, "\n".join(loaded)
