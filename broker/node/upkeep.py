"""What a node does by itself: directory, clock, pair-states, forgetting."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from broker.errors import BrokerError
from broker.logs import get_logger
from broker.node import alarms, hubroom, notices, pairs, repeats
from broker.node.arrivals import Arrivals
from broker.node.changes import Changes
from broker.node.controls import Controls
from broker.node.directorygate import DirectoryGate
from broker.node.drafts import forget_drafts
from broker.node.evidence import OURS, THEIRS
from broker.node.ids import to_ms
from broker.node.mirror import PATIENCE
from broker.node.passed import Passed
from broker.node.present import MAX_SKEW, Began, Present
from broker.node.retention import TOGETHER, destroy_drafted, destroy_due
from broker.node.sealing import Sealer, hurry
from broker.node.staging import Staging
from broker.store.database import Database
from broker.store.errors import DAMAGED_CODE
from broker.transport.errors import Unreachable
from broker.transport.link import Link
from broker.transport.services import HubServices
from keys.directory.client import DirectoryClient, SplitDirectoryError
from keys.errors import DirectoryError, KeysError
from schemas.errors import SchemaError
from schemas.vocabulary import Status

DIRECTORY_EVERY_S: Final = 30.0  # a revocation is here a minute or two after it was published
CLOCK_EVERY_S: Final = 60.0
PAIRS_EVERY_S: Final = 60.0
ANSWERS_EVERY_S: Final = 10.0
OUTAGE_EVERY_S: Final = 2.0
HINDERED_S: Final = 5.0  # while directory or clock keep this node from sealing, look again soon
RETRY_S: Final = 3.0
_log = get_logger()


@dataclass
class Upkeep:
    """The node's own tasks."""

    present: Present
    database: Database
    sealer: Sealer
    controls: Controls
    link: Link
    changes: Changes
    submitted: Changes  # Wakes the task that submits.
    directory: DirectoryClient | None
    staging: Staging
    arrivals: Arrivals
    gate: DirectoryGate
    passed: Passed = field(default_factory=Passed)
    _damage_told: datetime | None = None  # The newest `damaged_at` that an alarm stands for.
    _emptied: bool = False  # The journal, of what was destroyed; at a start nobody knows.
    _silent_since: Began | None = None  # It answers nothing about the directory.
    _said: dict[str, date] = field(default_factory=dict)  # When a role's expiry was last logged.

    async def refresh_directory(self, *, as_of: datetime | None = None) -> None:
        """Fetch, verify and use the newest directory.

        Args:
            as_of: When it was fetched by whoever carries it here, so that its expiry is judged
                then; None for now. Sealing asks for a fresh one in any case.

        Raises:
            BrokerError: The hub does not answer, as for a moment after it was started again.
            KeysError: What it shows breaks a rule; the directory held stays. `directory-split`:
                it has the version of ours and other contents; both are kept as evidence.
                `directory-unreachable`: it has shown none for long.
        """
        if self.directory is None:
            return
        hub, ahead = HubServices(self.link, self.present.member), self.present.ahead
        try:
            copy = await self.directory.refresh(hub.read, now=as_of or self.present.now())
        except SplitDirectoryError as split:
            self.present.meet_split({OURS: split.ours.to_bytes(), THEIRS: split.theirs.to_bytes()})
            await alarms.say_split(self.database, self.present)
            raise
        except DirectoryError as error:
            if isinstance(error.__cause__, Unreachable) and self._is_patient():
                raise error.__cause__ from error
            raise
        self._silent_since = None
        await self.gate.offer(copy)
        if ahead is not None:  # the hub was asked after this was named, and does not show it
            self.present.miss(ahead[0])
        self.say_expiring()
        self.changes.happened()
        await alarms.say_split(self.database, self.present)

    def _is_patient(self) -> bool:
        """Return whether the hub may only be late with its directory, and note that it is."""
        self._silent_since = self._silent_since or self.present.begin()
        return self.present.lasted(self._silent_since) < PATIENCE

    def say_expiring(self) -> None:
        """Log once a day what people must sign again soon."""
        now = self.present.now()
        for each in self.present.view.expiring(now):
            if self._said.get(each.role) != now.date():
                self._said[each.role] = now.date()
                _log.warning(
                    alarms.EXPIRES_SOON, role=each.role, expires_at=each.expires_at.isoformat()
                )

    async def ask_time(self) -> None:
        """Compare the clocks; half of the round trip is uncertainty.

        Raises:
            BrokerError: The hub does not answer.
        """
        before = self.present.now()
        hub_time = await HubServices(self.link, self.present.member).time()
        after = self.present.now()
        self.passed.learn(hub_time)
        skew = before + (after - before) / 2 - hub_time
        if self.present.compared(skew if abs(skew) >= timedelta(milliseconds=1) else timedelta(0)):
            await self.database.change(hurry)
            self.submitted.happened()
        self.changes.happened()

    async def read_notices(self) -> None:
        """Hear which connections the hub's operator suspended."""
        await notices.read_notices(self.present, self.database, self.link)

    async def learn_room(self) -> None:
        """Hear how much the hub holds of this member's files."""
        await hubroom.learn(self.database, self.link, self.present.member)

    async def ask_time_first(self) -> None:
        """Return once the hub is there and was asked for its time, whatever it answered.

        A node that starts with a wrong clock must know before it seals what was queued.
        """
        await self.link.wait_connected()
        try:
            await self.ask_time()
        except (BrokerError, SchemaError) as error:
            _log.info("time-not-told", error_code=error.code)

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

    async def answer_again(self) -> None:
        """Seal again the answers that the hub refused, or that could not be sealed."""
        if await self.controls.seal_due():
            self.submitted.happened()

    async def say_outage(self) -> None:
        """Raise an alarm for a database that was away, once it is back, or that is damaged."""
        if (since := self.database.lost_at) is not None:
            await self.database.change(lambda c: alarms.raise_alarm(c, alarms.LOST, now=since))
            self.database.lost_at = None
        met = self.database.damaged_at
        if met is not None and met != self._damage_told:
            await self.database.change(lambda c: alarms.raise_alarm(c, DAMAGED_CODE, now=met))
            self._damage_told = met

    async def repeat_unproven(self) -> int:
        """Hand in again what was accepted and the log does not prove; return how many envelopes."""
        now = self.present.now()
        count = await self.database.change(lambda c: repeats.unproven_due(c, now))
        if count:
            self.submitted.happened()
        return count

    async def forget(self) -> None:
        """Erase what is past its time, and what nobody asks for any more."""
        now_ms = to_ms(self.present.now())
        await self.database.change(lambda connection: repeats.forget(connection, now_ms))
        await self.arrivals.forget_unknown()
        await self.destroy_over()

    async def destroy_over(self) -> None:
        """Destroy drafts that nobody signed, and what is past its `delete_by` for sure.

        Raises:
            StoreError: Some of it is still there, in the journal at least; the next time goes on.
        """
        now_ms = to_ms(self.present.now())
        if await self.database.change(lambda connection: forget_drafts(connection, now_ms)):
            self._emptied = False
        if (over := await self._over()) is not None:  # a wrong clock destroys nothing
            await self._destroy_over(over)
        if not self._emptied:
            await self.database.empty_journal()
            self._emptied = True

    async def _destroy_over(self, over: datetime) -> None:
        await self.staging.forget_idle(over)
        more = True
        while more:
            before, self._emptied = self._emptied, False  # what fails may have destroyed some of it
            gone = await destroy_due(self.database, self.arrivals.files, over)
            drafted = await destroy_drafted(self.database, over)
            for submission_id in drafted:
                await self.staging.forget_of(submission_id)
            if gone or drafted:
                _log.info("retention-over", count=gone + len(drafted))
                self.changes.happened()
            else:
                self._emptied = before
            more = TOGETHER in {gone, len(drafted)}

    async def _over(self) -> datetime | None:
        """Return before which moment all is over: by this clock while the hub confirms it."""
        if self.present.has_directory:
            self.passed.learn(self.present.signed_before())
        await self.passed.keep(self.database)
        now = self.present.now()
        if self.present.clock_is_good and self.link.connected:
            return now
        return self.passed.over(now, trusted=MAX_SKEW)

    async def run(self) -> None:
        """Do all of it for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._every(DIRECTORY_EVERY_S, self.refresh_directory))
            group.create_task(self._every(CLOCK_EVERY_S, self.ask_time))
            group.create_task(self._every(notices.EVERY_S, self.read_notices))
            group.create_task(self._every(hubroom.EVERY_S, self.learn_room))
            group.create_task(self._every(PAIRS_EVERY_S, self.tell_pairs))
            group.create_task(self._every(PAIRS_EVERY_S, self.forget))
            group.create_task(self._every(PAIRS_EVERY_S, self.destroy_over, linked=False))
            group.create_task(self._every(OUTAGE_EVERY_S, self.say_outage, linked=False))
            group.create_task(self._every(repeats.LOOK_EVERY_S, self.repeat_unproven))
            group.create_task(self._every(ANSWERS_EVERY_S, self.answer_again))

    async def _every(
        self, seconds: float, work: Callable[[], Awaitable[object]], *, linked: bool = True
    ) -> None:
        while True:
            try:
                if linked:
                    await self.link.wait_connected()
                await work()
            except (BrokerError, SchemaError) as error:
                _log.info("upkeep-paused", error_code=error.code)
                await asyncio.sleep(RETRY_S)
            except KeysError as error:
                _log.error("directory-not-taken", error_code=error.code)
                await self._alarm(error.code)
                await asyncio.sleep(HINDERED_S)
            else:
                await self._pause(seconds)

    async def _pause(self, seconds: float) -> None:
        """Sleep, but not long while this node cannot seal: what it needs may be there by now."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while (left_s := end - loop.time()) > 0:
            await asyncio.sleep(min(left_s, HINDERED_S))
            waits = self.present.split_since is not None or self.present.candidate is not None
            if waits or self.present.hindrance():
                return

    async def _alarm(self, code: str) -> None:
        named = code if code.startswith("directory-") else f"directory-{code}"
        if named == "directory-split":  # said once, when it was met
            return
        now = self.present.now()
        try:
            await self.database.change(
                lambda connection: alarms.raise_alarm(connection, named[:64], now=now)
            )
        except BrokerError as error:  # a full disk, most likely; it must not end the node
            _log.error("alarm-not-kept", code=named, error_code=error.code)
