"""Draw heatmaps and limb maps over images, and training samples with their masks, joints and maps."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from simplepose import geometry
from simplepose.people import People
from simplepose.skeleton import COCO, Skeleton
from simplepose.visualize.drawing import MAX_COORDINATE, SUBPIXEL_BITS, draw_people, person_color

# Opacity of the heatmap's color where the map is 1. Where it is 0, the image is unchanged.
MAX_OPACITY = 0.85

GRAY = (128, 128, 128)

# Pixels at the top of a tile for its title.
TITLE_HEIGHT = 20


def overlay(
    image: np.ndarray, heat: np.ndarray, stride: float, to_image: np.ndarray | None = None
) -> np.ndarray:
    """Draw a heatmap or limb map over an image, from blue (low) to red (high).

    Args:
        image: (H, W, 3) uint8 BGR; it is not changed.
        heat: (h, w) float; clipped to [0, 1], NaN counts as 0.
        stride: of the map; its cell k is at stride * k + stride / 2 - 0.5 pixels of the model input.
        to_image: (2, 3) matrix from model input pixels to image pixels (`inference.heatmaps.Maps.to_image`),
            or None if the image is the model input.

    Returns:
        (H, W, 3) uint8 BGR.
    """
    to_input = geometry.scaling(stride, stride)
    to_input[:, 2] = stride / 2 - 0.5
    matrix = to_input if to_image is None else geometry.compose(to_input, to_image)
    clipped = np.nan_to_num(np.asarray(heat, np.float32), nan=0, posinf=1, neginf=0).clip(0, 1)
    warped = geometry.apply_to_image(matrix, clipped, (image.shape[0], image.shape[1]), 0)
    levels = cv2.merge([cv2.convertScaleAbs(warped, alpha=255)] * 3)
    image_weights, weighted_colors = _blend_tables()
    background = cv2.multiply(image, cv2.LUT(levels, image_weights), scale=1 / 255)
    blended: np.ndarray = cv2.add(background, cv2.LUT(levels, weighted_colors))
    return blended


def _blend_tables() -> tuple[np.ndarray, np.ndarray]:
    """Compute lookup tables for blending, because an image has more pixels than heat levels.

    Returns:
        For 256 heat levels, each (256, 1, 3) uint8: the weight of the image (255: 1), and the weighted color
        to add.
    """
    levels = np.arange(256, dtype=np.uint8)[:, None]
    colors = cv2.applyColorMap(levels, cv2.COLORMAP_TURBO).astype(np.float32)
    # The square root keeps low values visible.
    opacity = MAX_OPACITY * np.sqrt(levels / np.float32(255))[..., None]
    image_weights = np.rint(255 * (1 - opacity)).astype(np.uint8)
    return np.repeat(image_weights, 3, 2), np.rint(opacity * colors).astype(np.uint8)


def select_map(maps: np.ndarray, name: str, skeleton: Skeleton = COCO) -> np.ndarray:
    """Select the map of a joint or limb, or the maximum over a group of maps, by name.

    Args:
        maps: (C, h, w) float, channels in the skeleton's order.
        name: one of `map_names`; a limb's joints may be in either order.

    Returns:
        (h, w) float, for `overlay`.

    Raises:
        ValueError: the name is unknown; lists the known ones.
    """
    return max_over_channels(maps, map_channels(name, skeleton))


def map_names(skeleton: Skeleton = COCO) -> list[str]:
    """Return the names that `select_map` accepts.

    They are "keypoints" and "limbs" (the maximum of each group), "person", the joints, and the limbs as
    "a-b".
    """
    return [*_groups(skeleton), *skeleton.joints, *("-".join(limb) for limb in skeleton.limbs)]


def map_channels(name: str, skeleton: Skeleton = COCO) -> slice:
    """Return the channels of a name of `map_names`. Raises ValueError as `select_map` does."""
    groups = _groups(skeleton)
    if name in groups:
        return groups[name]
    if name in skeleton.joints:
        first = skeleton.keypoint_channels.start + skeleton.joints.index(name)
        return slice(first, first + 1)
    for channel, (a, b) in enumerate(skeleton.limbs, skeleton.limb_channels.start):
        if name in (f"{a}-{b}", f"{b}-{a}"):
            return slice(channel, channel + 1)
    raise ValueError(f"unknown map {name!r}; expected one of {', '.join(map_names(skeleton))}")


def _groups(skeleton: Skeleton) -> dict[str, slice]:
    person = skeleton.person_mask_channel
    return {
        "keypoints": skeleton.keypoint_channels,
        "limbs": skeleton.limb_channels,
        "person": slice(person, person + 1),
    }


def max_over_channels(maps: np.ndarray, channels: slice) -> np.ndarray:
    """Compute the maximum over some channels of (C, h, w) maps: (h, w)."""
    maximum: np.ndarray = maps[channels].max(0)
    return maximum


def draw_comparison(
    image: np.ndarray,
    target: np.ndarray,
    predicted: np.ndarray,
    people: People,
    stride: float,
    skeleton: Skeleton = COCO,
    tile_height: int = 256,
) -> np.ndarray:
    """Draw the targets and the predictions of a training sample into one image.

    Upper row: the input and the target maps. Lower row: the detected people and the predicted maps. Maps
    from left to right: keypoints (maximum), limbs (maximum), person mask.

    Args:
        image: (H, W, 3) uint8 BGR, the network's input.
        target: (C, h, w) float target maps at `stride`, channels in the skeleton's order.
        predicted: (C, h, w) float, the network's output.
        people: detected in `predicted`; coordinates in pixels of `image`.
        stride: of the maps.
        skeleton: of the maps and the people.
        tile_height: height in pixels to which each of the eight tiles is downscaled, if it is larger.

    Returns:
        (about 2 * tile height, about 4 * tile width, 3) uint8 BGR.
    """
    groups = {
        "keypoints": skeleton.keypoint_channels,
        "limbs": skeleton.limb_channels,
        "persons": slice(skeleton.person_mask_channel, skeleton.person_mask_channel + 1),
    }
    rows = [
        [overlay(image, max_over_channels(maps, channels), stride) for channels in groups.values()]
        for maps in (target, predicted)
    ]
    tiles = [[image, *rows[0]], [draw_people(image, people, skeleton), *rows[1]]]
    titles = [
        ["input", *(f"target: {name}" for name in groups)],
        ["detected people", *(f"network: {name}" for name in groups)],
    ]
    scale = min(1.0, tile_height / image.shape[0])
    size_wh = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    for row, row_titles in zip(tiles, titles, strict=True):
        row[:] = [add_title(tile, size_wh, title) for tile, title in zip(row, row_titles, strict=True)]
    return tile_grid(tiles)


def tile_grid(rows: Sequence[Sequence[np.ndarray]], gap: int = 4) -> np.ndarray:
    """Arrange (H, W, 3) uint8 BGR tiles of one size in rows of equal length, with gray gaps (pixels)."""
    padded_rows = [
        np.hstack([cv2.copyMakeBorder(tile, 0, gap, 0, gap, cv2.BORDER_CONSTANT, value=GRAY) for tile in row])
        for row in rows
    ]
    return np.vstack(padded_rows)[:-gap, :-gap]


def add_title(tile: np.ndarray, size: tuple[int, int], title: str) -> np.ndarray:
    """Resize (H, W, 3) uint8 BGR to (width, height) and write a title at its top."""
    resized = cv2.resize(tile, size, interpolation=cv2.INTER_AREA)
    resized[:TITLE_HEIGHT] = resized[:TITLE_HEIGHT] // 3  # darkened, so that white text is readable
    origin, white = (5, TITLE_HEIGHT - 6), (255, 255, 255)
    cv2.putText(resized, title, origin, cv2.FONT_HERSHEY_SIMPLEX, 0.45, white, 1, cv2.LINE_AA)
    return resized


# BGR tints of the person mask, and of the region that the loss ignores.
PERSON_COLOR, IGNORED_COLOR = (80, 200, 80), (60, 60, 230)

# BGR of the center of an occluded joint; bones that end at one are dotted.
OCCLUDED_COLOR = (255, 255, 255)

# Pixels of the dots, and of the gaps, of a dotted bone.
DOT_LENGTH = 5


def draw_sample(
    image: np.ndarray,
    mask_miss: np.ndarray,
    person_mask: np.ndarray,
    joints: np.ndarray,
    target: np.ndarray,
    stride: float,
    skeleton: Skeleton = COCO,
) -> dict[str, np.ndarray]:
    """Draw a training sample as several images: sample, joints, masks, limbs, keypoints.

    Args:
        image: (H, W, 3) uint8 BGR.
        mask_miss: (h, w) uint8, 255 where the loss counts.
        person_mask: (h, w) uint8, 255 on people.
        joints: (P, J, 3) network joints: x, y in pixels of `image` and COCO's v.
        target: (C, h, w) float maps at `stride`, channels in the skeleton's order.
        stride: of the maps.
        skeleton: of the joints and the maps.

    Returns:
        Title -> (H, W, 3) uint8 BGR.
    """
    map_images = {
        name: overlay(image, max_over_channels(target, channels), stride)
        for name, channels in (("limbs", skeleton.limb_channels), ("keypoints", skeleton.keypoint_channels))
    }
    return {
        "sample": image,
        "joints (white: occluded)": draw_joints(image, skeleton.to_annotated(joints), skeleton),
        "persons, red: ignored": draw_masks(image, mask_miss, person_mask),
        **map_images,
    }


def draw_masks(image: np.ndarray, mask_miss: np.ndarray, person_mask: np.ndarray) -> np.ndarray:
    """Tint people and the region that the loss ignores.

    Args:
        image, mask_miss, person_mask: as in `draw_sample`.

    Returns:
        (H, W, 3) uint8 BGR.
    """
    tinted = image.astype(np.float32)
    size_wh = image.shape[1::-1]
    for mask, color in ((person_mask, PERSON_COLOR), (255 - mask_miss, IGNORED_COLOR)):
        resized = cv2.resize(mask, size_wh, interpolation=cv2.INTER_NEAREST)
        opacity = 0.55 / 255 * resized[..., None].astype(np.float32)
        tinted += opacity * (np.array(color, np.float32) - tinted)
    return np.rint(tinted).astype(np.uint8)


def draw_joints(image: np.ndarray, keypoints: np.ndarray, skeleton: Skeleton = COCO) -> np.ndarray:
    """Draw labeled people, each in one color, on a darkened copy of the image.

    Args:
        image: (H, W, 3) uint8 BGR.
        keypoints: (P, A, 3) x, y, v: keypoints that are not labeled (v = 0) are not drawn; occluded ones
            (v = 1) have a white center and dotted bones.
        skeleton: its `bones` are drawn.

    Returns:
        (H, W, 3) uint8 BGR.
    """
    canvas = image // 2 + 32
    radius = max(2, round(max(image.shape[:2]) / 128))
    for person, joints in enumerate(keypoints):
        color = person_color(person)
        points = joints[:, :2].clip(-MAX_COORDINATE, MAX_COORDINATE)
        labeled = (joints[:, 2] > 0) & np.isfinite(joints).all(1) & (points == joints[:, :2]).all(1)
        for a, b in skeleton.bone_ends[labeled[skeleton.bone_ends].all(1)]:
            _draw_bone(canvas, points[a], points[b], color, dotted=joints[[a, b], 2].min() < 2)
        for joint in np.flatnonzero(labeled):
            center = _to_subpixels(points[joint])
            _draw_disk(canvas, center, radius, color)
            if joints[joint, 2] < 2:
                _draw_disk(canvas, center, radius - 1, OCCLUDED_COLOR)
    return canvas


def _draw_bone(
    canvas: np.ndarray, a: np.ndarray, b: np.ndarray, color: tuple[int, ...], dotted: bool
) -> None:
    length = float(np.hypot(*(b - a)))
    starts = np.arange(0, length, 2 * DOT_LENGTH) if dotted and length < MAX_COORDINATE else [0.0]
    for start in starts:
        end = min(start + DOT_LENGTH, length) if dotted else length
        first, last = (
            _to_subpixels(a + (b - a) * (distance / max(length, 1e-6))) for distance in (start, end)
        )
        cv2.line(canvas, first, last, color, 1, cv2.LINE_AA, SUBPIXEL_BITS)


def _draw_disk(canvas: np.ndarray, center: tuple[int, int], radius: int, color: tuple[int, ...]) -> None:
    cv2.circle(canvas, center, radius * 2**SUBPIXEL_BITS, color, cv2.FILLED, cv2.LINE_AA, SUBPIXEL_BITS)


def _to_subpixels(point: np.ndarray) -> tuple[int, int]:
    x, y = np.rint(point * 2**SUBPIXEL_BITS).astype(int).tolist()
    return x, y
