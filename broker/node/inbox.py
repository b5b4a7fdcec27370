"""What desks read of what arrived: items, source documents, files, and each reader's place."""

from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import bindparam, func, insert, select, update
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
from broker.store.statements import Statement
from schemas.desk import AttachmentShown, Cursor, InboxItem, InboxPage, OriginalDocument

_table: Final = tables.inbox
_AFTER: Final = (
    select(_table).where(_table.c.position > bindparam("since")).order_by(_table.c.position)
)
_ANY: Final = Statement(_AFTER.limit(bindparam("at_most")))
_NEWEST: Final = Statement(
    select(_table)
    .where(
        (_table.c.id == bindparam("of_id"))
        | (_table.c.alert_id == bindparam("of_id"))
        | _table.c.id.in_(  # that into which it was folded
            select(tables.received.c.item).where(tables.received.c.id == bindparam("of_id"))
        )
    )
    .order_by(_table.c.rev.desc(), _table.c.position.desc())
    .limit(1)
)
_LAST: Final = Statement(select(func.max(_table.c.position)))
_CURSOR: Final = Statement(
    select(tables.cursors).where(tables.cursors.c.name == bindparam("of_name"))
)
_BEGUN: Final = Statement(insert(tables.cursors))
_MOVED: Final = Statement(
    update(tables.cursors)
    .where(tables.cursors.c.name == bindparam("of_name"))
    .values(position=bindparam("position"), updated_ms=bindparam("updated_ms"))
)


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
        async with self.database.read() as connection:
            if types:
                asked = _AFTER.where(_table.c.type.in_(list(types))).limit(limit + 1)
                rows = (await connection.execute(asked, {"since": since})).all()
            else:
                rows = list(await _ANY.rows(connection, since=since, at_most=limit + 1))
        kept = [self._kept(row).item for row in rows[:limit]]
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
            if position > int(await _LAST.value(connection) or 0):
                raise NodeError(
                    "beyond-the-inbox",
                    "the inbox has not got that far",
                    kind="invalid",
                    field="position",
                )
            known = await _cursor(connection, name)
            if known.updated_at is None:
                await _BEGUN.run(connection, name=name, position=position, updated_ms=now_ms)
            elif position > known.position:
                await _MOVED.run(connection, of_name=name, position=position, updated_ms=now_ms)
            return await _cursor(connection, name)

        return await self.database.change(change)

    async def _find(self, item_id: UUID) -> Kept:
        async with self.database.read() as connection:
            row = await _NEWEST.first(connection, of_id=str(item_id))
        if row is None:
            raise NodeError("not-found", "no alert is known by this id", kind="not-found")
        return self._kept(row)

    def _kept(self, row: Any) -> Kept:  # noqa: ANN401 - a row
        kept = Kept.model_validate_json(self.vault.open(row.sealed, name=f"inbox/{row.id}"))
        item = as_known_now(kept.item, kept.kid, self.present)
        placed = item.model_copy(update={"position": row.position})
        return kept.model_copy(update={"item": placed})


async def _cursor(connection: AsyncConnection, name: str) -> Cursor:
    row = await _CURSOR.first(connection, of_name=name)
    if row is None:
        return Cursor(name=name, position=0, updated_at=None)
    return Cursor(name=name, position=row.position, updated_at=from_ms(row.updated_ms))
