"""A process at the hub ends by a clock that is not its server's, and says why."""

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from broker import clock
from broker.errors import BrokerError
from broker.transport.link import Link
from broker.transport.servertime import CLOCK_WRONG, MOST, PROMPT_S, Timepiece, server_time
from tests.support.hub import BOUND_S, running_hub
from tests.support.region import make_region

pytestmark = pytest.mark.hub
LITTLE = timedelta(seconds=1)
WRONG = timedelta(minutes=10)


@pytest_asyncio.fixture
async def link(tmp_path: Path) -> AsyncIterator[Link]:
    region = make_region(("SG",), now=clock.now())
    async with running_hub(region, tmp_path / "hub") as hub, hub.hub_link() as link:
        await link.wait_connected(BOUND_S)
        yield link


@dataclass
class Clocks:
    """One that a test sets, and one that it cannot."""

    ahead: timedelta = timedelta(0)
    more_s: float = 0.0

    def now(self) -> datetime:
        return clock.now() + self.ahead + timedelta(seconds=self.more_s)

    def steady(self) -> float:
        return time.monotonic() + self.more_s


async def test_the_server_says_its_time(link: Link) -> None:
    before = clock.now()
    assert before - LITTLE <= await server_time(link) <= clock.now() + LITTLE


@pytest.mark.parametrize("wrong", [WRONG, -WRONG], ids=["ahead", "behind"])
async def test_a_clock_that_jumps_is_wrong_at_once_and_said_once(
    link: Link, wrong: timedelta
) -> None:
    clocks = Clocks()
    timepiece = Timepiece(link, clocks.now, clocks.steady)
    timepiece.check()  # nobody was asked
    await timepiece.ask()
    timepiece.check()
    clocks.more_s = 3600.0  # an hour goes by for both
    timepiece.check()
    assert timepiece.is_right()
    assert abs(timepiece.time() - clocks.now()) < LITTLE
    clocks.ahead = wrong
    assert not timepiece.is_right()
    with capture_logs() as said:
        for _ in range(2):
            with pytest.raises(BrokerError) as caught:
                timepiece.check()
            assert (caught.value.code, caught.value.retry) == (CLOCK_WRONG, "later")
    (line,) = said
    assert line["alarm"] == CLOCK_WRONG
    assert abs(line["skew_s"] - wrong.total_seconds()) <= 1
    clocks.ahead = timedelta(0)  # put right before the process ended: it goes on
    timepiece.check()
    clocks.ahead = wrong
    with capture_logs() as said, pytest.raises(BrokerError):
        timepiece.check()
    assert [line["alarm"] for line in said] == [CLOCK_WRONG]


@pytest.mark.parametrize("wrong", [WRONG, -WRONG], ids=["ahead", "behind"])
async def test_a_clock_that_was_wrong_before_anybody_looked_shows_once_the_server_is_asked(
    link: Link, wrong: timedelta
) -> None:
    timepiece = Timepiece(link, Clocks(wrong).now)
    await timepiece.ask()
    with pytest.raises(BrokerError):
        timepiece.time()


async def test_a_clock_is_right_to_five_minutes(link: Link) -> None:
    clocks = Clocks()
    timepiece = Timepiece(link, clocks.now)
    await timepiece.ask()
    for ahead, right in (
        (MOST - LITTLE, True),
        (-MOST + LITTLE, True),
        (MOST + LITTLE, False),
        (-MOST - LITTLE, False),
    ):
        clocks.ahead = ahead
        assert timepiece.is_right() is right


async def test_an_answer_that_took_long_says_nothing(link: Link) -> None:
    ticks: Callable[[], float] = iter((0.0, PROMPT_S, 0.0)).__next__
    timepiece = Timepiece(link, Clocks(WRONG).now, ticks)
    await timepiece.ask()
    assert timepiece.is_right()
