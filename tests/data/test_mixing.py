"""Mixed files: each gives its share of an epoch, and all its samples are used equally."""

from collections import Counter

import pytest

from simplepose.cli import arguments
from simplepose.data.mixing import DatasetMixture


def epoch_locations(mixture, epoch):
    return [mixture.locate(epoch, position) for position in range(len(mixture))]


def test_weight_1_gives_each_sample_once_in_order():
    mixture = DatasetMixture([3, 2], [1, 1], 0)
    for epoch in (0, 1, 7):
        assert epoch_locations(mixture, epoch) == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]


def test_integer_weights_repeat_each_sample():
    counts = Counter(epoch_locations(DatasetMixture([4, 3], [1, 3], 0), 5))
    assert counts == {**{(0, i): 1 for i in range(4)}, **{(1, i): 3 for i in range(3)}}


@pytest.mark.parametrize(
    ("weight", "epochs", "times"), [(0.5, 2, 1), (0.25, 4, 1), (0.75, 4, 3), (1.5, 2, 3), (2.25, 4, 9)]
)
def test_fractional_weights_use_all_samples_equally(weight, epochs, times):
    """Over complete rounds each sample is used equally often, for any share of an epoch."""
    mixture = DatasetMixture([5, 12], [1, weight], 3)
    assert len(mixture) == 5 + 12 * weight
    for first in (0, epochs * 10):
        counts = Counter(
            location for epoch in range(first, first + epochs) for location in epoch_locations(mixture, epoch)
        )
        assert {counts[1, i] for i in range(12)} == {times}
        assert {counts[0, i] for i in range(5)} == {epochs}


def test_a_weight_below_1_repeats_no_sample_in_an_epoch():
    mixture = DatasetMixture([10], [0.3], 0)
    for epoch in range(3):
        assert len(set(epoch_locations(mixture, epoch))) == 3


def test_usage_stays_even_if_the_counts_do_not_divide():
    """3 of 7 samples an epoch: after any number of epochs the usage differs by at most 1."""
    mixture, usage = DatasetMixture([7], [0.4], 1), Counter()
    for epoch in range(20):
        usage.update(epoch_locations(mixture, epoch))
        counts = [usage[0, i] for i in range(7)]
        assert max(counts) - min(counts) <= 1


def test_the_location_depends_only_on_seed_epoch_and_position():
    forward, backward = DatasetMixture([6, 9], [0.5, 0.7], 4), DatasetMixture([6, 9], [0.5, 0.7], 4)
    expected = {(epoch, p): forward.locate(epoch, p) for epoch in range(4) for p in range(len(forward))}
    for epoch, position in reversed(expected):
        assert backward.locate(epoch, position) == expected[epoch, position]
    assert epoch_locations(DatasetMixture([6, 9], [0.5, 0.7], 5), 0) != epoch_locations(forward, 0)


def test_a_too_small_weight_is_rejected():
    with pytest.raises(ValueError, match=r"a weight of 0.01 uses none of a file's 7 samples"):
        DatasetMixture([5, 7], [1, 0.01], 0)


@pytest.mark.parametrize(
    ("text", "path", "weight"),
    [
        ("a.h5", "a.h5", 1),
        ("d/a.h5=0.5", "d/a.h5", 0.5),
        ("x=1/a.h5", "x=1/a.h5", 1),
        ("x=1/a=3", "x=1/a", 3),
    ],
)
def test_a_source_is_a_file_with_an_optional_weight(text, path, weight):
    source = arguments.weighted_file(text)
    assert (str(source.path), source.weight) == (path, weight)


@pytest.mark.parametrize("text", ["a.h5=0", "a.h5=-1", "a.h5=inf", "a.h5=nan", "=2"])
def test_invalid_weights_are_rejected(text):
    with pytest.raises(Exception, match=r"FILE.h5=WEIGHT with a weight above 0, got"):
        arguments.weighted_file(text)
