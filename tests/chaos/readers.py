"""Desks that read what comes, through it all: each alert comes to them once and in order.

Not where an older backup is put back: the places in that inbox begin again.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from broker.client import BrokerError, Client
from schemas.desk import InboxItem
from tests.chaos.plan import Fault, Mishap
from tests.faults.test_kills import again_later, whole_inbox
from tests.support.waiting import must_come

PUT_BACK = (Fault.RESTORE, Fault.FLIP)
CURSOR = "chaos"


@dataclass
class Reader:
    """One desk, and what the node brought it."""

    client: Client
    brought: list[InboxItem] = field(default_factory=list)

    async def read_for_ever(self) -> None:
        """Take what comes and say that it is dealt with."""
        async with self.client.subscribe(cursor=CURSOR) as events:
            async for item in events:
                self.brought.append(item.shown)
                while True:
                    try:
                        await item.ack()
                    except BrokerError as error:  # the node is away
                        await again_later(error)
                    else:
                        break

    async def check(self, bound_s: float) -> None:
        """See that all of the inbox came, each place once and in order."""
        kept = {item.position: item.id for item in await whole_inbox(self.client)}
        async with must_come(bound_s, lambda: f"{len(kept) - len(self.brought)} were never shown"):
            while len(self.brought) < len(kept):  # noqa: ASYNC110 - it is on its way
                await asyncio.sleep(0.1)
        assert [(item.position, item.id) for item in self.brought] == sorted(kept.items())


@asynccontextmanager
async def readers(
    clients: Mapping[str, Client], plan: Iterable[Mishap]
) -> AsyncIterator[list[Reader]]:
    """Desks of whoever keeps its disk in this plan, reading while the block runs."""
    without = {each.victim for each in plan if each.fault in PUT_BACK}
    found = [Reader(client) for code, client in clients.items() if code not in without]
    async with asyncio.TaskGroup() as group:
        reading = [group.create_task(each.read_for_ever()) for each in found]
        try:
            yield found
        finally:
            for task in reading:
                task.cancel()
