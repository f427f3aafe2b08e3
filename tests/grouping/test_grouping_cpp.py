"""The C++ face of the grouping: its defaults are Python's, and its example answers as Python does."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

import drawn_maps
import numpy as np
import pytest
from places import CONFIGS, ROOT
from scattered import draw_people, maps_of

from simplepose import skeleton
from simplepose.grouping import Settings, group
from simplepose.skeleton import COCO, Skeleton

EXAMPLE = ROOT / "examples/cpp"
README = (EXAMPLE / "README.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    """The example's only piece of text in that language."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    return found


def write_maps(path: Path, maps: np.ndarray, body: Skeleton) -> None:
    names: dict[str, Any] = {}
    exec(block("python"), names)
    names["write_maps"](path, maps, body)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, built by the command that its README shows."""
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    if compiler is None:
        pytest.skip("no C++ compiler found (set CXX to one)")
    path = tmp_path_factory.mktemp("example") / "group_maps"
    command = block("sh").replace("c++ -", f"{compiler} -Wall -Wextra -Werror -", 1)
    command = command.replace("-o group_maps", f"-o '{path}'")
    subprocess.run(command, shell=True, check=True, cwd=ROOT, capture_output=True, text=True)
    return path


def run(program: Path, *arguments: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False)


def test_the_defaults_are_those_of_python() -> None:
    header = (ROOT / "simplepose/grouping/csrc/grouping.h").read_text(encoding="utf-8")
    (body,) = re.findall(r"struct Settings \{\n(.*?)\};", header, re.DOTALL)
    stated = dict(re.findall(r"^    \w+ (\w+) = (.+?);", body, re.MULTILINE))
    expected = asdict(Settings())
    assert {
        name: type(expected[name])(value.removeprefix("Rules::")) for name, value in stated.items()
    } == expected


@pytest.mark.parametrize("name", ["coco", "mpii", "nobody"])
def test_the_example_prints_the_people_that_python_finds(program: Path, tmp_path: Path, name: str) -> None:
    body = skeleton.load(str(CONFIGS / "skeletons/mpii.yaml")) if name == "mpii" else COCO
    size = (256, 384)
    people = draw_people(np.random.default_rng(0), size, 5, body)[: 0 if name == "nobody" else None]
    maps = maps_of(people, size, body)
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


@pytest.mark.parametrize("kept", [0, 7, 16, 20, -1])
def test_the_example_tells_a_file_that_is_cut(program: Path, tmp_path: Path, kept: int) -> None:
    path = tmp_path / "maps.bin"
    write_maps(path, drawn_maps.draw(np.zeros((0, 17, 3)), (8, 12)), COCO)
    path.write_bytes(path.read_bytes()[:kept])
    done = run(program, path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{path}: the file ends before its last map; write it once more\n"


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        ((1, 2, 1, 1, 0, 2, 0, 0, 0), "joints 0 to 1 expected, got one from 0 to 2"),
        ((1, 2, 1, 1, -1, 1, 0, 0, 0), "got one from -1 to 1"),
        ((1, 2, 0, 1), "no file of maps"),
        ((-1, 2, 1, 1), "no file of maps"),
        ((1, 2, 2**31 - 1, 2**31 - 1), "no file of maps"),
    ],
)
def test_the_example_tells_a_file_that_is_wrong(
    program: Path, tmp_path: Path, numbers: tuple[int, ...], told: str
) -> None:
    path = tmp_path / "maps.bin"
    path.write_bytes(np.array(numbers, "<i4").tobytes())
    done = run(program, path)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_example_asks_for_its_file(program: Path, tmp_path: Path) -> None:
    assert "path of a file of maps expected" in run(program).stderr
    assert f"{tmp_path / 'none'}: no such file" in run(program, tmp_path / "none").stderr
