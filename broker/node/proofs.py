"""What proves each decision about this node's mail: kept when decided, proved by the log's copy.

Everything that the node sent or received must have a leaf under a cosigned checkpoint within five
minutes; what has none raises an alarm, for then the hub told us what it does not stand by.
"""

from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias
from uuid import UUID

from sqlalchemy import bindparam, case, func, insert, literal, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.log.commitments import check_opening, route_of
from broker.log.errors import LogError
from broker.log.leaf import parse_leaf
from broker.log.merkle import inclusion_proof, leaf_hash, tree_root, verify_inclusion
from broker.log.tiles import HASH_BYTES, TILE_WIDTH, Tile, lookup_in
from broker.logs import get_logger
from broker.node import alarms
from broker.node.ids import to_ms
from broker.node.logstate import Copied, copied_of
from broker.store.statements import Statement
from broker.store.tables import leaves, proof_notes, proofs
from broker.store.tilefiles import TileFiles
from keys.directory.proving import proved
from keys.directory.view import DirectoryView
from keys.errors import KeysError
from schemas.decision import Decision, parse_decision

PROVEN_WITHIN: Final = timedelta(minutes=5)
NOT_PROVEN: Final = "log-not-proven"
MISMATCH: Final = "log-leaf-mismatch"
_AT_ONCE: Final = 500
_SAID: Final = 1  # that it is overdue
_SAID_MISMATCH: Final = 2  # it is looked at again: the directory may have lacked a key
Place: TypeAlias = tuple[str, bytes]
"""Of a row: id and commitment."""
FIRST: Final[Place] = ("", b"")
_EXPECTED: Final = Statement(
    select(proofs.c.id).where(
        proofs.c.id == bindparam("of_id"), proofs.c.about == bindparam("of_about")
    )
)
_EXPECT: Final = Statement(insert(proofs))
_log = get_logger()


async def expect(
    connection: AsyncConnection, ident: UUID, decision: Decision, *, sent: bool, envelope: bytes
) -> None:
    """Note that a decision must have a leaf; the same one again changes nothing.

    Args:
        connection: Of the change in which the decision itself is kept.
        ident: Of the envelope.
        decision: Verified.
        sent: Whether this node sent it.
        envelope: As it travelled; empty for what needs no evidence, like a control.
    """
    about = route_of(decision)
    if await _EXPECTED.value(connection, of_id=str(ident), of_about=about) is None:
        await _EXPECT.run(
            connection,
            id=str(ident),
            about=about,
            sent=int(sent),
            decided_ms=to_ms(decision.header.decided_at),
            decision=decision.to_bytes(),
            envelope=envelope,
            overdue=0,
        )


async def prove(
    connection: AsyncConnection,
    origin: str,
    files: TileFiles,
    view: DirectoryView,
    *,
    now: datetime,
    after: Place = FIRST,
) -> tuple[int, Place]:
    """Prove what can be proved by now; return how many proofs are due soon, and where to go on.

    So many at once; what cannot be proved keeps its place in the round and hinders nobody.

    Args:
        connection: Of a change.
        origin: Of the log.
        files: The copy of it.
        view: The directory, for the gateways' keys.
        now: The node's clock.
        after: As the last call said.

    Raises:
        StoreError: The copy is damaged.
    """
    copied = await copied_of(connection, origin)
    size = copied.proven
    found = await connection.execute(
        select(proofs.c.id, proofs.c.about, proofs.c.decision, proofs.c.overdue, leaves.c.number)
        .join(leaves, leaves.c.about == proofs.c.about)
        .where(
            proofs.c.number.is_(None),
            leaves.c.number < size,
            tuple_(proofs.c.id, proofs.c.about) > tuple_(*map(literal, after)),
        )
        .order_by(proofs.c.id, proofs.c.about)
        .limit(_AT_ONCE)
    )
    rows = found.all()
    # Whether a gateway's key was stolen since is another question than what the log says.
    believed = proved(view, by=datetime.min.replace(tzinfo=UTC)) if rows else view
    for row in rows:
        try:
            path = _path(row.number, copied, parse_decision(row.decision), files, believed)
        except (LogError, KeysError):
            if row.overdue != _SAID_MISMATCH:
                await _say(connection, MISMATCH, row.id, row.about, _SAID_MISMATCH, now=now)
            continue
        await connection.execute(
            update(proofs)
            .where(proofs.c.id == row.id, proofs.c.about == row.about)
            .values(number=row.number, size=size, path=path)
        )
        await _keep_note(connection, copied)
    await _say_overdue(connection, now=now)
    waiting = await connection.execute(
        select(func.count())
        .select_from(proofs)
        .where(proofs.c.number.is_(None), proofs.c.overdue != _SAID)  # what is late needs no haste
    )
    place = (rows[-1].id, rows[-1].about) if len(rows) == _AT_ONCE else FIRST
    return int(waiting.scalar_one()), place


