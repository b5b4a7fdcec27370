"""Statements built and compiled once, and handed to SQLite itself when they run.

SQLite answers a small statement in some two microseconds; through SQLAlchemy's cursors, results and
greenlets it takes seventy, and an alert needs two dozen of them. So a statement of the busy paths
is written in SQLAlchemy's language like every other, compiled once for SQLite, and given with its
values straight to the driver's connection, inside the transaction of the connection it came with.
Any other database gets the same statement by SQLAlchemy.

Only what needs no conversion may stand in such a statement: integers, text, bytes and none.
"""

import operator
import sqlite3
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from sqlalchemy import Delete, Insert, Select, Update
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import Integer, LargeBinary, NullType, String, TypeEngine

from broker.store.sqlite import as_dbapi_error, driver_of

Written: TypeAlias = "Select[Any] | Insert | Update | Delete"
_PLAIN: Final = (Integer, String, LargeBinary, NullType)
_SQLITE: Final = "sqlite"
_COUNTED: Final = operator.attrgetter("rowcount")
_NUMBERED: Final = operator.attrgetter("lastrowid")


@dataclass(frozen=True)
class _Compiled:
    """A statement as SQLite takes it.

    Attributes:
        values: Picks them, in the order of the statement's places.
        row: Makes a row with named columns of a tuple.
    """

    sql: str
    values: Callable[[Mapping[str, Any]], Sequence[Any]]
    row: Callable[[Sequence[Any]], Any]


class Statement:
    """One statement, with `bindparam` where a value comes; an insert takes values by column."""

    def __init__(self, statement: Written) -> None:
        """Take a statement; it is compiled when it first runs."""
        self._statement = statement
        self._compiled: _Compiled | None = None

    async def rows(self, connection: AsyncConnection, /, **values: Any) -> Sequence[Any]:  # noqa: ANN401 - values of columns
        """Return all rows, their columns by name.

        Raises:
            DBAPIError: As any statement.
        """
        if connection.dialect.name != _SQLITE:
            return (await connection.execute(self._statement, values)).all()
        found, make = self._done(connection, values, sqlite3.Cursor.fetchall)
        return [make(row) for row in found]

    async def first(self, connection: AsyncConnection, /, **values: Any) -> Any:  # noqa: ANN401 - a row or None
        """Return the first row, or None.

        Raises:
            DBAPIError: As any statement.
        """
        if connection.dialect.name != _SQLITE:
            return (await connection.execute(self._statement, values)).first()
        found, make = self._done(connection, values, sqlite3.Cursor.fetchone)
        return None if found is None else make(found)

    async def value(self, connection: AsyncConnection, /, **values: Any) -> Any:  # noqa: ANN401 - of a column, or None
        """Return the first column of the first row, or None.

        Raises:
            DBAPIError: As any statement.
        """
        row = await self.first(connection, **values)
        return None if row is None else row[0]

    async def run(self, connection: AsyncConnection, /, **values: Any) -> int:  # noqa: ANN401 - values of columns
        """Insert, change or delete rows; return how many were changed or deleted.

        Raises:
            DBAPIError: As any statement.
        """
        if connection.dialect.name != _SQLITE:
            return (await connection.execute(self._statement, values)).rowcount
        count: int = self._done(connection, values, _COUNTED)[0]
        return count

    async def number(self, connection: AsyncConnection, /, **values: Any) -> int:  # noqa: ANN401 - values of columns
        """Insert a row into a table whose key numbers itself; return its number.

        Raises:
            DBAPIError: As any statement.
        """
        if connection.dialect.name != _SQLITE:
            inserted = await connection.execute(self._statement, values)
            return int((inserted.inserted_primary_key or (0,))[0])
        return int(self._done(connection, values, _NUMBERED)[0])

    def _done(
        self,
        connection: AsyncConnection,
        values: Mapping[str, Any],
        wanted: Callable[[sqlite3.Cursor], Any],
    ) -> tuple[Any, Callable[[Sequence[Any]], Any]]:
        """Run it in SQLite; return what is `wanted`, and what makes a row."""
        compiled = self._compiled
        if compiled is None:
            compiled = self._compiled = _compiled(self._statement, connection.dialect, values)
        driver = driver_of(connection)
        try:
            if not driver.in_transaction:  # of a reader, who then sees one point in time
                driver.execute("BEGIN")
            cursor = driver.execute(compiled.sql, compiled.values(values))
            found = wanted(cursor)
            cursor.close()  # or what was not fetched keeps the statement at work
        except sqlite3.Error as error:
            raise as_dbapi_error(error, compiled.sql) from error
        return found, compiled.row


def _compiled(statement: Written, dialect: Dialect, values: Mapping[str, Any]) -> _Compiled:
    columns = list(values) if isinstance(statement, Insert) else None
    compiled = statement.compile(dialect=dialect, column_keys=columns)
    if compiled.insert_prefetch:
        raise TypeError("a value is missing")
    shown = list(statement.selected_columns) if isinstance(statement, Select) else []
    row = namedtuple("Row", [each.key for each in shown], rename=True)  # type: ignore[misc] # noqa: PYI024 - its fields are a statement's
    _check_plain([bind.type for bind in compiled.bind_names] + [each.type for each in shown])
    named = compiled.bind_names.items()
    fixed = {name: bind.effective_value for bind, name in named if not bind.required}
    return _Compiled(
        str(compiled),
        _picker(compiled.positiontup or (), fixed),
        row._make,
    )


def _check_plain(types: Sequence[TypeEngine[Any]]) -> None:
    for each in types:
        if not isinstance(each, _PLAIN):
            raise TypeError(f"{each!r} would need a conversion")


def _picker(
    names: Sequence[str], fixed: Mapping[str, Any]
) -> Callable[[Mapping[str, Any]], Sequence[Any]]:
    if not names:
        return lambda _: ()
    pick = operator.itemgetter(*names)
    if len(names) == 1:
        return lambda values: (pick({**fixed, **values}),)
    return (lambda values: pick({**fixed, **values})) if fixed else pick
