"""Imports go down only, so that each room can be read without the ones above it."""

import ast

import pytest
from places import ROOT

PACKAGE = ROOT / "simplepose"
FACTS = {
    "skeleton",
    "people",
    "config",
    "typed_yaml",
    "geometry",
    "atomic",
    "decoding",
    "coco_json",
    "freed_memory",
    "holding",
    "ending",
    "frames",
}
SETTINGS = {"typed_yaml", "setting_checks", "config_augment"}
MAY_IMPORT = {
    "skeleton": {"typed_yaml"},
    "geometry": set(),
    "typed_yaml": set(),
    "atomic": set(),
    "freed_memory": set(),
    "holding": set(),
    "ending": set(),
    "decoding": set(),
    "people": set(),
    "frames": set(),
    "coco_json": {"people"},
    "config": SETTINGS,
    "config_augment": {"setting_checks"},
    "setting_checks": set(),
    "data": FACTS,
    "models": FACTS,
    "losses": FACTS,
    "targets": FACTS,
    "grouping": FACTS,
    "visual": FACTS,
    "results": FACTS,
    "evaluation": FACTS,
    "inference": FACTS | {"models", "grouping"},
    "training": FACTS | {"data", "models", "losses", "targets"},
    "__init__": FACTS | {"inference"},
}
MAY_IMPORT["cli"] = set(MAY_IMPORT)  # wires all rooms; nobody imports it, or tools


def imported(source: str) -> set[str]:
    """The rooms that a source imports, and `tools`; the package's own names are of room `__init__`."""
    modules = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            modules += [f"{node.module}.{alias.name}" for alias in node.names]
    paths = [module.split(".") for module in modules]
    named = {"".join(path[1:2]) for path in paths if path[0] == "simplepose"}
    rooms = {name if name in MAY_IMPORT else "__init__" for name in named}
    return rooms | {path[0] for path in paths if path[0] == "tools"}


@pytest.mark.parametrize(
    ("source", "rooms"),
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
def test_every_way_to_import_is_seen(source, rooms):
    assert imported(source) == rooms


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down_only(path):
    room = path.relative_to(PACKAGE).with_suffix("").parts[0]
    above = imported(path.read_text()) - MAY_IMPORT[room] - {room}
    assert not above, f"{path.name} in {room} imports {sorted(above)}"


def test_no_relative_imports():
    files = {p: ast.walk(ast.parse(p.read_text())) for p in PACKAGE.rglob("*.py")}
    assert not [p for p, nodes in files.items() for n in nodes if isinstance(n, ast.ImportFrom) and n.level]
