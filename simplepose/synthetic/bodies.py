"""Body parts of one synthetic person with random build and clothes, ready for the painter.

Coordinates are those of `figures`. `painter.render_sprite` shades and renders the parts.
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
    BodyPart,
    Vector,
    build_solid,
    build_tube,
    project_ellipsoids,
    scale_radii,
)
from simplepose.synthetic.clothes import (
    HAIR_COLORS,
    SKIN_COLORS,
    Paint,
    sample_cloth,
    sample_plain,
    scale_color,
)
from simplepose.synthetic.figures import HEAD_RADII, HIP_OFFSET, SHOULDER_OFFSET, Figure


class Feature(NamedTuple):
    """An ellipsoid of the head.

    Attributes:
        center, radii: in head axes (left, up, forward), in units of the head's radii.
        paint: its color.
        depth_offset: as in `build_solid`.
    """

    center: Vector
    radii: Vector
    paint: Paint
    depth_offset: float


def build_head(
    rng: np.random.Generator, figure: Figure, skin: Paint, hair: Paint, long_hair: bool
) -> list[BodyPart]:
    """Build a head. Features on its far side lie behind the skull."""
    top = hair if long_hair or rng.random() < 0.93 else skin
    brow, front = rng.uniform(-0.24, -0.06), rng.uniform(0.3, 0.42)
    features = [
        Feature((0, -0.3, 0.12), (0.86, 0.74, 0.8), skin, 0),
        Feature((0, 0.1, -0.1), (1.08, 1.02, 1.04), top, -0.002),
        Feature((0, brow, front), (0.88, 0.86, 1.04 - front), skin, -0.006),
        *_face_features(skin, hair),
    ]
    if not long_hair and rng.random() < 0.2:
        features.append(Feature((0, -0.6, 0.42), (0.72, 0.36, 0.52), hair, -0.008))
    if rng.random() < 0.15:
        hat = sample_cloth(rng)
        features.append(Feature((0, 0.5, -0.05), (1.14, 0.62, 1.14), hat, -0.03))
        features.append(Feature((0, 0.42, 0.7), (0.9, 0.1, 0.75), hat, -0.031))
    parts = _build_head_parts(figure, features)
    return [*parts, _build_long_hair(rng, figure, hair)] if long_hair else parts


def _build_long_hair(rng: np.random.Generator, figure: Figure, hair: Paint) -> BodyPart:
    """Build long hair from the back of the head down, behind the trunk if the face is toward the viewer."""
    start = figure.head - 0.3 * HEAD_RADII[2] * figure.head_size * figure.head_axes[2]
    end = figure.neck * rng.uniform(0.75, 1.02) - 0.045 * figure.trunk[2]
    trunk_depth, hair_depth = 0.5 * figure.neck[2], (start[2] + end[2]) / 2
    depth_offset = max(0.0, trunk_depth + 0.03 - hair_depth) if figure.head_axes[2, 2] < 0.3 else 0.0
    return build_tube(
        HEAD, "hair", hair, [start, end], scale_radii((0.064, 0.05), figure.head_size), depth_offset
    )


def _face_features(skin: Paint, hair: Paint) -> list[Feature]:
    """List the eyes, eyebrows, ears, nose and mouth."""
    white, dark, lips = Paint((225, 225, 225)), Paint((30, 30, 30)), scale_color(skin, 0.75, 0.6, 0.9)
    brow, ear, bridge, tip = (
        scale_color(hair, 0.6),
        scale_color(skin, 0.9),
        scale_color(skin, 1.08),
        scale_color(skin, 0.8),
    )
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


def _build_head_parts(figure: Figure, features: Sequence[Feature]) -> list[BodyPart]:
    scale = HEAD_RADII * figure.head_size
    centers = figure.head + (np.array([feature.center for feature in features]) * scale) @ figure.head_axes
    outlines = project_ellipsoids(np.array([feature.radii for feature in features]) * scale, figure.head_axes)
    up = figure.head_axes[1, :2]
    return [
        BodyPart(center, outline, float(center[0, 2]) + feature.depth_offset, HEAD, "head", feature.paint, up)
        for center, outline, feature in zip(centers[:, None], outlines[:, None], features, strict=True)
    ]


TRUNK_PROFILE = (  # fraction of the way from hips to neck; radii to the side, along the spine, forward
    *((0.93, 0.086, 0.02, 0.045), (0.75, 0.094, 0.03, 0.058), (0.4, 0.082, 0.03, 0.054)),
    *((0.05, 0.097, 0.02, 0.062), (-0.15, 0.106, 0.008, 0.066)),
)
# From this row of TRUNK_PROFILE on, the trunk is the shirt's hem, which lies over the legs however the trunk
# leans.
HEM_INDEX = 3


@dataclass(frozen=True, eq=False)
class _BodyStyle:
    """Build, skin and hair of one person."""

    girth: float
    belly: float
    skin: Paint
    hair: Paint
    long_hair: bool


def build_body(rng: np.random.Generator, figure: Figure) -> list[BodyPart]:
    """Build the parts of a body with random build and clothes, farthest first."""
    style = _BodyStyle(
        girth=rng.uniform(0.88, 1.3),
        belly=rng.uniform(0.9, 1.5) if rng.random() < 0.3 else 1.0,
        skin=sample_plain(rng, SKIN_COLORS),
        hair=sample_plain(rng, HAIR_COLORS, 0.25),
        long_hair=bool(rng.random() < 0.4),
    )
    shirt = sample_cloth(rng)
    parts = [
        *_build_legs(rng, figure, style, shirt),
        *_build_trunk(figure, style, shirt),
        *_build_arms(rng, figure, style, shirt),
        *build_head(rng, figure, style.skin, style.hair, style.long_hair),
    ]
    return sorted(parts, key=lambda part: -part.depth)


def _build_legs(rng: np.random.Generator, figure: Figure, style: _BodyStyle, shirt: Paint) -> list[BodyPart]:
    """Build legs, shoes, and trousers or shorts; an upright person may wear a skirt or a dress instead."""
    down = figure.joints["left_knee"] + figure.joints["right_knee"]
    upright = -float(figure.trunk[1] @ down) > 0.9 * float(np.linalg.norm(down))
    kind = rng.random() * (1 if upright else 0.85)
    long, skirt, dress = kind < 0.6, kind >= 0.85, kind >= 0.95
    cloth = shirt if dress else sample_cloth(rng)
    shoe, girth = sample_plain(rng, ((40, 40, 45), (225, 225, 225), (60, 80, 120))), style.girth
    above, below = style.skin if skirt else cloth, cloth if long else style.skin
    wide = scale_radii((0.041, 0.043, 0.034) if long else (0.036, 0.038, 0.022), girth)
    parts = []
    for side, group in (("left", LEFT_LEG), ("right", RIGHT_LEG)):
        hip, knee, ankle = (figure.joints[f"{side}_{name}"] for name in ("hip", "knee", "ankle"))
        shin = _normalize(ankle - knee)
        sole, calf = (
            _normalize(figure.trunk[2] - (figure.trunk[2] @ shin) * shin),
            knee + 0.3 * (ankle - knee),
        )
        heel, toe = ankle + 0.028 * shin - 0.015 * sole, ankle + 0.032 * shin + 0.075 * sole
        surface = f"{side} leg" if _is_extended(hip, knee, ankle) else f"{side} shin"
        parts += [
            build_tube(group, f"{side} foot", shoe, [heel, toe], (0.026, 0.02), 0.08),
            build_tube(group, surface, below, [knee, calf, ankle], wide, 0.092),
            build_tube(group, f"{side} leg", above, [hip, knee], scale_radii((0.053, 0.041), girth), 0.09),
        ]
    if skirt:
        parts.append(_build_skirt(rng, figure, girth, cloth, reach=(0.5, 0.8) if dress else (0.3, 0.9)))
    hips = [-0.04 * figure.trunk[1], -0.01 * figure.trunk[1]]
    radii = [scale_radii((0.09, 0.02, 0.062), girth), scale_radii((0.088, 0.02, 0.058), girth)]
    return [*parts, build_solid(TORSO, "trunk", cloth, hips, radii, figure.trunk, 0.02)]


def _build_skirt(
    rng: np.random.Generator, figure: Figure, girth: float, cloth: Paint, reach: tuple[float, float]
) -> BodyPart:
    knees = (figure.joints["left_knee"] + figure.joints["right_knee"]) / 2
    apart = float(np.linalg.norm(figure.joints["left_knee"] - figure.joints["right_knee"]))
    end = rng.uniform(*reach)
    flare = girth * rng.uniform(0.1, 0.14) + apart * end / 2
    centers = [0.03 * figure.trunk[1], -0.04 * figure.trunk[1], knees * end]
    radii = [
        scale_radii((0.088, 0.02, 0.06), girth),
        scale_radii((0.1, 0.02, 0.07), girth),
        (flare, 0.012, flare * 0.8),
    ]
    return build_solid(TORSO, "skirt", cloth, centers, radii, figure.trunk, 0.015)


def _build_trunk(figure: Figure, style: _BodyStyle, cloth: Paint) -> list[BodyPart]:
    """Build the trunk, shoulders and neck."""
    left, right, neck = figure.joints["left_shoulder"], figure.joints["right_shoulder"], figure.neck
    wide = max(1.0, float(np.linalg.norm(left - right)) / (2 * SHOULDER_OFFSET))
    hips = max(
        1.0, float(np.linalg.norm(figure.joints["left_hip"] - figure.joints["right_hip"])) / (2 * HIP_OFFSET)
    )
    centers, radii = [], []
    for share, side, along, ahead in TRUNK_PROFILE:
        stretch = style.girth * (share * wide + (1 - share) * hips)
        centers.append(share * neck + 0.01 * figure.trunk[2])
        radii.append((side * stretch, along, ahead * style.girth * (style.belly if share < 0.6 else 1)))
    collar = [left, neck + 0.005 * figure.trunk[1], right]
    slope = scale_radii((0.034, 0.038, 0.034), style.girth**0.5)
    nape = figure.head - 0.03 * figure.head_axes[1] - 0.015 * figure.head_axes[2]
    return [
        build_solid(TORSO, "trunk", cloth, centers[: HEM_INDEX + 1], radii[: HEM_INDEX + 1], figure.trunk),
        build_solid(TORSO, "trunk", cloth, centers[HEM_INDEX:], radii[HEM_INDEX:], figure.trunk, -0.005),
        build_tube(TORSO, "trunk", cloth, collar, slope, -0.001, pattern_axis=figure.trunk[1]),
        build_tube(TORSO, "neck", style.skin, [neck + 0.012 * figure.trunk[1], nape], (0.035, 0.032), -0.003),
    ]


def _build_arms(rng: np.random.Generator, figure: Figure, style: _BodyStyle, cloth: Paint) -> list[BodyPart]:
    """Build arms with hands, and long, short or no sleeves."""
    kind = rng.random()
    long, short, end = kind < 0.45, kind < 0.87, rng.uniform(0.45, 0.85)
    thick = style.girth**0.5 * (1.15 if long else 1)
    paint = cloth if long else style.skin
    parts = []
    for side, group in (("left", LEFT_ARM), ("right", RIGHT_ARM)):
        shoulder, elbow, wrist = (figure.joints[f"{side}_{name}"] for name in ("shoulder", "elbow", "wrist"))
        on = _normalize(wrist - elbow)
        hand = [wrist, wrist + 0.03 * on, wrist + 0.06 * on]
        below = f"{side} arm" if _is_extended(shoulder, elbow, wrist) else f"{side} forearm"
        upper, lower = [shoulder, (shoulder + elbow) / 2, elbow], [elbow, 0.7 * elbow + 0.3 * wrist, wrist]
        parts += [
            build_tube(group, f"{side} hand", style.skin, hand, (0.017, 0.023, 0.014), -0.016),
            build_tube(group, below, paint, lower, scale_radii((0.026, 0.026, 0.018), thick), -0.014),
            build_tube(group, f"{side} arm", paint, upper, scale_radii((0.035, 0.03, 0.026), thick), -0.008),
        ]
        if short and not long:
            over = (
                float(((elbow - shoulder) * (1 - end) / 2)[2]) - 0.01
            )  # slightly nearer than the arm inside it
            sleeve = [shoulder, shoulder + end * (elbow - shoulder)]
            parts.append(
                build_tube(group, f"{side} arm", cloth, sleeve, scale_radii((0.037, 0.037), thick), over)
            )
    return parts


def _is_extended(start: np.ndarray, middle: np.ndarray, end: np.ndarray) -> bool:
    """Check whether two limbs continue in one direction in the image, without overlap."""
    return float((middle - start)[:2] @ (end - middle)[:2]) > 0


def _normalize(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(np.sqrt(vector @ vector)), 1e-9)
