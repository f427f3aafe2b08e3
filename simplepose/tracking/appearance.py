"""Color appearance of bodies as evidence for identity: clothes stay the same when people cross."""

from __future__ import annotations

import cv2
import numpy as np

from simplepose.tracking.association import Pairs
from simplepose.tracking.tracks import Detections, Tracks

# Positions along a bone where its color is sampled, as fractions of its length.
BONE_FRACTIONS = (0.25, 0.5, 0.75)
# Weight of a difference of lightness relative to one of hue: shading changes when bodies turn.
LIGHTNESS_WEIGHT = 0.5
# Standard deviation of a sample's color between two observations, in the units of `sample_colors`.
COLOR_NOISE_STD = 11.0
# Standard deviation between the colors of two people, in the same units.
OTHER_PERSON_STD = 45.0
# Fraction of samples that show something else: an occluder, the background, or another part of a pattern.
OUTLIER_SHARE = 0.5
# Weight of each sample's evidence: samples of one shirt have correlated errors.
EVIDENCE_WEIGHT = 0.4
# Maximum absolute evidence of the colors.
MAX_EVIDENCE = 30.0
# The observation count of a sample's color is capped here, so that a new observation keeps a weight of
# 1 / MAX_COLOR_COUNT.
MAX_COLOR_COUNT = 10.0


def sample_colors(
    image: np.ndarray | None, xy: np.ndarray, found: np.ndarray, bones: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Sample the colors of people at their joints and along the middle part of each bone.

    Args:
        image: (H, W, 3) uint8 BGR, or None.
        xy, found: (P, J, 2) pixels and (P, J) bool.
        bones: (B, 2) joint indices.

    Returns:
        (P, J + B, 3) float64 CIE L*a*b* with a reduced weight of L*, and (P, J + B) bool: known colors.
    """
    is_known = np.concatenate([found, found[:, bones].all(2)], 1)
    if image is None or not len(xy):
        return np.zeros((*is_known.shape, 3)), np.zeros_like(is_known)
    joint_count, fractions = xy.shape[1], np.array(BONE_FRACTIONS)[:, None, None]
    bone_xy = xy[:, None, bones[:, 0]] * (1 - fractions) + xy[:, None, bones[:, 1]] * fractions
    bgr = _patch_colors(image, np.concatenate([xy, bone_xy.reshape(len(xy), -1, 2)], 1))
    bone_bgr = bgr[:, joint_count:].reshape(len(xy), len(BONE_FRACTIONS), -1, 3).mean(1)
    bgr = np.concatenate([bgr[:, :joint_count], bone_bgr], 1) / 255
    lab = cv2.cvtColor(bgr, cv2.COLOR_BGR2LAB).astype(np.float64)
    lab[..., 0] *= 2.55 * LIGHTNESS_WEIGHT
    return lab, is_known


def color_evidence(tracks: Tracks, detections: Detections, pairs: Pairs) -> np.ndarray:
    """Compute the evidence of the colors for K pairs of a track and a person: (K,) log likelihood ratios."""
    track_rows, person_rows = pairs.track_rows, pairs.person_rows
    ratios = _likelihood_ratios(
        tracks.colors[track_rows],
        tracks.color_counts[track_rows],
        detections.colors[person_rows],
        detections.color_known[person_rows],
    )
    evidence: np.ndarray = np.clip(EVIDENCE_WEIGHT * np.log(ratios).sum(1), -MAX_EVIDENCE, MAX_EVIDENCE)
    return evidence


def update_colors(tracks: Tracks, detections: Detections) -> tuple[np.ndarray, np.ndarray]:
    """Compute the tracks' `colors` and `color_counts` after an observation of each.

    A sample has a weight only as far as it agrees with the known color, so that occluders are not learned.
    """
    ratios = _likelihood_ratios(tracks.colors, tracks.color_counts, detections.colors, detections.color_known)
    weights = np.where(
        detections.color_known, np.where(tracks.color_counts > 0, 1 - OUTLIER_SHARE / ratios, 1), 0
    )
    counts = np.minimum(tracks.color_counts + weights, MAX_COLOR_COUNT)
    gain = weights / np.where(counts > 0, counts, 1)
    colors = tracks.colors + gain[..., None] * (detections.colors - tracks.colors)
    return colors, counts


def _likelihood_ratios(
    track_colors: np.ndarray, counts: np.ndarray, colors: np.ndarray, color_known: np.ndarray
) -> np.ndarray:
    """Compute the likelihood ratio of each sample: a Gaussian against a wider one, with outliers.

    Args:
        track_colors: (K, S, 3) colors of tracks, observed `counts` (K, S) times.
        colors: (K, S, 3) colors of people, known where `color_known` (K, S) is True.

    Returns:
        (K, S); 1 where either color is unknown.
    """
    comparable = color_known & (counts > 0)
    variance = COLOR_NOISE_STD**2 * (1 + 1 / np.where(comparable, counts, 1))
    other_variance = OTHER_PERSON_STD**2 + variance
    offsets = colors - track_colors
    exponent = np.einsum("ksc,ksc->ks", offsets, offsets) * (1 / other_variance - 1 / variance) / 2
    match_ratio = (other_variance / variance) ** 1.5 * np.exp(exponent)
    return np.where(comparable, (1 - OUTLIER_SHARE) * match_ratio + OUTLIER_SHARE, 1)


def _patch_colors(image: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """Compute the mean colors of the 3 x 3 pixels around (..., 2) positions in pixels: (..., 3) float32."""
    height, width = image.shape[:2]
    centers = np.rint(np.clip(xy, 0, (width - 1, height - 1))).astype(np.int64)
    neighbors = centers[..., None] + np.array((-1, 0, 1))
    columns, rows = neighbors[..., 0, :].clip(0, width - 1), neighbors[..., 1, :].clip(0, height - 1)
    pixel_indices = (rows * width)[..., None] + columns[..., None, :]
    sums: np.ndarray = image.reshape(-1, 3)[pixel_indices].sum((-3, -2), dtype=np.float32)
    return sums / 9
