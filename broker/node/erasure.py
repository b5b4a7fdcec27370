"""Takes one envelope away from a node, once it is past its `delete_by`: for ever, from the disk.

What goes: the envelope as it travelled, its content, the opening of its leaf with every salt. What
stays, so that nothing is taken twice and what was said is known: ids, digests, numbers, outcomes.
Content was sealed under a key of its own beside it, so old backups keep only what the storage key
of that time opens.
"""

import asyncio
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.node.arrivedfiles import forget_files
from broker.node.folding import ids_of
from broker.store.chunkfiles import ChunkFiles
from broker.store.database import Database
from broker.store.tables import (
    arrivals,
    envelopes,
    held,
    inbox,
    outbox,
    proofs,
    repeatable,
    retention,
    submissions,
    unproven,
    uploads,
)

_TOGETHER: Final = 500  # ids in one statement; SQLite was once built for 999 values


async def destroy(database: Database, ident: UUID, files: ChunkFiles | None = None) -> int:
    """Destroy what this node keeps of an envelope; return how many rows held something of it.

    The rows are overwritten (`secure_delete`), and the journal in which they stood is emptied.
    Safe to repeat.

    Args:
        database: The node's.
        ident: The envelope's id; what it replaced here has ids of its own, but what was folded into
            one item goes together. Or a submission's, whose content then goes and whose envelopes
            stay.
        files: Where chunks of received files are, if any were.

    Raises:
        StoreError: `database-locked`: somebody reads; the rows are gone, and the journal is
            emptied by the next call; `disk-failed`: chunks may be left, without their keys. Else
            nothing was destroyed.
    """
    count = await take_out(database, ident, files)
    await database.empty_journal()
    return count


async def take_out(database: Database, ident: UUID, files: ChunkFiles | None = None) -> int:
    """Do as `destroy`, for whoever then empties the journal, once for many.

    Raises:
        StoreError: As `destroy`.
    """
    count, ids = await database.change(lambda connection: _destroy_item(connection, str(ident)))
    if files is not None:
        for each in ids:
            await asyncio.to_thread(files.remove, each)
    return count


async def _destroy_item(connection: AsyncConnection, ident: str) -> tuple[int, tuple[str, ...]]:
    """Destroy all that came under the ids of one item: a hostile sender may have used thousands."""
    ids, count = await ids_of(connection, ident), 0
    for first in range(0, len(ids), _TOGETHER):
        some = ids[first : first + _TOGETHER]
        count += await _destroy(connection, some)
        # Else each of them, when its own time is over, would have the same done again.
        others = retention.c.id.in_(some) & (retention.c.id != ident)
        await connection.execute(delete(retention).where(others))
    return count, ids


async def _destroy(connection: AsyncConnection, ids: Sequence[str]) -> int:
    count = 0
    for table in (proofs, inbox, outbox, repeatable, unproven, held):
        count += (await connection.execute(delete(table).where(table.c.id.in_(ids)))).rowcount
    drafted = select(envelopes.c.submission_id).where(envelopes.c.id.in_(ids))
    emptied = (
        update(submissions)
        .where(
            submissions.c.id.in_(drafted) | submissions.c.id.in_(ids),
            submissions.c.sealed != b"",
        )
        .values(sealed=b"", delete_ms=None)
    )
    kept = select(arrivals.c.envelope_id).where(arrivals.c.envelope_id.in_(ids)).distinct()
    for each in (await connection.execute(kept)).scalars().all():
        count += await forget_files(connection, each)
    waiting = delete(uploads).where(uploads.c.envelope_id.in_(ids))
    count += (await connection.execute(waiting)).rowcount
    return count + (await connection.execute(emptied)).rowcount
