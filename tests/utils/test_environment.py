"""The environment of a run: versions, and the commit of this code only."""

import json
import os
import subprocess

import pytest

from simplepose.utils import environment


@pytest.fixture
def package(tmp_path):
    """A package that is committed in a git repository."""
    package = tmp_path / "repository/package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    git(package, "init", "-q")
    git(package, "add", ".")
    git(package, "commit", "-qm", "first")
    return package


def git(folder, *args):
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    result = subprocess.run(
        ["git", *identity, *args], cwd=folder, env=env, check=True, capture_output=True, text=True
    )
    return result.stdout.strip()


def test_commit_and_dirty_flag(package, monkeypatch, tmp_path):
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))  # as in a git hook
    commit = git(package, "rev-parse", "HEAD")
    assert environment.git_commit(package) == {"commit": commit, "dirty": False}
    (package / "new.txt").write_text("not tracked")
    assert environment.git_commit(package)["dirty"] is False
    (package / "__init__.py").write_text("changed = True")
    assert environment.git_commit(package) == {"commit": commit, "dirty": True}


def test_no_commit_outside_a_repository_or_without_git(tmp_path, package, monkeypatch):
    (tmp_path / "__init__.py").write_text("")
    assert environment.git_commit(tmp_path) == {}
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment.git_commit(package) == {}


def test_installed_package_does_not_report_the_commit_of_a_surrounding_repository(package):
    installed = package.parent / ".venv/site-packages/simplepose"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("")
    assert environment.git_commit(installed) == {}


def test_repository_without_commits(tmp_path):
    git(tmp_path, "init", "-q")
    (tmp_path / "__init__.py").write_text("")
    git(tmp_path, "add", ".")
    assert environment.git_commit(tmp_path) == {}


def test_each_start_is_appended(tmp_path, caplog):
    path = tmp_path / "environment.json"
    description = environment.describe("1.2.3")
    assert description["simplepose"] == "1.2.3"
    assert description["cpus"] >= 1
    environment.append_start(path, description)
    environment.append_start(path, {**description, "torch": "another"})
    assert [start["torch"] for start in json.loads(path.read_text())] == [
        description["torch"],
        "another",
    ]
    for broken in ("{", "7"):
        path.write_text(broken)
        environment.append_start(path, description)
        assert json.loads(path.read_text()) == [description]
    assert caplog.text.count("a new file replaces it") == 2
