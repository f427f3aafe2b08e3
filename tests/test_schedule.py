"""The learning rate: the published schedule, number by number."""

import pytest

from simplepose.config import Train
from simplepose.training.schedule import lr_at

STEPS = 100


@pytest.mark.parametrize(
    ("epoch", "factor"),
    [
        (3, 1),
        (14, 1),
        (15, 0.2),
        (29, 0.2),
        (30, 0.04),
        (75, 0.2**5),
        (78, 1),
        (82, 1),
        (83, 0.2),
        (88, 0.04),
    ],
)
def test_published_steps(epoch, factor):
    settings = Train(learning_rate=1e-4)
    for step in (epoch * STEPS, epoch * STEPS + STEPS - 1):
        assert lr_at(step, STEPS, settings) == pytest.approx(1e-4 * factor)


def test_warm_up_is_linear_and_never_zero():
    settings = Train(learning_rate=1.0, warmup_epochs=3)
    rates = [lr_at(step, STEPS, settings) for step in range(300)]
    assert rates == pytest.approx([(step + 1) / 300 for step in range(300)])


def test_no_restart_when_none_is_asked_for():
    settings = Train(learning_rate=1.0, restart_epoch=None)
    assert lr_at(80 * STEPS, STEPS, settings) == pytest.approx(0.2**5)


def test_cosine_falls_to_nothing():
    settings = Train(learning_rate=1.0, schedule="cosine", warmup_epochs=1, epochs=11)
    rates = [lr_at(step, STEPS, settings) for step in range(STEPS, 11 * STEPS)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == pytest.approx(1)
    assert rates[len(rates) // 2] == pytest.approx(0.5, abs=0.01)
    assert rates[-1] < 1e-4
