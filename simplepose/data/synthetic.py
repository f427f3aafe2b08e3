"""Drawn scenes: people before a background, with keypoints, boxes and masks that are exact."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from simplepose.data.bodies import ARMS, GROUPS, HEAD, LEGS, TORSO, Body, Part, draw_body
from simplepose.skeleton import COCO

FINE = 2
"""A scene is painted so many times larger, then reduced: smooth edges."""

SUBPIXEL = 4
"""OpenCV fills polygons at 1 / 2**SUBPIXEL of a pixel."""

SEEN_ON = {  # indices of GROUPS: the parts that show a joint; on others it is hidden
    **dict.fromkeys(("nose", "eye", "ear"), (HEAD,)),
    "shoulder": (TORSO, *ARMS),
    **dict.fromkeys(("elbow", "wrist"), ARMS),
    "hip": (TORSO, *LEGS),
    **dict.fromkeys(("knee", "ankle"), LEGS),
}


@dataclass(frozen=True, eq=False)
class Scene:
    """A drawn picture and the truth about it.

    Attributes:
        image: (H, W, 3) uint8 BGR.
        keypoints: (P, 17, 3) float32 x, y, v as COCO has them: 0, 0, 0 outside the picture, on the far side
            of the head, or of someone quite covered; else v 1 hidden or 2 visible. Farthest person first.
        boxes_xyxy: (P, 4) float32 around the pixels that show each person; 0 where none does.
        masks: (P, H, W) bool, the pixels that show each person.
    """

    image: np.ndarray
    keypoints: np.ndarray
    boxes_xyxy: np.ndarray
    masks: np.ndarray


def draw_scene(rng: np.random.Generator, size_hw: tuple[int, int], people: int) -> Scene:
    """Draw so many people; the same state of the generator gives the same scene."""
    height, width = FINE * size_hw[0], FINE * size_hw[1]
    horizon, eye_level = height * rng.uniform(0.2, 0.45), rng.uniform(0.75, 1.0)
    painter = _Painter(rng, _background(rng, (height, width), horizon))
    sizes = np.sort(height * np.exp(rng.uniform(np.log(0.32), np.log(0.95), people)))
    joints, taken = np.zeros((people, len(COCO.annotated), 3)), np.zeros(0)
    for person, size in enumerate(sizes):
        tries = rng.uniform(0.08, 0.92, 12) * width
        gaps = np.abs(tries[:, None] - taken).min(1, initial=width)
        x = tries[gaps.argmax()]  # people keep apart while there is room
        taken = np.append(taken, x)
        body = draw_body(rng)
        origin = np.array([x, horizon + size * (eye_level - body.ground)])
        painter.paint(body, person, origin, float(size))
        joints[person] = body.joints * (size, size, 1) + (*origin, 0)
    return _measure(_photograph(rng, painter.canvas, size_hw), painter.owners, joints)


def _photograph(rng: np.random.Generator, canvas: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) uint8: the canvas at picture size, with a camera's blur and grain."""
    image = cv2.resize(canvas, size_hw[::-1], interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 0.8))
    return np.clip(blurred + rng.normal(0, rng.uniform(1, 5), image.shape), 0, 255).astype(np.uint8)


