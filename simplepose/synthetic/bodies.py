"""The parts of one synthetic person, built and dressed at random, ready to paint.

Coordinates are those of `figures`. `cutout` shades and paints the parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from simplepose.synthetic.body_parts import (
    HEAD,
    LEFT_ARM,
    LEFT_LEG,
    RIGHT_ARM,
    RIGHT_LEG,
    TORSO,
    Part,
    Vector,
    scaled,
    silhouettes,
    solid,
    tube,
)
from simplepose.synthetic.clothes import HAIR, SKIN, Paint, draw_cloth, plain, shaded
from simplepose.synthetic.figures import HEAD_RADII, HIP, SHOULDER, Figure


class Feature(NamedTuple):
    """An ellipsoid: its middle and radii, in the head's (left, up, ahead), paint, and `back` of `solid`."""

    at: Vector
    radii: Vector
    paint: Paint
    back: float


def draw_head(
    rng: np.random.Generator, figure: Figure, skin: Paint, hair: Paint, long_hair: bool
) -> list[Part]:
    """A head; what is on its far side lies behind the skull."""
    top = hair if long_hair or rng.random() < 0.93 else skin
    brow, front = rng.uniform(-0.24, -0.06), rng.uniform(0.3, 0.42)
    features = [
        Feature((0, -0.3, 0.12), (0.86, 0.74, 0.8), skin, 0),
        Feature((0, 0.1, -0.1), (1.08, 1.02, 1.04), top, -0.002),
        Feature((0, brow, front), (0.88, 0.86, 1.04 - front), skin, -0.006),
        *_face(skin, hair),
    ]
    if not long_hair and rng.random() < 0.2:
        features.append(Feature((0, -0.6, 0.42), (0.72, 0.36, 0.52), hair, -0.008))
    if rng.random() < 0.15:
        hat = draw_cloth(rng)
        features.append(Feature((0, 0.5, -0.05), (1.14, 0.62, 1.14), hat, -0.03))
        features.append(Feature((0, 0.42, 0.7), (0.9, 0.1, 0.75), hat, -0.031))
    parts = _on_head(figure, features)
    return [*parts, _long_hair(rng, figure, hair)] if long_hair else parts


def _long_hair(rng: np.random.Generator, figure: Figure, hair: Paint) -> Part:
    """From the back of the head down; behind the trunk, if the face is towards the viewer."""
    start = figure.head - 0.3 * HEAD_RADII[2] * figure.head_size * figure.head_axes[2]
    end = figure.neck * rng.uniform(0.75, 1.02) - 0.045 * figure.trunk[2]
    trunk, own = 0.5 * figure.neck[2], (start[2] + end[2]) / 2
    back = max(0.0, trunk + 0.03 - own) if figure.head_axes[2, 2] < 0.3 else 0.0
    return tube(HEAD, "hair", hair, [start, end], scaled((0.064, 0.05), figure.head_size), back)


def _face(skin: Paint, hair: Paint) -> list[Feature]:
    """Eyes, brows, ears, nose and mouth."""
    white, dark, lips = Paint((225, 225, 225)), Paint((30, 30, 30)), shaded(skin, 0.75, 0.6, 0.9)
    brow, ear, bridge, tip = shaded(hair, 0.6), shaded(skin, 0.9), shaded(skin, 1.08), shaded(skin, 0.8)
    features = [
        Feature((0, -0.1, 0.98), (0.13, 0.22, 0.12), bridge, -0.012),
        Feature((0, -0.22, 1.06), (0.2, 0.09, 0.12), tip, -0.013),
        Feature((0, -0.55, 0.83), (0.34, 0.07, 0.1), lips, -0.012),
    ]
    for side in (-1, 1):
        features += [
            Feature((0.36 * side, 0.08, 0.88), (0.23, 0.09, 0.1), white, -0.011),
            Feature((0.36 * side, 0.08, 0.93), (0.11, 0.09, 0.05), dark, -0.012),
            Feature((0.38 * side, 0.28, 0.86), (0.27, 0.05, 0.1), brow, -0.011),
            Feature((side, -0.05, -0.1), (0.14, 0.26, 0.24), ear, -0.006),
        ]
    return features


