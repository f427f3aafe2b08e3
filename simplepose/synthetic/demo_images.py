"""Pictures to try the project on when there are none at hand."""

from __future__ import annotations

from pathlib import Path

import cv2
import matplotlib
import numpy as np

from simplepose.synthetic.scenes import draw_scene

SCENES = ((1, (480, 360), 20), (3, (480, 640), 546), (6, (480, 640), 99))
"""Of each drawn scene: people, (height, width), and a seed that shows whole people and faces."""

PORTRAIT = "sample_data/grace_hopper.jpg"
"""Rear Admiral Grace Hopper, a photograph of the United States Navy, in the public domain; in matplotlib."""


def write_samples(folder: str | Path) -> list[Path]:
    """Write the same sample pictures each time: drawn scenes, and a portrait where it is installed.

    Returns:
        Their paths.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for people, size_hw, seed in SCENES:
        written.append(folder / f"drawn_{people}.png")
        _write(written[-1], draw_scene(np.random.default_rng(seed), size_hw, people).image)
    portrait = Path(matplotlib.get_data_path(), PORTRAIT)
    if portrait.is_file():
        written.append(folder / portrait.name)
        written[-1].write_bytes(portrait.read_bytes())
    return written


def _write(path: Path, image: np.ndarray) -> None:
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())
