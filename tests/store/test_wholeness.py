"""A damaged page is found though nobody asks for what lies there."""

import asyncio
import random  # noqa: TID251 - a seeded place, so that a failure can be repeated
from pathlib import Path

import pytest
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.store.database import Database, open_database, sqlite_url
from broker.store.errors import StoreError
from broker.store.tables import metadata, outbox
from broker.store.wholeness import check_whole, keep_whole
from tests.chaos.losses import flip_one

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
