"""Committed means kept: group commit, failed changes, kill -9, a full disk, a damaged file."""

import asyncio
import itertools
import os
import signal
import sqlite3
import sys
import types
from collections.abc import AsyncIterator, Awaitable, Coroutine, Generator
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from pathlib import Path

import pytest
from sqlalchemy import event, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.store.database import Database, StoreError, open_database, sqlite_url
from broker.store.statements import Statement
from broker.store.tables import meta, metadata
from tests.support.databases import Databases
from tests.support.fulldisk import may_grow, no_growth


async def put(database: Database, name: str, value: str = "v") -> None:
    async def change(connection: AsyncConnection) -> None:
        await connection.execute(insert(meta).values(name=name, value=value))

    await database.change(change)


async def count(database: Database) -> int:
    async with database.read() as connection:
        return int((await connection.execute(select(func.count()).select_from(meta))).scalar_one())


@pytest.fixture
def url(databases: Databases, tmp_path: Path) -> str:
    return databases.url(tmp_path / "node.db")


async def test_what_was_changed_is_there_when_it_is_opened_again(url: str) -> None:
    async with open_database(url, metadata) as database, asyncio.TaskGroup() as group:
        for number in range(300):
            group.create_task(put(database, str(number)))
    async with open_database(url, metadata) as database:
        assert await count(database) == 300


async def test_a_change_that_fails_leaves_the_others_of_its_commit_alone(url: str) -> None:
    async with open_database(url, metadata) as database:

        async def half(connection: AsyncConnection) -> None:
            await connection.execute(insert(meta).values(name="half", value="v"))
            raise ValueError("no")

        results = await asyncio.gather(
            put(database, "a"), database.change(half), put(database, "b"), return_exceptions=True
        )
        assert [type(result) for result in results] == [type(None), ValueError, type(None)]
        assert await count(database) == 2


async def test_a_change_that_the_database_refuses_leaves_the_others_alone(url: str) -> None:
    async with open_database(url, metadata) as database:
        results = await asyncio.gather(
            put(database, "a"), put(database, "a"), put(database, "b"), return_exceptions=True
        )
        assert [type(result) for result in results] == [type(None), StoreError, type(None)]
        assert await count(database) == 2


async def test_a_reader_sees_one_point_in_time(url: str) -> None:
    async with open_database(url, metadata) as database:
        await put(database, "before")
        query = select(func.count()).select_from(meta)
        async with database.read() as connection:
            assert (await connection.execute(query)).scalar_one() == 1
            await put(database, "meanwhile")
            assert (await connection.execute(query)).scalar_one() == 1
        assert await count(database) == 2


async def test_a_reader_who_is_later_than_the_end_leaves_no_connection_open(
    url: str,
) -> None:
    closed: list[object] = []
    async with AsyncExitStack() as late:
        async with open_database(url, metadata) as database:
            pool = database.engine.sync_engine.pool
            event.listen(pool, "close", lambda connection, _: closed.append(connection))
            connection = await late.enter_async_context(database.read())
            await connection.execute(select(meta))
            driver = (await connection.get_raw_connection()).dbapi_connection
            assert driver is not None
        assert driver not in closed, "it is taken from a reader at work"
    assert driver in closed


