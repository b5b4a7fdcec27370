"""A clock that jumps between two questions to the hub is noticed at once, and seals nothing."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from broker import clock
from broker.node.present import CLOCK_SKEW, Present
from tests.support.region import LONG, make_region

REGION = make_region(("SG", "MY"), now=clock.now(), fresh=LONG)
NOTHING = timedelta()
FAR = timedelta(minutes=6)


@dataclass
class Clocks:
    """A machine's two clocks."""

    wall: datetime = REGION.now
    steady_s: float = 1000.0

    def go_on(self, seconds: float, *, jump: timedelta = NOTHING) -> None:
        self.steady_s += seconds
        self.wall += timedelta(seconds=seconds) + jump


def present(clocks: Clocks) -> Present:
    made = Present(
        "SG",
        now=lambda: clocks.wall,
        machine=lambda: clocks.wall,
        steady=lambda: clocks.steady_s,
    )
    made.take(REGION.view)
    return made


@pytest.mark.parametrize("jump", [FAR, -FAR], ids=["ahead", "behind"])
def test_it_hinders_from_the_jump_until_the_hub_was_asked_again(jump: timedelta) -> None:
    clocks = Clocks()
    node = present(clocks)
    assert not node.clock_is_good  # never asked
    assert node.compared(NOTHING)
    clocks.go_on(600)
    assert node.hindrance() == ""
    assert node.clock_is_good
    clocks.go_on(1, jump=jump)
    assert node.hindrance() == CLOCK_SKEW
    assert not node.clock_is_good
    assert node.clock_shown().state == "skew"
    assert node.compared(NOTHING)  # the jump set it right: what waited may go
    assert node.hindrance() == ""
    assert not node.compared(NOTHING)  # nothing waited


def test_what_waited_goes_although_the_clock_is_right_again_before_the_hub_is_asked() -> None:
    clocks = Clocks()
    node = present(clocks)
    node.compared(NOTHING)
    clocks.go_on(1, jump=FAR)
    assert node.hindrance() == CLOCK_SKEW
    clocks.go_on(1, jump=-FAR)
    assert node.hindrance() == ""
    assert node.compared(NOTHING)


def test_a_small_step_does_not_hinder() -> None:
    clocks = Clocks()
    node = present(clocks)
    node.compared(NOTHING)
    clocks.go_on(1, jump=timedelta(seconds=31))
    assert node.hindrance() == ""
    assert node.clock_shown().state == "warn"
