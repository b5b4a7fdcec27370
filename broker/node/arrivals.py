"""Fetches the files of received alerts from the hub.

A chunk is opened before it is kept: dropped, swapped, repeated, cut or foreign, it does not open at
its place and is not kept. It stays on the disk as it travelled, under a key that the node's storage
key wraps. How far a file is shows on the disk, so a killed node goes on where it was.
"""

import asyncio
import hashlib
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.admission.room import Room
from broker.envelope.chunks import SEALED_CHUNK_BYTES, open_chunk
from broker.envelope.errors import EnvelopeError
from broker.errors import BrokerError
from broker.logs import get_logger
from broker.node import alarms, repeats
from broker.node.arrivalrows import TO_TELL, UNWANTED, removed, same, values
from broker.node.arrivalturns import Turns
from broker.node.arrivedfiles import MISMATCH, secrets_of
from broker.node.changes import Changes, wait_for_change
from broker.node.errors import NodeError
from broker.node.ids import to_ms
from broker.node.present import Began, Present
from broker.node.vault import Vault
from broker.store.chunkfiles import ChunkFiles
from broker.store.database import Database, StoreError
from broker.store.tables import arrivals as table
from broker.transport.attaching import AttachmentServices, Done, Get
from broker.transport.errors import TransportError
from broker.transport.link import Link
from schemas.attachment import Manifest
from schemas.desk import ArrivalState
from schemas.label import uuid7_time

IDLE_S: Final = 0.5
WINDOW: Final = 4  # chunks asked for at once, on a line that is quick
QUICK_S: Final = 1.0
SOON: Final = timedelta(milliseconds=500)  # its sender is handing it in, most likely
LATE: Final = timedelta(seconds=15)  # nothing new for a while
AGAIN: Final = timedelta(minutes=1)  # after what must not be: the hub or the disk is at fault
RARELY: Final = timedelta(hours=1)  # at the least, however old the alert is
OVERDUE: Final = timedelta(days=1)  # then a file that does not come is an alarm
_AGES: Final = 20  # nothing is asked for again before its alert is older by such a part
NOTED_EVERY: Final = 32  # chunks between two notes of how far it is
FIRST_AGAIN: Final = timedelta(seconds=30)  # a sender begins to hand in seconds after the decision
LAST_AGAIN: Final = timedelta(hours=12)
DAMAGED: Final = "bad-chunk"
_log = get_logger()


@dataclass
class _Watched:
    """What this process knows of a file on its way; the disk has it too."""

    have: int
    noted: int
    waited: timedelta = SOON


