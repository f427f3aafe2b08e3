"""What a settings class says of a value that cannot be, in the same words for all."""

from __future__ import annotations


def at_least(least: float, settings: object, *names: str) -> None:
    """Raise ValueError where one of these settings is below `least`, or NaN."""
    for name in names:
        value = getattr(settings, name)
        require(value >= least, f"{name} of at least {least} expected, got {value}")


def above(bound: float, settings: object, *names: str) -> None:
    """Raise ValueError where one of these settings is not above `bound`, or NaN."""
    for name in names:
        value = getattr(settings, name)
        require(value > bound, f"{name} above {bound} expected, got {value}")


def share(settings: object, *names: str) -> None:
    """Raise ValueError where one of these settings is not from 0 to 1."""
    for name in names:
        value = getattr(settings, name)
        require(0 <= value <= 1, f"{name} from 0 to 1 expected, got {value}")


def span(settings: object, *names: str, least: float = float("-inf"), most: float = float("inf")) -> None:
    """Raise ValueError where one of these pairs falls, or leaves `least` to `most`."""
    for name in names:
        low, high = getattr(settings, name)
        require(low <= high, f"{name}: the first value must not exceed the second, got {low}, {high}")
        require(least <= low, f"{name}: values of at least {least:g} expected, got {low}")
        require(high <= most, f"{name}: values of at most {most:g} expected, got {high}")


def require(condition: bool, message: str) -> None:
    """Raise ValueError with that message unless the condition holds."""
    if not condition:
        raise ValueError(message)
