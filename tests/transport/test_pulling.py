"""Pulls of one consumer through one inbox: what comes late is kept, and ends no later pull."""

import asyncio

import pytest

from broker.transport.link import Link
from broker.transport.message import Message
from tests.support.hub import BOUND_S, RunningHub

pytestmark = pytest.mark.hub


async def mail(link: Link, *numbers: int) -> None:
    for number in numbers:
        await link.publish_acked(f"deliver.SG.normal.{number}", b"x", msg_id=str(number))


async def pulled(link: Link, batch: int = 9, timeout_s: float = BOUND_S) -> list[Message]:
    return await link.pull("INBOX_SG_normal", "normal", batch=batch, timeout_s=timeout_s)


async def waiting(link: Link) -> None:
    """Return once the server holds a pull that waits."""
    async with asyncio.timeout(BOUND_S):
        while not await how_many_wait(link):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.01)


async def how_many_wait(link: Link) -> int:
    return int((await link.api("CONSUMER.INFO.INBOX_SG_normal.normal", {}))["num_waiting"])


async def test_a_pull_that_waits_has_the_message_at_once(link: Link) -> None:
    async with asyncio.timeout(BOUND_S), asyncio.TaskGroup() as group:
        pull = group.create_task(pulled(link, timeout_s=10 * BOUND_S))
        await waiting(link)
        await mail(link, 1)
        assert [each.subject for each in await pull] == ["deliver.SG.normal.1"]


async def test_what_comes_for_a_pull_that_was_given_up_is_the_next_one_s(link: Link) -> None:
    pull = asyncio.get_running_loop().create_task(pulled(link))
    await waiting(link)
    pull.cancel()
    await asyncio.wait((pull,))
    await mail(link, 1)
    (message,) = await pulled(link)
    assert (message.subject, message.attempts) == ("deliver.SG.normal.1", 1)
    await message.ack()


async def test_the_end_of_a_pull_that_was_given_up_does_not_end_the_next(link: Link) -> None:
    pull = asyncio.get_running_loop().create_task(pulled(link, timeout_s=0.3))
    await waiting(link)
    pull.cancel()
    await asyncio.wait((pull,))
    async with asyncio.timeout(BOUND_S), asyncio.TaskGroup() as group:
        after = group.create_task(pulled(link, timeout_s=10 * BOUND_S))
        await _until_none_waits_but_one(link)
        await mail(link, 1)
        assert len(await after) == 1


async def _until_none_waits_but_one(link: Link) -> None:
    """Return once the first pull has ended at the server, and the second has not."""
    seen_two = False
    while True:
        count = await how_many_wait(link)
        seen_two = seen_two or count == 2
        if seen_two and count == 1:
            return
        await asyncio.sleep(0.01)


async def test_two_pulls_at_one_time_have_each_message_once(link: Link) -> None:
    await mail(link, *range(20))
    async with asyncio.TaskGroup() as group:
        pulls = [group.create_task(pulled(link, batch=10)) for _ in range(2)]
    subjects = [message.subject for pull in pulls for message in pull.result()]
    assert len(subjects) == len(set(subjects)) == 20


async def test_pulls_go_on_through_a_server_that_was_killed(hub: RunningHub, link: Link) -> None:
    await mail(link, 1)
    (first,) = await pulled(link, batch=1)
    await first.ack()
    await hub.restart(link)
    await mail(link, 2)
    assert "deliver.SG.normal.2" in [each.subject for each in await pulled(link)]
