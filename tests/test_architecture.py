"""Imports go down only, so that each room can be read without the ones above it."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "simplepose"
FACTS = {"skeleton", "people", "config", "typed_yaml", "geometry", "atomic", "decoding"}
MAY_IMPORT = {
    "skeleton": set(),
    "geometry": set(),
    "typed_yaml": set(),
    "atomic": set(),
    "decoding": set(),
    "people": set(),
    "config": {"typed_yaml"},
    "data": FACTS,
    "models": FACTS,
    "losses": FACTS,
    "targets": FACTS,
    "grouping": FACTS,
    "visual": FACTS,
    "evaluation": FACTS,
    "inference": FACTS | {"models", "grouping"},
    "training": FACTS | {"data", "models", "losses", "targets"},
    "__init__": FACTS | {"inference"},
    "cli": None,  # wires everything
}


def room_of(module: str) -> str:
    return module.split(".")[1]


def imported(path: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {room_of(module) for module in modules if module.startswith("simplepose.")}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down_only(path):
    room = path.relative_to(PACKAGE).with_suffix("").parts[0]
    allowed = MAY_IMPORT[room]
    above = set() if allowed is None else imported(path) - allowed - {room, "__version__"}
    assert not above, f"{path.name} in {room} imports {sorted(above)}"


def test_no_relative_imports():
    files = {p: ast.walk(ast.parse(p.read_text())) for p in PACKAGE.rglob("*.py")}
    assert not [p for p, nodes in files.items() for n in nodes if isinstance(n, ast.ImportFrom) and n.level]
