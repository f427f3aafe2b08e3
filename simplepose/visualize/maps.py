"""The network's maps, shown: as heat over their picture, and beside the maps that it should have found."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from simplepose import geometry
from simplepose.people import People
from simplepose.skeleton import COCO, Skeleton
from simplepose.visualize.drawing import draw

OPACITY = 0.85
"""Of the heat where a map is 1; where it is 0 the picture shows unchanged."""

GREY = (128, 128, 128)
TITLE_HEIGHT = 20
"""Pixels at the top of a tile that its name lies on."""


def overlay(
    image: np.ndarray, heat: np.ndarray, stride: float, to_picture: np.ndarray | None = None
) -> np.ndarray:
    """Lay a map over its picture: blue is little, red is much.

    Args:
        image: (H, W, 3) uint8 BGR; it is not changed.
        heat: (h, w) float; cut to [0, 1], what is not a number counts as 0.
        stride: of the map; its cell k lies at stride * k + stride / 2 - 0.5 frame pixels.
        to_picture: (2, 3) from frame pixels to picture pixels (`inference.maps.Maps.to_picture`);
            None where the maps' frame is the picture.

    Returns:
        (H, W, 3) uint8 BGR.
    """
    cells = geometry.scaling(stride, stride)
    cells[:, 2] = stride / 2 - 0.5
    matrix = cells if to_picture is None else geometry.compose(cells, to_picture)
    clean = np.nan_to_num(np.asarray(heat, np.float32), nan=0, posinf=1, neginf=0).clip(0, 1)
    spread = geometry.apply_to_image(matrix, clean, (image.shape[0], image.shape[1]), 0)
    levels = cv2.merge([cv2.convertScaleAbs(spread, alpha=255)] * 3)
    picture_share, heat_part = _mixing()
    kept = cv2.multiply(image, cv2.LUT(levels, picture_share), scale=1 / 255)
    mixed: np.ndarray = cv2.add(kept, cv2.LUT(levels, heat_part))
    return mixed


def _mixing() -> tuple[np.ndarray, np.ndarray]:
    """For 256 levels of heat, each (256, 1, 3) uint8: what is left of the picture (255: all), what is added.

    Tables, because a picture has more pixels than levels.
    """
    levels = np.arange(256, dtype=np.uint8)[:, None]
    colours = cv2.applyColorMap(levels, cv2.COLORMAP_TURBO).astype(np.float32)
    share = OPACITY * np.sqrt(levels / np.float32(255))[..., None]  # the root, so that faint heat shows too
    left = np.rint(255 * (1 - share)).astype(np.uint8)
    return np.repeat(left, 3, 2), np.rint(share * colours).astype(np.uint8)


def named(maps: np.ndarray, name: str, skeleton: Skeleton = COCO) -> np.ndarray:
    """The map of a joint or limb, or the strongest of several, by name.

    Args:
        maps: (C, h, w) float, channels in the skeleton's order.
        name: one of `names`; a limb's joints may come in either order.

    Returns:
        (h, w) float, for `overlay`.

    Raises:
        ValueError: no map is called so; lists those that are.
    """
    return strongest(maps, channels(name, skeleton))


def names(skeleton: Skeleton = COCO) -> list[str]:
    """What `named` takes: keypoints, limbs (of each the strongest), person, joints, limbs as "a-b"."""
    return [*_groups(skeleton), *skeleton.joints, *("-".join(limb) for limb in skeleton.limbs)]


def channels(name: str, skeleton: Skeleton = COCO) -> slice:
    """Where the maps that `names` lists lie. Raises ValueError as `named` does."""
    groups = _groups(skeleton)
    if name in groups:
        return groups[name]
    if name in skeleton.joints:
        first = skeleton.keypoint_channels.start + skeleton.joints.index(name)
        return slice(first, first + 1)
    for number, (a, b) in enumerate(skeleton.limbs, skeleton.limb_channels.start):
        if name in (f"{a}-{b}", f"{b}-{a}"):
            return slice(number, number + 1)
    raise ValueError(f"no map is called {name!r}; one of these expected: {', '.join(names(skeleton))}")


def _groups(skeleton: Skeleton) -> dict[str, slice]:
    person = skeleton.person_mask_channel
    return {
        "keypoints": skeleton.keypoint_channels,
        "limbs": skeleton.limb_channels,
        "person": slice(person, person + 1),
    }


def strongest(maps: np.ndarray, channels: slice) -> np.ndarray:
    """The maximum over some channels of (C, h, w) maps: (h, w)."""
    maximum: np.ndarray = maps[channels].max(0)
    return maximum


def comparison(
    image: np.ndarray,
    target: np.ndarray,
    predicted: np.ndarray,
    people: People,
    stride: float,
    skeleton: Skeleton = COCO,
    tile_height: int = 256,
) -> np.ndarray:
    """One picture that tells how far training is.

    Above: the input, and over it what the network should find; below: the people that were found, and
    over the input what it finds. From left to right keypoints (their maximum), limbs (the same), persons.

    Args:
        image: (H, W, 3) uint8 BGR, the network's input.
        target, predicted: (C, h, w) float maps at `stride`, channels in the skeleton's order.
        people: drawn, with their joints in pixels of `image`.
        tile_height: pixels that each of the eight parts is resized to, if it is higher.

    Returns:
        (about 2 * tile height, about 4 * tile width, 3) uint8 BGR.
    """
    shown = {
        "keypoints": skeleton.keypoint_channels,
        "limbs": skeleton.limb_channels,
        "persons": slice(skeleton.person_mask_channel, skeleton.person_mask_channel + 1),
    }
    rows = [
        [overlay(image, strongest(maps, channels), stride) for channels in shown.values()]
        for maps in (target, predicted)
    ]
    tiles = [[image, *rows[0]], [draw(image, people, skeleton), *rows[1]]]
    titles = [
        ["input", *(f"target: {name}" for name in shown)],
        ["people found", *(f"network: {name}" for name in shown)],
    ]
    factor = min(1.0, tile_height / image.shape[0])
    size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
    for row, names in zip(tiles, titles, strict=True):
        row[:] = [titled(tile, size, title) for tile, title in zip(row, names, strict=True)]
    return grid(tiles)


def grid(rows: Sequence[Sequence[np.ndarray]], gap: int = 4) -> np.ndarray:
    """Put (H, W, 3) uint8 BGR tiles, all of one size and as many in each row, in rows with a gap of grey."""
    framed = [
        np.hstack([cv2.copyMakeBorder(tile, 0, gap, 0, gap, cv2.BORDER_CONSTANT, value=GREY) for tile in row])
        for row in rows
    ]
    return np.vstack(framed)[:-gap, :-gap]


def titled(tile: np.ndarray, size: tuple[int, int], title: str) -> np.ndarray:
    """(H, W, 3) uint8 BGR resized to (width, height), with a title on its top."""
    small = cv2.resize(tile, size, interpolation=cv2.INTER_AREA)
    small[:TITLE_HEIGHT] = small[:TITLE_HEIGHT] // 3  # white text shows on any picture
    place, white = (5, TITLE_HEIGHT - 6), (255, 255, 255)
    cv2.putText(small, title, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, white, 1, cv2.LINE_AA)
    return small
