"""What desks read of what arrived: items, source documents, files, and each reader's place."""

from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.node.arrivedfiles import ArrivedFiles
from broker.node.changes import Changes, wait_for_change
from broker.node.errors import NodeError
from broker.node.ids import from_ms, to_ms
from broker.node.present import Present
from broker.node.receiveditem import Kept
from broker.node.standing import as_known_now
from broker.node.tracking import WATCH_S
from broker.node.vault import Vault
from broker.store import tables
from broker.store.database import Database
from schemas.desk import AttachmentShown, Cursor, InboxItem, InboxPage, OriginalDocument


@dataclass(frozen=True)
class Inbox:
    """The inbox of one node, as its desks read it."""

    present: Present
    database: Database
    vault: Vault
    files: ArrivedFiles
    mail: Changes

    async def page(
        self, *, types: Collection[str] = (), since: int = 0, limit: int = 50
    ) -> InboxPage:
        """Return stored alerts after position `since`, oldest first; all types if none named."""
        table = tables.inbox
        query = select(table).where(table.c.position > since).order_by(table.c.position)
        if types:
            query = query.where(table.c.type.in_(list(types)))
        async with self.database.read() as connection:
            rows = (await connection.execute(query.limit(limit + 1))).all()
        kept = [self._kept(row.id, row.sealed).item for row in rows[:limit]]
        items = await self.files.shown(kept)
        last = items[-1].position if items else since
        return InboxPage(items=items, last=last, more=len(rows) > limit)

    async def item(self, item_id: UUID) -> InboxItem:
        """Return one alert, as `NodeService.item` says."""
        (item,) = await self.files.shown([(await self._find(item_id)).item])
        return item

    async def original(self, item_id: UUID) -> OriginalDocument:
        """Return the source document, as `NodeService.original` says."""
        kept = await self._find(item_id)
        if kept.original is None or kept.item.original is None:
            raise NodeError("not-found", "no original document was carried", kind="not-found")
        named = kept.item.original
        return OriginalDocument(content=kept.original, media_type=named.media_type, name=named.name)

    async def attachment(
        self, item_id: UUID, number: int, *, start: int = 0
    ) -> tuple[AttachmentShown, AsyncIterator[bytes]]:
        """Return an attached file, as `NodeService.attachment` says."""
        return await self.files.content((await self._find(item_id)).item, number, start)

    async def subscribe(
        self, *, types: Collection[str] = (), since: int = 0
    ) -> AsyncIterator[InboxItem]:
        """Yield stored alerts after `since`, then each new one as it is stored; never ends."""
        while True:
            ticket = self.mail.ticket()
            page = await self.page(types=types, since=since)
            for item in page.items:
                since = item.position
                yield item
            if not page.items:
                await wait_for_change(ticket, WATCH_S)

    async def cursor(self, name: str) -> Cursor:
        """Return a named reader's place; position 0 if never acknowledged."""
        async with self.database.read() as connection:
            return await _cursor(connection, name)

    async def acknowledge(self, name: str, position: int) -> Cursor:
        """Move a cursor forward, as `NodeService.acknowledge` says."""
        now_ms = to_ms(self.present.now())

        async def change(connection: AsyncConnection) -> Cursor:
            highest = await connection.execute(select(func.max(tables.inbox.c.position)))
            if position > int(highest.scalar_one() or 0):
                raise NodeError(
                    "beyond-the-inbox",
                    "the inbox has not got that far",
                    kind="invalid",
                    field="position",
                )
            table = tables.cursors
            known = await _cursor(connection, name)
            if known.updated_at is None:
                await connection.execute(
                    insert(table).values(name=name, position=position, updated_ms=now_ms)
                )
            elif position > known.position:
                await connection.execute(
                    update(table)
                    .where(table.c.name == name)
                    .values(position=position, updated_ms=now_ms)
                )
            return await _cursor(connection, name)

        return await self.database.change(change)

    async def _find(self, item_id: UUID) -> Kept:
        table = tables.inbox
        async with self.database.read() as connection:
            row = (
                await connection.execute(
                    select(table)
                    .where((table.c.id == str(item_id)) | (table.c.alert_id == str(item_id)))
                    .order_by(table.c.rev.desc(), table.c.position.desc())
                    .limit(1)
                )
            ).one_or_none()
        if row is None:
            raise NodeError("not-found", "no alert is known by this id", kind="not-found")
        return self._kept(row.id, row.sealed)

    def _kept(self, ident: str, sealed: bytes) -> Kept:
        kept = Kept.model_validate_json(self.vault.open(sealed, name=f"inbox/{ident}"))
        return kept.model_copy(update={"item": as_known_now(kept.item, kept.kid, self.present)})


async def _cursor(connection: AsyncConnection, name: str) -> Cursor:
    table = tables.cursors
    row = (await connection.execute(select(table).where(table.c.name == name))).one_or_none()
    if row is None:
        return Cursor(name=name, position=0, updated_at=None)
    return Cursor(name=name, position=row.position, updated_at=from_ms(row.updated_ms))
