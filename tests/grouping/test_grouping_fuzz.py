"""Property tests of the grouping on arbitrary maps."""

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from test_grouping import CHAIN, LENIENT

from simplepose.grouping import Settings, group

CELLS = st.floats(width=32) | st.sampled_from([0.0, 0.5, 1.0, np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-45])
MAPS = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda size: arrays(np.float32, (CHAIN.channels, *size), elements=CELLS, fill=st.sampled_from([0.0, 1.0]))
)
SETTINGS = st.builds(
    Settings,
    rules=st.sampled_from(["simplepose", "reference"]),
    stride=st.sampled_from([1.0, 4.0]),
    peak_threshold=st.sampled_from([1e-3, 0.1, 1.0]),
    max_peaks=st.integers(1, 20),
    confident_peak=st.sampled_from([1e-3, 0.5, 1.0]),
    limb_samples=st.integers(2, 20),
    limb_threshold=st.sampled_from([0.0, 0.1]),
    limb_support=st.sampled_from([1e-3, 0.8, 1.0]),
    max_connections=st.integers(1, 40),
    max_unassigned_keypoints=st.integers(0, 4),
    min_unassigned_score=st.sampled_from([0.0, 0.25]),
    unassigned_reach=st.sampled_from([0.0, 0.5, 100.0]),
    min_person_score=st.sampled_from([0.0, 0.45]),
    min_person_keypoints=st.integers(1, 4),
    score_area_exponent=st.sampled_from([0.0, 0.1, 2.0]),
)


@settings(max_examples=400, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(maps=MAPS, chosen=SETTINGS)
def test_results_are_valid(maps: np.ndarray, chosen: Settings) -> None:
    found = group(maps, CHAIN, chosen)
    assert np.isfinite(found.keypoints).all()
    assert np.isfinite(found.scores).all()
    assert (np.diff(found.scores) <= 0).all()
    assert (found.found.sum(1) >= chosen.min_person_keypoints).all()
    ends = np.array(maps.shape[:0:-1]) * chosen.stride - 0.5  # of the image, x and y
    assert ((found.keypoints[..., :2] >= -0.5) & (found.keypoints[..., :2] <= ends)).all()
    assert (found.keypoints[..., 2] <= 1).all()


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(maps=MAPS)
def test_results_are_deterministic(maps: np.ndarray) -> None:
    first, second = group(maps, CHAIN, LENIENT), group(maps.copy(), CHAIN, LENIENT)
    np.testing.assert_array_equal(first.keypoints, second.keypoints)
    np.testing.assert_array_equal(first.scores, second.scores)
