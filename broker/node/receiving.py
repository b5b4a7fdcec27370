"""What every delivery leaves in the database, whatever it says: that it is here, and its proof."""

from typing import Final
from uuid import UUID

from sqlalchemy import bindparam, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.envelope.decision import Delivery
from broker.node import pairs
from broker.node.present import Present
from broker.node.proofs import expect
from broker.store import tables

# Built once: building a statement takes as long as all the rest of it.
_KNOWN: Final = select(tables.received.c.outcome).where(
    tables.received.c.id == bindparam("of_id"), tables.received.c.digest == bindparam("of_digest")
)
_TAKEN: Final = insert(tables.received)


async def is_new(connection: AsyncConnection, ident: UUID, digest: bytes, outcome: str) -> bool:
    """Return whether these bytes were never kept before, and note that they are now."""
    known = await connection.execute(_KNOWN, {"of_id": str(ident), "of_digest": digest})
    if known.scalar_one_or_none() is not None:
        return False
    await connection.execute(_TAKEN, {"id": str(ident), "digest": digest, "outcome": outcome})
    return True


async def is_known(connection: AsyncConnection, ident: UUID, digest: bytes) -> bool:
    """Return whether a good copy was kept before."""
    known = await connection.execute(_KNOWN, {"of_id": str(ident), "of_digest": digest})
    return known.scalar_one_or_none() is not None


async def is_taken(connection: AsyncConnection, ident: UUID) -> bool:
    """Return whether the inbox holds something under this id."""
    table = tables.inbox
    found = await connection.execute(select(table.c.position).where(table.c.id == str(ident)))
    return found.first() is not None


async def note(connection: AsyncConnection, present: Present, delivery: Delivery) -> None:
    """Note that a copy is here, and let the log prove what let it through."""
    label = delivery.delivered.frame.label
    number = delivery.delivered.slot.pair_seq
    await pairs.arrived(connection, label.sender.member, number, now=present.now())
    await expect_proof(connection, present, delivery)


async def expect_proof(connection: AsyncConnection, present: Present, delivery: Delivery) -> None:
    """Let the log prove what let a copy through; the same decision again changes nothing."""
    label = delivery.delivered.frame.label
    if present.view.hub.log is None:
        return
    envelope = b"" if label.kind.is_control else delivery.delivered_bytes
    await expect(connection, label.id, delivery.decision, sent=False, envelope=envelope)
