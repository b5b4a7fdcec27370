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

from sqlalchemy import ColumnElement, and_, bindparam, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.admission.judge import MAX_AGE
from broker.logs import get_logger
from broker.node.ids import to_ms
from broker.node.pairs import GAP_AFTER
from broker.node.proofs import PROVEN_WITHIN
from broker.store.statements import Statement
from broker.store.tables import outbox, proofs, repeatable, sent, unproven
from schemas.control import Missing

KEPT: Final = timedelta(days=14)  # an older backup than that does not get its mail back
KEPT_UNPROVEN: Final = MAX_AGE  # after that every gateway refuses it as too old
MAX_AT_ONCE: Final = 256  # waiting to be handed in again for one peer; it asks for the rest later
AGAIN_AFTER: Final = timedelta(hours=6)  # so many of full size take a line of 64 kbit/s nearly five
AGAIN_IF_RESTORED: Final = GAP_AFTER  # an honest node asks no sooner after a restore
MAX_LOOKED_AT: Final = 5000  # numbers; an honest node asks for no more at one time
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


async def again(
    connection: AsyncConnection,
    peer: str,
    missing: Sequence[Missing],
    *,
    incarnation: int,
    now: datetime,
) -> int:
    """Put back into the outbox what `peer` says it lacks; return how many envelopes.

    What is not kept any more stays a gap at the peer, and shows there; it takes no room from what
    is.

    Args:
        connection: Of the change in which the peer's word is taken.
        peer: Authenticated; it can ask for nothing but what was accepted for it.
        missing: Not trusted beyond its form. What the peer names once more too soon, it does not
            get: it says that it lacks what it has, or the first repetition is still on its way.
        incarnation: Of the peer's node; in a new one it may lack again what it got.
        now: The node's clock.
    """
    wanted: list[str] = []
    room = MAX_AT_ONCE - await _waiting_for(connection, peer)
    rested = _rested(incarnation, to_ms(now))
    looked_at = 0
    for under, first, last in missing:
        until = min(last, first + MAX_LOOKED_AT - looked_at - 1)
        looked_at += until - first + 1
        kept = await connection.execute(
            select(repeatable.c.id)
            .join(sent, sent.c.id == repeatable.c.id)  # so that room goes to what is still kept
            .where(
                sent.c.peer == peer,
                sent.c.incarnation == under,
                sent.c.number >= first,
                sent.c.number <= until,
                sent.c.state == "accepted",
                repeatable.c.id.not_in(select(outbox.c.id)),
                rested,
            )
            .order_by(sent.c.number)
            .limit(max(0, room - len(wanted)))
        )
        wanted += kept.scalars()
    if not wanted:
        return 0
    rows = await connection.execute(select(repeatable).where(repeatable.c.id.in_(wanted)))
    found = {row.id: row for row in rows}
    in_order = (found[ident] for ident in wanted)  # of their numbers
    count = await _put(connection, in_order, asked_for=True)
    await connection.execute(
        update(sent)
        .where(sent.c.peer == peer, sent.c.id.in_(wanted))
        .values(again_ms=to_ms(now), again_for=incarnation)
    )
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
    too_old_ms = now_ms - _ms(KEPT_UNPROVEN - KEPT)
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


async def _waiting_for(connection: AsyncConnection, peer: str) -> int:
    """Return how much of what `peer` asked for is not handed in yet."""
    found = await connection.execute(
        select(func.count())
        .select_from(outbox.join(sent, sent.c.id == outbox.c.id))
        .where(outbox.c.again == 1, sent.c.peer == peer)
    )
    return int(found.scalar_one())


def _rested(incarnation: int, now_ms: int) -> ColumnElement[bool]:
    """Return which numbers were not handed in again lately for a peer in this incarnation."""
    last, restored = sent.c.again_ms, sent.c.again_for < incarnation
    return or_(
        last <= now_ms - _ms(AGAIN_AFTER),
        and_(restored, last <= now_ms - _ms(AGAIN_IF_RESTORED)),
        last > now_ms,  # by a clock that was ahead
    )


def _ms(span: timedelta) -> int:
    return round(span.total_seconds() * 1000)


async def _put(connection: AsyncConnection, rows: Iterable[Any], *, asked_for: bool = False) -> int:
    put = [
        {
            "id": row.id,
            "subject": row.subject,
            "digest": row.digest,
            "raw": row.raw,
            "attempt": 0,
            "next_ms": 0,
            "again": int(asked_for),
        }
        for row in rows
    ]
    if put:
        await connection.execute(insert(outbox), put)
    return len(put)
