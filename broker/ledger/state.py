"""What the sequencer knows: the lock record, how far each stream was read, numbers taken, marks.

One database, SQLite by default. The lock record is a fence: it moves from one size to the next by
compare-and-swap, so that a second sequencer stops at its first step.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.ledger.errors import LedgerError
from broker.ledger.subjects import SealedSubjects
from broker.store.database import Database
from broker.store.schema import SCHEMA, Schema

SCHEMA_OF_LOG: Final = Schema("log", "0001", (Path(__file__).parent / "migrations",))
metadata = MetaData(info={SCHEMA: SCHEMA_OF_LOG})
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
    Column("said", String(64), nullable=False),
)
subjects = Table(
    "log_subjects",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("year", Integer, nullable=False, index=True),
    Column("sealed", LargeBinary, nullable=False),
)
marks = Table(
    "log_marks",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("value", Text, nullable=False),
)
VOID_BY_LOG: Final = "void-by-log"  # in place of a digest: the worker's own void is no fault then
_ONLY: Final = 1
_ASKED_TOGETHER: Final = 1024  # numbers; SQLite takes 32,766 parameters in a statement
_SPARSE: Final = 4  # So many times wider than its numbers, and a run is no longer read whole.


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
    """What tells two leaves apart: a gateway, a run of it, and a number within that.

    Attributes:
        said: SHA-256 of what was signed under it, in hexadecimal: the same once more is no fault.
    """

    gateway: str
    boot: int
    seq: int
    said: str = field(default="", compare=False)

    def row(self) -> dict[str, str]:
        """Return it as it is stored."""
        gateway, boot, seq = self.key()
        return {"gateway": gateway, "boot": boot, "seq": seq, "said": self.said}

    def key(self) -> tuple[str, str, str]:
        """Return what it is found by."""
        return self.gateway, f"{self.boot:016x}", f"{self.seq:016x}"


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
class Beside:
    """What else is remembered, or forgotten, together with a growth.

    Attributes:
        subjects: Of the messages that were read.
        marks: Values by name; None forgets one.
    """

    subjects: Sequence[SealedSubjects] = ()
    marks: Mapping[str, str | None] = field(default_factory=dict)


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

    async def known(self, asked: Sequence[Number]) -> dict[Number, str]:
        """Return those of `asked` that a leaf has already, and what each said."""
        found: dict[Number, str] = {}
        async with self.database.read() as connection:
            for gateway, boot, seqs in _runs(asked):
                # Almost always the next numbers of a run: then one look at its end answers for all.
                together = seqs[-1] - seqs[0] < _SPARSE * len(seqs)
                taken = await connection.execute(
                    select(numbers.c.seq, numbers.c.said).where(
                        numbers.c.gateway == gateway,
                        numbers.c.boot == f"{boot:016x}",
                        numbers.c.seq.between(f"{seqs[0]:016x}", f"{seqs[-1]:016x}")
                        if together
                        else numbers.c.seq.in_([f"{seq:016x}" for seq in seqs]),
                    )
                )
                wanted = frozenset(seqs)
                said = ((int(row.seq, 16), row.said) for row in taken)
                found.update((Number(gateway, boot, s), d) for s, d in said if s in wanted)
        return found

    async def missing(self, gateway: str, *, but: str) -> list[Number]:
        """Return the numbers that no leaf has, below one that a leaf has, of a worker's runs.

        Args:
            gateway: The worker.
            but: Its run that goes on, in hexadecimal.
        """
        own = (numbers.c.gateway == gateway, numbers.c.boot != but)
        runs = select(numbers.c.boot, func.count(), func.max(numbers.c.seq)).where(*own)
        found: list[Number] = []
        async with self.database.read() as connection:
            for boot, count, last in await connection.execute(runs.group_by(numbers.c.boot)):
                if count == int(last, 16) + 1:
                    continue
                taken = await connection.execute(
                    select(numbers.c.seq).where(
                        numbers.c.gateway == gateway, numbers.c.boot == boot
                    )
                )
                there = {int(row.seq, 16) for row in taken}
                found += (
                    Number(gateway, int(boot, 16), seq, VOID_BY_LOG)
                    for seq in range(int(last, 16))
                    if seq not in there
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
        beside: Beside | None = None,
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
            await _save_beside(connection, beside or Beside())

        await self.database.change(change)

    async def read_on(self, read: Mapping[str, Position], beside: Beside | None = None) -> None:
        """Remember positions, and the like, when nothing of what was read becomes a leaf."""

        async def change(connection: AsyncConnection) -> None:
            await _save(connection, read)
            await _save_beside(connection, beside or Beside())

        await self.database.change(change)

    async def marks(self) -> dict[str, str]:
        """Return what was marked."""
        async with self.database.read() as connection:
            rows = (await connection.execute(select(marks))).all()
        return {row.name: row.value for row in rows}

    async def subjects(self, year: int) -> dict[int, SealedSubjects]:
        """Return the subjects that were read in the stream of `year`, by the row they are in."""
        query = select(subjects).where(subjects.c.year == year)
        async with self.database.read() as connection:
            rows = (await connection.execute(query)).all()
        return {int(row.id): SealedSubjects(int(row.year), row.sealed) for row in rows}

    async def change_subjects(self, changes: Mapping[int, SealedSubjects | None]) -> None:
        """Replace rows of `subjects`, or take them away; nothing of them is left on the disk.

        Raises:
            StoreError: As `Database.empty_journal`; the same again goes on.
        """

        async def change(connection: AsyncConnection) -> None:
            for ident, row in changes.items():
                here = subjects.c.id == ident
                await connection.execute(
                    delete(subjects).where(here)
                    if row is None
                    else update(subjects).where(here).values(sealed=row.sealed)
                )

        await self.database.change(change)
        await self.database.empty_journal()

    async def keep_years(self, years: Iterable[int]) -> None:
        """Forget the subjects of all other years: their streams are closed, nothing is judged."""

        async def change(connection: AsyncConnection) -> None:
            await connection.execute(delete(subjects).where(subjects.c.year.not_in(list(years))))

        await self.database.change(change)


def _runs(asked: Sequence[Number]) -> Iterator[tuple[str, int, list[int]]]:
    """Yield gateway, boot and some of the numbers asked for, in order: at most so many together."""
    by_run: dict[tuple[str, int], list[int]] = {}
    for number in asked:
        by_run.setdefault((number.gateway, number.boot), []).append(number.seq)
    for (gateway, boot), seqs in by_run.items():
        seqs.sort()
        for start in range(0, len(seqs), _ASKED_TOGETHER):
            yield gateway, boot, seqs[start : start + _ASKED_TOGETHER]


async def _save(connection: AsyncConnection, read: Mapping[str, Position]) -> None:
    for name, position in read.items():
        values = vars(position)
        done = await connection.execute(
            update(streams).where(streams.c.name == name).values(values)
        )
        if not done.rowcount:
            await connection.execute(insert(streams).values(name=name, **values))


async def _save_beside(connection: AsyncConnection, beside: Beside) -> None:
    for name, value in beside.marks.items():
        await connection.execute(delete(marks).where(marks.c.name == name))
        if value is not None:
            await connection.execute(insert(marks).values(name=name, value=value))
    if beside.subjects:
        await connection.execute(insert(subjects), [vars(row) for row in beside.subjects])
