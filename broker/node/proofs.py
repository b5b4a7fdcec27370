"""What proves each decision about this node's mail: kept when decided, proved by the log's copy.

Everything that the node sent or received must have a leaf under a cosigned checkpoint within five
minutes; what has none raises an alarm, for then the hub told us what it does not stand by.
"""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.log.commitments import check_opening, route_of
from broker.log.errors import LogError
from broker.log.leaf import parse_leaf
from broker.log.merkle import inclusion_proof, leaf_hash, tree_root, verify_inclusion
from broker.log.tiles import TILE_WIDTH, Tile, lookup_in
from broker.node import alarms
from broker.node.ids import to_ms
from broker.store.tables import leaves, mirrors, proofs
from broker.store.tilefiles import TileFiles
from keys.directory.view import DirectoryView
from keys.errors import KeysError
from schemas.decision import Decision, parse_decision

PROVEN_WITHIN: Final = timedelta(minutes=5)
NOT_PROVEN: Final = "log-not-proven"
MISMATCH: Final = "log-leaf-mismatch"
_AT_ONCE: Final = 500


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
    same = (proofs.c.id == str(ident)) & (proofs.c.about == about)
    if (await connection.execute(select(proofs.c.id).where(same))).first() is None:
        await connection.execute(
            insert(proofs).values(
                id=str(ident),
                about=about,
                sent=int(sent),
                decided_ms=to_ms(decision.header.decided_at),
                decision=decision.to_bytes(),
                envelope=envelope,
                overdue=0,
            )
        )


async def prove(
    connection: AsyncConnection,
    origin: str,
    files: TileFiles,
    view: DirectoryView,
    *,
    now: datetime,
) -> int:
    """Prove what can be proved by now; return how many decisions have no proof yet.

    Args:
        connection: Of a change.
        origin: Of the log.
        files: The copy of it.
        view: The directory, for the gateways' keys.
        now: The node's clock.

    Raises:
        StoreError: The copy is damaged.
    """
    table = mirrors
    known = await connection.execute(select(table.c.proven).where(table.c.origin == origin))
    size = int(known.scalar_one_or_none() or 0)
    found = await connection.execute(
        select(proofs.c.id, proofs.c.about, proofs.c.decision, leaves.c.number)
        .join(leaves, leaves.c.about == proofs.c.about)
        .where(proofs.c.number.is_(None), leaves.c.number < size)
        .limit(_AT_ONCE)
    )
    for row in found.all():
        try:
            path = _path(row.number, size, parse_decision(row.decision), files, view)
        except (LogError, KeysError):
            await alarms.raise_alarm(connection, MISMATCH, now=now, ident=row.id)
            continue
        await connection.execute(
            update(proofs)
            .where(proofs.c.id == row.id, proofs.c.about == row.about)
            .values(number=row.number, size=size, path=path)
        )
    await _say_overdue(connection, now=now)
    waiting = await connection.execute(
        select(func.count()).select_from(proofs).where(proofs.c.number.is_(None))
    )
    return int(waiting.scalar_one())


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
        await alarms.raise_alarm(connection, NOT_PROVEN, now=now, ident=row.id)
        same = (proofs.c.id == row.id) & (proofs.c.about == row.about)
        await connection.execute(update(proofs).where(same).values(overdue=1))


def leaf_at(files: TileFiles, number: int, size: int) -> bytes:
    """Return the entry of leaf `number` in a copy of `size` leaves.

    Raises:
        StoreError: The copy is damaged.
    """
    index, offset = divmod(number, TILE_WIDTH)
    return files.read(Tile(None, index, min(TILE_WIDTH, size - index * TILE_WIDTH)))[offset]


def proof_path(files: TileFiles, number: int, size: int) -> tuple[bytes, ...]:
    """Return the hashes that prove leaf `number` in a copy of `size` leaves.

    Raises:
        StoreError: The copy is damaged.
    """
    return inclusion_proof(number, size, lookup_in(files.read, size))


def _path(
    number: int, size: int, decision: Decision, files: TileFiles, view: DirectoryView
) -> bytes:
    entry = leaf_at(files, number, size)
    signed = parse_leaf(entry).signed
    signed.verify(view.gateway_key(decision.kid, at=decision.header.decided_at))
    check_opening(signed.statement, decision)
    lookup = lookup_in(files.read, size)
    hashes = proof_path(files, number, size)
    verify_inclusion(
        leaf_hash(entry), index=number, size=size, proof=hashes, root=tree_root(size, lookup)
    )
    return b"".join(hashes)
