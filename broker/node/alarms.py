"""Alarms: what a person at this node should look at, counted, never with content."""

from datetime import datetime

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.node.ids import from_ms, to_ms
from broker.node.present import Present
from broker.store.database import Database
from broker.store.tables import alarms
from schemas.desk import Alarm


async def raise_alarm(
    connection: AsyncConnection, code: str, *, now: datetime, peer: str = "", ident: str = ""
) -> None:
    """Note one more occurrence of an alarm."""
    same = (alarms.c.code == code) & (alarms.c.peer == peer) & (alarms.c.id == ident)
    changed = await connection.execute(
        update(alarms).where(same).values(count=alarms.c.count + 1, last_ms=to_ms(now))
    )
    if not changed.rowcount:
        at_ms = to_ms(now)
        await connection.execute(
            insert(alarms).values(
                code=code, peer=peer, id=ident, count=1, first_ms=at_ms, last_ms=at_ms
            )
        )


async def say_split(database: Database, present: Present) -> None:
    """Raise the alarm of a directory that has two contents under one version, once for each.

    Raises:
        StoreError: It is not said yet.
    """
    if present.split_unsaid:
        now = present.now()
        await database.change(lambda c: raise_alarm(c, "directory-split", now=now))
        present.split_unsaid = False


async def all_alarms(connection: AsyncConnection) -> tuple[Alarm, ...]:
    """Return every alarm, newest first."""
    rows = await connection.execute(select(alarms).order_by(alarms.c.last_ms.desc()).limit(100))
    return tuple(
        Alarm(
            code=row.code,
            peer=row.peer or None,
            id=None,
            count=row._mapping["count"],  # noqa: SLF001 - its public name; `count` is a method
            first_at=from_ms(row.first_ms),
            last_at=from_ms(row.last_ms),
        )
        for row in rows
    )
