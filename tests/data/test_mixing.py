"""Several files as one: each gives an epoch its share, and every sample has its turn."""

from collections import Counter

import pytest

from simplepose.cli import arguments
from simplepose.data.mixing import Mixture


def epoch_of(mixture, epoch):
    return [mixture.place(epoch, position) for position in range(len(mixture))]


def test_with_weight_1_an_epoch_has_each_sample_once_in_order():
    mixture = Mixture([3, 2], [1, 1], 0)
    for epoch in (0, 1, 7):
        assert epoch_of(mixture, epoch) == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]


def test_whole_weights_repeat_each_sample():
    counts = Counter(epoch_of(Mixture([4, 3], [1, 3], 0), 5))
    assert counts == {**{(0, i): 1 for i in range(4)}, **{(1, i): 3 for i in range(3)}}


@pytest.mark.parametrize(
    ("weight", "epochs", "times"), [(0.5, 2, 1), (0.25, 4, 1), (0.75, 4, 3), (1.5, 2, 3), (2.25, 4, 9)]
)
def test_parts_of_a_file_take_turns(weight, epochs, times):
    """However an epoch's share divides the samples, over whole turns each is taken equally often."""
    mixture = Mixture([5, 12], [1, weight], 3)
    assert len(mixture) == 5 + 12 * weight
    for first in (0, epochs * 10):
        taken = Counter(place for epoch in range(first, first + epochs) for place in epoch_of(mixture, epoch))
        assert {taken[1, i] for i in range(12)} == {times}
        assert {taken[0, i] for i in range(5)} == {epochs}


def test_within_an_epoch_no_sample_comes_twice_of_a_part():
    mixture = Mixture([10], [0.3], 0)
    for epoch in range(3):
        assert len(set(epoch_of(mixture, epoch))) == 3


def test_a_share_that_does_not_divide_stays_even():
    """3 of 7 an epoch: after any number of epochs no sample is more than a turn ahead of another."""
    mixture, taken = Mixture([7], [0.4], 1), Counter()
    for epoch in range(20):
        taken.update(epoch_of(mixture, epoch))
        counts = [taken[0, i] for i in range(7)]
        assert max(counts) - min(counts) <= 1


def test_the_place_depends_on_epoch_and_position_alone():
    forth, back = Mixture([6, 9], [0.5, 0.7], 4), Mixture([6, 9], [0.5, 0.7], 4)
    expected = {(epoch, p): forth.place(epoch, p) for epoch in range(4) for p in range(len(forth))}
    for epoch, position in reversed(expected):
        assert back.place(epoch, position) == expected[epoch, position]
    assert epoch_of(Mixture([6, 9], [0.5, 0.7], 5), 0) != epoch_of(forth, 0)


def test_a_weight_that_leaves_nothing_is_refused():
    with pytest.raises(ValueError, match=r"a weight of 0.01 leaves none of a file's 7 samples"):
        Mixture([5, 7], [1, 0.01], 0)


@pytest.mark.parametrize(
    ("text", "path", "weight"),
    [
        ("a.h5", "a.h5", 1),
        ("d/a.h5=0.5", "d/a.h5", 0.5),
        ("x=1/a.h5", "x=1/a.h5", 1),
        ("x=1/a=3", "x=1/a", 3),
    ],
)
def test_a_source_is_a_file_or_a_file_and_its_weight(text, path, weight):
    source = arguments.source(text)
    assert (str(source.path), source.weight) == (path, weight)


@pytest.mark.parametrize("text", ["a.h5=0", "a.h5=-1", "a.h5=inf", "a.h5=nan", "=2"])
def test_other_weights_are_refused(text):
    with pytest.raises(Exception, match=r"FILE.h5=WEIGHT with a weight above 0, got"):
        arguments.source(text)
