"""Another storage key: what is at rest is wrapped under it, so that the old one can be destroyed.

Only the wrapped key before each content is written anew, not the content. All of it is one
transaction; a row that the new key opens already is left, so that it can be done again.
"""

from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import Table, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.node.errors import NodeError
from broker.node.vault import Vault
from broker.store import tables

_NAMED: Final[tuple[tuple[Table, Callable[[Any], str]], ...]] = (
    (tables.drafts, lambda row: f"draft/{row.id}"),
    (tables.submissions, lambda row: f"submission/{row.id}"),
    (tables.inbox, lambda row: f"inbox/{row.id}"),
    (tables.uploads, lambda row: f"upload/{row.envelope_id}"),
    (tables.arrivals, lambda row: f"arrival/{row.envelope_id}/{row.number}"),
)
"""Every table with content at rest but `attachments`, and what its rows are called there."""


async def rewrap(connection: AsyncConnection, old: Vault, new: Vault) -> int:
    """Wrap all that is at rest under another storage key; return how many rows that were.

    Args:
        connection: In a transaction, while no node runs.
        old: With the storage key of today.
        new: With the other one.

    Raises:
        NodeError: `files-waiting`: chunks of files wait to be sent, each under the old key.
            `storage-damaged`: neither key opens a row; nothing was changed.
    """
    waiting = await connection.execute(select(func.count()).select_from(tables.attachments))
    if waiting.scalar_one():
        text = "attached files wait to be sent: let the node send them first, or cancel them"
        raise NodeError("files-waiting", text, kind="conflict")
    count = 0
    for table, name_of in _NAMED:
        keys = list(table.primary_key.columns)
        for row in (await connection.execute(select(table))).all():
            if not row.sealed or new.opens(row.sealed, name=name_of(row)):
                continue
            sealed = old.rewrapped(row.sealed, new, name=name_of(row))
            same = [column == getattr(row, column.name) for column in keys]
            await connection.execute(update(table).where(*same).values(sealed=sealed))
            count += 1
    return count
