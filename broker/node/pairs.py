"""Numbers between two nodes: what was withheld shows as a gap.

Each envelope to a peer has the next number. A `pair-state` tells the peer which numbers it must
have; one neither received nor void fifteen minutes later is reported.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import (
    ColumnElement,
    Table,
    bindparam,
    delete,
    func,
    insert,
    not_,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.node.ids import from_ms, to_ms
from broker.node.sealing import INCARNATION, incarnation_of
from broker.store.statements import Statement
from broker.store.tables import gaps, meta, numbers, peer_incarnations, peers, sent
from schemas.control import MAX_MISSING, MAX_RANGES, Missing, PairState
from schemas.desk import Gap

GAP_AFTER: Final = timedelta(minutes=15)
OPEN_EVERY: Final = timedelta(hours=1)
IDLE_EVERY: Final = timedelta(days=1)
SILENT_AFTER: Final = timedelta(hours=26)  # a day, and time for a bad line
_KNOWN: Final = Statement(
    select(numbers.c.number).where(
        numbers.c.peer == bindparam("of_peer"),
        numbers.c.incarnation == bindparam("of_incarnation"),
        numbers.c.number == bindparam("of_number"),
    )
)
_ARRIVED: Final = Statement(insert(numbers))
_FILLED: Final = Statement(
    delete(gaps).where(
        gaps.c.peer == bindparam("of_peer"),
        gaps.c.incarnation == bindparam("of_incarnation"),
        gaps.c.number == bindparam("of_number"),
    )
)
_HEARD: Final = Statement(
    update(peers).where(peers.c.peer == bindparam("of_peer")).values(heard_ms=bindparam("heard_ms"))
)
_ASKED: Final = "asked/"  # with a peer's code the name of the last number it was asked for
_IN_ORDER: Final = (gaps.c.incarnation, gaps.c.number)
SHOWN_OF_EACH: Final = 100  # gaps of one peer in a status; beside them stands how many there are
_WINDOW: Final = 5000  # numbers spoken of in one state; older ones were settled by earlier ones
KEPT_OF_PEER: Final = _WINDOW + 1
"""Gaps noted of one peer: all that one state can name. A peer that numbers anew with each state, or
names other numbers each time, says nothing more by it; what it lacks besides comes in when the
first ones are filled or void."""


async def arrived(
    connection: AsyncConnection, peer: str, number: tuple[int, int], *, now: datetime
) -> None:
    """Note that a peer's number is here; it fills its gap."""
    incarnation, counter = number
    it: dict[str, object] = {"of_peer": peer, "of_incarnation": incarnation, "of_number": counter}
    if await _KNOWN.value(connection, **it) is None:
        await _ARRIVED.run(connection, peer=peer, incarnation=incarnation, number=counter)
    await _FILLED.run(connection, **it)
    await _heard(connection, peer, now=now)


async def compare(
    connection: AsyncConnection, peer: str, state: PairState, *, now: datetime
) -> None:
    """Note what a peer says we must have and have not, and forget what it calls void.

    A peer in a new incarnation was restored from a backup: it hears at once what it must have.

    Args:
        connection: Of the change in which the peer's word is taken.
        peer: Authenticated.
        state: Not trusted beyond its form: nobody can count to the end of what may stand in it.
        now: The node's clock.
    """
    if await _begins_anew(connection, peer, state.incarnation):
        await connection.execute(update(peers).where(peers.c.peer == peer).values(told_ms=0))
    wanted = range(state.since, min(state.highest, state.since + _WINDOW) + 1)
    have = await _noted(connection, numbers, peer, state.incarnation, wanted)
    known = await _noted(connection, gaps, peer, state.incarnation, wanted)
    excused = {
        number
        for first, last in (*state.void, *state.pending)
        for number in range(first, min(last + 1, wanted.stop))
    }
    own = (gaps.c.peer == peer) & (gaps.c.incarnation == state.incarnation)
    if excused & known:
        await connection.execute(delete(gaps).where(own, gaps.c.number.in_(excused & known)))
    new = [
        {
            "peer": peer,
            "incarnation": state.incarnation,
            "number": number,
            "noticed_ms": to_ms(now),
        }
        for number in wanted
        if number not in have and number not in excused and number not in known
    ]
    if new and (fitting := new[: await _room(connection, peer)]):
        await connection.execute(insert(gaps), fitting)
    await _heard(connection, peer, now=now)


