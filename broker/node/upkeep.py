"""What a node does by itself: directory, clock, pair-states, forgetting."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from broker.errors import BrokerError
from broker.logs import get_logger
from broker.node import alarms, pairs
from broker.node.changes import Changes
from broker.node.ids import to_ms
from broker.node.incoming import forget_drafts
from broker.node.present import Present
from broker.node.sealing import Sealer
from broker.store.database import Database
from broker.transport.link import Link
from broker.transport.services import HubServices
from keys.directory.client import DirectoryClient
from keys.errors import KeysError
from schemas.errors import SchemaError
from schemas.vocabulary import Status

DIRECTORY_EVERY_S: Final = 30.0  # a revocation is here a minute or two after it was published
CLOCK_EVERY_S: Final = 60.0
PAIRS_EVERY_S: Final = 60.0
RETRY_S: Final = 3.0
_log = get_logger()


@dataclass
class Upkeep:
    """The node's own tasks."""

    present: Present
    database: Database
    sealer: Sealer
    link: Link
    changes: Changes
    submitted: Changes  # Wakes the task that submits.
    directory: DirectoryClient | None

    async def refresh_directory(self) -> None:
        """Fetch, verify and use the newest directory.

        Raises:
            BrokerError: The hub does not answer.
            KeysError: What it shows breaks a rule; the directory held stays.
        """
        if self.directory is None:
            return
        hub = HubServices(self.link, self.present.member)
        copy = await self.directory.refresh(hub.read, now=self.present.now())
        self.present.take(copy.view)
        self.changes.happened()

    async def ask_time(self) -> None:
        """Compare the clocks; half of the round trip is uncertainty.

        Raises:
            BrokerError: The hub does not answer.
        """
        before = self.present.now()
        hub_time = await HubServices(self.link, self.present.member).time()
        after = self.present.now()
        self.present.skew = before + (after - before) / 2 - hub_time
        if abs(self.present.skew) < timedelta(milliseconds=1):
            self.present.skew = timedelta(0)
        self.changes.happened()

    async def tell_pairs(self) -> int:
        """Send every pair-state that is due; return how many."""
        if self.present.hindrance():
            return 0
        now = self.present.now()
        now = now.replace(microsecond=now.microsecond // 1000 * 1000)
        async with self.database.read() as connection:
            peers = await pairs.due(connection, now=now)

        async def tell(peer: str) -> None:
            async def change(connection: AsyncConnection) -> None:
                state = await pairs.state_for(connection, peer, now=now)
                await self.sealer.control(
                    connection, state, to=peer, ref=None, status=Status.ACTUAL
                )

            await self.database.change(change)

        for peer in peers:
            try:
                await tell(peer)
            except KeysError as error:  # it has no key now; the next round tries again
                _log.info("pair-not-told", peer=peer, error_code=error.code)
        if peers:
            self.submitted.happened()
        return len(peers)

    async def forget(self) -> None:
        """Erase what is past its time."""
        now_ms = to_ms(self.present.now())
        await self.database.change(lambda connection: forget_drafts(connection, now_ms))

    async def run(self) -> None:
        """Do all of it for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._every(DIRECTORY_EVERY_S, self.refresh_directory))
            group.create_task(self._every(CLOCK_EVERY_S, self.ask_time))
            group.create_task(self._every(PAIRS_EVERY_S, self.tell_pairs))
            group.create_task(self._every(PAIRS_EVERY_S, self.forget))

    async def _every(self, seconds: float, work: Callable[[], Awaitable[object]]) -> None:
        while True:
            try:
                await self.link.wait_connected()
                await work()
            except (BrokerError, SchemaError) as error:
                _log.info("upkeep-paused", error_code=error.code)
                await asyncio.sleep(RETRY_S)
            except KeysError as error:
                _log.error("directory-not-taken", error_code=error.code)
                await self._alarm(error.code)
                await asyncio.sleep(RETRY_S * 5)
            else:
                await asyncio.sleep(seconds)

    async def _alarm(self, code: str) -> None:
        now = self.present.now()
        await self.database.change(
            lambda connection: alarms.raise_alarm(connection, f"directory-{code}"[:64], now=now)
        )
