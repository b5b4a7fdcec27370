"""Takes one envelope away from a node, once it is past its `delete_by`: for ever, from the disk.

What goes: the envelope as it travelled, its content, the opening of its leaf with every salt. What
stays, so that nothing is taken twice and what was said is known: ids, digests, numbers, outcomes.
Content was sealed under a key of its own beside it, so old backups keep only what the storage key
of that time opens.
"""

import asyncio
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.node.arrivedfiles import forget_files
from broker.node.folding import ids_of
from broker.store.chunkfiles import ChunkFiles
from broker.store.database import Database
from broker.store.tables import (
    envelopes,
    held,
    inbox,
    outbox,
    proofs,
    repeatable,
    submissions,
    unproven,
    uploads,
)


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
    count, ids = await database.change(lambda connection: _destroy_item(connection, str(ident)))
    if files is not None:
        for each in ids:
            await asyncio.to_thread(files.remove, each)
    await database.empty_journal()
    return count


async def _destroy_item(connection: AsyncConnection, ident: str) -> tuple[int, tuple[str, ...]]:
    ids = await ids_of(connection, ident)
    return sum([await _destroy(connection, each) for each in ids]), ids


async def _destroy(connection: AsyncConnection, ident: str) -> int:
    count = 0
    for table in (proofs, inbox, outbox, repeatable, unproven, held):
        count += (await connection.execute(delete(table).where(table.c.id == ident))).rowcount
    drafted = select(envelopes.c.submission_id).where(envelopes.c.id == ident)
    emptied = (
        update(submissions)
        .where(
            submissions.c.id.in_(drafted) | (submissions.c.id == ident),
            submissions.c.sealed != b"",
        )
        .values(sealed=b"", delete_ms=None)
    )
    count += await forget_files(connection, ident)
    waiting = delete(uploads).where(uploads.c.envelope_id == ident)
    count += (await connection.execute(waiting)).rowcount
    return count + (await connection.execute(emptied)).rowcount