async def counted(connection: AsyncConnection) -> tuple[int, int, int]:
    """Return how many decisions about our mail are proved, wait, and were not proved in time."""
    unproved = proofs.c.number.is_(None)
    late = case((unproved & (proofs.c.overdue != 0), 1))
    found = await connection.execute(
        select(func.count(proofs.c.number), func.count(proofs.c.id), func.count(late))
    )
    proved, known, overdue = map(int, found.one())
    return proved, known - proved - overdue, overdue


async def first_proof(
    connection: AsyncConnection, size: int, path: bytes
) -> tuple[tuple[bytes, ...], bytes] | None:
    """Return hashes and note of what proved a decision first; None if the note was not kept.

    Args:
        connection: For reading.
        size: As its row has it.
        path: Likewise.
    """
    found = await connection.execute(select(proof_notes.c.note).where(proof_notes.c.size == size))
    note = found.scalar_one_or_none()
    hashes = (path[at : at + HASH_BYTES] for at in range(0, len(path), HASH_BYTES))
    return None if note is None else (tuple(hashes), note)


async def _keep_note(connection: AsyncConnection, copied: Copied) -> None:
    """Keep the checkpoint under which something of ours is proved: its witnesses say when."""
    same = proof_notes.c.size == copied.proven
    if (await connection.execute(select(proof_notes.c.size).where(same))).first() is None:
        await connection.execute(insert(proof_notes).values(size=copied.proven, note=copied.note))


async def _say_overdue(connection: AsyncConnection, *, now: datetime) -> None:
    late = await connection.execute(
        select(proofs.c.id, proofs.c.about)
        .where(
            proofs.c.number.is_(None),
            proofs.c.overdue == 0,
            proofs.c.decided_ms < to_ms(now - PROVEN_WITHIN),
        )
        .limit(_AT_ONCE)
    )
    for row in late.all():
        await _say(connection, NOT_PROVEN, row.id, row.about, _SAID, now=now)


async def _say(
    connection: AsyncConnection, code: str, ident: str, about: bytes, said: int, *, now: datetime
) -> None:
    _log.error(code, id=ident, alarm=code)
    await alarms.raise_alarm(connection, code, now=now, ident=ident)
    same = (proofs.c.id == ident) & (proofs.c.about == about)
    await connection.execute(update(proofs).where(same).values(overdue=said))


def leaf_at(files: TileFiles, number: int, copied: Copied) -> bytes:
    """Return the entry of leaf `number` in a copy.

    Raises:
        StoreError: The copy is damaged.
    """
    index, offset = divmod(number, TILE_WIDTH)
    width = min(TILE_WIDTH, copied.size - index * TILE_WIDTH)
    return files.read(Tile(None, index, width))[offset]


def proof_path(files: TileFiles, number: int, copied: Copied) -> tuple[bytes, ...]:
    """Return the hashes that prove leaf `number` under the note of a copy, which may be larger.

    Raises:
        StoreError: The copy is damaged.
    """
    return inclusion_proof(number, copied.proven, lookup_in(files.read, copied.size))


def _path(
    number: int, copied: Copied, decision: Decision, files: TileFiles, view: DirectoryView
) -> bytes:
    entry, size = leaf_at(files, number, copied), copied.proven
    signed = parse_leaf(entry).signed
    signed.verify(view.gateway_key(decision.kid, at=decision.header.decided_at))
    check_opening(signed.statement, decision)
    lookup = lookup_in(files.read, copied.size)
    hashes = proof_path(files, number, copied)
    verify_inclusion(
        leaf_hash(entry), index=number, size=size, proof=hashes, root=tree_root(size, lookup)
    )
    return b"".join(hashes)
