"""A damaged page is found though nobody asks for what lies there."""

import asyncio
import json
import random  # noqa: TID251 - a seeded place, so that a failure can be repeated
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from broker import logs
from broker.store.database import Database, open_database, sqlite_url
from broker.store.errors import StoreError
from broker.store.tables import metadata, outbox
from broker.store.wholeness import (
    check_marked,
    check_names,
    check_whole,
    fault,
    keep_whole,
    marker_of,
)
from tests.chaos.ondisk import flip_one

ROWS = 200


async def fill(database: Database) -> None:
    async def change(connection: AsyncConnection) -> None:
        rows = [
            {
                "id": f"{number:036}",
                "subject": "submit.SG.normal",
                "digest": b"",
                "raw": bytes(2000),
                "attempt": 0,
                "next_ms": 0,
            }
            for number in range(ROWS)
        ]
        await connection.execute(insert(outbox), rows)

    await database.change(change)


async def test_what_is_whole_is_left_alone_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    async with open_database(sqlite_url(path), metadata) as database:

        async def looked(connection: AsyncConnection) -> None:
            await connection.exec_driver_sql("DELETE FROM outbox")
            await asyncio.to_thread(check_whole, path)

        await fill(database)
        check_whole(path)
        await database.change(looked)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_a_bit_that_flips_in_a_page_ends_whoever_works_with_it(
    tmp_path: Path, seed: int
) -> None:
    path = tmp_path / "node.db"
    async with open_database(sqlite_url(path), metadata) as database:
        await fill(database)
    flip_one(path, random.Random(seed))  # noqa: S311 - not for a secret
    with pytest.raises(StoreError) as caught:
        async with asyncio.timeout(10):
            await keep_whole(sqlite_url(path))
    assert caught.value.code == "database-damaged"


async def test_postgresql_looks_at_its_own_pages() -> None:
    async with asyncio.timeout(10):
        await keep_whole("postgresql://kentong@localhost/kentong")


async def a_damaged_one(path: Path) -> bytes:
    """Its bytes before a bit of it flipped."""
    async with open_database(sqlite_url(path), metadata) as database:
        await fill(database)
        await database.empty_journal()
    return await asyncio.to_thread(_flipped, path)


def _flipped(path: Path) -> bytes:
    whole = path.read_bytes()
    flip_one(path, random.Random(1))  # noqa: S311 - not for a secret
    return whole


async def test_what_was_found_damaged_is_looked_at_before_it_is_opened_again(
    tmp_path: Path,
) -> None:
    path = tmp_path / "node.db"
    whole = await a_damaged_one(path)
    await check_marked(sqlite_url(path))  # nobody found it yet
    for look in (keep_whole, check_marked, check_marked):
        with pytest.raises(StoreError) as caught:
            async with asyncio.timeout(10):
                await look(sqlite_url(path))
        assert caught.value.code == "database-damaged"
        assert marker_of(path).exists()
    path.write_bytes(whole)
    await check_marked(sqlite_url(path))
    assert not marker_of(path).exists()


async def test_a_database_that_was_moved_away_takes_its_mark_with_it(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    marker_of(path).touch()
    await check_marked(sqlite_url(path))
    assert not marker_of(path).exists()


async def test_a_changed_name_of_a_column_is_found_at_each_start(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    async with open_database(sqlite_url(path), metadata) as database:
        check_names(sqlite_url(path), metadata)
        await database.empty_journal()
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b"next_ms", b"next_mc"))
    with pytest.raises(StoreError) as caught:
        check_names(sqlite_url(path), metadata)
    assert caught.value.code == "database-damaged"


def _full(database: sqlite3.Connection) -> None:
    database.execute("PRAGMA max_page_count=1")
    database.execute("CREATE TABLE more(x)")


def _read_only(database: sqlite3.Connection) -> None:
    database.execute("PRAGMA query_only=ON")
    database.execute("INSERT INTO t VALUES(1)")


def _interrupted(database: sqlite3.Connection) -> None:
    database.set_progress_handler(lambda: 1, 1)
    database.execute("PRAGMA integrity_check(1)")


def _not_authorized(database: sqlite3.Connection) -> None:
    database.set_authorizer(lambda *_: sqlite3.SQLITE_DENY)
    database.execute("SELECT x FROM t")


def _too_big(database: sqlite3.Connection) -> None:
    database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 100)
    database.execute("SELECT zeroblob(200)")


def _closed(database: sqlite3.Connection) -> None:
    database.close()
    database.execute("SELECT x FROM t")


def _wrong(database: sqlite3.Connection) -> None:
    database.execute("SELECT nothing(x) FROM t")


@pytest.mark.parametrize(
    "ask", [_full, _read_only, _interrupted, _not_authorized, _too_big, _closed, _wrong]
)
def test_what_may_have_another_cause_is_no_damage(
    tmp_path: Path, ask: Callable[[sqlite3.Connection], None]
) -> None:
    with closing(sqlite3.connect(tmp_path / "some.db")) as database:
        database.execute("CREATE TABLE t(x)")
        with pytest.raises(sqlite3.Error) as caught:
            ask(database)
    assert fault(caught.value).code == "database-locked"


async def test_a_look_that_comes_to_no_end_is_tried_again_soon_and_alarmed_if_that_stays(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path, aside = tmp_path / "node.db", tmp_path / "aside.db"
    await a_damaged_one(aside)
    logs.configure("test")
    lines: list[dict[str, object]] = []
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        looking = group.create_task(outcome(keep_whole(sqlite_url(path), again_s=0.05)))
        while len(lines) < 2:
            lines.extend(map(json.loads, capfd.readouterr().err.splitlines()))
            await asyncio.sleep(0.01)
        aside.rename(path)
    assert looking.result() == "database-damaged"
    assert [line["event"] for line in lines[:2]] == ["database-not-looked-at"] * 2
    assert [line.get("alarm") for line in lines[:2]] == [None, "database-not-looked-at"]


async def outcome(looking: Awaitable[None]) -> str:
    """The code by which it ended."""
    try:
        await looking
    except StoreError as error:
        return error.code
    return ""
