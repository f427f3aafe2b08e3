"""Each command in the README works, on synthetic images instead of COCO's."""

import os
import re
import shlex
import shutil
import subprocess
import sys

import cv2
import fixed_weights
import pytest
import torch
from numbered_videos import make_video
from repo_paths import ROOT
from synthetic_coco import write_synthetic_coco

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines() if line]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder as the README assumes it: tools, settings (with small sizes), COCO, own images."""
    folder = tmp_path_factory.mktemp("reader")
    for part in ("tools", "configs"):
        shutil.copytree(ROOT / part, folder / part)
    settings = (folder / "configs/smoke.yaml").read_text()
    assert "workers: 1" in settings
    for name in ("imhn4_384.yaml", "imhn4_512.yaml"):
        (folder / "configs" / name).write_text(settings.replace("workers: 1", "workers: 0"))
    annotations, images = write_synthetic_coco(folder / "drawn", num_images=4)
    coco = folder / "data/coco"
    (coco / "annotations").mkdir(parents=True)
    for part in ("train2017", "val2017"):
        shutil.copy(annotations, coco / f"annotations/person_keypoints_{part}.json")
        shutil.copytree(images, coco / part)
    (folder / "images").mkdir()
    for image in sorted(images.iterdir())[:2]:
        shutil.copy(image, folder / "images")
    make_video(folder / "video.mp4", 3)
    for name in ("gt.txt", "tracks.txt"):
        (folder / name).write_text("1,1,10,20,30,60,1,-1,-1,-1\n2,1,12,20,30,60,1,-1,-1,-1\n")
    torch.save({"weights": fixed_weights.published_weights()}, folder / "published.pth")
    return folder


def test_the_readme_contains_commands():
    assert "make demo" in COMMANDS
    assert len(COMMANDS) >= 8


PROGRAMS = ("python ", "torchrun ")


@pytest.mark.slow
def test_each_command_works_after_the_previous_ones(folder, subtests):
    for line in COMMANDS:
        if line.startswith(PROGRAMS):
            with subtests.test(line):
                run_command(folder, line)


def run_command(folder, line):
    """Run a command with small inputs; a launcher starts two processes."""
    command = re.sub(r"(--nproc[_-]per[_-]node)=\d+", r"\1=2", line)
    words = shlex.split(command.replace("torchrun ", "python -m torch.distributed.run ", 1))
    if "imhn4.safetensors" in words:  # large untrained weights: a narrow image is enough
        _, *images = sorted((folder / "images").iterdir(), reverse=True)
        for image in images:
            image.unlink()
        (path,) = (folder / "images").iterdir()
        cv2.imwrite(str(path), cv2.imread(str(path))[:, :16])
    result = subprocess.run(
        [sys.executable, *words[1:]],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert result.returncode == 0, result.stderr


def test_the_makefile_has_the_targets_in_the_readme():
    makefile = (ROOT / "Makefile").read_text()
    targets = [line.split()[1] for line in COMMANDS if line.startswith("make ")]
    assert all(f"\n{target}:" in makefile for target in targets)
    assert "make test" in (ROOT / ".ci/run").read_text()


def test_make_demo_draws_the_sample_images(tmp_path):
    command = re.search(r"^demo:.*\n\t\$\(PYTHON\) (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    words = [str(tmp_path) if word == "output" else word for word in command.split()]
    result = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "people.json").exists()
    assert (tmp_path / "grace_hopper.jpg").exists()


def test_linked_files_exist():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert [link for link in links if not link.startswith("http") and not (ROOT / link).exists()] == []
