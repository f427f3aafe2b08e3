"""What a run ran on is told: the commit of this code, and of no other."""

import json
import os
import subprocess

import pytest

from simplepose.utils import environment


@pytest.fixture
def package(tmp_path):
    """A package in a repository, committed."""
    package = tmp_path / "repository/package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    git(package, "init", "-q")
    git(package, "add", ".")
    git(package, "commit", "-qm", "first")
    return package


def git(folder, *args):
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    plain = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        ["git", *who, *args], cwd=folder, env=plain, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_the_commit_and_whether_files_differ_from_it(package, monkeypatch, tmp_path):
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))  # as within a hook
    commit = git(package, "rev-parse", "HEAD")
    assert environment.commit_of(package) == {"commit": commit, "dirty": False}
    (package / "new.txt").write_text("not tracked")
    assert environment.commit_of(package)["dirty"] is False
    (package / "__init__.py").write_text("changed = True")
    assert environment.commit_of(package) == {"commit": commit, "dirty": True}


def test_no_commit_outside_a_repository_and_without_git(tmp_path, package, monkeypatch):
    (tmp_path / "__init__.py").write_text("")
    assert environment.commit_of(tmp_path) == {}
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment.commit_of(package) == {}


def test_a_package_installed_within_another_repository_has_not_its_commit(package):
    installed = package.parent / ".venv/site-packages/simplepose"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("")
    assert environment.commit_of(installed) == {}


def test_a_repository_without_a_commit(tmp_path):
    git(tmp_path, "init", "-q")
    (tmp_path / "__init__.py").write_text("")
    git(tmp_path, "add", ".")
    assert environment.commit_of(tmp_path) == {}


def test_each_start_is_noted(tmp_path, caplog):
    path = tmp_path / "environment.json"
    told = environment.describe("1.2.3")
    assert told["simplepose"] == "1.2.3"
    assert told["cpus"] >= 1
    environment.note_start(path, told)
    environment.note_start(path, {**told, "torch": "another"})
    assert [start["torch"] for start in json.loads(path.read_text())] == [told["torch"], "another"]
    for broken in ("{", "7"):
        path.write_text(broken)
        environment.note_start(path, told)
        assert json.loads(path.read_text()) == [told]
    assert caplog.text.count("is begun anew") == 2