def _on_head(figure: Figure, features: Sequence[Feature]) -> list[Part]:
    scale = HEAD_RADII * figure.head_size
    centres = figure.head + (np.array([feature.at for feature in features]) * scale) @ figure.head_axes
    shapes = silhouettes(np.array([feature.radii for feature in features]) * scale, figure.head_axes)
    up = figure.head_axes[1, :2]
    return [
        Part(centre, shape, float(centre[0, 2]) + feature.back, HEAD, "head", feature.paint, up)
        for centre, shape, feature in zip(centres[:, None], shapes[:, None], features, strict=True)
    ]


TRUNK = (  # share of the way from the hips to the neck; radii to the side, along the spine, ahead
    *((0.93, 0.086, 0.02, 0.045), (0.75, 0.094, 0.03, 0.058), (0.4, 0.082, 0.03, 0.054)),
    *((0.05, 0.097, 0.02, 0.062), (-0.15, 0.106, 0.008, 0.066)),
)
HEM = 3
"""From here on the trunk is the shirt's hem, that lies over the legs however the trunk leans."""


@dataclass(frozen=True, eq=False)
class _Look:
    """What sets a person apart."""

    girth: float
    belly: float
    skin: Paint
    hair: Paint
    long_hair: bool


def draw_body(rng: np.random.Generator, figure: Figure) -> list[Part]:
    """The parts of a body of random build and clothes, farthest first."""
    look = _Look(
        girth=rng.uniform(0.88, 1.3),
        belly=rng.uniform(0.9, 1.5) if rng.random() < 0.3 else 1.0,
        skin=plain(rng, SKIN),
        hair=plain(rng, HAIR, 0.25),
        long_hair=bool(rng.random() < 0.4),
    )
    shirt = draw_cloth(rng)
    parts = [
        *_legs(rng, figure, look, shirt),
        *_trunk(figure, look, shirt),
        *_arms(rng, figure, look, shirt),
        *draw_head(rng, figure, look.skin, look.hair, look.long_hair),
    ]
    return sorted(parts, key=lambda part: -part.depth)


def _legs(rng: np.random.Generator, figure: Figure, look: _Look, shirt: Paint) -> list[Part]:
    """Legs, shoes, and trousers, shorts, or on somebody upright a skirt or what the shirt makes a dress."""
    down = figure.joints["left_knee"] + figure.joints["right_knee"]
    upright = -float(figure.trunk[1] @ down) > 0.9 * float(np.linalg.norm(down))
    kind = rng.random() * (1 if upright else 0.85)
    long, skirt, dress = kind < 0.6, kind >= 0.85, kind >= 0.95
    cloth = shirt if dress else draw_cloth(rng)
    shoe, girth = plain(rng, ((40, 40, 45), (225, 225, 225), (60, 80, 120))), look.girth
    above, below = look.skin if skirt else cloth, cloth if long else look.skin
    wide = scaled((0.041, 0.043, 0.034) if long else (0.036, 0.038, 0.022), girth)
    parts = []
    for side, group in (("left", LEFT_LEG), ("right", RIGHT_LEG)):
        hip, knee, ankle = (figure.joints[f"{side}_{name}"] for name in ("hip", "knee", "ankle"))
        shin = _unit(ankle - knee)
        sole, calf = _unit(figure.trunk[2] - (figure.trunk[2] @ shin) * shin), knee + 0.3 * (ankle - knee)
        heel, toe = ankle + 0.028 * shin - 0.015 * sole, ankle + 0.032 * shin + 0.075 * sole
        surface = f"{side} leg" if _goes_on(hip, knee, ankle) else f"{side} shin"
        parts += [
            tube(group, f"{side} foot", shoe, [heel, toe], (0.026, 0.02), 0.08),
            tube(group, surface, below, [knee, calf, ankle], wide, 0.092),
            tube(group, f"{side} leg", above, [hip, knee], scaled((0.053, 0.041), girth), 0.09),
        ]
    if skirt:
        parts.append(_skirt(rng, figure, girth, cloth, reach=(0.5, 0.8) if dress else (0.3, 0.9)))
    hips = [-0.04 * figure.trunk[1], -0.01 * figure.trunk[1]]
    radii = [scaled((0.09, 0.02, 0.062), girth), scaled((0.088, 0.02, 0.058), girth)]
    return [*parts, solid(TORSO, "trunk", cloth, hips, radii, figure.trunk, 0.02)]


