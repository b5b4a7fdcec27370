"""Files that desks hand over, chunk by chunk, kept sealed until the hub has them.

A desk may break off at any chunk and go on there, after a restart of either side. A chunk is on the
disk, sealed under the node's storage key, before it is answered. What no submission takes within a
day is forgotten.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.node.errors import NodeError
from broker.node.ids import from_ms, new_id, to_ms
from broker.node.present import Present
from broker.node.stagedchunks import StagedChunks
from broker.node.vault import Vault
from broker.store.chunkfiles import ChunkFiles
from broker.store.database import Database
from broker.store.tables import attachments as table
from schemas.attachment import CHUNK_BYTES, MAX_ATTACHMENT_BYTES, Manifest, chunks_of
from schemas.desk import (
    AttachedFile,
    AttachmentRequest,
    AttachmentUpload,
    WaitingFile,
    WaitingFiles,
)

KEPT: Final = timedelta(days=1)  # as long as a draft
TOUCHED_EVERY: Final = timedelta(hours=1)  # while a slow desk hands it over
MAX_OPEN: Final = 1000  # files at a time, however small


@dataclass
class Staging:
    """The files of one node's desks.

    Attributes:
        quota_bytes: Of all files together that the hub does not have yet.
    """

    present: Present
    database: Database
    vault: Vault
    files: ChunkFiles
    quota_bytes: int
    chunks: StagedChunks = field(init=False)

    def __post_init__(self) -> None:
        """Join the parts."""
        self.chunks = StagedChunks(self.vault, self.files)

    async def create(self, owner: str, request: AttachmentRequest) -> AttachmentUpload:
        """Begin a file, or find the same one of the same desk that was begun before.

        Raises:
            NodeError: `attachment-too-large`, or `attachments-full` for now.
        """
        check_size(request.bytes)
        now_ms = to_ms(self.present.now())

        async def change(connection: AsyncConnection) -> str:
            known = await self._same(connection, owner, request)
            if known is not None:
                await connection.execute(
                    update(table).where(table.c.id == known).values(touched_ms=now_ms)
                )
                return known
            await self._check_room(connection, chunks_of(request.bytes))
            ident = str(new_id(self.present.now()))
            plain = request.model_dump_json().encode()
            await connection.execute(
                insert(table).values(
                    id=ident,
                    owner=owner,
                    chunks=chunks_of(request.bytes),
                    complete=0,
                    touched_ms=now_ms,
                    number=0,
                    sealed=self.vault.seal(plain, name=f"attachment/{ident}"),
                )
            )
            return ident

        ident = await self.database.change(change)
        return await self.status(owner, UUID(ident))

    async def put(self, owner: str, ident: UUID, index: int, raw: bytes) -> AttachmentUpload:
        """Keep a chunk; the same one again changes nothing.

        Raises:
            NodeError: `not-found`, `attachment-used`, `out-of-order`, `no-such-chunk`,
                `chunk-differs`, or `attachment-mismatch`: the whole is not what was announced, and
                was forgotten.
            StoreError: `disk-full`; nothing was kept.
        """
        row = await self._row(owner, ident)
        if row.submission_id is not None:
            raise _used()
        request, here = self._request(row), await self.chunks.here(ident, row.chunks)
        length = min(CHUNK_BYTES, request.bytes - index * CHUNK_BYTES)
        if not 0 <= index < row.chunks or len(raw) != length:
            text = f"chunk {index} of {row.chunks} has {length} bytes, {len(raw)} came"
            raise NodeError("no-such-chunk", text, kind="invalid")
        if index > here:
            raise NodeError("out-of-order", f"chunk {here} is awaited", kind="conflict")
        if index < here:
            await self.chunks.compare(ident, index, raw)
        else:
            await self.chunks.keep(ident, index, raw)
            await self._check_kept(owner, ident)
            self.chunks.note(ident, index)
        await self._touch(row)
        if await self.chunks.here(ident, row.chunks) == row.chunks and not row.complete:
            await self._finish(ident, request.manifest())
        return await self.status(owner, ident)

    async def status(self, owner: str, ident: UUID) -> AttachmentUpload:
        """Return how far a file is.

        Raises:
            NodeError: `not-found`.
        """
        return await self._upload(await self._row(owner, ident))

    async def waiting(self, owner: str) -> WaitingFiles:
        """Return the files of a desk that no submission took, oldest first."""
        mine = (table.c.owner == owner) & table.c.submission_id.is_(None)
        async with self.database.read() as connection:
            rows = (await connection.execute(select(table).where(mine).order_by(table.c.id))).all()
        found = []
        for row in rows:
            request, upload = self._request(row), await self._upload(row)
            found.append(WaitingFile(**dict(upload), name=request.name, bytes=request.bytes))
        return WaitingFiles(items=tuple(found))

    async def withdraw(self, owner: str, ident: UUID) -> None:
        """Delete a file that no submission took; a draft that names it can no longer be sent.

        Raises:
            NodeError: `not-found`, or `attachment-used`: cancel the submission instead.
        """
        await self._row(owner, ident)
        mine = (table.c.id == str(ident)) & (table.c.owner == owner)
        if not await self._forget(mine & table.c.submission_id.is_(None)):
            await self._row(owner, ident)
            raise _used()

    async def ready(self, named: Sequence[AttachedFile]) -> tuple[UUID, ...]:
        """Return the ids of files that a draft names, all here and as it says.

        Raises:
            NodeError: `attachment-missing`, `attachment-incomplete`, `attachment-used` or
                `attachment-mismatch`.
        """
        if not named:
            return ()
        return await self.database.change(lambda connection: self._ready(connection, named))

    async def _ready(
        self, connection: AsyncConnection, named: Sequence[AttachedFile]
    ) -> tuple[UUID, ...]:
        found = []
        for each in named:
            ident = each.attachment_id
            asked = select(table).where(table.c.id == str(ident))
            row = None if ident is None else (await connection.execute(asked)).one_or_none()
            if row is None or ident is None:
                raise _refused("attachment-missing", "an attached file was not handed over")
            if row.submission_id is not None:
                raise _used()
            if not row.complete:
                raise _refused("attachment-incomplete", "an attached file is not here whole yet")
            if self._request(row).manifest() != each.manifest():
                raise _refused("attachment-mismatch", "an attached file is not the one named")
            await connection.execute(
                update(table)
                .where(table.c.id == row.id)
                .values(touched_ms=to_ms(self.present.now()))
            )
            found.append(ident)
        if len(set(found)) != len(found):
            raise _refused("attachment-repeated", "a file is attached twice")
        return tuple(found)

    @staticmethod
    async def take(
        connection: AsyncConnection, submission_id: UUID, idents: Sequence[UUID]
    ) -> tuple[int, ...]:
        """Give files to a submission; return how many chunks each has.

        Raises:
            NodeError: `attachment-used`, or `attachment-missing`: forgotten meanwhile.
        """
        counts = []
        for number, ident in enumerate(idents):
            mine = table.c.id == str(ident)
            row = (await connection.execute(select(table).where(mine))).one_or_none()
            if row is None or not row.complete:
                raise _refused("attachment-missing", "an attached file was forgotten meanwhile")
            if row.submission_id is not None:
                raise _used()
            await connection.execute(
                update(table).where(mine).values(submission_id=str(submission_id), number=number)
            )
            counts.append(int(row.chunks))
        return tuple(counts)

    async def of_submission(self, submission_id: UUID) -> list[tuple[UUID, Manifest]]:
        """Return a submission's files in their order."""
        async with self.database.read() as connection:
            rows = await connection.execute(
                select(table)
                .where(table.c.submission_id == str(submission_id))
                .order_by(table.c.number)
            )
            return [(UUID(row.id), self._request(row).manifest()) for row in rows]

    async def chunk(self, ident: UUID, index: int) -> bytes:
        """Return a chunk in clear.

        Raises:
            NodeError: `storage-damaged`.
        """
        return await self.chunks.chunk(ident, index)

    async def forget_of(self, submission_id: UUID) -> None:
        """Delete a submission's files: the hub has them, or nobody will."""
        await self._forget(table.c.submission_id == str(submission_id))

    async def forget_idle(self, over: datetime | None = None) -> None:
        """Delete what no submission took in time; while the clock is in doubt, nothing.

        Args:
            over: A time that is over for sure; None for now, if the hub confirms this clock.
        """
        if over is None and self.present.clock_is_good:
            over = self.present.now()
        if over is None:
            return
        idle = table.c.submission_id.is_(None) & (table.c.touched_ms < to_ms(over - KEPT))
        async with self.database.read() as connection:
            any_idle = (await connection.execute(select(table.c.id).where(idle).limit(1))).first()
        if any_idle is not None:
            await self._forget(idle)

    async def tidy(self) -> None:
        """At the start: remove the chunks of files that nobody knows, and halves of chunks."""
        shelves = await asyncio.to_thread(self.files.shelves)  # before the rows: those come first
        async with self.database.read() as connection:
            known = set((await connection.execute(select(table.c.id))).scalars())
        for shelf in shelves:
            if shelf not in known:
                await asyncio.to_thread(self.files.remove, shelf)
        await asyncio.to_thread(self.files.tidy)

    async def _forget(self, which: Any) -> int:  # noqa: ANN401 - a condition
        """Delete files, and return how many; of one that a draft took up meanwhile, nothing.

        Rows first: after a crash, chunks without a row are removed at the next start.
        """

        async def change(connection: AsyncConnection) -> list[str]:
            gone = await connection.execute(delete(table).where(which).returning(table.c.id))
            return list(gone.scalars())

        idents = await self.database.change(change)
        for ident in idents:
            await self.chunks.remove(UUID(ident))
        return len(idents)

    async def _check_kept(self, owner: str, ident: UUID) -> None:
        """Return if a file is still kept after a chunk of it was, which else is removed again.

        Raises:
            NodeError: `not-found`.
        """
        try:
            await self._row(owner, ident)
        except NodeError:  # it was withdrawn while the chunk was written
            await self.chunks.remove(ident)
            raise

    async def _finish(self, ident: UUID, manifest: Manifest) -> None:
        digest = await self.chunks.digest(ident, manifest.chunks)
        mine = (table.c.id == str(ident)) & table.c.submission_id.is_(None)
        if digest != manifest.sha256:
            await self._forget(mine)
            raise NodeError(
                "attachment-mismatch",
                "the file is not the one announced: its SHA-256 differs; begin again",
                kind="conflict",
            )

        async def change(connection: AsyncConnection) -> None:
            await connection.execute(update(table).where(mine).values(complete=1))

        await self.database.change(change)

    async def _touch(self, row: Any) -> None:  # noqa: ANN401 - a row
        now = self.present.now()
        if from_ms(row.touched_ms) < now - TOUCHED_EVERY:
            mine = table.c.id == row.id

            async def change(connection: AsyncConnection) -> None:
                await connection.execute(update(table).where(mine).values(touched_ms=to_ms(now)))

            await self.database.change(change)

    async def _row(self, owner: str, ident: UUID) -> Any:  # noqa: ANN401 - a row
        mine = (table.c.id == str(ident)) & (table.c.owner == owner)
        async with self.database.read() as connection:
            row = (await connection.execute(select(table).where(mine))).one_or_none()
        if row is None:
            raise NodeError("not-found", "no such file is kept for this desk", kind="not-found")
        return row

    async def _upload(self, row: Any) -> AttachmentUpload:  # noqa: ANN401 - a row
        return AttachmentUpload(
            attachment_id=UUID(row.id),
            chunk_bytes=CHUNK_BYTES,
            chunks=row.chunks,
            next=row.chunks
            if row.submission_id
            else await self.chunks.here(UUID(row.id), row.chunks),
            complete=bool(row.complete),
            expires_at=from_ms(row.touched_ms) + KEPT,
        )

    async def _same(
        self, connection: AsyncConnection, owner: str, request: AttachmentRequest
    ) -> str | None:
        rows = await connection.execute(
            select(table).where(
                table.c.owner == owner,
                table.c.submission_id.is_(None),
                table.c.chunks == chunks_of(request.bytes),
            )
        )
        return next((row.id for row in rows if self._request(row) == request), None)

    async def _check_room(self, connection: AsyncConnection, chunks: int) -> None:
        asked = select(func.count(), func.sum(table.c.chunks)).select_from(table)
        count, taken = (await connection.execute(asked)).one()
        if count >= MAX_OPEN or (int(taken or 0) + chunks) * CHUNK_BYTES > self.quota_bytes:
            raise NodeError(
                "attachments-full",
                "this node keeps as many files for the hub as it may; try again later",
                kind="unavailable",
                retry="later",
            )

    def _request(self, row: Any) -> AttachmentRequest:  # noqa: ANN401 - a row
        plain = self.vault.open(row.sealed, name=f"attachment/{row.id}")
        return AttachmentRequest.model_validate_json(plain)


def check_size(size: int) -> None:
    """Return if a file of `size` bytes can be attached.

    Raises:
        NodeError: `attachment-too-large`, naming both sizes.
    """
    if size > MAX_ATTACHMENT_BYTES:
        raise NodeError(
            "attachment-too-large",
            f"the file has {size} bytes, at most {MAX_ATTACHMENT_BYTES} can be attached",
            kind="invalid",
            field="bytes",
        )


def _used() -> NodeError:
    return NodeError("attachment-used", "this file went with another alert", kind="conflict")


def _refused(code: str, text: str) -> NodeError:
    return NodeError(code, text, kind="conflict", field="attachments")
