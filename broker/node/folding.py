"""One alert under two ids is one item of the inbox.

A sender seals an alert anew, under another id, when the hub refuses the first; and a hub that lost
its record refuses an id without knowing any more whether its copies went out. So both may come.
Their recipient alone can tell: it folds the second into the item that it has, and answers both.

Nothing is folded but what says the same to the last byte: the label, save what each sealing makes
anew, the recipients that the envelope discloses, and the whole container, with the officer's
signature and the random bytes made for this one draft. So nobody can suppress an alert by it: to
have it folded is to have it delivered.

All of that is in one name, by which the item is found. Nothing kept is opened for it: however many
a sender seals, the next costs no more than the first, and a damaged item stops none that follows.
"""

from typing import Final
from uuid import UUID

from sqlalchemy import bindparam, func, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.envelope.delivered import Opened
from broker.store.statements import Statement
from broker.store.tables import arrivals, inbox, received
from keys.primitives.hashing import sha256
from schemas import canonical
from schemas.desk import ArrivalState

_CONTEXT: Final = b"kentong/said/2\0"
_LOOKED_AT: Final = 64  # ids of one item; where an honest sender had more, files may come twice
_ALIKE: Final = Statement(
    select(received.c.id).where(received.c.said == bindparam("of_said")).limit(1)
)
_NOTED: Final = Statement(insert(received))
_ITEM: Final = Statement(
    select(received.c.item).where(received.c.id == bindparam("of_id"), received.c.item.is_not(None))
)
_HERE: Final = Statement(select(inbox.c.position).where(inbox.c.id == bindparam("of_id")))
_FOLDED: Final = Statement(select(received.c.id).where(received.c.item == bindparam("of_item")))
_WHOLE: Final = Statement(
    select(func.count(arrivals.c.number.distinct())).where(
        arrivals.c.state == str(ArrivalState.COMPLETE),
        or_(
            arrivals.c.envelope_id == bindparam("of_item"),
            arrivals.c.envelope_id.in_(
                select(received.c.id)
                .where(received.c.item == bindparam("of_item"))
                .limit(_LOOKED_AT)
            ),
        ),
    )
)


def said(opened: Opened) -> bytes:
    """Return a name of all that an alert says, to whom as far as it shows, and who signed it.

    Args:
        opened: Every check done: so its label names who sealed it.
    """
    intent, content = opened.label.intent_bytes(), opened.content.to_bytes()
    shown = canonical.encode([*opened.disclosed])
    return sha256(_CONTEXT, sha256(intent), sha256(content), sha256(shown))


async def find(connection: AsyncConnection, name: bytes) -> str | None:
    """Return the id of the item that says the same, or None.

    One that was destroyed here still counts: what is gone does not come back under another id.

    Args:
        connection: Of the change that keeps the alert.
        name: As `said` names it.
    """
    found = await _ALIKE.value(connection, of_said=name)
    return None if found is None else str(found)


async def note(
    connection: AsyncConnection, ident: UUID, digest: bytes, name: bytes, item: str | None
) -> None:
    """Note that an alert is here, and into which item it was folded, if it was.

    One that was folded has no name of its own, so that there is one row to find by a name.
    """
    await _NOTED.run(
        connection,
        id=str(ident),
        digest=digest,
        outcome="delivered" if item is None else "folded",
        said=name if item is None else None,
        item=item,
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
    item = await _ITEM.value(connection, of_id=str(ident)) or str(ident)
    if await _HERE.value(connection, of_id=item) is None:
        return False
    return int(await _WHOLE.value(connection, of_item=item) or 0) < count
