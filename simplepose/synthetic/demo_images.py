"""Sample images to try the project with."""

from __future__ import annotations

from pathlib import Path

import cv2
import matplotlib
import numpy as np

from simplepose.synthetic.scenes import draw_scene
from simplepose.utils import atomic

# (people, (height, width), seed) of each scene; the seeds give whole people and visible faces.
DEMO_SCENES = ((1, (480, 360), 20), (3, (480, 640), 546), (6, (480, 640), 99))

# Rear Admiral Grace Hopper, a photograph by the United States Navy, in the public domain; part of matplotlib.
PORTRAIT_PATH = "sample_data/grace_hopper.jpg"


def write_demo_images(folder: str | Path) -> list[Path]:
    """Write the sample images: synthetic scenes, and a portrait if matplotlib has installed it.

    The images are the same each time.

    Returns:
        Their paths.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for people, size_hw, seed in DEMO_SCENES:
        written.append(folder / f"drawn_{people}.png")
        _write(written[-1], draw_scene(np.random.default_rng(seed), size_hw, people).image)
    portrait = Path(matplotlib.get_data_path(), PORTRAIT_PATH)
    if portrait.is_file():
        written.append(folder / portrait.name)
        atomic.write_bytes(written[-1], portrait.read_bytes(), fsync=False)
    return written


def _write(path: Path, image: np.ndarray) -> None:
    atomic.write_bytes(path, cv2.imencode(path.suffix, image)[1].tobytes(), fsync=False)
