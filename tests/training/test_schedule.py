"""The learning rate: the published schedule, and properties of all schedules."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from repo_paths import CONFIGS

from simplepose import config
from simplepose.config import TrainSettings
from simplepose.training.optim import learning_rate_at

STEPS = 100
KINDS = ("step", "cosine", "cyclic")


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
def test_published_step_schedule(epoch, factor):
    settings = TrainSettings(learning_rate=1e-4)
    for step in (epoch * STEPS, epoch * STEPS + STEPS - 1):
        assert learning_rate_at(step, STEPS, settings) == pytest.approx(1e-4 * factor)


@pytest.mark.parametrize("kind", KINDS)
def test_warm_up_is_linear_and_never_zero(kind):
    settings = TrainSettings(learning_rate=1.0, warmup_epochs=3, schedule=kind)
    rates = [learning_rate_at(step, STEPS, settings) for step in range(300)]
    assert rates == pytest.approx([(step + 1) / 300 for step in range(300)])


def test_no_restart_by_setting():
    settings = TrainSettings(learning_rate=1.0, restart_epoch=None)
    assert learning_rate_at(80 * STEPS, STEPS, settings) == pytest.approx(0.2**5)


def test_fractional_epochs_end_at_the_rounded_step():
    settings = TrainSettings(learning_rate=1.0, warmup_epochs=0, step_epochs=2.5, restart_epoch=None)
    assert learning_rate_at(249, STEPS, settings) == 1
    assert learning_rate_at(250, STEPS, settings) == pytest.approx(0.2)


def test_cosine_falls_to_zero():
    settings = TrainSettings(learning_rate=1.0, schedule="cosine", warmup_epochs=1, epochs=11)
    rates = [learning_rate_at(step, STEPS, settings) for step in range(STEPS, 11 * STEPS)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == pytest.approx(1)
    assert rates[len(rates) // 2] == pytest.approx(0.5, abs=0.01)
    assert 0 < rates[-1] < 1e-4


def test_published_cycles_of_the_swa_phase():
    settings = TrainSettings(learning_rate=4e-5, schedule="cyclic", warmup_epochs=0)
    rates = [learning_rate_at(step, STEPS, settings) for step in range(20 * STEPS)]
    cycle = 5 * STEPS
    for start in range(0, len(rates), cycle):
        assert rates[start] == pytest.approx(4e-5)
        assert rates[start + cycle - 1] == pytest.approx(2e-5)
        falls = [a - b for a, b in zip(rates[start:], rates[start + 1 : start + cycle], strict=False)]
        assert falls == pytest.approx([2e-5 / (cycle - 1)] * (cycle - 1))


@pytest.mark.parametrize("steps_per_epoch", [1, 3, 7, 10])
def test_cycles_start_at_whole_steps_for_any_fraction(steps_per_epoch):
    """0.3 % 0.1 is 0.1 in floating point, so cycles must not be counted in epochs."""
    settings = TrainSettings(learning_rate=1.0, schedule="cyclic", warmup_epochs=0.1, cycle_epochs=0.7)
    warmup, cycle = round(0.1 * steps_per_epoch), max(1, round(0.7 * steps_per_epoch))
    peaks = [step for step in range(50) if learning_rate_at(step, steps_per_epoch, settings) == 1]
    first = max(warmup - 1, 0)  # the warm-up ends at the full rate
    assert peaks == sorted({first, *range(warmup, 50, cycle)})


settings_of_any_kind = st.builds(
    TrainSettings,
    learning_rate=st.floats(1e-6, 1),
    schedule=st.sampled_from(KINDS),
    warmup_epochs=st.floats(0, 5),
    epochs=st.integers(1, 40),
    step_epochs=st.floats(0.01, 20),
    step_factor=st.floats(0.01, 1),
    restart_epoch=st.none() | st.floats(0, 40),
    cycle_epochs=st.floats(0.01, 20),
    cycle_factor=st.floats(0.01, 1),
)


@given(settings_of_any_kind, st.integers(0, 2000), st.integers(1, 50), st.integers(1, 64))
def test_learning_rate_is_bounded_and_scales_with_the_number_of_processes(
    settings, step, per_epoch, processes
):
    rate = learning_rate_at(step, per_epoch, settings)
    assert 0 <= rate <= settings.learning_rate
    assert math.isfinite(rate)
    assert learning_rate_at(step, per_epoch, settings, processes) == pytest.approx(processes * rate)
    if settings.schedule == "cyclic" and step >= settings.warmup_epochs * per_epoch:
        assert rate >= 0.999 * settings.learning_rate * settings.cycle_factor


@pytest.mark.parametrize("kind", ["step", "cosine"])
@given(epoch=st.integers(0, 99), finer=st.integers(2, 50))
def test_learning_rates_at_whole_epochs_do_not_depend_on_steps_per_epoch(kind, epoch, finer):
    settings = TrainSettings(schedule=kind, warmup_epochs=0)
    assert learning_rate_at(epoch * finer, finer, settings) == pytest.approx(
        learning_rate_at(epoch, 1, settings), abs=1e-12
    )


def test_swa_config_with_four_processes_has_the_published_learning_rates():
    settings = config.load(CONFIGS / "imhn4_swa.yaml").train
    rates = [learning_rate_at(step, 10, settings, world_size=4) for step in range(100)]
    assert rates[0] == rates[50] == pytest.approx(4e-5)
    assert rates[49] == rates[99] == pytest.approx(2e-5)
