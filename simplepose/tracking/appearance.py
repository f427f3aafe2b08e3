"""The colours that a body shows, and what they say about who it is: clothes stay on, however people cross."""

from __future__ import annotations

import cv2
import numpy as np

from simplepose.tracking.association import Pairs
from simplepose.tracking.tracks import Sights, Tracks

ALONG = (0.25, 0.5, 0.75)
"""Shares of the way along a bone where its colour is read."""
LIGHTNESS = 0.5
"""What a difference of lightness counts beside one of hue: bodies turn in the light."""
NOISE = 11.0
"""Deviation of a spot's colour between two sights of it, in the units of `colours_of`."""
ROOM = 45.0
"""Deviation between two people's colours."""
ELSEWHERE = 0.5
"""Share of spots where something else shows: hidden, beside the body, or of a pattern's other half."""
COUNTS = 0.4
"""What of each spot's evidence counts: a shirt is many spots, and they err together."""
MOST = 30.0
"""Evidence that colours can give."""
LEARNT = 10.0
"""Sights of a spot after which a new one always counts as one in so many."""


def colours_of(
    image: np.ndarray | None, xy: np.ndarray, found: np.ndarray, bones: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The colours of people's spots: their joints, and the middle part of each bone.

    Args:
        image: (H, W, 3) uint8 BGR; None where there is none.
        xy, found: (P, J, 2) pixels and (P, J) bool.
        bones: (B, 2) joints.

    Returns:
        (P, J + B, 3) float64 CIE L*a*b* with a lower weight of L*, and (P, J + B) bool: which are known.
    """
    spots = np.concatenate([found, found[:, bones].all(2)], 1)
    if image is None or not len(xy):
        return np.zeros((*spots.shape, 3)), np.zeros_like(spots)
    joints, share = xy.shape[1], np.array(ALONG)[:, None, None]
    along = xy[:, None, bones[:, 0]] * (1 - share) + xy[:, None, bones[:, 1]] * share
    bgr = _patches(image, np.concatenate([xy, along.reshape(len(xy), -1, 2)], 1))
    on_bones = bgr[:, joints:].reshape(len(xy), len(ALONG), -1, 3).mean(1)
    bgr = np.concatenate([bgr[:, :joints], on_bones], 1) / 255
    lab = cv2.cvtColor(bgr, cv2.COLOR_BGR2LAB).astype(np.float64)
    lab[..., 0] *= 2.55 * LIGHTNESS
    return lab, spots


def evidence(tracks: Tracks, sights: Sights, pairs: Pairs) -> np.ndarray:
    """What colours say for each of K pairs of a track and a person: (K,) logarithms of odds."""
    rows, people = pairs.rows, pairs.people
    odds = _odds(
        tracks.colours[rows], tracks.colour_sights[rows], sights.colours[people], sights.clear[people]
    )
    return np.clip(COUNTS * np.log(odds).sum(1), -MOST, MOST)


def learnt(tracks: Tracks, sights: Sights) -> tuple[np.ndarray, np.ndarray]:
    """The tracks' `colours` and `colour_sights` after a sight of each: what fits what is known counts."""
    odds = _odds(tracks.colours, tracks.colour_sights, sights.colours, sights.clear)
    fits = np.where(sights.clear, np.where(tracks.colour_sights > 0, 1 - ELSEWHERE / odds, 1), 0)
    total = np.minimum(tracks.colour_sights + fits, LEARNT)
    share = fits / np.where(total > 0, total, 1)
    colours = tracks.colours + share[..., None] * (sights.colours - tracks.colours)
    return colours, total


def _odds(known: np.ndarray, times: np.ndarray, colours: np.ndarray, clear: np.ndarray) -> np.ndarray:
    """(K, S) of each spot: a Gaussian beside a wider one, and outliers; 1 where nothing is known.

    Args:
        known: (K, S, 3) colours of tracks, each seen `times` (K, S).
        colours: (K, S, 3) of people, of the spots that are `clear`, (K, S) bool.
    """
    both = clear & (times > 0)
    variance = NOISE**2 * (1 + 1 / np.where(both, times, 1))
    room = ROOM**2 + variance
    off = colours - known
    power = np.einsum("ksc,ksc->ks", off, off) * (1 / room - 1 / variance) / 2
    same = (room / variance) ** 1.5 * np.exp(power)
    return np.where(both, (1 - ELSEWHERE) * same + ELSEWHERE, 1)


def _patches(image: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """(..., 2) pixels -> (..., 3) float32 mean colours of the 3 x 3 pixels around them."""
    height, width = image.shape[:2]
    middle = np.rint(np.clip(xy, 0, (width - 1, height - 1))).astype(np.int64)
    around = middle[..., None] + np.array((-1, 0, 1))
    columns, rows = around[..., 0, :].clip(0, width - 1), around[..., 1, :].clip(0, height - 1)
    places = (rows * width)[..., None] + columns[..., None, :]
    sums: np.ndarray = image.reshape(-1, 3)[places].sum((-3, -2), dtype=np.float32)
    return sums / 9
