"""What a node destroyed is nowhere in its files, and what it must remember stays."""

from collections.abc import Mapping
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import Table, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.node.erasure import destroy
from broker.store import tables
from broker.store.database import Database, StoreError, open_database, sqlite_url

GONE, KEPT = UUID(int=1), UUID(int=2)


def marks(ident: UUID) -> dict[str, bytes]:
    """One for each place where something of an envelope stands."""
    names = ("envelope", "decision", "content", "raw", "draft")
    return {name: f"quokka-{name}-{ident.int}-forty".encode() * 40 for name in names}


def rows(ident: UUID) -> list[tuple[Table, Mapping[str, object]]]:
    mark, name = marks(ident), str(ident)
    submission = f"s-{ident.int}"
    return [
        (
            tables.proofs,
            {
                "id": name,
                "about": name.encode(),
                "sent": 1,
                "decided_ms": 1,
                "decision": mark["decision"],
                "envelope": mark["envelope"],
            },
        ),
        (
            tables.inbox,
            {
                "id": name,
                "digest": name.encode(),
                "alert_id": name,
                "rev": 1,
                "type": "cyber",
                "exercise": 0,
                "sealed": mark["content"],
            },
        ),
        (
            tables.outbox,
            {
                "id": name,
                "subject": "submit",
                "digest": name.encode(),
                "attempt": 1,
                "next_ms": 1,
                "raw": mark["raw"],
            },
        ),
        (
            tables.submissions,
            {
                "id": submission,
                "alert_id": name,
                "state": "decided",
                "exercise": 0,
                "queued_ms": 1,
                "content_digest": b"",
                "document": "{}",
                "sealed": mark["draft"],
            },
        ),
        (tables.envelopes, {"id": name, "digest": b"digest", "submission_id": submission}),
        (tables.received, {"id": name, "digest": b"digest", "outcome": "stored"}),
    ]


async def fill(database: Database) -> None:
    async def change(connection: AsyncConnection) -> None:
        for ident in (GONE, KEPT):
            for table, values in rows(ident):
                await connection.execute(insert(table).values(**values))

    await database.change(change)


async def counts(database: Database) -> dict[str, int]:
    async with database.read() as connection:
        return {
            table.name: (
                await connection.execute(select(func.count()).select_from(table))
            ).scalar_one()
            for table, _ in rows(GONE)
        }


def found(folder: Path, ident: UUID) -> set[str]:
    """Which marks of an envelope stand in any file, journals included."""
    raw = b"".join(path.read_bytes() for path in folder.iterdir())
    return {name for name, mark in marks(ident).items() if mark[:40] in raw}


async def test_nothing_of_it_is_left_in_any_file(tmp_path: Path) -> None:
    async with open_database(sqlite_url(tmp_path / "node.db"), tables.metadata) as database:
        await fill(database)
        assert found(tmp_path, GONE) == set(marks(GONE))
        assert await destroy(database, GONE) == 4
        assert found(tmp_path, GONE) == set()  # while it is open, as a copy of the disk would be
        assert found(tmp_path, KEPT) == set(marks(KEPT))
        assert await counts(database) == {
            "proofs": 1,
            "inbox": 1,
            "outbox": 1,
            "submissions": 2,
            "envelopes": 2,
            "received": 2,
        }
        assert await destroy(database, GONE) == 0
    assert found(tmp_path, GONE) == set()


async def test_a_reader_delays_it_and_is_told(tmp_path: Path) -> None:
    async with open_database(sqlite_url(tmp_path / "node.db"), tables.metadata) as database:
        await fill(database)
        async with database.read() as connection:
            await connection.execute(select(tables.inbox))
            with pytest.raises(StoreError) as caught:
                await destroy(database, GONE)
            assert (caught.value.code, caught.value.retry) == ("database-locked", "later")
        assert await destroy(database, GONE) == 0
        assert found(tmp_path, GONE) == set()
