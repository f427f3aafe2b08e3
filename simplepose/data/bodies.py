"""The parts of one drawn person, built and dressed at random, ready to paint.

In the frame of `poses`, seen along z. What shades and paints them is `synthetic`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from simplepose.data.poses import (
    EARS_SHOW,
    FACE_SHOWS,
    HEAD_RADII,
    SITTING,
    Points,
    annotated,
    axes,
    draw_points,
    on_head,
)

GROUPS = ("head", "torso", "left_arm", "right_arm", "left_leg", "right_leg")
HEAD, TORSO, ARMS, LEGS = 0, 1, (2, 3), (4, 5)

SKIN = ((150, 185, 235), (130, 165, 215), (105, 140, 195), (75, 105, 160), (55, 75, 120), (40, 55, 90))
HAIR = ((25, 25, 30), (30, 40, 60), (45, 70, 110), (90, 140, 190), (60, 80, 140), (150, 150, 155))
TRUNK = (  # share of the way from hips to neck; radii to the side, ahead, and up in the picture
    *((1.02, 0.05, 0.035, 0.02), (0.93, 0.09, 0.045, 0.025), (0.75, 0.097, 0.058, 0.03)),
    *((0.4, 0.08, 0.052, 0.03), (0.0, 0.09, 0.06, 0.02), (-0.12, 0.093, 0.06, 0.008)),
)

Colour = np.ndarray | Callable[[np.ndarray, np.ndarray], np.ndarray]
"""BGR of 0 to 255, or a function of x and y, each (h, w), that gives (h, w, 3) of them."""


@dataclass(frozen=True, eq=False)
class Part:
    """Something to paint: a chain of ellipses, each two neighbours joined by their hull.

    Attributes:
        chain: (N, 4) x, y and the radii in x and y, body heights.
        depth: larger is farther.
        group: an index of GROUPS; None: a thing, not of the person.
        colour: in even light.
    """

    chain: np.ndarray
    depth: float
    group: int | None
    colour: Colour


@dataclass(frozen=True, eq=False)
class Body:
    """A person to paint.

    Attributes:
        joints: (17, 3) x, y in body heights, and 1, or 0 for what lies on the far side of the head.
        parts: farthest first.
        ground: y of what the person stands on, body heights.
    """

    joints: np.ndarray
    parts: list[Part]
    ground: float


@dataclass(frozen=True, eq=False)
class _Look:
    """What sets a person apart; angles in radians, colours BGR of 0 to 255."""

    pose: int
    yaw: float
    head_yaw: float
    girth: float
    skin: np.ndarray
    hair: np.ndarray
    long_hair: bool


def draw_body(rng: np.random.Generator) -> Body:
    """A body in a random pose, with random build, direction and clothes."""
    look = _look(rng)
    points = draw_points(rng, look.pose, look.yaw)
    ground = max(points[f"{side}_toe"][1] for side in ("left", "right")) + 0.02
    parts = [
        *_legs(rng, points, look),
        *_torso(rng, points, look),
        *_hair_and_skull(rng, points["head"], points["neck"], look),
        *_face(points["head"], look),
    ]
    if look.pose == SITTING:
        seat = np.array([[0, 0.075, 0.12, 0.025], [0, ground - 0.03, 0.12, 0.025]])
        parts.append(Part(seat, 0.12, None, rng.uniform(20, 120, 3)))
    return Body(annotated(points, look.head_yaw), sorted(parts, key=lambda part: -part.depth), ground)


def _look(rng: np.random.Generator) -> _Look:
    facing = rng.choice([rng.normal(0, 35), rng.uniform(-180, 180), rng.normal(180, 25)], p=[0.65, 0.2, 0.15])
    return _Look(
        pose=int(rng.integers(SITTING + 1)),
        yaw=float(np.radians(facing)),
        head_yaw=float(np.radians(facing + rng.normal(0, 20))),
        girth=rng.uniform(0.9, 1.25),
        skin=np.array(SKIN[rng.integers(len(SKIN))]) * rng.uniform(0.92, 1.08),
        hair=np.array(HAIR[rng.integers(len(HAIR))]) * rng.uniform(0.8, 1.2),
        long_hair=bool(rng.random() < 0.4),
    )


def _tube(
    group: int,
    colour: Colour,
    points: Sequence[np.ndarray],
    radii: Sequence[float],
    back: float = 0,
    girth: float = 1,
) -> Part:
    """A limb through (3,) points with a radius at each; `back` moves it away from the viewer."""
    xyz, sizes = np.array(points), girth * np.array(radii)[:, None]
    return Part(np.concatenate([xyz[:, :2], sizes, sizes], 1), float(xyz[:, 2].mean()) + back, group, colour)


def _cloth(rng: np.random.Generator) -> Colour:
    """A plain colour, stripes or checks."""
    first, second = rng.uniform(20, 245, (2, 3)) * rng.uniform(0.3, 1) * 0.7 + rng.uniform(0, 70)
    kind, width = rng.choice(["plain", "stripes", "checks"], p=[0.65, 0.22, 0.13]), rng.uniform(0.012, 0.03)
    if kind == "plain":
        return first

    def pattern(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        cell = np.floor(y / width) + (np.floor(x / width) if kind == "checks" else 0)
        return np.where(cell[..., None] % 2 > 0, first, second)

    return pattern


def _legs(rng: np.random.Generator, points: Points, look: _Look) -> list[Part]:
    """Legs, shoes, and trousers, shorts or a skirt."""
    shares = [1, 0, 0] if look.pose == SITTING else [0.6, 0.25, 0.15]
    kind = rng.choice(["trousers", "shorts", "skirt"], p=shares)
    cloth, shoe, girth = _cloth(rng), rng.uniform(10, 230) * np.ones(3), look.girth
    long = kind == "trousers"
    parts = []
    for side, group in zip(("left", "right"), LEGS, strict=True):
        hip, knee, ankle, toe = (points[f"{side}_{name}"] for name in ("hip", "knee", "ankle", "toe"))
        calf, heel = knee + 0.3 * (ankle - knee), ankle + np.array([0, 0.03, 0]) - 0.2 * (toe - ankle)
        shin = (0.041, 0.043, 0.034) if long else (0.036, 0.038, 0.022)
        parts += [
            _tube(group, shoe, [heel, toe], (0.026, 0.021), 0.08),
            _tube(group, cloth if long else look.skin, [knee, calf, ankle], shin, 0.092, girth),
            _tube(group, look.skin if kind == "skirt" else cloth, [hip, knee], (0.054, 0.04), 0.09, girth),
        ]
    wide = girth * np.hypot(0.09 * np.cos(look.yaw), 0.06 * np.sin(look.yaw))
    parts.append(Part(np.array([[0, 0.02, wide, 0.03], [0, -0.04, 0.95 * wide, 0.02]]), 0.02, TORSO, cloth))
    if kind == "skirt":
        x, y, _ = (points["left_knee"] + points["right_knee"]) * rng.uniform(0.3, 0.5)
        rows = [[0, -0.03, 0.95 * wide, 0.02], [0, 0.04, 1.1 * wide, 0.02], [x, y, 0.15 * girth, 0.012]]
        parts.append(Part(np.array(rows), 0.015, TORSO, cloth))
    return parts


def _torso(rng: np.random.Generator, points: Points, look: _Look) -> list[Part]:
    """Trunk, neck and arms, with a shirt that has long, short or no sleeves."""
    cloth, neck, girth = _cloth(rng), points["neck"], look.girth
    sleeve = rng.choice(["none", "short", "long"], p=[0.15, 0.45, 0.4])
    at, side, ahead, up = np.array(TRUNK).T
    wide = girth * np.hypot(side * np.cos(look.yaw), ahead * np.sin(look.yaw))
    parts = [
        Part(np.stack([neck[0] * at, neck[1] * at, wide, up], 1), 0.0, TORSO, cloth),
        _tube(TORSO, look.skin, [neck * 1.03, neck * 1.2], (0.034, 0.032), -0.005),
    ]
    for name, group in zip(("left", "right"), ARMS, strict=True):
        shoulder, elbow, wrist, hand = (
            points[f"{name}_{joint}"] for joint in ("shoulder", "elbow", "wrist", "hand")
        )
        middle, colour = (shoulder + elbow) / 2, cloth if sleeve == "long" else look.skin
        thick = np.sqrt(girth) * (1.15 if sleeve == "long" else 1)
        parts += [
            _tube(group, look.skin, [wrist, (wrist + hand) / 2, hand], (0.016, 0.022, 0.013), -0.008),
            _tube(group, colour, [elbow, wrist], (0.025, 0.018), -0.01, thick),
            _tube(group, colour, [shoulder, middle, elbow], (0.034, 0.029, 0.025), -0.006, thick),
        ]
        if sleeve == "short":
            end = shoulder + rng.uniform(0.5, 0.75) * (elbow - shoulder)
            over = float((middle - (shoulder + end) / 2)[2]) - 0.007  # just nearer than the arm in it
            parts.append(_tube(group, cloth, [shoulder, end], (0.039, 0.039), over, thick))
    return parts


def _hair_and_skull(
    rng: np.random.Generator, middle: np.ndarray, neck: np.ndarray, look: _Look
) -> list[Part]:
    """The head in skin and hair, without its face."""
    _, ahead = axes(look.head_yaw)
    wide = np.hypot(HEAD_RADII[0] * np.cos(look.head_yaw), HEAD_RADII[2] * np.sin(look.head_yaw))
    fringe, beard, nape = rng.uniform(0.35, 0.6), rng.random() < 0.2, -2 if look.long_hair else -0.45

    def colour(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        right, up = (x - middle[0]) / wide / 1.05, (middle[1] - y) / HEAD_RADII[1] / 1.05
        near = -np.sqrt(np.maximum(0, 1 - right**2 - up**2))
        front = right * ahead[0] + near * ahead[2]  # 1 where the head faces ahead, -1 at its back
        covered = (up > fringe * np.clip(1.6 * front, 0.2, 1)) | ((front < 0.2) & (up > nape))
        covered |= (front > 0.2) & (up < -0.45) & (beard and not look.long_hair)
        return np.where(covered[..., None], look.hair, look.skin)

    x, y, z = middle
    skull = np.array([[x, y - 0.015, wide, 0.06], [x + 0.01 * ahead[0], y + 0.038, wide * 0.8, 0.03]])
    parts = [Part(skull, z - 0.02, HEAD, colour)]
    if look.long_hair:
        ends = [middle - ahead * 0.02, neck * rng.uniform(0.7, 1.05) - ahead * 0.045]
        parts.append(_tube(HEAD, look.hair, ends, (0.066, 0.05)))
    return parts


def _face(middle: np.ndarray, look: _Look) -> list[Part]:
    """What of eyes, brows, ears, nose and mouth is on the viewer's side."""
    white, dark, lips = np.full(3, 225.0), np.full(3, 30.0), look.skin * (0.75, 0.6, 0.9)
    features = [  # where, radii in x and y, colour, layer
        *(((0.36 * side, 0.08, 0.9), (0.012, 0.0065), white, 1) for side in (-1, 1)),
        *(((0.36 * side, 0.08, 0.91), (0.006, 0.006), dark, 2) for side in (-1, 1)),
        *(((0.38 * side, 0.28, 0.88), (0.014, 0.0035), look.hair * 0.6, 1) for side in (-1, 1)),
        *(((side, -0.05, -0.1), (0.018, 0.019), look.skin * 0.9, 1) for side in (-1, 1)),
        ((0, -0.12, 1.02), (0.008, 0.016), look.skin * 1.08, 1),
        ((0, -0.25, 1.06), (0.011, 0.006), look.skin * 0.8, 2),
        ((0, -0.55, 0.83), (0.018, 0.0055), lips, 1),
    ]
    parts = []
    for at, (across, up), colour, layer in features:
        place, normal = on_head(at, middle, look.head_yaw)
        if normal[2] < (EARS_SHOW if abs(at[0]) == 1 else FACE_SHOWS):
            seen = max(0.35, -normal[2] / np.hypot(normal[0], normal[2]))  # foreshortened towards the side
            chain = np.array([[place[0], place[1], across * seen, up]])
            parts.append(Part(chain, middle[2] - 0.02 - 0.001 * layer, HEAD, colour))
    return parts
