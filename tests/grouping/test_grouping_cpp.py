"""The C++ interface of the grouping: same defaults as Python, and an example with the same results."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic_maps
from random_people import draw_target_maps, sample_people
from repo_paths import CONFIGS, ROOT

from simplepose import skeleton
from simplepose.grouping import Settings, group
from simplepose.skeleton import COCO, Skeleton

EXAMPLE = ROOT / "examples/cpp"
README = (EXAMPLE / "README.md").read_text(encoding="utf-8")


def extract_code(language: str) -> str:
    """Return the code extract_code of a language in the example's README."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    return found


def write_maps(path: Path, maps: np.ndarray, body: Skeleton) -> None:
    names: dict[str, Any] = {}
    exec(extract_code("python"), names)
    names["write_maps"](path, maps, body)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the example with the command of its README."""
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    if compiler is None:
        pytest.skip("no C++ compiler found (set CXX to one)")
    path = tmp_path_factory.mktemp("example") / "group_maps"
    command = extract_code("sh").replace("c++ -", f"{compiler} -Wall -Wextra -Werror -", 1)
    command = command.replace("-o group_maps", f"-o '{path}'")
    subprocess.run(command, shell=True, check=True, cwd=ROOT, capture_output=True, text=True)
    return path


def run(program: Path, *arguments: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False)


def test_defaults_equal_python() -> None:
    header = (ROOT / "simplepose/grouping/csrc/grouping.h").read_text(encoding="utf-8")
    (body,) = re.findall(r"struct Settings \{\n(.*?)\};", header, re.DOTALL)
    defaults = dict(re.findall(r"^    \w+ (\w+) = (.+?);", body, re.MULTILINE))
    expected = asdict(Settings())
    assert {
        name: type(expected[name])(value.removeprefix("Rules::")) for name, value in defaults.items()
    } == expected


@pytest.mark.parametrize("name", ["coco", "mpii", "no people"])
def test_example_prints_the_people_that_python_finds(program: Path, tmp_path: Path, name: str) -> None:
    body = skeleton.load(str(CONFIGS / "skeletons/mpii.yaml")) if name == "mpii" else COCO
    size = (256, 384)
    people = sample_people(np.random.default_rng(0), size, 5, body)[: 0 if name == "no people" else None]
    maps = draw_target_maps(people, size, body)
    write_maps(tmp_path / "maps.bin", maps, body)
    done = run(program, tmp_path / "maps.bin")
    assert done.returncode == 0, done.stderr
    printed = [text.split() for text in done.stdout.split("person")[1:]]
    expected = group(maps, body)
    assert len(printed) == len(expected) == len(people)
    for person, keypoints, score in zip(printed, expected.keypoints, expected.scores, strict=True):
        numbers = np.array(person, np.float64)
        assert numbers[0] == pytest.approx(score, abs=1e-6)
        np.testing.assert_allclose(
            body.to_annotated(numbers[1:].reshape(1, -1, 3))[0], keypoints, rtol=1e-6, atol=1e-4
        )


@pytest.mark.parametrize("size", [0, 7, 16, 20, -1])
def test_example_reports_a_truncated_file(program: Path, tmp_path: Path, size: int) -> None:
    path = tmp_path / "maps.bin"
    write_maps(path, synthetic_maps.draw_maps(np.zeros((0, 17, 3)), (8, 12)), COCO)
    path.write_bytes(path.read_bytes()[:size])
    done = run(program, path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{path}: the file ends before its last map; write it again\n"


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ((1, 2, 1, 1, 0, 2, 0, 0, 0), "expected two different joints from 0 to 1, got a limb from 0 to 2"),
        ((1, 2, 1, 1, -1, 1, 0, 0, 0), "got a limb from -1 to 1"),
        ((1, 2, 0, 1), "not a file of maps"),
        ((-1, 2, 1, 1), "not a file of maps"),
        ((1, 2, 2**31 - 1, 2**31 - 1), "not a file of maps"),
    ],
)
def test_example_reports_an_invalid_file(
    program: Path, tmp_path: Path, numbers: tuple[int, ...], message: str
) -> None:
    path = tmp_path / "maps.bin"
    path.write_bytes(np.array(numbers, "<i4").tobytes())
    done = run(program, path)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_example_reports_a_missing_argument_or_file(program: Path, tmp_path: Path) -> None:
    assert "expected the path of a file of maps" in run(program).stderr
    assert f"{tmp_path / 'none'}: no such file" in run(program, tmp_path / "none").stderr
