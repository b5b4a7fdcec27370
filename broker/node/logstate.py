"""What a node's database holds of the log: the rows of witness and copy, read in one place."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.log.checkpoint import parse_checkpoint
from broker.log.errors import LogError
from broker.log.note import parse_note
from broker.log.witness import Seen
from broker.store.errors import damaged
from broker.store.tables import meta, mirrors, witnessed
from keys.primitives.hashing import sha256

RESTORED: Final = "witness-restored"
"""In `meta`: since when, in seconds, this node must first find out what it cosigned last."""
LEFT_OUT: Final = "log-left-out"
"""In `meta`: the copy of the log was no part of the backup that this node was put back from."""


@dataclass(frozen=True)
class Copied:
    """How far the copy of a log is.

    Attributes:
        size: Leaves that are here.
        proven: Of those, how many stand under the note.
        note: The newest checkpoint that a quorum cosigned; empty if there is none.
    """

    size: int = 0
    proven: int = 0
    note: bytes = b""


async def seen_of(connection: AsyncConnection, origin: str) -> tuple[Seen, bytes]:
    """Return what was cosigned last of a log, and the note; empty if nothing was.

    Raises:
        StoreError: `database-damaged`: the note says something else. A witness that believed the
            row would sign a second tree, or accuse a log that has only one.
    """
    found = await connection.execute(select(witnessed).where(witnessed.c.origin == origin))
    row = found.one_or_none()
    if row is None:
        return Seen(), b""
    if not _is_of(row.note, int(row.size), row.root):
        raise damaged()
    return Seen(int(row.size), row.root, int(row.time_s)), row.note


def _is_of(note: bytes, size: int, root: bytes) -> bool:
    try:
        checkpoint = parse_checkpoint(parse_note(note).text)
    except LogError:
        return False
    return (checkpoint.size, checkpoint.root) == (size, root)


async def copied_of(connection: AsyncConnection, origin: str) -> Copied:
    """Return how far the copy of a log is."""
    found = await connection.execute(select(mirrors).where(mirrors.c.origin == origin))
    row = found.one_or_none()
    return Copied() if row is None else Copied(int(row.size), int(row.proven), row.note)


async def first_of(connection: AsyncConnection, origin: str) -> tuple[int, str]:
    """Return size and root, in hexadecimal, of what was trusted on first use; 0 and "" if nothing.

    Nothing but a look at what other members trusted tells whether it was the right one.
    """
    found = await connection.execute(select(meta.c.value).where(meta.c.name == _first(origin)))
    size, _, root = (found.scalar_one_or_none() or "0 ").partition(" ")
    return int(size), root


async def note_first(connection: AsyncConnection, origin: str, size: int, root: bytes) -> None:
    """Keep what was trusted on first use, to be shown from then on."""
    known = await connection.execute(select(meta.c.name).where(meta.c.name == _first(origin)))
    if known.first() is None:
        value = f"{size} {root.hex()}"
        await connection.execute(insert(meta).values(name=_first(origin), value=value))


def _first(origin: str) -> str:
    return f"first/{sha256(origin.encode()).hex()[:32]}"  # a name in `meta` has 64 characters


async def restored_at(connection: AsyncConnection) -> int | None:
    """Return since when, in seconds, the witness has lost its memory; None if it has not."""
    found = await connection.execute(select(meta.c.value).where(meta.c.name == RESTORED))
    value = found.scalar_one_or_none()
    return None if value is None else int(value)


async def mark_restored(connection: AsyncConnection, at_s: int) -> None:
    """Let the witness sign nothing until it has found out what it cosigned last."""
    await forget_restored(connection)
    await connection.execute(insert(meta).values(name=RESTORED, value=str(at_s)))


async def forget_restored(connection: AsyncConnection) -> None:
    """Let the witness sign again."""
    await connection.execute(delete(meta).where(meta.c.name == RESTORED))


async def mark_left_out(connection: AsyncConnection) -> None:
    """Let a copy that is not there, though there was one, be read again without an alarm."""
    await forget_left_out(connection)
    copied = await connection.execute(select(mirrors.c.size).where(mirrors.c.size > 0))
    if copied.first() is not None:
        await connection.execute(insert(meta).values(name=LEFT_OUT, value=""))


async def is_left_out(connection: AsyncConnection) -> bool:
    """Return whether the copy has not been read again since."""
    found = await connection.execute(select(meta.c.name).where(meta.c.name == LEFT_OUT))
    return found.first() is not None


async def forget_left_out(connection: AsyncConnection) -> None:
    """Let a copy that is not there be damage again."""
    await connection.execute(delete(meta).where(meta.c.name == LEFT_OUT))
