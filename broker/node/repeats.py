"""Envelopes that were accepted, kept for a while to be handed in again, byte for byte.

A node restored from a backup lacks what came after it, and says so in its pair-states. The same
envelope again needs no new decision: the gateway finds the standing one, and carries that out once
more. Whoever has the envelope already, drops the second copy by its id and digest.

What was accepted and has no proof from the log in time is handed in again by itself: a hub that
lost its record then decides about the same bytes anew, and that decision gets its leaf.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import and_, bindparam, delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.admission.judge import MAX_AGE
from broker.logs import get_logger
from broker.node.ids import to_ms
from broker.node.proofs import PROVEN_WITHIN
from broker.store.statements import Statement
from broker.store.tables import outbox, proofs, repeatable, sent, unproven
from schemas.control import Missing

KEPT: Final = timedelta(days=14)  # an older backup than that does not get its mail back
KEPT_UNPROVEN: Final = MAX_AGE  # after that every gateway refuses it as too old
MAX_AT_ONCE: Final = 256  # handed in again for one pair-state; the next one asks for the rest
LOOK_EVERY_S: Final = 60.0
FIRST_AFTER: Final = PROVEN_WITHIN  # when the alarm says so, too; the next wait is twice as long
LAST_AFTER: Final = timedelta(days=1)  # no wait is longer
UNPROVEN_AT_ONCE: Final = 32  # in each look: a log that stands still must not double all traffic
_KNOWN: Final = Statement(select(repeatable.c.id).where(repeatable.c.id == bindparam("of_id")))
_WAITING: Final = Statement(select(outbox).where(outbox.c.id == bindparam("of_id")))
_KEPT: Final = Statement(insert(repeatable))
_UNPROVEN: Final = Statement(insert(unproven))
_GONE: Final = Statement(delete(outbox).where(outbox.c.id == bindparam("of_id")))
_log = get_logger()


async def keep(
    connection: AsyncConnection, ident: UUID, *, now: datetime, logged: bool = False
) -> None:
    """Keep what waits in the outbox, whose decision accepted it.

    Args:
        connection: Of the change in which the decision is kept.
        ident: Of the envelope.
        now: The node's clock.
        logged: Whether a log must prove the decision.
    """
    if await _KNOWN.value(connection, of_id=str(ident)) is not None:
        return
    row = await _WAITING.first(connection, of_id=str(ident))
    if row is None:
        return
    await _KEPT.run(
        connection,
        id=row.id,
        subject=row.subject,
        digest=row.digest,
        raw=row.raw,
        until_ms=to_ms(now + KEPT),
    )
    if logged:
        await _UNPROVEN.run(connection, id=row.id, tries=0, next_ms=to_ms(now + FIRST_AFTER))


async def settled(connection: AsyncConnection, ident: UUID) -> None:
    """Take what was handed in again out of the outbox: its receipt came a second time."""
    await _GONE.run(connection, of_id=str(ident))


async def given_up(connection: AsyncConnection, ident: UUID) -> None:
    """Repeat it no more for want of a proof: decided anew, it was refused for good."""
    await connection.execute(delete(unproven).where(unproven.c.id == str(ident)))


async def again(connection: AsyncConnection, peer: str, missing: Sequence[Missing]) -> int:
    """Put back into the outbox what `peer` says it lacks; return how many envelopes.

    What is not kept any more stays a gap at the peer, and shows there; it takes no room from what
    is.

    Args:
        connection: Of the change in which the peer's word is taken.
        peer: Authenticated; it can ask for nothing but what was accepted for it.
        missing: Not trusted beyond its form.
    """
    wanted: list[str] = []
    for incarnation, first, last in missing:
        kept = await connection.execute(
            select(repeatable.c.id)
            .join(sent, sent.c.id == repeatable.c.id)  # so that room goes to what is still kept
            .where(
                sent.c.peer == peer,
                sent.c.incarnation == incarnation,
                sent.c.number >= first,
                sent.c.number <= last,
                sent.c.state == "accepted",
                repeatable.c.id.not_in(select(outbox.c.id)),
            )
            .order_by(sent.c.number)
            .limit(MAX_AT_ONCE - len(wanted))
        )
        wanted += kept.scalars()
    if not wanted:
        return 0
    rows = await connection.execute(select(repeatable).where(repeatable.c.id.in_(wanted)))
    found = {row.id: row for row in rows}
    count = await _put(connection, (found[ident] for ident in wanted))  # in the order of numbers
    if count:
        _log.info("handed-in-again", peer=peer, count=count)
    return count


async def unproven_due(connection: AsyncConnection, now: datetime) -> int:
    """Put back into the outbox what the log should have proved by now; return how many envelopes.

    Args:
        connection: Of a change.
        now: The node's clock.
    """
    proved = select(proofs.c.id).where(proofs.c.sent == 1, proofs.c.number.is_not(None))
    await connection.execute(delete(unproven).where(unproven.c.id.in_(proved)))
    found = await connection.execute(
        select(repeatable, unproven.c.tries)
        .join(unproven, unproven.c.id == repeatable.c.id)
        .where(
            unproven.c.next_ms <= to_ms(now),
            repeatable.c.id.not_in(select(outbox.c.id)),
        )
        .order_by(unproven.c.next_ms)
        .limit(UNPROVEN_AT_ONCE)
    )
    rows = found.all()
    for row in rows:
        wait = min(FIRST_AFTER * 2 ** (row.tries + 1), LAST_AFTER)
        await connection.execute(
            update(unproven)
            .where(unproven.c.id == row.id)
            .values(tries=row.tries + 1, next_ms=to_ms(now + wait))
        )
    count = await _put(connection, rows)
    if count:
        _log.warning("repeated-unproven", count=count)
    return count


async def forget(connection: AsyncConnection, now_ms: int) -> None:
    """Drop what is past its time; what the log has not proved is kept for longer."""
    too_old_ms = now_ms - round((KEPT_UNPROVEN - KEPT).total_seconds() * 1000)
    proved_or_never = repeatable.c.id.not_in(select(unproven.c.id))
    await connection.execute(
        delete(repeatable).where(
            or_(
                and_(repeatable.c.until_ms <= now_ms, proved_or_never),
                repeatable.c.until_ms <= too_old_ms,
            )
        )
    )
    kept = select(repeatable.c.id)
    await connection.execute(delete(unproven).where(unproven.c.id.not_in(kept)))


async def _put(connection: AsyncConnection, rows: Iterable[Any]) -> int:
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
    ]
    if put:
        await connection.execute(insert(outbox), put)
    return len(put)
