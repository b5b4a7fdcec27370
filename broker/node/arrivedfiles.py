"""Files of received alerts as this node keeps them: awaited with the alert, read once whole.

The chunks stay on the disk as they travelled, under a key that the node's storage key wraps.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker import clock
from broker.envelope.chunks import file_key, open_chunk
from broker.envelope.decision import Delivery
from broker.envelope.errors import EnvelopeError
from broker.node import alarms
from broker.node.errors import NodeError
from broker.node.vault import Vault
from broker.store.chunkfiles import ChunkFiles
from broker.store.database import Database
from broker.store.tables import arrivals as table
from broker.store.tables import received
from broker.transport.message import UNREAD_AT_MOST
from schemas.attachment import CHUNK_BYTES, Manifest, decode_manifests, encode_manifests
from schemas.desk import ArrivalState, AttachmentShown, InboxItem

MISMATCH: Final = "attachment-mismatch"
DAMAGED: Final = "attachment-damaged"
_DAMAGED_TEXT: Final = "the node's disk changed the file since it was whole; ask its sender for it"
_KEY_BYTES: Final = 32
_FURTHEST: Final = (
    ArrivalState.REFUSED,
    ArrivalState.EXPIRED,
    ArrivalState.ARRIVING,
    ArrivalState.COMPLETE,
)


@dataclass(frozen=True)
class ArrivedFiles:
    """The files of what one node has received, as its desks read them."""

    database: Database
    vault: Vault
    files: ChunkFiles

    async def shown(self, items: Sequence[InboxItem]) -> tuple[InboxItem, ...]:
        """Return the items with what is here of their files now."""
        idents = [str(item.id) for item in items if item.attachments]
        if not idents:
            return tuple(items)
        async with self.database.read() as connection:
            known = await _best(connection, idents)
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
            NodeError: `not-found`, `attachment-arriving` for now, `attachment-expired`,
                `attachment-mismatch` or `attachment-damaged`; the last on the way too.
        """
        (current,) = await self.shown([item])
        shown = next((each for each in current.attachments if each.number == number), None)
        if shown is None:
            raise NodeError("not-found", "no such file is attached", kind="not-found")
        _check_whole(shown)
        async with self.database.read() as connection:
            known = await _best(connection, [str(item.id)])
        chunks = self._bytes(known[str(item.id), number - 1], start)
        first = await anext(chunks, b"")  # what is damaged is said before the first byte goes
        return shown, _beginning_with(first, chunks)

    async def _bytes(self, row: Any, start: int) -> AsyncIterator[bytes]:  # noqa: ANN401 - a row
        key, manifest = secrets_of(self.vault, row)
        for index in range(start // CHUNK_BYTES, manifest.chunks):
            plain = await self._opened(row, key, manifest, index)
            yield plain[max(0, start - index * CHUNK_BYTES) :]

    async def _opened(self, row: Any, key: bytes, manifest: Manifest, index: int) -> bytes:  # noqa: ANN401
        """Return a chunk's bytes; an alarm says of one that the disk changed since it came.

        Raises:
            NodeError: `attachment-damaged`.
        """
        try:
            return await asyncio.to_thread(self._plain, row, key, manifest, index)
        except EnvelopeError as error:
            now = clock.now()
            await self.database.change(
                lambda connection: alarms.raise_alarm(
                    connection, DAMAGED, now=now, peer=row.sender, ident=row.envelope_id
                )
            )
            raise NodeError(DAMAGED, _DAMAGED_TEXT, kind="conflict") from error

    def _plain(self, row: Any, key: bytes, manifest: Manifest, index: int) -> bytes:  # noqa: ANN401
        sealed = self.files.read(row.envelope_id, row.number, index) or b""
        return open_chunk(key, manifest, row.number, index, sealed)


async def expect_files(  # noqa: PLR0917 - all that is kept of them
    connection: AsyncConnection,
    vault: Vault,
    ident: UUID,
    sender: str,
    key: bytes,
    manifests: Sequence[Manifest],
    *,
    expires_ms: int,
    urgent: bool,
) -> None:
    """Note, in the change that keeps an alert, which files belong to it."""
    if manifests:
        await connection.execute(delete(table).where(*_unwanted(str(ident))))  # refused before
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
                urgent=int(urgent),
            )
        )


def files_expire(delivery: Delivery) -> datetime:
    """Return until when the hub keeps an alert's files at most."""
    label = delivery.delivered.frame.label
    return min(label.expires, delivery.decision.header.decided_at + UNREAD_AT_MOST)


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


async def want_none(
    connection: AsyncConnection, ident: str, sender: str, *, expires_ms: int
) -> None:
    """Note that no file of an envelope is wanted here, for the hub to be told.

    A row without chunks says so. What is known of an envelope's files already stands.
    """
    mine = table.c.envelope_id == ident
    if (await connection.execute(select(table.c.number).where(mine))).first() is not None:
        return
    await connection.execute(
        insert(table).values(
            envelope_id=ident,
            number=0,
            sender=sender,
            chunks=0,
            have=0,
            state=str(ArrivalState.REFUSED),
            code="",
            expires_ms=expires_ms,
            due_ms=0,
            told=0,
            sealed=b"",
        )
    )


async def forget_files(connection: AsyncConnection, ident: str) -> int:
    """Delete what is known of an envelope's files, keys first of all; return how many there were.

    The chunks themselves are then noise, for the caller to remove. If the hub was not told yet that
    nothing more of them is needed, it will be.
    """
    mine = (table.c.envelope_id == ident) & (table.c.chunks > 0)
    owed = select(table.c.sender, table.c.expires_ms).where(mine, table.c.told == 0)
    untold = (await connection.execute(owed)).first()
    count = (await connection.execute(delete(table).where(mine))).rowcount
    if untold is not None:
        await want_none(connection, ident, untold.sender, expires_ms=untold.expires_ms)
    return count


async def _best(connection: AsyncConnection, items: Sequence[str]) -> dict[tuple[str, int], Any]:
    """Return of each item's files, by number, the row that is furthest of all its ids."""
    folded = select(received.c.id, received.c.item).where(received.c.item.in_(items))
    item_of = {row.id: row.item for row in await connection.execute(folded)}
    item_of |= {item: item for item in items}
    here = select(table).where(table.c.envelope_id.in_(item_of), table.c.chunks > 0)
    rows = (await connection.execute(here)).all()
    found: dict[tuple[str, int], Any] = {}
    for row in sorted(rows, key=lambda row: (_FURTHEST.index(row.state), row.have)):
        found[item_of[row.envelope_id], row.number] = row
    return found


def _unwanted(ident: str) -> tuple[Any, ...]:
    return table.c.envelope_id == ident, table.c.chunks == 0


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


def secrets_of(vault: Vault, row: Any) -> tuple[bytes, Manifest]:  # noqa: ANN401 - a row
    """Return what opens the chunks of an awaited file, and what its officer signed of it.

    Raises:
        NodeError: `storage-damaged`.
    """
    plain = vault.open(row.sealed, name=_name(row.envelope_id, row.number))
    (manifest,) = decode_manifests(plain[_KEY_BYTES:])
    return file_key(plain[:_KEY_BYTES], row.number), manifest


def _name(ident: str, number: int) -> str:
    return f"arrival/{ident}/{number}"


async def _beginning_with(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for each in rest:
        yield each
