"""What is past its `delete_by` goes by itself, as `kentong node erase` would take it away.

Not while an envelope still waits for its verdict, which tells its sender what became of it. What
waits for a person, or was never sealed, goes all the same, and says so.
"""

from datetime import datetime
from functools import partial
from typing import Final
from uuid import UUID

from sqlalchemy import bindparam, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.node import submissions
from broker.node.erasure import take_out
from broker.node.ids import to_ms
from broker.store.chunkfiles import ChunkFiles
from broker.store.database import Database
from broker.store.errors import StoreError
from broker.store.statements import Statement
from broker.store.tables import envelopes, outbox, retention
from broker.store.tables import submissions as queued

TOGETHER: Final = 64  # envelopes in one pass
OVER: Final = "retention-over"
_NOTED: Final = Statement(insert(retention))
_FORGOTTEN: Final = Statement(delete(retention).where(retention.c.id == bindparam("of_id")))
_DUE: Final = (
    select(retention.c.id)
    .where(
        retention.c.delete_ms <= bindparam("by_ms"),
        retention.c.id.not_in(select(outbox.c.id)),
    )
    .order_by(retention.c.delete_ms)
    .limit(TOGETHER)
)
_UNDECIDED: Final = select(envelopes.c.submission_id).where(
    envelopes.c.id.in_(select(outbox.c.id)), envelopes.c.submission_id.is_not(None)
)
_DUE_DRAFTED: Final = (
    select(queued.c.id)
    .where(queued.c.delete_ms <= bindparam("by_ms"), queued.c.id.not_in(_UNDECIDED))
    .order_by(queued.c.delete_ms)
    .limit(TOGETHER)
)


async def note(connection: AsyncConnection, ident: UUID, delete_by: datetime) -> None:
    """Remember until when an envelope that was sealed or received may be kept."""
    await _NOTED.run(connection, id=str(ident), delete_ms=to_ms(delete_by))


async def destroy_due(database: Database, files: ChunkFiles | None, now: datetime) -> int:
    """Destroy what is past its time, some of it at one time; return how many envelopes.

    Whoever asks for it empties the journal afterwards, once for all of it, and does so after each
    start as well: this process may be killed in between.

    Args:
        database: The node's.
        files: Where chunks of received files are, if any were.
        now: A time that is over for sure: what a wrong clock destroys is gone.

    Raises:
        StoreError: As `destroy`; what was begun is done again the next time.
    """
    async with database.read() as connection:
        found = await connection.execute(_DUE, {"by_ms": to_ms(now)})
        due = [UUID(ident) for ident in found.scalars()]
    for ident in due:
        await take_out(database, ident, files)
        await database.change(partial(_FORGOTTEN.run, of_id=str(ident)))
    return len(due)


async def destroy_drafted(database: Database, now: datetime) -> list[UUID]:
    """Destroy the content of submissions past its time, some of it at one time; return whose.

    Recipients for whom it was not sealed yet are refused: there is nothing left to seal. Files
    that a desk handed over with it, and the journal, are left to whoever asks for it.

    Args:
        database: The node's.
        now: As for `destroy_due`.

    Raises:
        StoreError: As `destroy`; what was begun is done again the next time.
    """
    async with database.read() as connection:
        found = await connection.execute(_DUE_DRAFTED, {"by_ms": to_ms(now)})
        due = [UUID(ident) for ident in found.scalars()]
    for ident in due:
        await database.change(partial(give_up, ident=ident, now=now))
        await take_out(database, ident)
    return due


async def give_up(connection: AsyncConnection, ident: UUID, now: datetime) -> None:
    """Note that a submission's content is gone or goes, in the change of whoever finds it.

    In one that the disk changed nothing can be noted; its content goes all the same.
    """
    try:
        submission = await submissions.find(connection, ident)
    except StoreError:
        return
    over = submissions.given_up(submission, OVER, now=now)
    if over != submission:
        await submissions.save(connection, over)
