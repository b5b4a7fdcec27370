"""Fetches the files of received alerts from the hub, and gives them to desks once they are whole.

A chunk is opened before it is kept: dropped, swapped, repeated, cut or foreign, it does not open at
its place and is not kept. It stays on the disk as it travelled, under a key that the node's storage
key wraps. How far a file is shows on the disk, so a killed node goes on where it was.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.envelope.chunks import SEALED_CHUNK_BYTES, file_key, open_chunk
from broker.envelope.errors import EnvelopeError
from broker.errors import BrokerError
from broker.logs import get_logger
from broker.node import alarms, repeats
from broker.node.changes import Changes
from broker.node.errors import NodeError
from broker.node.ids import to_ms
from broker.node.present import Present
from broker.node.vault import Vault
from broker.store.chunkfiles import ChunkFiles
from broker.store.database import Database, StoreError
from broker.store.tables import arrivals as table
from broker.transport.attaching import AttachmentServices, Done, Get
from broker.transport.link import Link
from schemas.attachment import CHUNK_BYTES, Manifest, decode_manifests, encode_manifests
from schemas.desk import ArrivalState, AttachmentShown, InboxItem

IDLE_S: Final = 0.5
WINDOW: Final = 4  # chunks asked for at once, on a line that is quick
QUICK_S: Final = 1.0
SOON: Final = timedelta(milliseconds=500)  # its sender is handing it in, most likely
LATE: Final = timedelta(seconds=15)  # nothing new for a while
AGAIN: Final = timedelta(minutes=1)  # after what must not be: the hub or the disk is at fault
NOTED_EVERY: Final = 32  # chunks between two notes of how far it is
DAMAGED: Final = "bad-chunk"
MISMATCH: Final = "attachment-mismatch"
FULL: Final = "attachments-full"
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
        quota_bytes: Of all files together; what has no room waits at the hub.
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
                await _wait(ticket, IDLE_S)

    async def fetch_due(self) -> int:
        """Fetch a window of each file that is due; return how many chunks came."""
        now_ms = to_ms(self.present.now())
        due = (table.c.state == str(ArrivalState.ARRIVING)) & (table.c.due_ms <= now_ms)
        async with self.database.read() as connection:
            rows = (await connection.execute(select(table).where(due))).all()
        return sum([await self._step(row) for row in rows])

    async def _step(self, row: Any) -> int:  # noqa: ANN401 - a row
        """Go on with one file; a fault of its own delays no other."""
        if self.present.clock_is_good and row.expires_ms <= to_ms(self.present.now()):
            await self._end(row, ArrivalState.EXPIRED, "expired")
            return 0
        watched = await self._watch(row)
        if not watched.have and not await self._has_room(row):
            await self._pause(row, FULL, AGAIN, alarm=True)
            return 0
        before = watched.have
        try:
            whole = await self._fetch(row, watched)
        except EnvelopeError as error:
            await self._pause(row, error.code, AGAIN, alarm=True)
        except StoreError as error:
            await self._pause(row, error.code, AGAIN)
        except NodeError as error:
            await self._pause(row, error.code, AGAIN, alarm=True)
        except BrokerError as error:
            await self._pause(row, error.code, LATE if error.retry == "later" else AGAIN)
            _log.info("attachment-awaited", id=row.envelope_id, error_code=error.code)
        else:
            if whole:
                await self._finish(row)
            elif watched.have == before:
                await self._pause(row, "", watched.waited)
                watched.waited = min(watched.waited * 2, LATE)
            else:
                watched.waited = SOON
                await self._note(row, watched)
        return watched.have - before

    async def _fetch(self, row: Any, watched: _Watched) -> bool:  # noqa: ANN401 - a row
        """Fetch, open and keep the next chunks; return whether all are here.

        Raises:
            EnvelopeError: `bad-chunk`: what the hub gave is not what belongs there.
            BrokerError: The hub or the disk does not do it now.
        """
        window = range(watched.have, min(watched.have + self._window, row.chunks))
        hub = AttachmentServices(self.link, self.present.member)
        loop = asyncio.get_running_loop()
        started = loop.time()
        asked = (Get(row.sender, UUID(row.envelope_id), row.number, index) for index in window)
        got = await asyncio.gather(*(hub.get(each) for each in asked), return_exceptions=True)
        self._window = WINDOW if loop.time() - started < QUICK_S else 1
        key, manifest = self._secrets(row)
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
        if not self.files.keep(row.envelope_id, row.number, index, sealed):
            self.files.drop(row.envelope_id, row.number, index)  # damaged here, since it opened
            self.files.keep(row.envelope_id, row.number, index, sealed)

    async def _finish(self, row: Any) -> None:  # noqa: ANN401 - a row
        key, manifest = self._secrets(row)
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
            sealed = self.files.read(row.envelope_id, row.number, index) or b""
            try:
                whole.update(open_chunk(key, manifest, row.number, index, sealed))
            except EnvelopeError:
                self.files.drop(row.envelope_id, row.number, index)
                raise
        return whole.digest()

    async def tell_due(self) -> None:
        """Tell the hub of every alert whose files are all here, or refused: it may forget them."""
        waiting = select(table.c.envelope_id).where(table.c.state == str(ArrivalState.ARRIVING))
        asked = (
            select(table.c.envelope_id, table.c.sender)
            .where(table.c.told == 0, table.c.envelope_id.not_in(waiting))
            .distinct()
        )
        async with self.database.read() as connection:
            rows = (await connection.execute(asked)).all()
        hub = AttachmentServices(self.link, self.present.member)
        for row in rows:
            await hub.done(Done(row.sender, UUID(row.envelope_id)))
            mine = table.c.envelope_id == row.envelope_id
            await self.database.change(_values(mine, told=1))

    # --- for desks ---

    async def shown(self, items: Sequence[InboxItem]) -> tuple[InboxItem, ...]:
        """Return the items with what is here of their files now."""
        idents = [str(item.id) for item in items if item.attachments]
        if not idents:
            return tuple(items)
        async with self.database.read() as connection:
            rows = await connection.execute(select(table).where(table.c.envelope_id.in_(idents)))
            known = {(row.envelope_id, row.number): row for row in rows}
        return tuple(
            item.model_copy(
                update={
                    "attachments": tuple(
                        _as_now(each, known.get((str(item.id), each.number - 1)))
                        for each in item.attachments
                    )
                }
            )
            for item in items
        )

    async def content(
        self, item: InboxItem, number: int, start: int
    ) -> tuple[AttachmentShown, AsyncIterator[bytes]]:
        """Return a file and its bytes from `start` on, a chunk at a time.

        Args:
            item: The alert.
            number: Counted from 1, as shown to desks; everywhere else from 0.
            start: Bytes to leave out.

        Raises:
            NodeError: `not-found`, `attachment-arriving` for now, `attachment-expired`
                or `attachment-mismatch`.
        """
        (current,) = await self.shown([item])
        shown = next((each for each in current.attachments if each.number == number), None)
        if shown is None:
            raise NodeError("not-found", "no such file is attached", kind="not-found")
        _check_whole(shown)
        same = (table.c.envelope_id == str(item.id)) & (table.c.number == number - 1)
        async with self.database.read() as connection:
            row = (await connection.execute(select(table).where(same))).one()
        return shown, self._bytes(row, start)

    async def _bytes(self, row: Any, start: int) -> AsyncIterator[bytes]:  # noqa: ANN401 - a row
        key, manifest = self._secrets(row)
        for index in range(start // CHUNK_BYTES, manifest.chunks):
            plain = await asyncio.to_thread(self._plain, row, key, manifest, index)
            yield plain[max(0, start - index * CHUNK_BYTES) :]

    def _plain(self, row: Any, key: bytes, manifest: Manifest, index: int) -> bytes:  # noqa: ANN401
        sealed = self.files.read(row.envelope_id, row.number, index) or b""
        return open_chunk(key, manifest, row.number, index, sealed)

    async def forget_unknown(self) -> None:
        """Remove chunks of envelopes that nobody knows, once no peer can hand those in again.

        After the database alone was restored from a backup, the alert comes again and its chunks
        are here; without a key in the database they are noise until then.
        """
        if not self.present.clock_is_good:
            return
        before = self.present.now() - repeats.KEPT
        shelves = await asyncio.to_thread(self.files.shelves, untouched_since=before)
        async with self.database.read() as connection:
            known = set((await connection.execute(select(table.c.envelope_id))).scalars())
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

    async def _has_room(self, row: Any) -> bool:  # noqa: ANN401 - a row
        begun = (table.c.have > 0) | (table.c.state == str(ArrivalState.COMPLETE))
        async with self.database.read() as connection:
            taken = await connection.execute(select(func.sum(table.c.chunks)).where(begun))
            chunks = int(taken.scalar_one() or 0)
        return (chunks + int(row.chunks)) * SEALED_CHUNK_BYTES <= self.quota_bytes

    async def _note(self, row: Any, watched: _Watched) -> None:  # noqa: ANN401 - a row
        if watched.noted and watched.have - watched.noted < NOTED_EVERY:
            return
        watched.noted = watched.have
        await self.database.change(_values(_same(row), have=watched.have, code=""))

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
            await _values(_same(row), code=code, due_ms=due_ms, have=have)(connection)
            if alarm:
                await self._alarm(connection, row, code)

        await self.database.change(change)

    async def _end(self, row: Any, state: ArrivalState, code: str) -> None:  # noqa: ANN401 - a row
        have = row.chunks if state is ArrivalState.COMPLETE else 0

        async def change(connection: AsyncConnection) -> None:
            await _values(_same(row), state=str(state), code=code, have=have)(connection)
            if state is ArrivalState.REFUSED:
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

    def _secrets(self, row: Any) -> tuple[bytes, Manifest]:  # noqa: ANN401 - a row
        plain = self.vault.open(row.sealed, name=_name(row.envelope_id, row.number))
        (manifest,) = decode_manifests(plain[_KEY_BYTES:])
        return file_key(plain[:_KEY_BYTES], row.number), manifest


_KEY_BYTES: Final = 32


async def expect_files(  # noqa: PLR0917 - all that is kept of them
    connection: AsyncConnection,
    vault: Vault,
    ident: UUID,
    sender: str,
    key: bytes,
    manifests: Sequence[Manifest],
    *,
    expires_ms: int,
) -> None:
    """Note, in the change that keeps an alert, which files belong to it."""
    for number, manifest in enumerate(manifests):
        plain = key + encode_manifests([manifest])
        await connection.execute(
            insert(table).values(
                envelope_id=str(ident),
                number=number,
                sender=sender,
                chunks=manifest.chunks,
                have=0,
                state=str(ArrivalState.ARRIVING),
                code="",
                expires_ms=expires_ms,
                due_ms=0,
                told=0,
                sealed=vault.seal(plain, name=_name(str(ident), number)),
            )
        )


def awaited(manifests: Sequence[Manifest]) -> tuple[AttachmentShown, ...]:
    """Return what is shown of files before the first chunk is here."""
    return tuple(
        AttachmentShown(
            number=number,
            name=each.name,
            media_type=each.media_type,
            bytes=each.size,
            sha256=each.sha256,
            chunks=each.chunks,
        )
        for number, each in enumerate(manifests, 1)
    )


async def forget_files(connection: AsyncConnection, ident: str) -> int:
    """Delete what is known of an envelope's files, keys first of all; return how many there were.

    The chunks themselves are then noise, for the caller to remove.
    """
    return (await connection.execute(delete(table).where(table.c.envelope_id == ident))).rowcount


def _check_whole(shown: AttachmentShown) -> None:
    match shown.state:
        case ArrivalState.ARRIVING:
            raise NodeError(
                "attachment-arriving",
                f"the file is still arriving: {shown.have} of {shown.chunks} chunks are here",
                kind="unavailable",
                retry="later",
            )
        case ArrivalState.EXPIRED:
            raise NodeError(
                "attachment-expired", "its time was over before it was here", kind="not-found"
            )
        case ArrivalState.REFUSED:
            raise NodeError(
                MISMATCH, "what arrived is not the file that the officer signed", kind="conflict"
            )
        case ArrivalState.COMPLETE:
            return


def _as_now(shown: AttachmentShown, row: Any) -> AttachmentShown:  # noqa: ANN401 - a row or None
    if row is None:
        return shown
    change = {"have": row.have, "state": ArrivalState(row.state), "code": row.code}
    return shown.model_copy(update=change)


def _same(row: Any) -> Any:  # noqa: ANN401 - a row, a condition
    return (table.c.envelope_id == row.envelope_id) & (table.c.number == row.number)


def _values(which: Any, **columns: Any) -> Any:  # noqa: ANN401 - a condition, values, a change
    async def change(connection: AsyncConnection) -> None:
        await connection.execute(update(table).where(which).values(**columns))

    return change


def _name(ident: str, number: int) -> str:
    return f"arrival/{ident}/{number}"


async def _wait(ticket: asyncio.Event, limit_s: float) -> None:
    try:
        async with asyncio.timeout(limit_s):
            await ticket.wait()
    except TimeoutError:
        return
