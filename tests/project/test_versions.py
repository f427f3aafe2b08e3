"""The tools of pre-commit are those of requirements.txt, in the same versions and with the same arguments."""

import re

import pytest
import yaml
from repo_paths import ROOT

REQUIREMENTS = (ROOT / "requirements.txt").read_text()
PRE_COMMIT = (ROOT / ".pre-commit-config.yaml").read_text()


def pinned(package: str) -> str:
    """Return the version of a package in requirements.txt."""
    versions = re.findall(rf"^{package}==([\w.]+)", REQUIREMENTS, re.MULTILINE)
    assert len(versions) == 1
    return versions[0]


def hooks() -> dict[str, dict]:
    """Return the hooks by their ids, each with the version of its repository; local ones have none."""
    repositories = yaml.safe_load(PRE_COMMIT)["repos"]
    return {hook["id"]: hook | {"rev": repo.get("rev")} for repo in repositories for hook in repo["hooks"]}


@pytest.mark.parametrize("hook", ["ruff-check", "ruff-format"])
def test_ruff_has_the_pinned_version(hook):
    assert hooks()[hook]["rev"] == f"v{pinned('ruff')}"


def test_mypy_has_the_pinned_version():
    """Mypy runs in the active environment, so the file states its version in a comment."""
    assert re.findall(r"mypy (\d+\.[\d.]*\d)", PRE_COMMIT) == [pinned("mypy")]


def test_mypy_runs_as_in_the_makefile():
    arguments = hooks()["mypy"]["entry"].removeprefix("python -m ")
    assert arguments == "mypy simplepose tools"
    assert f"-m {arguments}\n" in (ROOT / "Makefile").read_text()
    assert f"`{arguments}`" in (ROOT / "CONTRIBUTING.md").read_text()