async def test_a_reader_cancelled_wherever_it_waits_leaves_no_connection_open(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that is not given back is one of a server's few, until it is garbage."""
    # The driver lets others go first wherever it may: else only while the machine is busy.
    monkeypatch.setattr("psycopg.waiting.MAX_BUSY_TIME", 0.0)

    async def read(database: Database) -> None:
        async with database.read() as connection:
            await connection.execute(select(meta))

    finished = False
    for waits in itertools.count():
        opened: list[object] = []
        closed: list[object] = []
        async with open_database(url, metadata) as database, database.read() as other:
            await other.execute(select(meta))  # so that the next one needs a new connection
            pool = database.engine.sync_engine.pool
            event.listen(pool, "connect", lambda each, _, to=opened: to.append(each))
            event.listen(pool, "close", lambda each, _, to=closed: to.append(each))
            with suppress(asyncio.CancelledError):
                await _cancelled_after(waits, read(database))
                finished = True
        assert [each for each in opened if each not in closed] == [], f"after {waits} waits"
        if finished:
            break
    assert waits > 1


@types.coroutine
def _cancelled_after(
    waits: int, work: Coroutine[object, object, None]
) -> Generator[object, object, None]:
    """Cancel `work` where it waits for that many times and once more; or let it end before."""
    with suppress(StopIteration):
        for _ in range(waits):
            yield work.send(None)
        work.send(None)
        waiting_for = work.throw(asyncio.CancelledError())
        while True:
            yield waiting_for
            waiting_for = work.send(None)


async def test_nobody_who_writes_waits_for_a_journal_that_cannot_be_emptied(
    tmp_path: Path,
) -> None:
    """Somebody reads all of the database, and what was destroyed stands in the journal."""
    path = tmp_path / "node.db"
    async with open_database(sqlite_url(path), metadata) as database:
        await put(database, "before")
        with closing(sqlite3.connect(path)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM meta").fetchall()
            await put(database, "destroyed")
            async with asyncio.TaskGroup() as group:
                emptying = group.create_task(outcome(database.empty_journal()))
                for number in range(50):
                    await put(database, str(number))
                assert not emptying.done()
            assert emptying.result() == "database-locked"
        await database.empty_journal()
        assert not path.with_name("node.db-wal").stat().st_size


async def test_who_is_cancelled_while_it_empties_the_journal_ends_and_leaves_nothing_begun(
    tmp_path: Path,
) -> None:
    """It would go on for ever, and a node that is told to stop wait for it."""
    async with open_database(sqlite_url(tmp_path / "node.db"), metadata) as database:
        for number in range(600):
            await put(database, str(number))
            emptying = asyncio.get_running_loop().create_task(database.empty_journal())
            for _ in range(number % 100):
                await asyncio.sleep(0)
            emptying.cancel()
            with suppress(asyncio.CancelledError):
                await emptying
        assert await count(database) == 600
        await database.empty_journal()


async def test_a_journal_that_a_full_disk_keeps_is_emptied_later(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    async with open_database(sqlite_url(path), metadata) as database:
        await put(database, "before")
        no_growth(os.getpid())
        try:
            assert await outcome(database.empty_journal()) == "disk-full"
        finally:
            may_grow(os.getpid())
        await database.empty_journal()
        assert not path.with_name("node.db-wal").stat().st_size
        assert await count(database) == 1


async def outcome(doing: Awaitable[None]) -> str:
    """The code of what it raised."""
    try:
        await doing
    except StoreError as error:
        return error.code
    return ""


async def test_changes_of_two_processes_go_one_after_the_other(url: str) -> None:
    """As a node and a command beside it: neither loses what the other counted."""

    async def one_more(connection: AsyncConnection) -> None:
        value = (await connection.execute(select(meta.c.value))).scalar_one()
        await connection.execute(update(meta).values(value=str(int(value) + 1)))

    async with open_database(url, metadata, sole=True) as one, open_database(url, metadata) as two:
        await put(one, "counted", "0")
        for _ in range(20):
            await asyncio.gather(*(each.change(one_more) for each in (one, two, one)))
        async with one.read() as connection:
            assert (await connection.execute(select(meta.c.value))).scalar_one() == "60"


async def test_a_second_process_that_would_be_alone_is_refused(url: str) -> None:
    async with open_database(url, metadata, sole=True) as database:
        with pytest.raises(StoreError) as caught:
            async with open_database(url, metadata, sole=True):
                pass
        assert caught.value.code == "database-in-use"
        await put(database, "still here")
    async with open_database(url, metadata, sole=True) as database:
        assert await count(database) == 1


async def test_whatever_breaks_a_commit_the_next_change_goes_on(url: str) -> None:
    @asynccontextmanager
    async def broken() -> AsyncIterator[AsyncConnection]:
        raise RuntimeError("of a library")
        yield

    async with open_database(url, metadata) as database:
        whole, database.begin = database.begin, broken
        with pytest.raises(StoreError) as caught:
            await put(database, "broken")
        assert (caught.value.code, caught.value.retry) == ("database-failed", "later")
        database.begin = whole
        await put(database, "after")
        assert await count(database) == 1


async def test_a_change_waits_for_another_process_only_so_long(url: str) -> None:
    held, over = asyncio.Event(), asyncio.Event()

    async def hold(_: AsyncConnection) -> None:
        held.set()
        await over.wait()

    async with open_database(url, metadata) as one, open_database(url, metadata) as other:
        async with asyncio.TaskGroup() as group:
            group.create_task(one.change(hold))
            await held.wait()
            with pytest.raises(StoreError) as caught:
                await put(other, "meanwhile")
            over.set()
        assert (caught.value.code, caught.value.retry) == ("database-locked", "later")
        await put(other, "after")


async def test_a_change_waits_for_another_process_but_readers_do_not(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    async with open_database(sqlite_url(path), metadata) as database:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            async with asyncio.timeout(30), asyncio.TaskGroup() as group:
                waiting = group.create_task(put(database, "a"))
                for _ in range(20):  # the loop goes on meanwhile
                    await asyncio.to_thread(lambda: None)
                    assert await count(database) == 0
                assert not waiting.done()
                other.execute("ROLLBACK")
        assert await count(database) == 1


CHILD = """
import asyncio, sys
from tests.store.test_database import put
from broker.store.database import open_database
from broker.store.tables import metadata

async def main():
    async with open_database(sys.argv[1], metadata, sole=True) as database:
        for number in range(10**6):
            await put(database, str(number))
            print(number, flush=True)

asyncio.run(main())
"""


@pytest.mark.processes
async def test_no_kill_loses_what_was_acknowledged(url: str) -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, url, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    last = -1
    async with asyncio.timeout(30):
        while last < 50:
            last = int(await child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        rest = (await child.stdout.read()).split()
        await child.wait()
    last = int(rest[-1]) if rest else last
    async with open_database(url, metadata, sole=True) as database:
        assert await count(database) >= last + 1


async def test_a_full_disk_is_said_and_nothing_is_lost(tmp_path: Path) -> None:
    async with open_database(sqlite_url(tmp_path / "node.db"), metadata) as database:
        await put(database, "before")

        async def small(connection: AsyncConnection) -> None:
            await connection.exec_driver_sql("PRAGMA max_page_count=64")

        await database.change(small)
        with pytest.raises(StoreError) as caught:
            await put(database, "too much", "x" * 2_000_000)
        assert (caught.value.code, caught.value.retry) == ("disk-full", "later")
        await put(database, "after")
        assert await count(database) == 2


async def test_a_file_that_is_no_database_is_said(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    path.write_bytes(b"this is no database, whatever its name is" * 100)
    with pytest.raises(StoreError) as caught:
        async with open_database(sqlite_url(path), metadata):
            pass
    assert caught.value.code == "database-damaged"


def change_letters(path: Path, *around: bytes) -> None:
    """Have the disk change the letter Z, where it stands among these, to what is no letter."""
    raw = path.read_bytes()
    for letters in around:
        assert raw.count(letters) == 1
        raw = raw.replace(letters, letters.replace(b"Z", b"\xff"))
    path.write_bytes(raw)


async def with_changed_letters(path: Path) -> None:
    """A database in which the disk changed a letter of a text, and one of a name."""
    async with open_database(sqlite_url(path), metadata) as database:
        await put(database, "text", "disk is full: Z")  # what a driver quotes is no reason
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE VIEW named AS SELECT nameZ FROM meta")
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    change_letters(path, b"full: Z", b"nameZ ")


@pytest.mark.parametrize("asked", ["SELECT value FROM meta", "SELECT * FROM named"])
@pytest.mark.parametrize("busy", [True, False])
async def test_what_is_no_text_any_more_is_damage_inside_a_change_too(
    tmp_path: Path, asked: str, *, busy: bool
) -> None:
    """Taken for a fault of whatever asked, it would be held against a good alert."""
    await with_changed_letters(tmp_path / "node.db")
    statement = Statement(select(meta.c.value)) if busy else None

    async def look(connection: AsyncConnection) -> None:
        if statement is not None and "meta" in asked:
            await statement.rows(connection)
        await connection.execute(text(asked))

    async with open_database(sqlite_url(tmp_path / "node.db"), metadata) as database:
        results = await asyncio.gather(
            put(database, "a"), database.change(look), put(database, "b"), return_exceptions=True
        )
        first, refused, last = results
        assert (first, last) == (None, None)
        assert isinstance(refused, StoreError)
        assert (refused.code, refused.retry) == ("database-damaged", "later")
        assert database.damaged_at is not None
        assert await count(database) == 3
