"""MOTA, IDF1 and OKS against manual counts."""

import numpy as np
import pytest

from simplepose.evaluation.tracking_metrics import FrameMatch, compute_track_scores, oks


def frame(truth, found, similarities):
    """Build one frame; `similarities` is {(truth id, found id): similarity}, 0 for other pairs."""
    similarity = np.array([[similarities.get((a, b), 0.0) for b in found] for a in truth]).reshape(
        len(truth), len(found)
    )
    return FrameMatch(np.array(truth, int), np.array(found, int), similarity)


def test_perfect_tracks_and_empty_input():
    right = compute_track_scores([frame([1, 2], [10, 20], {(1, 10): 0.9, (2, 20): 0.9})] * 5)
    assert (right.mota, right.idf1, right.switches) == (1, 1, 0)
    nothing = compute_track_scores([])
    assert (nothing.mota, nothing.idf1) == (0, 0)
    empty = compute_track_scores([frame([], [], {})])
    assert (empty.truth, empty.found) == (0, 0)


def test_switches_misses_and_false_people_match_manual_counts():
    frames = [
        frame([1, 2], [10, 20], {(1, 10): 1, (2, 20): 1}),
        frame([1, 2], [20, 10], {(1, 20): 1, (2, 10): 1}),  # both switch
        frame([1, 2], [20, 99], {(1, 20): 1}),  # 2 is missed, 99 is false
        frame([1, 2], [20, 10], {(1, 20): 1, (2, 10): 1}),  # as before: no switch
    ]
    scores = compute_track_scores(frames)
    assert (scores.truth, scores.found, scores.misses, scores.false_positives, scores.switches) == (
        8,
        8,
        1,
        1,
        2,
    )
    assert scores.mota == pytest.approx(1 - 4 / 8)
    assert scores.id_matches == 5  # 1 as 20 in three frames, 2 as 10 in two
    assert scores.idf1 == pytest.approx(2 * 5 / 16)


def test_an_existing_match_is_kept_despite_a_more_similar_person():
    frames = [
        frame([1], [10], {(1, 10): 0.9}),
        frame([1], [10, 20], {(1, 10): 0.6, (1, 20): 1.0}),
        frame([1], [10, 20], {(1, 10): 0.4, (1, 20): 1.0}),
    ]
    scores = compute_track_scores(frames)
    assert (scores.switches, scores.misses, scores.false_positives) == (1, 0, 2)


def test_the_number_of_matches_is_maximal():
    both = frame([1, 2], [10, 20], {(1, 10): 1.0, (1, 20): 0.5, (2, 10): 0.5})
    assert compute_track_scores([both]).misses == 0


def test_all_missed_and_all_false():
    missed = compute_track_scores([frame([1], [], {})] * 4)
    assert (missed.mota, missed.idf1, missed.misses) == (0, 0, 4)
    false = compute_track_scores([frame([], [5], {})] * 4)
    assert (false.mota, false.false_positives) == (0, 4)
    worse = compute_track_scores([frame([1], [5, 6, 7], {})])
    assert worse.mota == -3


def test_duplicate_ids_and_wrong_shapes_are_rejected():
    with pytest.raises(ValueError, match="expected unique ids"):
        FrameMatch(np.array([1, 1]), np.array([2]), np.zeros((2, 1)))
    with pytest.raises(ValueError, match="expected similarity of shape"):
        FrameMatch(np.array([1]), np.array([2]), np.zeros((2, 1)))


def test_oks_matches_manual_values():
    truth = np.array([[(0, 0, 2), (10, 0, 1), (5, 5, 0)], [(0, 0, 0)] * 3], float)
    xy = np.array([[(0, 0), (10, 2), (99, 99)]], float)
    found = np.array([[True, True, True]])
    similarity = oks(truth, np.array([100.0, 100.0]), xy, found, np.array([0.1, 0.1, 0.1]))
    expected = (1 + np.exp(-4 / (2 * 0.2**2 * 100))) / 2
    assert similarity == pytest.approx(np.array([[expected], [0]]))
    missing = oks(truth, np.array([100.0, 100.0]), xy, np.array([[True, False, True]]), np.full(3, 0.1))
    assert missing[0, 0] == pytest.approx(0.5)
