"""One lane: a slow submission keeps nobody waiting, and so many are in hand and no more."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from broker.gateway.lane import IN_HAND, run_lane
from broker.transport.link import Link
from broker.transport.message import Message
from schemas.vocabulary import Lane
from tests.support.hub import BOUND_S, RunningHub, running_hub
from tests.support.region import make_region

pytestmark = pytest.mark.hub


@pytest_asyncio.fixture
async def hub(tmp_path: Path) -> AsyncIterator[RunningHub]:
    async with running_hub(make_region(("SG", "MY")), tmp_path / "hub") as running:
        yield running


@pytest_asyncio.fixture
async def link(hub: RunningHub) -> AsyncIterator[Link]:
    async with hub.hub_link() as link:
        await link.wait_connected(BOUND_S)
        yield link


async def submit(link: Link, first: int, last: int) -> None:
    for number in range(first, last):
        await link.publish_acked(f"submit.SG.normal.{number}", b"x", msg_id=str(number))


class Carrier:
    """Carries what it is given, but for what it is told to keep."""

    def __init__(self, keep: set[str]) -> None:
        self.keep, self.let_go = keep, asyncio.Event()
        self.begun: list[str] = []
        self.carried: list[str] = []
        self.news = asyncio.Condition()

    async def __call__(self, message: Message, _member: str) -> None:
        number = message.subject.rpartition(".")[2]
        async with self.news:
            self.begun.append(number)
            self.news.notify_all()
        if number in self.keep:
            await self.let_go.wait()
        await message.ack()
        async with self.news:
            self.carried.append(number)
            self.news.notify_all()

    async def until(self, *, begun: int = 0, carried: int = 0) -> None:
        async with asyncio.timeout(BOUND_S), self.news:
            await self.news.wait_for(
                lambda: len(self.begun) >= begun and len(self.carried) >= carried
            )


async def test_one_that_hangs_keeps_the_others_of_its_batch_and_the_next_from_nothing(
    link: Link,
) -> None:
    carrier = Carrier({"0"})
    await submit(link, 0, 20)
    lane = asyncio.get_running_loop().create_task(run_lane(link, "SG", Lane.NORMAL, carrier))
    await carrier.until(carried=19)
    await submit(link, 20, 3 * IN_HAND)
    await carrier.until(carried=3 * IN_HAND - 1)
    carrier.let_go.set()
    await carrier.until(carried=3 * IN_HAND)
    lane.cancel()
    await asyncio.wait((lane,))
    assert sorted(map(int, carrier.carried)) == [*range(3 * IN_HAND)]


async def test_no_more_are_in_hand_than_are_to_be_judged_again_after_a_crash(link: Link) -> None:
    count = 2 * IN_HAND
    carrier = Carrier({str(number) for number in range(count)})
    await submit(link, 0, count)
    lane = asyncio.get_running_loop().create_task(run_lane(link, "SG", Lane.NORMAL, carrier))
    await carrier.until(begun=IN_HAND)
    info = await link.api("CONSUMER.INFO.SUBMIT_SG.GATEWAY-normal", {})
    assert (info["num_ack_pending"], info["num_waiting"]) == (IN_HAND, 0)  # it asks for none
    carrier.let_go.set()
    await carrier.until(carried=count)
    lane.cancel()
    await asyncio.wait((lane,))


async def test_a_lane_goes_on_after_the_server_was_killed(hub: RunningHub, link: Link) -> None:
    carrier = Carrier(set())
    lane = asyncio.get_running_loop().create_task(run_lane(link, "SG", Lane.NORMAL, carrier))
    await submit(link, 0, 3)
    await carrier.until(carried=3)
    await hub.restart(link)
    await submit(link, 3, 6)
    async with asyncio.timeout(BOUND_S):
        while not {"3", "4", "5"} <= set(carrier.carried):
            await carrier.until(carried=len(carrier.carried) + 1)
    lane.cancel()
    await asyncio.wait((lane,))
