"""What is said of memory's growth, from lines whose slope and doubt are known."""

import pytest

from tests.bench.slope import GROWTH, MILLION, slope

HELD = 100 * 1024**2  # bytes
FLAT_EACH = GROWTH * HELD / MILLION  # bytes for each alert that a million may add


def looked(
    each: float, *, shake: float = 0.0, count: int = 40, step: int = 1000
) -> list[tuple[int, float]]:
    """Growth that began steep, as caches fill, and went on with `each`, shaken up and down."""
    first = [(at * step, HELD * at / count) for at in range(count)]
    then = [
        (at * step, HELD + each * at * step + (shake if at % 2 else -shake))
        for at in range(count, 2 * count)
    ]
    return first + then


def test_the_slope_is_that_of_the_second_half_alone() -> None:
    found = slope(looked(7.0))
    assert found.each == pytest.approx(7.0)
    assert found.error == pytest.approx(0.0, abs=1e-6)


def test_a_leak_of_a_hundred_bytes_is_not_flat() -> None:
    assert slope(looked(100.0, shake=1000.0)).is_flat is False


def test_what_shakes_without_growing_is_flat() -> None:
    found = slope(looked(0.0, shake=1000.0))
    assert found.is_flat is True
    assert abs(found.each) < FLAT_EACH


def test_too_little_to_tell_is_not_told() -> None:
    shaken = slope(looked(0.0, shake=512 * 1024, count=20))
    low, high = shaken.grown
    assert low < GROWTH < high
    assert shaken.is_flat is None
    assert slope(looked(100.0, count=5)).is_flat is None  # too few, whatever the line says


def test_less_than_three_looks_give_no_doubt() -> None:
    with pytest.raises(ValueError, match="three looks"):
        slope([(at, 1.0) for at in range(4)])
