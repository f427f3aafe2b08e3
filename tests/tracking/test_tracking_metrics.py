"""MOTA, IDF1 and OKS against counts made by hand."""

import numpy as np
import pytest

from simplepose.evaluation.tracking_metrics import Judged, oks, track_scores


def frame(truth, found, alike):
    """`alike`: {(truth id, found id): likeness}; others 0."""
    likeness = np.array([[alike.get((a, b), 0.0) for b in found] for a in truth]).reshape(
        len(truth), len(found)
    )
    return Judged(np.array(truth, int), np.array(found, int), likeness)


def test_all_right_and_nothing_at_all():
    right = track_scores([frame([1, 2], [10, 20], {(1, 10): 0.9, (2, 20): 0.9})] * 5)
    assert (right.mota, right.idf1, right.switches) == (1, 1, 0)
    nothing = track_scores([])
    assert (nothing.mota, nothing.idf1) == (0, 0)
    empty = track_scores([frame([], [], {})])
    assert (empty.truth, empty.found) == (0, 0)


def test_a_switch_a_miss_and_a_false_person_by_hand():
    frames = [
        frame([1, 2], [10, 20], {(1, 10): 1, (2, 20): 1}),
        frame([1, 2], [20, 10], {(1, 20): 1, (2, 10): 1}),  # both switch
        frame([1, 2], [20, 99], {(1, 20): 1}),  # 2 is missed, 99 is false
        frame([1, 2], [20, 10], {(1, 20): 1, (2, 10): 1}),  # as before: no switch
    ]
    scores = track_scores(frames)
    assert (scores.truth, scores.found, scores.misses, scores.false, scores.switches) == (8, 8, 1, 1, 2)
    assert scores.mota == pytest.approx(1 - 4 / 8)
    assert scores.same == 5  # 1 as 20 in three frames, 2 as 10 in two
    assert scores.idf1 == pytest.approx(2 * 5 / 16)


def test_a_match_holds_while_it_may_though_another_is_more_alike():
    frames = [
        frame([1], [10], {(1, 10): 0.9}),
        frame([1], [10, 20], {(1, 10): 0.6, (1, 20): 1.0}),
        frame([1], [10, 20], {(1, 10): 0.4, (1, 20): 1.0}),
    ]
    scores = track_scores(frames)
    assert (scores.switches, scores.misses, scores.false) == (1, 0, 2)


def test_as_many_match_as_can():
    both = frame([1, 2], [10, 20], {(1, 10): 1.0, (1, 20): 0.5, (2, 10): 0.5})
    assert track_scores([both]).misses == 0


def test_nobody_found_and_nobody_there():
    missed = track_scores([frame([1], [], {})] * 4)
    assert (missed.mota, missed.idf1, missed.misses) == (0, 0, 4)
    false = track_scores([frame([], [5], {})] * 4)
    assert (false.mota, false.false) == (0, 4)
    worse = track_scores([frame([1], [5, 6, 7], {})])
    assert worse.mota == -3


def test_an_id_twice_or_another_shape_is_refused():
    with pytest.raises(ValueError, match="each id once"):
        Judged(np.array([1, 1]), np.array([2]), np.zeros((2, 1)))
    with pytest.raises(ValueError, match="likeness of shape"):
        Judged(np.array([1]), np.array([2]), np.zeros((2, 1)))


def test_oks_by_hand():
    truth = np.array([[(0, 0, 2), (10, 0, 1), (5, 5, 0)], [(0, 0, 0)] * 3], float)
    xy = np.array([[(0, 0), (10, 2), (99, 99)]], float)
    found = np.array([[True, True, True]])
    alike = oks(truth, np.array([100.0, 100.0]), xy, found, np.array([0.1, 0.1, 0.1]))
    expected = (1 + np.exp(-4 / (2 * 0.2**2 * 100))) / 2
    assert alike == pytest.approx(np.array([[expected], [0]]))
    gone = oks(truth, np.array([100.0, 100.0]), xy, np.array([[True, False, True]]), np.full(3, 0.1))
    assert gone[0, 0] == pytest.approx(0.5)
