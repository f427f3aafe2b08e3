"""Draw heatmaps and limb maps over images, and training samples with their masks, joints and maps."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from simplepose import geometry
from simplepose.people import People
from simplepose.skeleton import COCO, Skeleton
from simplepose.visualize.drawing import FAR, FRACTION_BITS, draw, person_colour

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


PERSON, NOT_COUNTED = (80, 200, 80), (60, 60, 230)
"""BGR of the person mask, and of where the loss does not look."""

HIDDEN = (255, 255, 255)
"""BGR of the middle of a hidden joint; bones that reach one are dotted."""

DOT = 5
"""Pixels of a dotted bone's dots, and of its gaps."""


def row(
    image: np.ndarray,
    mask_miss: np.ndarray,
    person_mask: np.ndarray,
    joints: np.ndarray,
    target: np.ndarray,
    stride: float,
    skeleton: Skeleton = COCO,
) -> dict[str, np.ndarray]:
    """The pictures of one sample by name: sample, joints, masks, limbs, keypoints.

    Args:
        image: (H, W, 3) uint8 BGR.
        mask_miss: (h, w) uint8, 255 where the loss counts.
        person_mask: (h, w) uint8, 255 on people.
        joints: (P, J, 3) network joints, x, y in pixels of `image` and COCO's v.
        target: (C, h, w) float maps at `stride`, channels in the skeleton's order.

    Returns:
        Each (H, W, 3) uint8 BGR.
    """
    heat = {
        name: overlay(image, strongest(target, channels), stride)
        for name, channels in (("limbs", skeleton.limb_channels), ("keypoints", skeleton.keypoint_channels))
    }
    joints_over = draw_joints(image, skeleton.to_annotated(joints), skeleton)
    return {
        "sample": image,
        "joints (white: hidden)": joints_over,
        "persons, red: not counted": draw_masks(image, mask_miss, person_mask),
        **heat,
    }


def draw_masks(image: np.ndarray, mask_miss: np.ndarray, person_mask: np.ndarray) -> np.ndarray:
    """Tint people, and what the loss does not look at: (H, W, 3) uint8 BGR. Arguments as in `row`."""
    shown = image.astype(np.float32)
    size = image.shape[1::-1]
    for mask, colour in ((person_mask, PERSON), (255 - mask_miss, NOT_COUNTED)):
        share = (
            0.55 / 255 * cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)[..., None].astype(np.float32)
        )
        shown += share * (np.array(colour, np.float32) - shown)
    return np.rint(shown).astype(np.uint8)


def draw_joints(image: np.ndarray, keypoints: np.ndarray, skeleton: Skeleton = COCO) -> np.ndarray:
    """Draw labelled people, each in a colour of its own, on a darker copy of the picture.

    Args:
        image: (H, W, 3) uint8 BGR.
        keypoints: (P, A, 3) x, y, v: joints that are not labelled (v 0) are left out, hidden ones (1) are
            white inside and their bones dotted.

    Returns:
        (H, W, 3) uint8 BGR.
    """
    canvas = image // 2 + 32
    radius = max(2, round(max(image.shape[:2]) / 128))
    for person, joints in enumerate(keypoints):
        colour = person_colour(person)
        points = joints[:, :2].clip(-FAR, FAR)
        labelled = (joints[:, 2] > 0) & np.isfinite(joints).all(1) & (points == joints[:, :2]).all(1)
        for a, b in skeleton.bone_ends[labelled[skeleton.bone_ends].all(1)]:
            _draw_bone(canvas, points[a], points[b], colour, dotted=joints[[a, b], 2].min() < 2)
        for joint in np.flatnonzero(labelled):
            middle = _fixed(points[joint])
            _draw_disc(canvas, middle, radius, colour)
            if joints[joint, 2] < 2:
                _draw_disc(canvas, middle, radius - 1, HIDDEN)
    return canvas


def _draw_bone(
    canvas: np.ndarray, a: np.ndarray, b: np.ndarray, colour: tuple[int, ...], dotted: bool
) -> None:
    length = float(np.hypot(*(b - a)))
    starts = np.arange(0, length, 2 * DOT) if dotted and length < FAR else [0.0]
    for start in starts:
        end = min(start + DOT, length) if dotted else length
        first, last = (_fixed(a + (b - a) * (at / max(length, 1e-6))) for at in (start, end))
        cv2.line(canvas, first, last, colour, 1, cv2.LINE_AA, FRACTION_BITS)


def _draw_disc(canvas: np.ndarray, middle: tuple[int, int], radius: int, colour: tuple[int, ...]) -> None:
    cv2.circle(canvas, middle, radius * 2**FRACTION_BITS, colour, cv2.FILLED, cv2.LINE_AA, FRACTION_BITS)


def _fixed(point: np.ndarray) -> tuple[int, int]:
    x, y = np.rint(point * 2**FRACTION_BITS).astype(int).tolist()
    return x, y
