"""Alarms: what a person at this node should look at, counted, never with content."""

import asyncio
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from sqlalchemy import case, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.logs import get_logger
from broker.node.evidence import EvidenceFolder, Split
from broker.node.ids import from_ms, to_ms
from broker.node.present import Present
from broker.store.database import Database, StoreError
from broker.store.errors import DAMAGED_CODE
from broker.store.tables import alarm_details, alarms
from keys.directory.view import DirectoryView
from keys.errors import KeysError, TokenError
from schemas.desk import Alarm
from schemas.label import MAX_MEMBERS

SPLIT: Final = "directory-split"
LOST: Final = "database-lost"
EXPIRES_SOON: Final = "directory-expires-soon"
UNUSABLE: Final = "signing-key-unusable"
_each = (
    select(
        alarms.c.code,
        alarms.c.peer,
        func.sum(alarms.c.count).label("times"),
        func.min(alarms.c.first_ms).label("first_ms"),
        func.max(alarms.c.last_ms).label("last_ms"),
    )
    .group_by(alarms.c.code, alarms.c.peer)
    .subquery()
)
_rank = func.row_number().over(
    partition_by=_each.c.code, order_by=(_each.c.last_ms.desc(), _each.c.peer)
)
_ranked = select(_each, _rank.label("rank")).subquery()
_peer = case((_ranked.c.rank <= MAX_MEMBERS, _ranked.c.peer), else_="")
_named = select(  # the newest of each code with whom they concern, the rest together
    _ranked.c.code, _peer.label("peer"), _ranked.c.times, _ranked.c.first_ms, _ranked.c.last_ms
).subquery()
_last = func.max(_named.c.last_ms)
_SHOWN: Final = (
    select(
        _named.c.code,
        _named.c.peer,
        func.sum(_named.c.times).label("times"),
        func.min(_named.c.first_ms).label("first_ms"),
        _last.label("last_ms"),
    )
    .group_by(_named.c.code, _named.c.peer)
    .order_by(_last.desc(), _named.c.code, _named.c.peer)
)
_log = get_logger()


async def raise_alarm(
    connection: AsyncConnection,
    code: str,
    *,
    now: datetime,
    peer: str = "",
    ident: str = "",
    detail: str = "",
) -> None:
    """Note one more occurrence of an alarm, with the newest detail."""
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
    if detail:
        of_code = alarm_details.c.code == code
        await connection.execute(delete(alarm_details).where(of_code))
        await connection.execute(insert(alarm_details).values(code=code, detail=detail))


async def settle(connection: AsyncConnection, code: str) -> int:
    """Take down every alarm of `code`, which a person has looked into; return how many."""
    await connection.execute(delete(alarm_details).where(alarm_details.c.code == code))
    return (await connection.execute(delete(alarms).where(alarms.c.code == code))).rowcount


async def say_split(database: Database, present: Present) -> None:
    """Keep the evidence of a split and raise its alarm, once for each.

    Evidence that cannot be kept delays no alarm: the alarm then says so.

    Raises:
        StoreError: It is not said yet; the node's status shows it all the same.
    """
    split, evidence, said = present.unsaid, present.evidence, False
    if split is None:
        return
    present.unsaid = None  # several tasks may come here; one says it
    try:
        if evidence is not None and not split.detail:
            split.detail = await asyncio.to_thread(_kept, evidence, split)
            _log.error(SPLIT, detail=split.detail)
        await database.change(lambda c: raise_alarm(c, SPLIT, now=split.at, detail=split.detail))
        said = True
    finally:
        if not said and present.unsaid is None:
            present.unsaid = split


async def say_unusable(database: Database, error: TokenError, *, now: datetime) -> None:
    """Say that the token which holds this node's signing key does not sign, and what to do."""
    _log.error(UNUSABLE, error_code=error.code)
    detail = f"{error.code}: {error}"
    try:
        await database.change(lambda c: raise_alarm(c, UNUSABLE, now=now, detail=detail))
    except StoreError as failed:  # it must not end the node; the next try says it again
        _log.error("alarm-not-kept", code=UNUSABLE, error_code=failed.code)


def _kept(evidence: EvidenceFolder, split: Split) -> str:
    try:
        return str(evidence.keep(split))
    except KeysError as error:
        return f"evidence not kept: {error.code}"


def damage_alarms(database: Database, raised: Iterable[Alarm]) -> tuple[Alarm, ...]:
    """Return the alarm of a damaged database that does not hold it: it may take none any more.

    Nothing settles it but a start on a database in which no damage is met.
    """
    at = database.damaged_at
    if at is None or any(alarm.code == DAMAGED_CODE for alarm in raised):
        return ()
    return (Alarm(code=DAMAGED_CODE, count=1, first_at=at, last_at=at),)


def unsaid_alarms(present: Present) -> tuple[Alarm, ...]:
    """Return the alarms that are in no database: what expires soon, and a split not yet said."""
    now, found = present.now(), []
    if (split := present.unsaid) is not None:
        found.append(
            Alarm(code=SPLIT, count=1, first_at=split.at, last_at=split.at, detail=split.detail)
        )
    if present.has_directory:
        found += expiry_alarms(present.view, now=now)
    return tuple(found)


def expiry_alarms(view: DirectoryView, *, now: datetime) -> tuple[Alarm, ...]:
    """Return an alarm for each part of the directory that people must sign again soon."""
    return tuple(
        Alarm(
            code=EXPIRES_SOON,
            peer=each.member,
            count=1,
            first_at=now,
            last_at=now,
            detail=f"{each.role} {each.expires_at.isoformat()}",
        )
        for each in view.expiring(now)
    )


async def all_alarms(connection: AsyncConnection) -> tuple[Alarm, ...]:
    """Return every alarm, one for each code and peer, newest first.

    A member can raise one for each envelope of its own, and who signs nothing can name any number
    of members: however many rows there are of one code, they hide no other.
    """
    rows = await connection.execute(_SHOWN)
    found = await connection.execute(select(alarm_details.c.code, alarm_details.c.detail))
    details = {row.code: row.detail for row in found}
    return tuple(
        Alarm(
            code=row.code,
            peer=row.peer or None,
            id=None,
            count=int(row.times),
            first_at=from_ms(row.first_ms),
            last_at=from_ms(row.last_ms),
            detail=details.get(row.code, ""),
        )
        for row in rows
    )