async def open_gaps(
    connection: AsyncConnection, peers_lacking: Iterable[str], *, now: datetime
) -> tuple[Gap, ...]:
    """Return the gaps that are older than fifteen minutes: the first of each peer.

    No peer's claims push another's out of sight.

    Args:
        connection: To read by.
        peers_lacking: Of whom something is lacking, as `count_gaps` says.
        now: The node's clock.
    """
    shown: list[Gap] = []
    for peer in peers_lacking:
        rows = await connection.execute(
            select(gaps).where(_open(peer, now)).order_by(*_IN_ORDER).limit(SHOWN_OF_EACH)
        )
        shown += (
            Gap(
                peer=row.peer,
                incarnation=row.incarnation,
                number=row.number,
                noticed_at=from_ms(row.noticed_ms),
            )
            for row in rows
        )
    return tuple(shown)


async def count_gaps(connection: AsyncConnection, *, now: datetime) -> dict[str, int]:
    """Return how many gaps are older than fifteen minutes, for each peer that has any."""
    rows = await connection.execute(
        select(gaps.c.peer, func.count())
        .where(gaps.c.noticed_ms <= to_ms(now - GAP_AFTER))
        .group_by(gaps.c.peer)
        .order_by(gaps.c.peer)
    )
    return dict(rows.all())


async def silent_peers(connection: AsyncConnection, *, now: datetime) -> tuple[str, ...]:
    """Return the peers that once wrote and are overdue with a pair-state."""
    rows = await connection.execute(
        select(peers.c.peer).where(
            peers.c.heard_ms > 0, peers.c.heard_ms < to_ms(now - SILENT_AFTER)
        )
    )
    return tuple(rows.scalars())


async def due(connection: AsyncConnection, *, now: datetime) -> tuple[str, ...]:
    """Return the peers to which a pair-state is due.

    Also to one of whom something is lacking, though we never wrote to it as far as we know: a
    backup from before our first word to it has forgotten that, and only so it hears what to repeat.
    """
    open_mail = select(sent.c.peer).where(sent.c.state == "pending").distinct()
    told = {row.peer: row.told_ms for row in await connection.execute(select(peers))}
    written = set((await connection.execute(select(sent.c.peer).distinct())).scalars())
    busy = set((await connection.execute(open_mail)).scalars())
    lacking = set(await count_gaps(connection, now=now))

    def pause(peer: str) -> timedelta:
        if peer in lacking:
            return GAP_AFTER
        return OPEN_EVERY if peer in busy else IDLE_EVERY

    return tuple(
        peer
        for peer in sorted(written | lacking)
        if now - from_ms(told.get(peer, 0)) >= pause(peer)
    )


async def state_for(connection: AsyncConnection, peer: str, *, now: datetime) -> PairState:
    """Return what to tell a peer of our numbers to it, and note that it was told."""
    incarnation = await incarnation_of(connection)
    mine = (sent.c.peer == peer) & (sent.c.incarnation == incarnation)
    highest = (
        await connection.execute(
            select(func.max(sent.c.number)).where(mine, sent.c.state == "accepted")
        )
    ).scalar_one() or 0
    since = max(1, highest - _WINDOW)
    rows = await connection.execute(
        select(sent.c.number, sent.c.state)
        .where(mine, sent.c.number >= since, sent.c.number <= highest)
        .order_by(sent.c.number)
    )
    states = {row.number: row.state for row in rows}
    known = await connection.execute(
        update(peers).where(peers.c.peer == peer).values(told_ms=to_ms(now))
    )
    if not known.rowcount:
        await connection.execute(insert(peers).values(peer=peer, heard_ms=0, told_ms=to_ms(now)))
    return PairState(
        at=now,
        incarnation=incarnation,
        since=since,
        highest=max(highest, since - 1),
        void=_ranges(n for n, state in states.items() if state == "void"),
        pending=_ranges(n for n, state in states.items() if state == "pending"),
        missing=await _missing(connection, peer, now=now),
    )


