"""What the sequencer knows: the lock record, how far each stream was read, and numbers taken.

One database, SQLite by default. The lock record is a fence: it moves from one size to the next by
compare-and-swap, so that a second sequencer stops at its first step.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    func,
    insert,
    select,
    tuple_,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.ledger.errors import LedgerError
from broker.store.database import Database

metadata = MetaData()
lock = Table(
    "log_lock",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("note", Text, nullable=False),
    Column("at_s", BigInteger, nullable=False),
)
streams = Table(
    "log_streams",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("created", String(64), nullable=False),
    Column("next_seq", BigInteger, nullable=False),
    Column("tail", String(64), nullable=False),
)
numbers = Table(
    "log_numbers",
    metadata,
    Column("gateway", String(64), primary_key=True),
    Column("boot", String(16), primary_key=True),  # hexadecimal: 64 bits, and SQL has 63
    Column("seq", String(16), primary_key=True),
)
_ONLY: Final = 1
_ASKED_TOGETHER: Final = 1024  # three parameters each, and SQLite takes 32,766 in a statement


@dataclass(frozen=True)
class Position:
    """How far a stream was read.

    Attributes:
        created: Which stream it is, by its time of creation.
        next_seq: Number of the next message.
        tail: SHA-256 of the last one read, in hexadecimal; empty if it was gone.
    """

    created: str
    next_seq: int
    tail: str = ""


@dataclass(frozen=True)
class Number:
    """What tells two leaves apart: a gateway, a run of it, and a number within that."""

    gateway: str
    boot: int
    seq: int

    def row(self) -> dict[str, str]:
        """Return it as it is stored."""
        return {"gateway": self.gateway, "boot": f"{self.boot:016x}", "seq": f"{self.seq:016x}"}


@dataclass(frozen=True)
class Locked:
    """The lock record.

    Attributes:
        at_s: When it was moved there, in seconds since 1970: the clock never goes back behind it.
    """

    size: int
    note: bytes
    at_s: int = 0


@dataclass(frozen=True)
class LedgerState:
    """The sequencer's database."""

    database: Database

    async def found(self, note: bytes, at_s: int) -> None:
        """Write the first lock record.

        Raises:
            LedgerError: `exists`: there is one.
            StoreError: Nothing was kept.
        """

        async def change(connection: AsyncConnection) -> None:
            try:
                first = {"id": _ONLY, "size": 0, "note": note.decode(), "at_s": at_s}
                await connection.execute(insert(lock).values(first))
            except IntegrityError:
                raise LedgerError("exists", "the log's database holds a log already") from None

        await self.database.change(change)

    async def is_founded(self) -> bool:
        """Return whether there is a lock record; a database that was lost has none either."""
        async with self.database.read() as connection:
            return (await connection.execute(select(lock.c.id))).first() is not None

    async def locked(self) -> Locked:
        """Return the lock record.

        Raises:
            LedgerError: `no-log`: the database holds none.
        """
        async with self.database.read() as connection:
            row = (await connection.execute(select(lock))).one_or_none()
        if row is None:
            raise LedgerError("no-log", "the log's database is empty: kentong log init, or restore")
        return Locked(int(row.size), row.note.encode(), int(row.at_s))

    async def positions(self) -> dict[str, Position]:
        """Return how far each stream was read."""
        async with self.database.read() as connection:
            rows = (await connection.execute(select(streams))).all()
        return {row.name: Position(row.created, int(row.next_seq), row.tail) for row in rows}

    async def known(self, asked: Sequence[Number]) -> set[Number]:
        """Return those of `asked` that a leaf has already."""
        found: set[Number] = set()
        key = tuple_(numbers.c.gateway, numbers.c.boot, numbers.c.seq)
        async with self.database.read() as connection:
            for start in range(0, len(asked), _ASKED_TOGETHER):
                rows = [tuple(n.row().values()) for n in asked[start : start + _ASKED_TOGETHER]]
                taken = await connection.execute(select(numbers).where(key.in_(rows)))
                found.update(
                    Number(row.gateway, int(row.boot, 16), int(row.seq, 16)) for row in taken
                )
        return found

    async def count(self) -> int:
        """Return how many numbers were taken."""
        async with self.database.read() as connection:
            found = await connection.execute(select(func.count()).select_from(numbers))
        return int(found.scalar_one())

    async def advance(
        self,
        old_size: int,
        locked: Locked,
        *,
        read: Mapping[str, Position],
        taken: Sequence[Number],
    ) -> None:
        """Move the lock record on, and with it the positions and numbers; all or nothing.

        Raises:
            LedgerError: `fenced`: another sequencer moved it.
            StoreError: Nothing was kept.
        """

        async def change(connection: AsyncConnection) -> None:
            moved = await connection.execute(
                update(lock)
                .where(lock.c.id == _ONLY, lock.c.size == old_size)
                .values(size=locked.size, note=locked.note.decode(), at_s=locked.at_s)
            )
            if moved.rowcount != 1:
                raise LedgerError("fenced", "another sequencer moved the log on: this one stops")
            if taken:
                await connection.execute(insert(numbers), [number.row() for number in taken])
            await _save(connection, read)

        await self.database.change(change)

    async def read_on(self, read: Mapping[str, Position]) -> None:
        """Remember positions when nothing of what was read becomes a leaf."""

        async def change(connection: AsyncConnection) -> None:
            await _save(connection, read)

        await self.database.change(change)


async def _save(connection: AsyncConnection, read: Mapping[str, Position]) -> None:
    for name, position in read.items():
        values = vars(position)
        done = await connection.execute(
            update(streams).where(streams.c.name == name).values(values)
        )
        if not done.rowcount:
            await connection.execute(insert(streams).values(name=name, **values))
