"""What a worker says of itself in the log: that a run began or ended, that a stream was opened.

A run that ended by itself says its last number, so that none can be taken away at its end. A
stream that nobody announced is not read: one that was slipped in beside the year's own tells the
log nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from broker import clock
from broker.errors import BrokerError
from broker.gateway import record
from broker.gateway.leftovers import Leftovers
from broker.log.announcement import STARTED, STOPPED, opened, stream_id
from broker.log.leaf import SignedStatement
from broker.logs import get_logger
from broker.transport.link import Link
from broker.transport.streams import AUDIT_PREFIX, years_at
from broker.transport.streamstates import stream_states
from keys.errors import TokenError

LOOK_S: Final = 10.0
FAREWELL_S: Final = 3.0  # less than a hub waits before it kills a worker
_log = get_logger()


@dataclass
class Presence:
    """One run of one worker.

    Attributes:
        leftovers: Under whose numbers it speaks.
        check_clock: As `Timepiece.check`; by a wrong clock nothing is said, not even the end.
    """

    link: Link
    leftovers: Leftovers
    check_clock: Callable[[], None] = lambda: None
    _announced: dict[str, str] = field(default_factory=dict)

    @asynccontextmanager
    async def told(self) -> AsyncIterator[None]:
        """Say that the run began, and at its end its last number.

        Raises:
            BrokerError: The record could not be written: the worker must not run.
        """
        await self._say(STARTED)
        await self.announce()
        try:
            yield
        finally:
            try:
                async with asyncio.timeout(FAREWELL_S):
                    await self._say(STOPPED)
            except (BrokerError, TokenError, TimeoutError):
                # As if killed: the next run finds its place.
                _log.warning("end-not-told")

    async def run(self) -> None:
        """Announce streams that are opened, for ever."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self.announce()
            except BrokerError as error:
                _log.warning("streams-not-announced", error_code=error.code)

    async def announce(self) -> None:
        """Announce each stream in use that no worker announced yet.

        Raises:
            BrokerError: The record could not be read or written; the same again goes on. Or
                `clock-wrong`.
        """
        now = clock.now()
        states = await stream_states(self.link, "audit.>")
        for year in years_at(now):
            name = f"{AUDIT_PREFIX}{year}"
            state = states.get(name)
            if state is None or self._announced.get(name) == state.created:
                continue
            subject = record.opened(year)
            if await self.leftovers.trail.standing(subject) is None:
                self.leftovers.check_room()
                about = opened(stream_id(name, state.created))
                await self._stand(subject, self.leftovers.decider.stated(about, now=now))
                _log.info("stream-announced", stream=name)
            self._announced[name] = state.created

    async def _say(self, about: bytes) -> None:
        said = self.leftovers.decider.stated(about, now=clock.now())
        await self._stand(record.void(said.statement), said)

    async def _stand(self, subject: str, said: SignedStatement) -> None:
        raw = said.to_bytes()
        with self.leftovers.minding(subject, said.statement):
            self.check_clock()
            if await self.leftovers.trail.stand(subject, raw) != raw:  # another worker was first
                await self.leftovers.give_back(said.statement)
