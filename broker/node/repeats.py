"""Envelopes that were accepted, kept for a while to be handed in again, byte for byte.

A node restored from a backup lacks what came after it, and says so in its pair-states. The same
envelope again needs no new decision: the gateway finds the standing one, and carries that out once
more. Whoever has the envelope already, drops the second copy by its id and digest.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.logs import get_logger
from broker.node.ids import to_ms
from broker.store.tables import outbox, repeatable, sent
from schemas.control import Missing

KEPT: Final = timedelta(days=14)  # an older backup than that does not get its mail back
MAX_AT_ONCE: Final = 256  # handed in again for one pair-state; the next one asks for the rest
_log = get_logger()


async def keep(connection: AsyncConnection, ident: UUID, *, now: datetime) -> None:
    """Keep what waits in the outbox, whose decision accepted it."""
    known = await connection.execute(select(repeatable.c.id).where(repeatable.c.id == str(ident)))
    if known.first() is not None:
        return
    found = select(outbox.c.id, outbox.c.subject, outbox.c.digest, outbox.c.raw).where(
        outbox.c.id == str(ident)
    )
    row = (await connection.execute(found)).one_or_none()
    if row is not None:
        until_ms = to_ms(now + KEPT)
        await connection.execute(insert(repeatable).values((*row, until_ms)))


async def settled(connection: AsyncConnection, ident: UUID) -> None:
    """Take what was handed in again out of the outbox: its receipt came a second time."""
    await connection.execute(delete(outbox).where(outbox.c.id == str(ident)))


async def again(connection: AsyncConnection, peer: str, missing: Sequence[Missing]) -> int:
    """Put back into the outbox what `peer` says it lacks; return how many envelopes.

    What is not kept any more stays a gap at the peer, and shows there.

    Args:
        connection: Of the change in which the peer's word is taken.
        peer: Authenticated; it can ask for nothing but what was accepted for it.
        missing: Not trusted beyond its form.
    """
    wanted: list[str] = []
    for incarnation, first, last in missing:
        found = await connection.execute(
            select(sent.c.id)
            .where(
                sent.c.peer == peer,
                sent.c.incarnation == incarnation,
                sent.c.number >= first,
                sent.c.number <= last,
                sent.c.state == "accepted",
            )
            .order_by(sent.c.number)
            .limit(MAX_AT_ONCE - len(wanted))
        )
        wanted += found.scalars()
    if not wanted:
        return 0
    waiting = set(
        (await connection.execute(select(outbox.c.id).where(outbox.c.id.in_(wanted)))).scalars()
    )
    rows = await connection.execute(select(repeatable).where(repeatable.c.id.in_(wanted)))
    put = [
        {
            "id": row.id,
            "subject": row.subject,
            "digest": row.digest,
            "raw": row.raw,
            "attempt": 0,
            "next_ms": 0,
        }
        for row in rows
        if row.id not in waiting
    ]
    if put:
        await connection.execute(insert(outbox), put)
        _log.info("handed-in-again", peer=peer, count=len(put))
    return len(put)


async def forget(connection: AsyncConnection, now_ms: int) -> None:
    """Drop what is past its time."""
    await connection.execute(delete(repeatable).where(repeatable.c.until_ms <= now_ms))
