"""Healthy inputs, from which the hostile ones are made: images, annotations, samples, a network, a video."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import sympy  # noqa: F401 (torch imports it to build a network; here once for all cases)
import torch
from published_hdf5 import write_published
from synthetic_coco import write_synthetic_coco

from simplepose import config
from simplepose.cli import evaluate, prepare_coco
from simplepose.config import Settings
from simplepose.models import IMHN, checkpoints
from simplepose.models.checkpoints import Model
from simplepose.skeleton import COCO
from simplepose.training.trainer import Trainer

MODEL = {
    "stacks": 1,
    "stem_width": 4,
    "width": 8,
    "growth": 4,
    "head_width": 8,
    "reduction": 4,
    "dilations": (2,),
    "scales": 1,
}
TRAINING = {"batch_size": 2, "epochs": 1, "workers": 0, "warmup_epochs": 0.0}

# Options of the commands that run the small network.
NETWORK = ("--model", "../base/network.safetensors", "--runtime", "torch")
SMALL_INPUT = ("--set", "inference.height=64", "inference.flip=false")


# Paths that are no regular file -> what creates them.
SPECIAL_FILES: dict[str, Callable[[Path], Any]] = {
    "fifo": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "folder": lambda path: path.mkdir(),
    "link_to_itself": lambda path: path.symlink_to(path.name),
}


def created(
    create: Callable[[Path], Any], name: str, arguments: Sequence[str]
) -> Callable[[Path], Sequence[str]]:
    """Return a function that creates a file of a name in a folder, and returns the command's arguments."""

    def write(folder: Path) -> Sequence[str]:
        create(folder / name)
        return arguments

    return write


def small_settings() -> Settings:
    """Settings of a network and a run that take well below a second."""
    settings = Settings()
    return replace(
        settings,
        model=replace(settings.model, **MODEL),
        loss=replace(settings.loss, scale_weights=(0.1,)),
        augment=replace(settings.augment, size=(64, 64)),
        train=replace(settings.train, **TRAINING),
        inference=replace(settings.inference, height=64, flip=False),
    )


def write(folder: Path) -> int:
    """Write all healthy inputs to a folder; returns 0."""
    annotations, images = write_synthetic_coco(folder, num_images=3)
    of_coco = ["--annotations", str(annotations), "--images", str(images)]
    for store in ("compressed", "raw"):
        output = ["--output", str(folder / f"{store}.h5"), "--store", store, "--workers", "1"]
        assert prepare_coco.main([*of_coco, *output]) == 0
    write_published(folder / "published.h5", crop=64)
    settings = small_settings()
    (folder / "settings.yaml").write_text(config.to_text(settings))
    torch.manual_seed(0)
    model = Model(IMHN.from_settings(settings.model, COCO.channels), settings, COCO)
    torch.save(Trainer(model, torch.device("cpu")).state(), folder / "training.pt")
    model.network.eval()
    checkpoints.save_safetensors(folder / "network.safetensors", model)
    assert evaluate.main([*of_coco, "--output", str(folder / "evaluated"), *NETWORK, *SMALL_INPUT]) == 0
    return 0


def annotations(folder: Path) -> dict:
    """Return the healthy annotations; `folder` is that of a case."""
    content: dict = json.loads((folder.parent / "base/person_keypoints.json").read_text())
    return content