def _measure(image: np.ndarray, owners: np.ndarray, joints: np.ndarray) -> Scene:
    """What is seen of whom; `owners` and `joints` are in the canvas's pixels."""
    size_hw = image.shape[:2]
    keypoints, boxes = np.zeros(joints.shape, np.float32), np.zeros((len(joints), 4), np.float32)
    masks = np.zeros((len(joints), *size_hw), bool)
    xy = (joints[..., :2] - (FINE - 1) / 2) / FINE
    inside = (xy >= 0).all(2) & (xy <= np.array(size_hw)[::-1] - 1).all(2) & (joints[..., 2] > 0)
    for p in range(len(joints)):
        shown = (owners // len(GROUPS) == p + 1).astype(np.float32)
        masks[p] = cv2.resize(shown, size_hw[::-1], interpolation=cv2.INTER_AREA) > 0.5
        rows, columns = np.flatnonzero(masks[p].any(1)), np.flatnonzero(masks[p].any(0))
        if not len(rows):
            continue  # quite covered: nobody could label it
        boxes[p] = columns[0], rows[0], columns[-1], rows[-1]
        for j in np.flatnonzero(inside[p]):
            x, y = joints[p, j, :2].round().astype(int)
            shows = [(p + 1) * len(GROUPS) + group for group in SEEN_ON[COCO.annotated[j].split("_")[-1]]]
            keypoints[p, j] = *xy[p, j], 2 if owners[y, x] in shows else 1
    return Scene(image, keypoints, boxes, masks)


class _Painter:
    """A canvas (H, W, 3) float32 and who owns its pixels: (person + 1) * len(GROUPS) + group, 0 nobody."""

    def __init__(self, rng: np.random.Generator, canvas: np.ndarray) -> None:
        self.canvas = canvas
        self.owners = np.zeros(canvas.shape[:2], np.int32)
        self.grain = _noise(rng, canvas.shape[:2], (24, 8, 3))
        light = np.array([rng.uniform(-0.8, 0.8), rng.uniform(-1, -0.2), rng.uniform(0.5, 1)])
        self.light, self.shade = light / np.linalg.norm(light), rng.uniform(0.5, 0.8)

    def paint(self, body: Body, person: int, origin_xy: np.ndarray, size: float) -> None:
        """Paint a body: `origin_xy` in canvas pixels is where its hips are, `size` its height."""
        self._paint_shadow(np.array([[0, body.ground, 0.2, 0.03]]), origin_xy, size)
        for part in body.parts:
            owner = 0 if part.group is None else (person + 1) * len(GROUPS) + part.group
            self._paint_part(part, owner, origin_xy, size)

    def _paint_shadow(self, chain: np.ndarray, origin_xy: np.ndarray, size: float) -> None:
        place, mask = self._mask(chain, origin_xy, size)
        if mask.size:
            soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), max(1.0, 0.012 * size))
            self.canvas[place] *= 1 - 0.5 * soft[..., None] / 255

    def _mask(
        self, chain: np.ndarray, origin_xy: np.ndarray, size: float
    ) -> tuple[tuple[slice, slice], np.ndarray]:
        """The window of the canvas that a chain lies in, and its mask (h, w), 0 or 255; may be empty."""
        turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        circle = np.stack([np.cos(turn), np.sin(turn)], 1)
        rings = (chain[:, None, :2] + circle * chain[:, None, 2:]) * size + origin_xy
        limits = np.array(self.canvas.shape[1::-1])
        low = np.clip(np.floor(rings.min((0, 1))) - 2, 0, limits).astype(int)
        high = np.clip(np.ceil(rings.max((0, 1))) + 3, 0, limits).astype(int)
        mask = np.zeros((high - low)[::-1], np.uint8)
        for first, second in pairwise(rings if len(rings) > 1 else [*rings, *rings]):
            hull = cv2.convexHull(np.concatenate([first, second]).astype(np.float32)) - low
            if mask.size:
                cv2.fillConvexPoly(mask, np.rint(hull * 2**SUBPIXEL).astype(np.int32), 255, shift=SUBPIXEL)
        return (slice(low[1], high[1]), slice(low[0], high[0])), mask

    def _paint_part(self, part: Part, owner: int, origin_xy: np.ndarray, size: float) -> None:
        (rows, columns), mask = self._mask(part.chain, origin_xy, size)
        if not mask.any():
            return
        # Rounded as a tube or ball is: the height of a circle over the distance to the outline.
        inward = np.minimum(cv2.distanceTransform(mask, cv2.DIST_L2, 5), float(max(mask.shape)))
        height = np.sqrt(inward * (2 * inward.max() - inward))
        smooth = cv2.GaussianBlur(height, (0, 0), max(1.0, 0.12 * float(inward.max())))
        slopes = [cv2.Sobel(smooth, -1, *axis, scale=1 / 8) for axis in ((1, 0), (0, 1))]
        normals = np.stack([-slopes[0], -slopes[1], np.ones_like(height)], 2)
        normals /= np.linalg.norm(normals, axis=2, keepdims=True)
        lit = self.shade + (1 - self.shade) * np.maximum(0, normals @ self.light)
        y, x = np.mgrid[rows, columns]
        colour = part.colour
        base = colour((x - origin_xy[0]) / size, (y - origin_xy[1]) / size) if callable(colour) else colour
        painted = base * (1.1 * lit * (1 + 0.05 * self.grain[rows, columns]))[..., None]
        inside = mask > 0
        self.canvas[rows, columns][inside] = painted[inside]
        self.owners[rows, columns][inside] = owner


def _noise(rng: np.random.Generator, size_hw: tuple[int, int], cells: tuple[int, ...]) -> np.ndarray:
    """(H, W) float32 smooth noise about 0: a sum of random grids with so many pixels a cell."""
    shapes = [(size_hw[0] // cell + 2, size_hw[1] // cell + 2) for cell in cells]
    grids = [rng.standard_normal(shape, np.float32) for shape in shapes]
    layers = [cv2.resize(grid, size_hw[::-1], interpolation=cv2.INTER_CUBIC) for grid in grids]
    return np.sum(layers, axis=0) / np.sqrt(len(cells), dtype=np.float32)


def _background(rng: np.random.Generator, size_hw: tuple[int, int], horizon: float) -> np.ndarray:
    """(H, W, 3) float32: wall or sky over ground, things far off, all a little out of focus."""
    height, width = size_hw
    sky, low, near, far = rng.uniform(50, 215, (4, 1)) + rng.normal(0, 14, (4, 3))
    down = np.arange(height, dtype=np.float32)[:, None, None]
    above = sky + (low - sky) * np.clip(down / max(horizon, 1), 0, 1)
    ground = far + (near - far) * np.clip((down - horizon) / max(height - horizon, 1), 0, 1)
    canvas = np.broadcast_to(np.where(down < horizon, above, ground), (height, width, 3)).astype(np.float32)
    canvas = np.ascontiguousarray(canvas)
    for _ in range(rng.integers(3, 14)):
        x, w, h = rng.uniform(0, width), width * rng.uniform(0.02, 0.2), height * rng.uniform(0.05, 0.5)
        foot = horizon + height * rng.uniform(-0.05, 0.12)
        box = np.rint([x - w / 2, foot - h, x + w / 2, foot]).astype(int).tolist()
        colour = rng.uniform(20, 220) + rng.normal(0, 20, 3)
        if rng.random() < 0.6:
            cv2.rectangle(canvas, box[:2], box[2:], colour.tolist(), cv2.FILLED)
        else:
            middle, half = ((box[0] + box[2]) // 2, (box[1] + box[3]) // 2), (int(w / 2), int(h / 2))
            cv2.ellipse(canvas, middle, half, rng.uniform(-20, 20), 0, 360, colour.tolist(), cv2.FILLED)
    blurred = cv2.GaussianBlur(canvas, (0, 0), height / 200 * rng.uniform(0.3, 2) + 0.1)
    return blurred * (1 + rng.uniform(0.02, 0.06) * _noise(rng, size_hw, (160, 40, 8, 3)))[..., None]
