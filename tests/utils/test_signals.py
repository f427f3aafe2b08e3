"""Signals that end a run: in a safe place, and at once when asked for again."""

import signal
import time

import pytest

from simplepose.utils import signals
from simplepose.utils.signals import Ending


@pytest.fixture(autouse=True)
def handlers():
    """A shell may have started the tests with SIGINT ignored."""
    before = [signal.signal(signal.SIGINT, signal.default_int_handler), signal.getsignal(signal.SIGTERM)]
    yield
    after = [signal.getsignal(number) for number in signals.SIGNALS]
    assert after == [signal.default_int_handler, before[1]]
    signal.signal(signal.SIGINT, before[0])


@pytest.mark.parametrize("number", signals.SIGNALS)
def test_a_result_that_is_being_kept_is_kept_whole(number):
    kept = []

    def keep(result):
        if result == 2:
            signal.raise_signal(number)
        kept.append(result)

    with Ending() as end, pytest.raises(KeyboardInterrupt):
        list(map(end.whole(keep), range(5)))
    assert kept == [0, 1, 2]


@pytest.mark.parametrize("number", signals.SIGNALS)
def test_between_two_results_it_ends_at_once(number):
    with Ending(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)


def test_files_that_are_being_closed_are_not_interrupted():
    with Ending() as end:
        end.finish()
        signal.raise_signal(signal.SIGINT)


def test_an_echo_is_none_and_who_asks_again_does_not_wait(monkeypatch):
    def keep(_):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        monkeypatch.setattr(signals, "ECHO_SECONDS", -1.0)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)

    with Ending() as end:
        end.whole(keep)(0)


def test_who_waits_is_asked_and_not_interrupted():
    with Ending(waits=True) as end:
        assert not end.asked
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)  # the echo
        assert end.asked


@pytest.mark.parametrize("number", signals.SIGNALS)
@pytest.mark.parametrize("waits", [True, False])
def test_the_second_signal_acts_as_usual(monkeypatch, number, waits):
    usual = []
    before = signal.signal(number, lambda number, _: usual.append(number))
    with Ending(waits) as end:
        end.finish()
        signal.raise_signal(signal.SIGTERM)
        assert not usual
        later = time.monotonic() + 2 * signals.ECHO_SECONDS
        monkeypatch.setattr(signals.time, "monotonic", lambda: later)
        signal.raise_signal(number)
        assert usual == [number]
    signal.signal(number, before)


def test_what_is_ignored_stays_so():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Ending():
        signal.raise_signal(signal.SIGINT)
    assert signal.signal(signal.SIGINT, signal.default_int_handler) == signal.SIG_IGN
