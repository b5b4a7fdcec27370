"""Which version of its tables a database has, and how it comes to have ours.

A new database gets the tables as the code has them, and the version's name in a table of its own.
An older one is brought up step by step, in one transaction: all of it or nothing. A newer one is
refused, for its rows may mean what this code does not know.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Column, Connection, MetaData, String, Table, insert, inspect, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.store.errors import StoreError

SCHEMA: Final = "schema"  # where MetaData.info holds the Schema of its tables
_NAME_CHARACTERS: Final = 32  # of a version, as Alembic stores it


@dataclass(frozen=True)
class Schema:
    """The versions of one process's tables.

    Attributes:
        name: Of the state that they keep: `node` or `log`.
        newest: The version that the code works with.
        revisions: Folders with a module for each step, as Alembic reads them.
    """

    name: str
    newest: str
    revisions: tuple[Path, ...]

    @property
    def version_table(self) -> Table:
        """Where the database says its version; the form is Alembic's."""
        name = f"kentong_{self.name}_version"
        version = Column("version_num", String(_NAME_CHARACTERS), primary_key=True)
        return Table(name, MetaData(), version)


def schema_of(tables: MetaData) -> Schema:
    """Return the versions of these tables."""
    schema: Schema = tables.info[SCHEMA]
    return schema


async def version_in(connection: AsyncConnection, schema: Schema) -> str:
    """Return the version that a database says it has; empty if it says none."""
    return await connection.run_sync(_version, schema)


def bring_up(connection: Connection, tables: MetaData) -> tuple[str, str]:
    """Give a database the tables of this code; return its version before, and now.

    Args:
        connection: In a transaction, which nobody else's change runs beside.
        tables: Of the code.

    Raises:
        StoreError: `database-newer`, or `database-unversioned`: somebody else made its tables.
    """
    schema = schema_of(tables)
    before = _version(connection, schema)
    if before == schema.newest:
        return before, before
    if before:
        _migrate(connection, tables, before)
    elif not set(tables.tables) & set(inspect(connection).get_table_names()):
        tables.create_all(connection)
        _stamp(connection, schema)
    else:
        _adopt(connection, tables)
    return before, schema.newest


def _version(connection: Connection, schema: Schema) -> str:
    table = schema.version_table
    if not inspect(connection).has_table(table.name):
        return ""
    return connection.execute(select(table.c.version_num)).scalar_one_or_none() or ""


def _stamp(connection: Connection, schema: Schema) -> None:
    table = schema.version_table
    table.create(connection, checkfirst=True)
    connection.execute(insert(table).values(version_num=schema.newest))


def _migrate(connection: Connection, tables: MetaData, before: str) -> None:
    from broker.store import migrating  # noqa: PLC0415 - Alembic is loaded only where it works

    if before not in migrating.versions(schema_of(tables)):
        raise StoreError(
            "database-newer",
            f"the database has version {before}, which this version of Kentong does not know:"
            " start the newer one again, or restore the backup from before the upgrade",
        )
    migrating.upgrade(connection, tables)


def _adopt(connection: Connection, tables: MetaData) -> None:
    """Take a database without a version, if its tables are exactly ours."""
    from broker.store import migrating  # noqa: PLC0415 - as above

    if found := migrating.differences(connection, tables):
        raise StoreError(
            "database-unversioned",
            f"the database says no version and its tables are others ({found[0]}): begin with an"
            " empty database, or start the version that made it",
        )
    _stamp(connection, schema_of(tables))
