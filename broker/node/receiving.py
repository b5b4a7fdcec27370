"""What every delivery leaves in the database, whatever it says: that it is here, and its proof."""

from typing import Final
from uuid import UUID

from sqlalchemy import bindparam, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.envelope.decision import Delivery
from broker.node import folding, pairs
from broker.node.present import Present
from broker.node.proofs import expect
from broker.store import tables
from broker.store.statements import Statement

_KNOWN: Final = Statement(
    select(tables.received.c.outcome).where(
        tables.received.c.id == bindparam("of_id"),
        tables.received.c.digest == bindparam("of_digest"),
    )
)
_NOTED: Final = Statement(insert(tables.received))
_TAKEN: Final = Statement(
    select(tables.inbox.c.position).where(tables.inbox.c.id == bindparam("of_id"))
)


async def is_new(connection: AsyncConnection, ident: UUID, digest: bytes, outcome: str) -> bool:
    """Return whether these bytes were never kept before, and note that they are now."""
    if await is_known(connection, ident, digest):
        return False
    await _NOTED.run(connection, id=str(ident), digest=digest, outcome=outcome)
    return True


async def is_known(connection: AsyncConnection, ident: UUID, digest: bytes) -> bool:
    """Return whether a good copy was kept before."""
    known = await _KNOWN.value(connection, of_id=str(ident), of_digest=digest)
    return known is not None


async def is_taken(connection: AsyncConnection, ident: UUID) -> bool:
    """Return whether the inbox holds something under this id, be it folded into an item."""
    held = await _TAKEN.value(connection, of_id=str(ident)) is not None
    return held or await folding.is_folded(connection, ident)


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