@dataclass
class Arrivals:
    """The files of what one node has received.

    Attributes:
        quota_bytes: Of all files together, divided among their senders; what has no room waits
            at the hub.
    """

    present: Present
    database: Database
    vault: Vault
    files: ChunkFiles
    link: Link
    mail: Changes
    quota_bytes: int
    _watched: dict[tuple[str, int], _Watched] = field(default_factory=dict)  # Of one task alone.
    _window: int = 1
    _turns: Turns = field(default_factory=Turns)
    _told: dict[str, Began] = field(default_factory=dict)  # To the hub; of the same task.

    async def fetch_for_ever(self) -> None:
        """Fetch whatever is awaited, whenever it is there."""
        while True:
            ticket = self.mail.ticket()
            moved = 0
            try:
                await self.link.wait_connected()
                moved = await self.fetch_due()
                await self.tell_due()
            except BrokerError as error:
                _log.info("fetching-paused", error_code=error.code)
            if not moved:
                await wait_for_change(ticket, IDLE_S)

    async def fetch_due(self) -> int:
        """Fetch a window of the next file that is due and can go on; return how many chunks came.

        None only if nothing that is due now can go on.
        """
        by_ms, came = to_ms(self.present.now()), 0
        while not came and (row := await self._next(by_ms)) is not None:
            came = await self._step(row)
        return came

    async def _next(self, by_ms: int) -> Any:  # noqa: ANN401 - a row or None
        async with self.database.read() as connection:
            return await self._turns.next(connection, by_ms=by_ms)

    async def _step(self, row: Any) -> int:  # noqa: ANN401 - a row
        """Go on with one file; a fault of its own delays no other."""
        if self.present.clock_is_good and row.expires_ms <= to_ms(self.present.now()):
            await self._end(row, ArrivalState.EXPIRED, "expired")
            return 0
        try:
            return await self._go_on(row)
        except (EnvelopeError, NodeError) as error:
            await self._pause(row, error.code, AGAIN, alarm=True)
        except StoreError as error:
            await self._pause(row, error.code, AGAIN, alarm=error.code == "disk-failed")
        except BrokerError as error:
            await self._pause(row, error.code, LATE if error.retry == "later" else AGAIN)
            _log.info("attachment-awaited", id=row.envelope_id, error_code=error.code)
        return 0

    async def _go_on(self, row: Any) -> int:  # noqa: ANN401 - a row
        """Fetch the next chunks of a file; return how many came.

        Raises:
            EnvelopeError: `bad-chunk`, from the hub.
            BrokerError: Some may have come.
        """
        watched = await self._watch(row)
        if not watched.have and (code := await self._hindrance(row)):
            await self._pause(row, code, AGAIN, alarm=True)
            return 0
        before = watched.have
        whole = await self._fetch(row, watched)
        if whole:
            await self._finish(row)
        elif watched.have == before:
            await self._nothing_came(row, watched)
        else:
            watched.waited = SOON
            await self._note(row, watched)
        return watched.have - before

    async def _nothing_came(self, row: Any, watched: _Watched) -> None:  # noqa: ANN401 - a row
        """Ask again later, and ever more rarely: whoever names files and hands none in is cheap."""
        age = self.present.now() - uuid7_time(UUID(row.envelope_id))
        overdue = self.present.clock_is_good and age > OVERDUE
        wait = max(watched.waited, min(age / _AGES, RARELY))
        await self._pause(row, "attachment-late" if overdue else "", wait, alarm=overdue)
        watched.waited = min(watched.waited * 2, LATE)

    async def _fetch(self, row: Any, watched: _Watched) -> bool:  # noqa: ANN401 - a row
        """Fetch, open and keep the next chunks; return whether all are here.

        Raises:
            EnvelopeError: `bad-chunk`: what the hub gave is not what belongs there.
            BrokerError: The hub or the disk does not do it now.
        """
        at_once = self._window if watched.waited == SOON else 1  # nothing came the last time
        window = range(watched.have, min(watched.have + at_once, row.chunks))
        hub = AttachmentServices(self.link, self.present.member)
        loop = asyncio.get_running_loop()
        started = loop.time()
        asked = (Get(row.sender, UUID(row.envelope_id), row.number, index) for index in window)
        got = await asyncio.gather(*(hub.get(each) for each in asked), return_exceptions=True)
        self._window = WINDOW if loop.time() - started < QUICK_S else 1
        key, manifest = secrets_of(self.vault, row)
        for index, found in zip(window, got, strict=True):
            if isinstance(found, BaseException):
                raise found
            if found is None:
                return False
            await asyncio.to_thread(self._keep, row, key, manifest, index, found)
            watched.have = index + 1
        return watched.have == int(row.chunks)

    def _keep(
        self,
        row: Any,  # noqa: ANN401 - a row
        key: bytes,
        manifest: Manifest,
        index: int,
        sealed: bytes,
    ) -> None:
        open_chunk(key, manifest, row.number, index, sealed)
        place = (row.envelope_id, row.number, index)
        if self._read(*place) != sealed:
            self.files.drop(*place)  # damaged here, since this one opened
            self.files.keep(*place, sealed)

    def _read(self, *place: Any) -> bytes:  # noqa: ANN401 - shelf, number and index
        """Return a chunk; nothing where there is none, or one that the disk does not give back."""
        try:
            return self.files.read(*place) or b""
        except StoreError as error:
            _log.warning("chunk-unreadable", id=place[0], error_code=error.code)
            return b""

    async def _finish(self, row: Any) -> None:  # noqa: ANN401 - a row
        key, manifest = secrets_of(self.vault, row)
        try:
            digest = await asyncio.to_thread(self._digest, row, key, manifest)
        except EnvelopeError as error:  # a chunk that was good when it came
            self._watched.pop((row.envelope_id, row.number), None)
            await self._pause(row, error.code, AGAIN, alarm=True)
            return
        if digest == manifest.sha256:
            await self._end(row, ArrivalState.COMPLETE, "")
            _log.info("attachment-here", id=row.envelope_id, sender=row.sender)
        else:
            await self._end(row, ArrivalState.REFUSED, MISMATCH)

    def _digest(self, row: Any, key: bytes, manifest: Manifest) -> bytes:  # noqa: ANN401 - a row
        whole = hashlib.sha256()
        for index in range(manifest.chunks):
            sealed = self._read(row.envelope_id, row.number, index)
            try:
                whole.update(open_chunk(key, manifest, row.number, index, sealed))
            except EnvelopeError:
                self.files.drop(row.envelope_id, row.number, index)
                raise
        return whole.digest()

    async def tell_due(self) -> None:
        """Tell the hub of every alert whose files are all here, or unwanted: it may forget them.

        What it does not take now is told again a minute later, and delays no other.

        Raises:
            TransportError: The hub does not answer.
            StoreError: The database does not keep what it answered.
        """
        async with self.database.read() as connection:
            rows = await TO_TELL.rows(connection)
        hub, lasted = AttachmentServices(self.link, self.present.member), self.present.lasted
        self._told = {ident: at for ident, at in self._told.items() if lasted(at) < AGAIN}
        for row in rows:
            if row.envelope_id in self._told:
                continue
            self._told[row.envelope_id] = self.present.begin()
            if await self._tell(hub, row) is not None:
                mine = table.c.envelope_id == row.envelope_id
                await self.database.change(values(mine, told=1))
                self._told.pop(row.envelope_id, None)
        await self._tell_unwanted(hub)

    async def _tell(self, hub: AttachmentServices, row: Any) -> bool | None:  # noqa: ANN401
        """Tell of one alert; return whether the hub knew of files, None if it refused to answer.

        Raises:
            TransportError: The hub does not answer.
        """
        try:
            return await hub.done(Done(row.sender, UUID(row.envelope_id)))
        except TransportError:
            raise
        except BrokerError as error:  # its disk, most likely, which may take the others
            _log.info("release-not-taken", id=row.envelope_id, error_code=error.code)
            return None

    async def _tell_unwanted(self, hub: AttachmentServices) -> None:
        """Tell the hub of alerts that were refused or destroyed here: nobody fetches their files.

        Whether there are any may be unknown here, and their sender may hand them in later: so it is
        said again, ever more rarely, until the hub knows of them or their time is over.
        """
        now = self.present.now()
        async with self.database.read() as connection:
            rows = await UNWANTED.rows(connection, by_ms=to_ms(now))
        for row in rows:
            known = await self._tell(hub, row)
            if known or row.expires_ms <= to_ms(now):
                await self.database.change(removed(same(row)))
            else:
                age = now - uuid7_time(UUID(row.envelope_id))
                wait = AGAIN if known is None else min(max(FIRST_AGAIN, age / 2), LAST_AGAIN)
                await self.database.change(values(same(row), due_ms=to_ms(now + wait)))

    async def forget_unknown(self) -> None:
        """Forget what is no more: of files that were destroyed here, and chunks that nobody knows.

        The chunks go once no peer can hand their envelopes in again.

        After the database alone was restored from a backup, the alert comes again and its chunks
        are here; without a key in the database they are noise until then.
        """
        shelves: tuple[str, ...] = ()
        if self.present.clock_is_good:
            before = self.present.now() - repeats.KEPT
            shelves = await asyncio.to_thread(self.files.shelves, untouched_since=before)
        async with self.database.read() as connection:
            rows = (await connection.execute(select(table.c.envelope_id, table.c.state))).all()
        known = {row.envelope_id for row in rows}
        coming = {row.envelope_id for row in rows if row.state == str(ArrivalState.ARRIVING)}
        self._watched = {at: each for at, each in self._watched.items() if at[0] in coming}
        for shelf in shelves:
            if shelf not in known:
                await asyncio.to_thread(self.files.remove, shelf)

    async def tidy(self) -> None:
        """At the start: remove halves of chunks that a killed process left."""
        await asyncio.to_thread(self.files.tidy)

    # --- inside ---

    async def _watch(self, row: Any) -> _Watched:  # noqa: ANN401 - a row
        place = (row.envelope_id, row.number)
        if place not in self._watched:
            have = await asyncio.to_thread(self.files.first_missing, *place, row.chunks)
            self._watched[place] = _Watched(have, row.have)
        return self._watched[place]

    async def _hindrance(self, row: Any) -> str:  # noqa: ANN401 - a row
        """Return why a file may not begin to come now, or an empty string."""
        begun = (table.c.have > 0) | (table.c.state == str(ArrivalState.COMPLETE))
        summed = select(table.c.sender, func.sum(table.c.chunks)).where(begun)
        async with self.database.read() as connection:
            found = (await connection.execute(summed.group_by(table.c.sender))).all()
        taken = {sender: int(chunks) * SEALED_CHUNK_BYTES for sender, chunks in found}
        members = self.present.view.members() if self.present.has_directory else ()
        senders = frozenset({*members, *taken, row.sender} - {self.present.member})
        room = Room(self.quota_bytes, senders, taken)
        return room.hindrance(row.sender, int(row.chunks) * SEALED_CHUNK_BYTES)

    async def _note(self, row: Any, watched: _Watched) -> None:  # noqa: ANN401 - a row
        if watched.noted and watched.have - watched.noted < NOTED_EVERY:
            return
        watched.noted = watched.have
        await self.database.change(values(same(row), have=watched.have, code=""))

    async def _pause(
        self,
        row: Any,  # noqa: ANN401 - a row
        code: str,
        wait: timedelta,
        *,
        alarm: bool = False,
    ) -> None:
        now = self.present.now()
        watched = self._watched.get((row.envelope_id, row.number))
        have = row.have if watched is None else watched.have

        async def change(connection: AsyncConnection) -> None:
            due_ms = to_ms(now + wait)
            await values(same(row), code=code, due_ms=due_ms, have=have)(connection)
            if alarm:
                await self._alarm(connection, row, code)

        await self.database.change(change)

    async def _end(self, row: Any, state: ArrivalState, code: str) -> None:  # noqa: ANN401 - a row
        have = row.chunks if state is ArrivalState.COMPLETE else 0

        async def change(connection: AsyncConnection) -> None:
            await values(same(row), state=str(state), code=code, have=have)(connection)
            if state is not ArrivalState.COMPLETE:
                await self._alarm(connection, row, code)

        await self.database.change(change)
        self._watched.pop((row.envelope_id, row.number), None)
        if not have:
            await asyncio.to_thread(self.files.empty, row.envelope_id, row.number)
        self.mail.happened()

    async def _alarm(self, connection: AsyncConnection, row: Any, code: str) -> None:  # noqa: ANN401
        name = code if code.startswith("attachment") else f"attachment-{code}"[:64]
        await alarms.raise_alarm(
            connection, name, now=self.present.now(), peer=row.sender, ident=row.envelope_id
        )
