"""On three servers, what a queue lost is told from what one server has counted and another has not.

A consumer's leader counts at once what it gives out and what is acknowledged; that the others know
of it, and that the message leaves, comes later. Nothing of that is a purge.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from uuid import uuid4

import pytest

from broker.hub.erased import Erasures
from broker.hub.queuewatch import QueueWatch
from broker.transport.link import Link
from broker.transport.message import Message
from broker.transport.streamstates import streams_seen
from tests.hub.test_cluster_servers import asked_of, led_by
from tests.support.cluster import BOUND_S, FIRST, Servers, linked_servers, steady, whole

pytestmark = [pytest.mark.processes, pytest.mark.soak, pytest.mark.timeout(240)]
STREAM, SUBJECT, CONSUMER = "RECEIPT_SG", "receipt.SG", "SG"
OTHERS = ("hub-2", "hub-3")
SETTLED_S = 60.0  # longer than the consumer waits for an acknowledgement


@dataclass
class Stage:
    """A queue that one server leads, with its consumer and the cluster."""

    servers: Servers
    hub: Link
    now: float = 0.0

    def watch(self) -> QueueWatch:
        return QueueWatch(self.hub, Erasures, steady=lambda: self.now)

    async def looked(self, watch: QueueWatch) -> tuple[str, ...]:
        """What a look found, once the queue was seen."""
        while True:
            seen = await steady(lambda: streams_seen(self.hub, f"{SUBJECT}.>"))
            if STREAM in seen.states:
                return await watch.look({STREAM: seen.states[STREAM]})
            await asyncio.sleep(0.1)

    async def fill(self, number: int, *, first: int = 0) -> None:
        for each in range(first, first + number):
            subject = f"{SUBJECT}.{each}"
            await steady(
                lambda subject=subject: self.hub.publish_acked(subject, b"x", msg_id=uuid4().hex)
            )

    async def pulled(self, number: int) -> list[Message]:
        found: list[Message] = []
        while len(found) < number:
            left = number - len(found)
            found += await steady(
                lambda left=left: self.hub.pull(STREAM, CONSUMER, batch=left, timeout_s=2)
            )
        return found

    async def left(self, number: int) -> None:
        """Return once the servers agree that so many are left."""
        while (await whole(self.hub, STREAM))["state"]["messages"] != number:  # noqa: ASYNC110 - others
            await asyncio.sleep(0.1)

    async def nothing_in_hand(self) -> None:
        consumer = f"CONSUMER.INFO.{STREAM}.{CONSUMER}"
        while (await steady(lambda: self.hub.api(consumer, {})))["num_ack_pending"]:  # noqa: ASYNC110 - likewise
            await asyncio.sleep(0.05)

    @contextmanager
    def frozen(self, *names: str) -> Iterator[None]:
        for name in names:
            self._signal(name, signal.SIGSTOP)
        try:
            yield
        finally:
            for name in names:
                self._signal(name, signal.SIGCONT)

    def _signal(self, name: str, number: signal.Signals) -> None:
        pid = self.servers.running[name].pid
        assert pid is not None
        os.kill(pid, number)


@asynccontextmanager
async def staged(folder: Path) -> AsyncIterator[Stage]:
    async with (
        asyncio.timeout(BOUND_S * 2),
        linked_servers(folder) as (servers, system, hub),
    ):
        await whole(hub, STREAM)
        await led_by(hub, FIRST, STREAM)
        await given_out_by(hub, FIRST)
        await asked_of(system, FIRST)
        await steady(lambda: hub.api("INFO", {}))
        yield Stage(servers, hub)


async def given_out_by(hub: Link, name: str) -> None:
    """Have this server lead the consumer."""
    wanted = {"placement": {"preferred": name}}
    for turn in count():
        info = await steady(lambda: hub.api(f"CONSUMER.INFO.{STREAM}.{CONSUMER}", {}))
        if info["cluster"].get("leader") == name:
            return
        if turn % 5 == 0:
            await steady(lambda: hub.api(f"CONSUMER.LEADER.STEPDOWN.{STREAM}.{CONSUMER}", wanted))
        await asyncio.sleep(0.2)


async def test_what_is_acknowledged_and_still_there_is_not_lost_when_it_leaves(
    tmp_path: Path,
) -> None:
    async with staged(tmp_path / "r") as stage:
        await stage.fill(4)
        watch = stage.watch()
        assert await stage.looked(watch) == ()
        stage.now += SETTLED_S
        assert await stage.looked(watch) == ()
        for each in await stage.pulled(1):
            await each.ack()
        await stage.left(3)
        mail = await stage.pulled(3)
        with stage.frozen(*OTHERS):  # nobody agrees, and so nothing leaves
            for each in mail:
                await each.ack()
            await stage.nothing_in_hand()
            assert await stage.looked(watch) == ()
            assert watch._bases[STREAM].gone == 1  # it was seen, and another three will leave
        await stage.left(0)
        assert await stage.looked(watch) == ()
        await stage.fill(7)
        assert await stage.looked(watch) == ()
        await stage.hub.api(f"STREAM.PURGE.{STREAM}", {})
        assert await stage.looked(watch) == (STREAM,)


async def test_who_has_just_begun_to_count_is_not_believed(tmp_path: Path) -> None:
    """What a leader before gave out may be acknowledged, and the next never knew of it."""
    async with staged(tmp_path / "r") as stage:
        await stage.fill(2)
        watch = stage.watch()
        assert await stage.looked(watch) == ()
        await stage.hub.api(f"STREAM.PURGE.{STREAM}", {})
        assert await stage.looked(watch) == ()
        stage.now += SETTLED_S
        await stage.fill(2, first=2)
        assert await stage.looked(watch) == ()
        await stage.hub.api(f"STREAM.PURGE.{STREAM}", {})
        assert await stage.looked(watch) == (STREAM,)
