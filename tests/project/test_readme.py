"""Each command that the README shows does what it says, on drawn pictures in place of COCO's."""

import os
import re
import shlex
import shutil
import subprocess
import sys

import filled
import pytest
import torch
from drawn_coco import write_drawn_coco
from moving_pictures import make_video
from places import ROOT

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines() if line]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with what the README's reader has: tools, settings (made small), COCO, own pictures."""
    folder = tmp_path_factory.mktemp("reader")
    for part in ("tools", "configs"):
        shutil.copytree(ROOT / part, folder / part)
    for name in ("imhn4_384.yaml", "imhn4_512.yaml"):
        shutil.copy(folder / "configs/smoke.yaml", folder / "configs" / name)
    annotations, images = write_drawn_coco(folder / "drawn", pictures=4)
    coco = folder / "data/coco"
    (coco / "annotations").mkdir(parents=True)
    for part in ("train2017", "val2017"):
        shutil.copy(annotations, coco / f"annotations/person_keypoints_{part}.json")
        shutil.copytree(images, coco / part)
    shutil.copytree(images, folder / "pictures")
    make_video(folder / "video.mp4", 3)
    torch.save({"weights": filled.published_weights()}, folder / "published.pth")
    return folder


def test_the_readme_shows_commands():
    assert "make demo" in COMMANDS
    assert len(COMMANDS) >= 8


LAUNCHED = ("python ", "torchrun ")


@pytest.mark.parametrize("number", [n for n, line in enumerate(COMMANDS) if line.startswith(LAUNCHED)])
def test_each_command_works_after_those_before_it(place, number):
    few = re.sub(r"(--nproc[_-]per[_-]node)=\d+", r"\1=2", COMMANDS[number])
    words = shlex.split(few.replace("torchrun ", "python -m torch.distributed.run ", 1))
    environment = {**os.environ, "OMP_NUM_THREADS": "1" if "torch.distributed" in " ".join(words) else "2"}
    if "imhn4.safetensors" in words:  # weights that were never trained: one small picture shows that it runs
        for picture in sorted((place / "pictures").iterdir())[1:]:
            picture.unlink()
    done = subprocess.run(
        [sys.executable, *words[1:]], cwd=place, env=environment, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr


def test_make_runs_what_the_readme_says():
    makefile = (ROOT / "Makefile").read_text()
    targets = [line.split()[1] for line in COMMANDS if line.startswith("make ")]
    assert all(f"\n{target}:" in makefile for target in targets)
    assert "make test" in (ROOT / ".ci/run").read_text()


def test_the_demo_without_arguments_draws_the_samples(tmp_path):
    command = re.search(r"^demo:.*\n\t\$\(PYTHON\) (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    words = [str(tmp_path) if word == "output" else word for word in command.split()]
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "people.json").exists()
    assert (tmp_path / "grace_hopper.jpg").exists()


def test_files_that_are_linked_exist():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert [link for link in links if not link.startswith("http") and not (ROOT / link).exists()] == []
