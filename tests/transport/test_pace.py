"""How long a line is waited for: never less than on a wire, and never for ever."""

import pytest

from broker.transport.pace import MAX_LIMIT_S, Pace


def test_a_wire_is_waited_for_as_ever() -> None:
    pace = Pace()
    pace.greeted(0.002)
    for _ in range(100):
        pace.answered(0.01)
    assert not pace.is_slow
    assert 5.0 <= pace.limit_s(5.0) < 5.1
    assert pace.idle_s(3.0) == 3.0


@pytest.mark.parametrize("greeting_s", [0.4, 1.7])
def test_a_far_hub_is_given_time_for_lost_segments_and_asked_more_rarely(
    greeting_s: float,
) -> None:
    pace = Pace()
    pace.greeted(greeting_s)
    assert pace.is_slow
    assert pace.limit_s(5.0) == pytest.approx(5.0 + 8 * greeting_s)
    assert pace.idle_s(3.0) == pytest.approx(12 * greeting_s)


def test_a_disk_that_is_busy_for_a_moment_makes_no_line_slow() -> None:
    pace = Pace()
    pace.greeted(0.002)
    pace.answered(5.0)
    assert not pace.is_slow


def test_what_does_not_answer_is_waited_for_twice_as_long_each_time_up_to_a_bound() -> None:
    pace = Pace()
    pace.greeted(0.5)
    limits = []
    for _ in range(8):
        limits.append(pace.limit_s(5.0))
        pace.missed()
    assert limits[1] == 2 * limits[0]
    assert limits == sorted(limits)
    assert limits[-1] == MAX_LIMIT_S
    pace.answered(0.5)
    assert pace.limit_s(5.0) == limits[0]


def test_a_longer_limit_that_was_asked_for_stays() -> None:
    pace = Pace()
    pace.greeted(30.0)
    assert pace.limit_s(120.0) == 120.0
