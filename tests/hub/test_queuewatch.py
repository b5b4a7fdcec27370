"""Queues that somebody emptied at the server are told from those that were read, on a real one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio

from broker import clock
from broker.hub.erased import Erasures, note_erased, read_erased
from broker.hub.queuewatch import QueueWatch
from broker.hub.unread import UnreadSweep
from broker.transport.link import Link
from broker.transport.message import EXPIRES_HEADER
from broker.transport.streamstates import (
    acknowledged_to,
    erase_message,
    stream_state,
    stream_states,
)
from tests.support.fulldisk import may_grow, no_growth
from tests.support.hub import BOUND_S, RunningHub, running_hub
from tests.support.region import make_region

pytestmark = pytest.mark.hub
QUEUES = {
    "SUBMIT_SG": ("submit.SG.normal", "GATEWAY-normal"),
    "INBOX_MY_normal": ("deliver.MY.normal", "normal"),
    "HELD_MY_SG": ("held.MY.SG.normal", "GATEWAY"),
    "RECEIPT_SG": ("receipt.SG", "SG"),
    "EXPIRED": ("expired.MY.normal", "GATEWAY"),
}


@dataclass
class Stage:
    hub: RunningHub
    link: Link
    watch: QueueWatch
    erased: Path
    number: int = 0

    async def look(self) -> tuple[str, ...]:
        return await self.watch.look(await stream_states(self.link))

    async def sweep(self, now: datetime) -> int:
        """Take out what is over; return how many nobody had read."""
        return await UnreadSweep(self.link, partial(note_erased, self.erased)).sweep(now)

    async def fill(self, stream: str, count: int, ends: str = "9999999999999") -> None:
        for _ in range(count):
            self.number += 1
            subject = f"{QUEUES[stream][0]}.{self.number}"
            await self.link.publish_acked(
                subject, b"x", msg_id=subject, headers={EXPIRES_HEADER: ends}
            )

    async def read(self, stream: str, count: int) -> None:
        """Take and acknowledge, until the server has taken them out."""
        left = (await stream_state(self.link, stream)).messages - count
        async with asyncio.timeout(BOUND_S):
            while count:
                for message in await self.link.pull(
                    stream, QUEUES[stream][1], batch=count, timeout_s=2
                ):
                    await message.ack()
                    count -= 1
        await self.until_left(stream, left)

    async def until_left(self, stream: str, count: int) -> None:
        async with asyncio.timeout(BOUND_S):
            while (await stream_state(self.link, stream)).messages != count:  # noqa: ASYNC110 - the server
                await asyncio.sleep(0.01)

    async def purge(self, stream: str, **which: int) -> None:
        await self.link.api(f"STREAM.PURGE.{stream}", which)


@pytest_asyncio.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    region = make_region(("SG", "MY"), now=clock.now())
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub(region, tmp_path / "hub"))
        link = await stack.enter_async_context(hub.hub_link())
        await link.wait_connected(BOUND_S)
        erased = tmp_path / "erased.json"
        yield Stage(hub, link, QueueWatch(link, lambda: read_erased(erased)), erased)


@pytest.mark.parametrize("stream", sorted(QUEUES))
async def test_what_is_read_is_no_loss_and_what_is_purged_is(stage: Stage, stream: str) -> None:
    await stage.fill(stream, 3)
    assert await stage.look() == ()
    await stage.read(stream, 2)
    assert await stage.look() == ()
    await stage.fill(stream, 4)
    await stage.read(stream, 3)  # between two looks
    assert await stage.look() == ()
    await stage.fill(stream, 4)
    assert await stage.look() == ()
    await stage.purge(stream)
    assert await stage.look() == (stream,)
    assert await stage.look() == ()  # once


async def test_one_message_taken_from_an_inbox_that_nobody_reads_shows(stage: Stage) -> None:
    await stage.fill("INBOX_MY_normal", 3)
    assert await stage.look() == ()
    await stage.link.api("STREAM.MSG.DELETE.INBOX_MY_normal", {"seq": 2})
    # The hub may have had one in hand as expired when it was killed: that one is not told apart.
    assert await stage.look() == ()
    await stage.link.api("STREAM.MSG.DELETE.INBOX_MY_normal", {"seq": 3})
    assert await stage.look() == ("INBOX_MY_normal",)


async def test_what_a_reader_has_in_hand_may_go_at_any_time(stage: Stage) -> None:
    await stage.fill("INBOX_MY_normal", 4)
    held = await stage.link.pull("INBOX_MY_normal", "normal", batch=3, timeout_s=2)
    assert await stage.look() == ()
    for message in held:
        await message.ack()
    await stage.until_left("INBOX_MY_normal", 1)
    await stage.read("INBOX_MY_normal", 1)
    assert await stage.look() == ()


async def test_what_the_hub_itself_takes_out_is_no_loss(stage: Stage) -> None:
    now = clock.now()
    soon = str(int((now + timedelta(days=1)).timestamp() * 1000))
    for stream in ("INBOX_MY_normal", "HELD_MY_SG"):
        await stage.fill(stream, 3, soon)
    assert await stage.look() == ()
    assert await stage.sweep(now + timedelta(days=2)) == 6
    assert await stage.look() == ()
    await stage.fill("INBOX_MY_normal", 3)
    note_erased(stage.erased, "INBOX_MY_normal", [4, 5, 6])
    for seq in (4, 5, 6):
        await erase_message(stage.link, "INBOX_MY_normal", seq)
    assert await stage.look() == ()
    await stage.fill("INBOX_MY_normal", 9)
    await stage.look()
    await stage.purge("INBOX_MY_normal")
    assert await stage.look() == ("INBOX_MY_normal",)


async def test_what_was_read_while_the_disk_was_full_is_there_again_and_is_not_told_as_unread(
    stage: Stage,
) -> None:
    """The server writes down that it is acknowledged, and finds no room for that it is gone."""
    now = clock.now()
    inbox, soon = "INBOX_MY_normal", str(int((now + timedelta(days=1)).timestamp() * 1000))
    await stage.fill(inbox, 4, soon)
    pid = stage.hub.server.pid
    assert pid is not None
    no_growth(pid)
    try:
        for message in await stage.link.pull(inbox, "normal", batch=3, timeout_s=2):
            await message.ack()
        async with asyncio.timeout(BOUND_S):
            while await acknowledged_to(stage.link, inbox) < 3:  # noqa: ASYNC110 - the server
                await asyncio.sleep(0.01)
    finally:
        may_grow(pid)
    await stage.hub.restart(stage.link, kill=False)
    assert (await stream_state(stage.link, inbox)).messages == 4
    assert await stage.look() == ()
    assert await stage.sweep(now + timedelta(days=2)) == 1
    states = await stream_states(stage.link)
    assert (states[inbox].messages, states["EXPIRED"].messages) == (0, 1)
    assert await stage.look() == ()


async def test_a_server_that_was_killed_forgot_what_it_handed_out_and_is_no_alarm(
    stage: Stage,
) -> None:
    await stage.fill("INBOX_MY_normal", 20)
    assert await stage.look() == ()
    await stage.read("INBOX_MY_normal", 20)
    await stage.hub.restart(stage.link)
    assert await stage.look() == ()


def test_an_erasure_is_noted_once_however_often_it_is_begun(tmp_path: Path) -> None:
    file = tmp_path / "erased.json"
    assert read_erased(file) == Erasures()
    note_erased(file, "AUDIT_2026", [3, 1])
    note_erased(file, "AUDIT_2026", [3])
    note_erased(file, "INBOX_MY_normal", [3])
    assert read_erased(file).count("AUDIT_2026") == 2
    assert read_erased(file).count("INBOX_MY_normal") == 1
    assert read_erased(file).count("HELD_MY_SG") == 0


async def test_a_loss_is_told_later_if_it_cannot_be_told_from_what_expired(stage: Stage) -> None:
    """Nobody speaks for the stream that says how many copies the hub took out."""
    await stage.fill("INBOX_MY_normal", 3)
    await stage.fill("RECEIPT_SG", 3)
    assert await stage.look() == ()
    for name in ("INBOX_MY_normal", "RECEIPT_SG"):
        await stage.link.api(f"STREAM.PURGE.{name}", {})
    states = await stream_states(stage.link)
    without = {name: state for name, state in states.items() if name != "EXPIRED"}
    assert await stage.watch.look(without) == ("RECEIPT_SG",)
    assert await stage.watch.look(states) == ("INBOX_MY_normal",)
