"""One alert under two ids is one item of the inbox.

A sender seals an alert anew, under another id, when the hub refuses the first; and a hub that lost
its record refuses an id without knowing any more whether its copies went out. So both may come.
Their recipient alone can tell: it folds the second into the item that it has, and answers both.

Nothing is folded but what says the same to the last byte: the label, save what each sealing makes
anew, and the whole container, with the officer's signature and the random bytes made for this one
draft. So nobody can suppress an alert by it: to have it folded is to have it delivered.
"""

from collections.abc import Collection
from typing import Final
from uuid import UUID

from sqlalchemy import bindparam, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.envelope.delivered import Opened
from broker.node.receiveditem import Kept
from broker.node.vault import Vault
from broker.store.statements import Statement
from broker.store.tables import arrivals, inbox, received
from keys.primitives.hashing import sha256
from schemas.desk import ArrivalState

_CONTEXT: Final = b"kentong/said/1\0"
_ALIKE: Final = Statement(
    select(received.c.id, inbox.c.sealed)
    .select_from(received.outerjoin(inbox, inbox.c.id == received.c.id))
    .where(received.c.said == bindparam("of_said"), received.c.item.is_(None))
)
_NOTED: Final = Statement(insert(received))
_ITEM: Final = Statement(
    select(received.c.item).where(received.c.id == bindparam("of_id"), received.c.item.is_not(None))
)
_HERE: Final = Statement(select(inbox.c.position).where(inbox.c.id == bindparam("of_id")))
_FOLDED: Final = Statement(select(received.c.id).where(received.c.item == bindparam("of_item")))


def said(opened: Opened) -> bytes:
    """Return a name of all that an alert says and who signed it, whatever its envelope.

    Args:
        opened: Every check done: so its label names who sealed it.
    """
    intent, content = opened.label.intent_bytes(), opened.content.to_bytes()
    return sha256(_CONTEXT, sha256(intent), sha256(content))


async def find(
    connection: AsyncConnection, vault: Vault, name: bytes, disclosed: Collection[str]
) -> UUID | None:
    """Return the id of the item that says the same, or None.

    One that was destroyed here still counts: what is gone does not come back under another id.

    Args:
        connection: Of the change that keeps the alert.
        vault: What opens the items.
        name: As `said` names it.
        disclosed: Other recipients that its envelope names: where they are more than those shown
            with the item, that is news.
    """
    for row in await _ALIKE.rows(connection, of_said=name):
        if row.sealed is None:
            return UUID(row.id)
        kept = Kept.model_validate_json(vault.open(row.sealed, name=f"inbox/{row.id}"))
        if set(disclosed) <= set(kept.item.recipients or ()):
            return UUID(row.id)
    return None


async def note(
    connection: AsyncConnection, ident: UUID, digest: bytes, name: bytes, item: UUID | None
) -> None:
    """Note that an alert is here, and into which item it was folded, if it was."""
    await _NOTED.run(
        connection,
        id=str(ident),
        digest=digest,
        outcome="delivered" if item is None else "folded",
        said=name,
        item=None if item is None else str(item),
    )


async def is_folded(connection: AsyncConnection, ident: UUID) -> bool:
    """Return whether what came under this id was folded."""
    return await _ITEM.value(connection, of_id=str(ident)) is not None


async def ids_of(connection: AsyncConnection, ident: str) -> tuple[str, ...]:
    """Return every id of the item that `ident` names, the item's own first; or just that."""
    item = await _ITEM.value(connection, of_id=ident) or ident
    return item, *(row.id for row in await _FOLDED.rows(connection, of_item=item))


async def lacks_files(connection: AsyncConnection, ident: UUID, count: int) -> bool:
    """Return whether its item is here, but not all of its files: they may come under this id.

    Args:
        connection: Of the change that keeps an alert.
        ident: Under which it came.
        count: How many files it has.
    """
    ids = await ids_of(connection, str(ident))
    if await _HERE.value(connection, of_id=ids[0]) is None:
        return False
    whole = select(func.count(arrivals.c.number.distinct())).where(
        arrivals.c.envelope_id.in_(ids), arrivals.c.state == str(ArrivalState.COMPLETE)
    )
    return int((await connection.execute(whole)).scalar_one()) < count
