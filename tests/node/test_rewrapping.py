"""Another storage key: everything at rest opens under it, and nothing under the old one."""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from sqlalchemy import Integer, LargeBinary, Table, insert, select

from broker.node.errors import NodeError
from broker.node.rewrapping import _NAMED, rewrap
from broker.node.vault import Vault
from broker.store import tables
from broker.store.database import Database, open_database, sqlite_url
from broker.store.tables import metadata

OLD, NEW = Vault(secrets.token_bytes(32)), Vault(secrets.token_bytes(32))
TEXT = b"content of an alert"


@pytest_asyncio.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with open_database(sqlite_url(tmp_path / "node.db"), metadata) as opened:
        yield opened


def a_row(table: Table, number: int) -> dict[str, Any]:
    """Some row; what it is called is its own."""
    values: dict[str, Any] = {}
    for column in table.columns:
        if isinstance(column.type, Integer):
            values[column.name] = number
        elif isinstance(column.type, LargeBinary):
            values[column.name] = secrets.token_bytes(32)
        else:
            values[column.name] = str(uuid4())[: getattr(column.type, "length", None) or 36]
    return values


class Row:
    def __init__(self, values: dict[str, Any]) -> None:
        self.__dict__.update(values)


async def fill(database: Database) -> int:
    """Two rows in each table with content; return how many."""
    for table, name_of in _NAMED:
        for number in (1, 2):
            values = a_row(table, number)
            values["sealed"] = OLD.seal(TEXT, name=name_of(Row(values)))
            await database.change(lambda c, t=table, v=values: c.execute(insert(t).values(v)))
    return 2 * len(_NAMED)


async def opened_by(database: Database, vault: Vault) -> int:
    count = 0
    async with database.read() as connection:
        for table, name_of in _NAMED:
            for row in (await connection.execute(select(table))).all():
                try:
                    count += vault.open(row.sealed, name=name_of(row)) == TEXT
                except NodeError:
                    continue
    return count


def test_no_table_with_content_is_forgotten() -> None:
    sealed = {t.name for t in metadata.sorted_tables if "sealed" in t.columns}
    assert {table.name for table, _ in _NAMED} | {"attachments"} == sealed


async def test_everything_at_rest_opens_under_the_new_key_alone(database: Database) -> None:
    count = await fill(database)
    assert await opened_by(database, OLD) == count
    assert await database.change(lambda c: rewrap(c, OLD, NEW)) == count
    assert (await opened_by(database, NEW), await opened_by(database, OLD)) == (count, 0)
    assert await database.change(lambda c: rewrap(c, OLD, NEW)) == 0  # interrupted before the end


async def test_a_row_that_does_not_open_changes_nothing(database: Database) -> None:
    count = await fill(database)
    values = a_row(tables.arrivals, 3)
    values["sealed"] = Vault(secrets.token_bytes(32)).seal(TEXT, name="arrival/of another")
    await database.change(lambda c: c.execute(insert(tables.arrivals).values(values)))
    with pytest.raises(NodeError) as caught:
        await database.change(lambda c: rewrap(c, OLD, NEW))
    assert caught.value.code == "storage-damaged"
    assert (await opened_by(database, OLD), await opened_by(database, NEW)) == (count, 0)


async def test_files_that_wait_to_be_sent_go_first(database: Database) -> None:
    values = a_row(tables.attachments, 1)
    await database.change(lambda c: c.execute(insert(tables.attachments).values(values)))
    with pytest.raises(NodeError) as caught:
        await database.change(lambda c: rewrap(c, OLD, NEW))
    assert caught.value.code == "files-waiting"
