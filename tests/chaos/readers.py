"""Desks that read what comes, through it all: each alert comes to them once and in order.

Where an older backup is put back the places in the inbox begin again, and so does its desk.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from broker.client import BrokerError, Client
from schemas.desk import InboxItem
from tests.faults.test_kills import again_later, whole_inbox
from tests.support.waiting import must_come


@dataclass
class Reader:
    """One desk, and what the node brought it.

    Attributes:
        cursor: Its place in the inbox, which the node keeps under this name.
    """

    client: Client
    cursor: str
    brought: list[InboxItem] = field(default_factory=list)

    async def read_for_ever(self) -> None:
        """Take what comes and say that it is dealt with."""
        async with self.client.subscribe(cursor=self.cursor) as events:
            async for item in events:
                self.brought.append(item.shown)
                while True:
                    try:
                        await item.ack()
                    except BrokerError as error:  # the node is away
                        await again_later(error)
                    else:
                        break

    def check_order(self) -> None:
        """See that no place came twice, nor one alert at two of them."""
        places = [item.position for item in self.brought]
        assert places == sorted(set(places))
        assert len({item.id for item in self.brought}) == len(self.brought)

    async def check(self, bound_s: float) -> None:
        """See that all of the inbox came, each place once and in order."""
        kept = {item.position: item.id for item in await whole_inbox(self.client)}
        async with must_come(bound_s, lambda: f"{len(kept) - len(self.brought)} were never shown"):
            while len(self.brought) < len(kept):  # noqa: ASYNC110 - it is on its way
                await asyncio.sleep(0.1)
        assert [(item.position, item.id) for item in self.brought] == sorted(kept.items())


@dataclass
class Readers:
    """A desk of each member. Use it with `running`."""

    clients: Mapping[str, Client]
    begun: int = 0
    _readers: dict[str, Reader] = field(default_factory=dict)
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Reader]:
        return iter(self._readers.values())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Read while the block runs."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for code in self.clients:
                self._begin(code)
            try:
                yield
            finally:
                for task in self._tasks.values():
                    task.cancel()

    def _begin(self, code: str) -> None:
        self.begun += 1
        reader = Reader(self.clients[code], f"chaos-{self.begun}")
        self._readers[code] = reader
        self._tasks[code] = self._group.create_task(reader.read_for_ever())

    @asynccontextmanager
    async def anew(self, code: str) -> AsyncIterator[None]:
        """End a member's desk before its disk is put back in the block, and begin another one."""
        self._tasks[code].cancel()
        await asyncio.wait((self._tasks[code],))
        self._readers[code].check_order()
        yield
        self._begin(code)
