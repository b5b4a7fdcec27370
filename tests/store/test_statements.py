"""A statement of the busy paths does the same in SQLite and PostgreSQL, inside its transaction."""

from pathlib import Path

import pytest
from sqlalchemy import DateTime, bindparam, column, delete, func, insert, select, table, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.store.database import StoreError, open_database, sqlite_url
from broker.store.statements import Statement
from broker.store.tables import inbox, meta, metadata
from tests.support.databases import Databases

PUT = Statement(insert(meta))
VALUE = Statement(select(meta.c.value).where(meta.c.name == bindparam("of_name")))
NAMES = Statement(select(meta.c.name, meta.c.value).order_by(meta.c.name).limit(bindparam("most")))
SET = Statement(
    update(meta).where(meta.c.name == bindparam("of_name")).values(value=bindparam("value"))
)
FIXED = Statement(update(meta).where(meta.c.name == bindparam("of_name")).values(value="fixed"))
GONE = Statement(delete(meta).where(meta.c.name == bindparam("of_name")))
COUNT = Statement(select(func.count()).select_from(meta))


@pytest.fixture
def url(databases: Databases, tmp_path: Path) -> str:
    return databases.url(tmp_path / "node.db")


async def test_rows_are_put_found_changed_and_deleted(url: str) -> None:
    async with open_database(url, metadata) as database:

        async def change(connection: AsyncConnection) -> None:
            await PUT.run(connection, name="a", value="1")
            await PUT.run(connection, name="b", value="2")
            assert await SET.run(connection, of_name="a", value="3") == 1
            assert await FIXED.run(connection, of_name="b") == 1
            assert await GONE.run(connection, of_name="nobody") == 0

        await database.change(change)
        async with database.read() as connection:
            rows = await NAMES.rows(connection, most=5)
            assert [(row.name, row.value) for row in rows] == [("a", "3"), ("b", "fixed")]
            assert len(await NAMES.rows(connection, most=1)) == 1
            assert await VALUE.value(connection, of_name="a") == "3"
            assert await VALUE.first(connection, of_name="nobody") is None
            assert await COUNT.value(connection) == 2
            other = await connection.execute(select(func.count()).select_from(meta))
            assert other.scalar_one() == 2  # in the same transaction, by SQLAlchemy


async def test_a_row_that_numbers_itself_says_its_number(url: str) -> None:
    put = Statement(insert(inbox))
    row = {"digest": b"d", "alert_id": "x", "rev": 1, "type": "t", "exercise": 0, "sealed": b"s"}
    async with open_database(url, metadata) as database:
        first = await database.change(lambda c: put.number(c, id="1", **row))
        assert await database.change(lambda c: put.number(c, id="2", **row)) == first + 1


async def test_a_reader_sees_one_point_in_time(url: str) -> None:
    async with open_database(url, metadata) as database:
        async with database.read() as connection:
            assert await COUNT.value(connection) == 0
            await database.change(lambda c: PUT.run(c, name="a", value="1"))
            assert await COUNT.value(connection) == 0
        async with database.read() as connection:
            assert await COUNT.value(connection) == 1


async def test_what_failed_is_undone_alone_and_an_error_is_sqlalchemys(tmp_path: Path) -> None:
    async with open_database(sqlite_url(tmp_path / "a.db"), metadata) as database:

        async def half(connection: AsyncConnection) -> None:
            await PUT.run(connection, name="half", value="v")
            raise ValueError("no")

        with pytest.raises(ValueError, match="no"):
            await database.change(half)

        async def twice(connection: AsyncConnection) -> None:
            await PUT.run(connection, name="a", value="v")
            with pytest.raises(IntegrityError):
                await PUT.run(connection, name="a", value="v")

        await database.change(twice)
        async with database.read() as connection:
            assert [row.name for row in await NAMES.rows(connection, most=5)] == ["a"]


async def test_a_full_disk_ends_the_whole_commit(tmp_path: Path) -> None:
    async with open_database(sqlite_url(tmp_path / "a.db"), metadata) as database:

        async def small(connection: AsyncConnection) -> None:
            await connection.exec_driver_sql("PRAGMA max_page_count=64")

        await database.change(small)
        with pytest.raises(StoreError) as caught:
            await database.change(lambda c: PUT.run(c, name="much", value="x" * 2_000_000))
        assert caught.value.code == "disk-full"
        await database.change(lambda c: PUT.run(c, name="after", value="v"))


async def test_what_would_need_a_conversion_or_lacks_a_value_is_refused(tmp_path: Path) -> None:
    dated = table("meta", column("name", DateTime()))
    async with (
        open_database(sqlite_url(tmp_path / "a.db"), metadata) as database,
        database.read() as connection,
    ):
        with pytest.raises(TypeError, match="conversion"):
            await Statement(select(dated.c.name)).rows(connection)
        with pytest.raises(KeyError):
            await VALUE.rows(connection)
