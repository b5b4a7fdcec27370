"""Which members' connections the hub's operator suspended: told to all, and kept here for people.

The operator alone may stop a connection, for 72 hours at most. What keeps that power honest is
that every member hears of each use of it, with the reason given.
"""

from datetime import datetime
from typing import Final

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.logs import get_logger
from broker.node.ids import from_ms, to_ms
from broker.node.present import Present
from broker.store.database import Database
from broker.store.tables import suspensions
from broker.transport.link import Link
from broker.transport.services import HubServices, Notice
from schemas.desk import Alarm

EVERY_S: Final = 60.0
SUSPENDED: Final = "connection-suspended"
MAX_KEPT: Final = 1000  # suspensions remembered, so that a hub that lies fills no disk
MAX_SHOWN: Final = 50
_log = get_logger()


async def read_notices(present: Present, database: Database, link: Link) -> None:
    """Ask the hub which connections are suspended, and keep what is new.

    Raises:
        BrokerError: The hub does not answer, or the database does not take it.
    """
    told = await HubServices(link, present.member).notices()
    now = present.now()
    fresh = await database.change(lambda connection: keep(connection, told, now=now))
    for notice in fresh:
        _log.warning(SUSPENDED, member=notice.member)


async def keep(
    connection: AsyncConnection, told: tuple[Notice, ...], *, now: datetime
) -> tuple[Notice, ...]:
    """Keep what the hub says at `now`; return the notices that were not known."""
    table = suspensions
    rows = await connection.execute(select(table.c.member, table.c.at_ms))
    known = {(row.member, row.at_ms) for row in rows}
    fresh = {(n.member, to_ms(n.at)): n for n in told if (n.member, to_ms(n.at)) not in known}
    for (member, at_ms), notice in fresh.items():
        values = {"reason": notice.reason, "until_ms": to_ms(notice.until)}
        await connection.execute(insert(table).values(member=member, at_ms=at_ms, **values))
    standing = {(notice.member, to_ms(notice.at)) for notice in told}
    for member, at_ms in known - standing:  # over, or lifted before its time
        over = (table.c.member == member) & (table.c.at_ms == at_ms)
        early = over & (table.c.until_ms > to_ms(now))
        await connection.execute(update(table).where(early).values(until_ms=to_ms(now)))
    oldest = select(table.c.at_ms).order_by(table.c.at_ms.desc()).offset(MAX_KEPT).limit(1)
    if (last := (await connection.execute(oldest)).scalar_one_or_none()) is not None:
        await connection.execute(delete(table).where(table.c.at_ms <= last))
    return tuple(fresh.values())


async def suspension_alarms(connection: AsyncConnection) -> tuple[Alarm, ...]:
    """Return an alarm for each suspension that the hub told of, newest first, with its reason."""
    table = suspensions
    rows = await connection.execute(select(table).order_by(table.c.at_ms.desc()).limit(MAX_SHOWN))
    return tuple(
        Alarm(
            code=SUSPENDED,
            peer=row.member,
            count=1,
            first_at=from_ms(row.at_ms),
            last_at=from_ms(row.until_ms),
            detail=f"{row.reason}; until {from_ms(row.until_ms).isoformat()}",
        )
        for row in rows
    )