async def begin_anew(connection: AsyncConnection, *, now: datetime) -> int:
    """Start this node's next incarnation, as after a restart from a backup, and return it.

    It is the time in seconds: counted on from the backup's, two restores of one backup would be
    the same incarnation and give the same numbers to different envelopes. A pair-state is then
    due to everybody, so that all hear of it.
    """
    number = max(await incarnation_of(connection) + 1, int(now.timestamp()))
    await connection.execute(delete(meta).where(meta.c.name == INCARNATION))
    await connection.execute(insert(meta).values(name=INCARNATION, value=str(number)))
    await connection.execute(update(peers).values(told_ms=0))
    return number


async def _room(connection: AsyncConnection, peer: str) -> int:
    """Return how many more gaps of a peer are noted."""
    count = select(func.count()).select_from(gaps).where(gaps.c.peer == peer)
    noted = (await connection.execute(count)).scalar_one()
    return max(0, KEPT_OF_PEER - noted)


async def _noted(
    connection: AsyncConnection, table: Table, peer: str, incarnation: int, within: range
) -> set[int]:
    """Return which numbers of a peer a table has in a range."""
    found = await connection.execute(
        select(table.c.number).where(
            table.c.peer == peer,
            table.c.incarnation == incarnation,
            table.c.number >= within.start,
            table.c.number <= within.stop - 1,  # a column holds 63 bits, which `stop` may pass
        )
    )
    return set(found.scalars())


async def _begins_anew(connection: AsyncConnection, peer: str, incarnation: int) -> bool:
    """Return whether a peer numbers anew, which no message of it has shown yet."""
    table = peer_incarnations
    known = await connection.execute(select(table.c.incarnation).where(table.c.peer == peer))
    before = known.scalar_one_or_none()
    if before is None:
        await connection.execute(insert(table).values(peer=peer, incarnation=incarnation))
        return incarnation > 1
    if incarnation > before:
        await connection.execute(
            update(table).where(table.c.peer == peer).values(incarnation=incarnation)
        )
        return True
    return False


async def _heard(connection: AsyncConnection, peer: str, *, now: datetime) -> None:
    heard_ms = to_ms(now)
    if not await _HEARD.run(connection, of_peer=peer, heard_ms=heard_ms):
        await connection.execute(insert(peers).values(peer=peer, heard_ms=heard_ms, told_ms=0))


def _ranges(found: Iterable[int]) -> tuple[tuple[int, int], ...]:
    ranges: list[tuple[int, int]] = []
    for number in found:
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return _newest(ranges)


async def _missing(connection: AsyncConnection, peer: str, *, now: datetime) -> tuple[Missing, ...]:
    """Return gaps towards `peer` as ranges, in order, and note how far they were asked for.

    The next call goes on after them, and in the end begins again: what the peer keeps no more
    must not stand for ever in the way of what it could hand in again.
    """
    name = f"{_ASKED}{peer}"
    noted = await connection.execute(select(meta.c.value).where(meta.c.name == name))
    incarnation, number = map(int, (noted.scalar_one_or_none() or "0/0").split("/"))
    beyond = or_(
        gaps.c.incarnation > incarnation,
        (gaps.c.incarnation == incarnation) & (gaps.c.number > number),
    )
    numbered = select(gaps.c.incarnation, gaps.c.number).where(_open(peer, now))
    ordered = numbered.order_by(*_IN_ORDER)
    later = (await connection.execute(ordered.where(beyond).limit(_WINDOW))).all()
    room = _WINDOW - len(later)
    earlier = (await connection.execute(ordered.where(not_(beyond)).limit(room))).all()
    ranges: list[Missing] = []
    for row in (*earlier, *later):
        if ranges and ranges[-1][0] == row.incarnation and ranges[-1][2] == row.number - 1:
            ranges[-1] = (*ranges[-1][:2], row.number)
        else:
            ranges.append((row.incarnation, row.number, row.number))
    first = sum((each[0], each[2]) <= (incarnation, number) for each in ranges)
    asked = (ranges[first:] + ranges[:first])[:MAX_MISSING]
    if asked:
        until = f"{asked[-1][0]}/{asked[-1][2]}"
        await connection.execute(delete(meta).where(meta.c.name == name))
        await connection.execute(insert(meta).values(name=name, value=until))
    return tuple(sorted(asked))


def _open(peer: str, now: datetime) -> ColumnElement[bool]:
    return (gaps.c.peer == peer) & (gaps.c.noticed_ms <= to_ms(now - GAP_AFTER))


def _newest(ranges: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    return tuple(ranges[-MAX_RANGES:])