def _skirt(
    rng: np.random.Generator, figure: Figure, girth: float, cloth: Paint, reach: tuple[float, float]
) -> Part:
    knees = (figure.joints["left_knee"] + figure.joints["right_knee"]) / 2
    apart = float(np.linalg.norm(figure.joints["left_knee"] - figure.joints["right_knee"]))
    end = rng.uniform(*reach)
    flare = girth * rng.uniform(0.1, 0.14) + apart * end / 2
    centres = [0.03 * figure.trunk[1], -0.04 * figure.trunk[1], knees * end]
    radii = [
        scaled((0.088, 0.02, 0.06), girth),
        scaled((0.1, 0.02, 0.07), girth),
        (flare, 0.012, flare * 0.8),
    ]
    return solid(TORSO, "skirt", cloth, centres, radii, figure.trunk, 0.015)


def _trunk(figure: Figure, look: _Look, cloth: Paint) -> list[Part]:
    """Trunk, shoulders and neck."""
    left, right, neck = figure.joints["left_shoulder"], figure.joints["right_shoulder"], figure.neck
    wide = max(1.0, float(np.linalg.norm(left - right)) / (2 * SHOULDER))
    hips = max(1.0, float(np.linalg.norm(figure.joints["left_hip"] - figure.joints["right_hip"])) / (2 * HIP))
    centres, radii = [], []
    for share, side, along, ahead in TRUNK:
        stretch = look.girth * (share * wide + (1 - share) * hips)
        centres.append(share * neck + 0.01 * figure.trunk[2])
        radii.append((side * stretch, along, ahead * look.girth * (look.belly if share < 0.6 else 1)))
    collar = [left, neck + 0.005 * figure.trunk[1], right]
    slope = scaled((0.034, 0.038, 0.034), look.girth**0.5)
    nape = figure.head - 0.03 * figure.head_axes[1] - 0.015 * figure.head_axes[2]
    return [
        solid(TORSO, "trunk", cloth, centres[: HEM + 1], radii[: HEM + 1], figure.trunk),
        solid(TORSO, "trunk", cloth, centres[HEM:], radii[HEM:], figure.trunk, -0.005),
        tube(TORSO, "trunk", cloth, collar, slope, -0.001, along=figure.trunk[1]),
        tube(TORSO, "neck", look.skin, [neck + 0.012 * figure.trunk[1], nape], (0.035, 0.032), -0.003),
    ]


def _arms(rng: np.random.Generator, figure: Figure, look: _Look, cloth: Paint) -> list[Part]:
    """Arms with hands, and long, short or no sleeves."""
    kind = rng.random()
    long, short, end = kind < 0.45, kind < 0.87, rng.uniform(0.45, 0.85)
    thick = look.girth**0.5 * (1.15 if long else 1)
    paint = cloth if long else look.skin
    parts = []
    for side, group in (("left", LEFT_ARM), ("right", RIGHT_ARM)):
        shoulder, elbow, wrist = (figure.joints[f"{side}_{name}"] for name in ("shoulder", "elbow", "wrist"))
        on = _unit(wrist - elbow)
        hand = [wrist, wrist + 0.03 * on, wrist + 0.06 * on]
        below = f"{side} arm" if _goes_on(shoulder, elbow, wrist) else f"{side} forearm"
        upper, lower = [shoulder, (shoulder + elbow) / 2, elbow], [elbow, 0.7 * elbow + 0.3 * wrist, wrist]
        parts += [
            tube(group, f"{side} hand", look.skin, hand, (0.017, 0.023, 0.014), -0.016),
            tube(group, below, paint, lower, scaled((0.026, 0.026, 0.018), thick), -0.014),
            tube(group, f"{side} arm", paint, upper, scaled((0.035, 0.03, 0.026), thick), -0.008),
        ]
        if short and not long:
            over = float(((elbow - shoulder) * (1 - end) / 2)[2]) - 0.01  # just nearer than the arm in it
            sleeve = [shoulder, shoulder + end * (elbow - shoulder)]
            parts.append(tube(group, f"{side} arm", cloth, sleeve, scaled((0.037, 0.037), thick), over))
    return parts


def _goes_on(start: np.ndarray, middle: np.ndarray, end: np.ndarray) -> bool:
    """Whether two limbs look like one, and not one before the other."""
    return float((middle - start)[:2] @ (end - middle)[:2]) > 0


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(np.sqrt(vector @ vector)), 1e-9)
