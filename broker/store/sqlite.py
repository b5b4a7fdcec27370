"""SQLite without a thread's turn for each statement.

A statement on a small table takes some ten microseconds, and handing it to a thread and back a
hundred: with twenty statements for an alert, a node spent most of its time on that. So statements
run where they are asked for, and a reader is done before the next begins; what may wait for the
disk or for another process's lock (a commit, the beginning of a change, a pragma) has the
connection's thread, as in `aiosqlite`.
"""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import aiosqlite
from sqlalchemy import Connection, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from typing_extensions import override

from broker.errors import BrokerError

CHANGING: Final = "changing"
"""Execution option of a connection that will write: it takes the lock as it begins."""
_BUSY_MS: Final = 5000
_BEGIN_CHANGE: Final = "BEGIN IMMEDIATE"
_WAITING_WORDS: Final = (_BEGIN_CHANGE, "PRAGMA")
_ROWS_AT_ONCE: Final = 64
_PRAGMAS: Final = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    f"busy_timeout={_BUSY_MS}",
    "secure_delete=ON",
)


class QuickConnection(aiosqlite.Connection):
    """A connection whose statements run in the loop; one task uses it at a time."""

    @override
    async def _execute(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        words = args[0] if args and isinstance(args[0], str) else ""
        if fn in self._waiting() or words.startswith(_WAITING_WORDS):
            return await super()._execute(fn, *args, **kwargs)  # type: ignore[no-untyped-call]
        return fn(*args, **kwargs)

    def _waiting(self) -> tuple[Callable[..., Any], ...]:
        own = self._conn
        return own.commit, own.close


def sqlite_engine(url: str, path: str) -> AsyncEngine:
    """Return an engine on the file at `path`, in write-ahead mode; committed means on the disk."""

    async def connect() -> aiosqlite.Connection:
        connection = QuickConnection(
            # Transactions are begun below, not guessed by the driver.
            lambda: sqlite3.connect(path, isolation_level=None, check_same_thread=False),
            _ROWS_AT_ONCE,
        )
        connection._thread.daemon = True  # noqa: SLF001 - as SQLAlchemy does with its own
        return await connection

    engine = create_async_engine(url, hide_parameters=True, async_creator=connect)
    event.listen(engine.sync_engine, "connect", _prepare)
    event.listen(engine.sync_engine, "begin", _begin)
    return engine


def emptied_journal(connection: Connection) -> bool:
    """Return whether the write-ahead log was brought home and emptied: nobody was in the way."""
    cursor = connection.connection.cursor()  # the driver's own: no transaction may be open
    try:
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        told = cursor.fetchone()
    finally:
        cursor.close()
    return told is not None and not told[0]  # the first is whether somebody was in the way


def copied_sqlite(source: Path, target: Path) -> None:
    """Copy a database as of one moment, whoever writes to it meanwhile.

    Raises:
        BrokerError: `database-damaged`: it cannot be read, or the copy is not whole.
    """
    try:
        with (
            closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as database,
            closing(sqlite3.connect(target)) as copy,
        ):
            database.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, without a journal beside it
            (told,) = copy.execute("PRAGMA quick_check").fetchone()
    except sqlite3.Error as error:
        raise BrokerError("database-damaged", f"{source} cannot be copied") from error
    if told != "ok":
        raise BrokerError("database-damaged", f"{source} is damaged")


def _prepare(connection: Any, _: object) -> None:  # noqa: ANN401 - the driver's own type
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    changing = connection.get_execution_options().get(CHANGING, False)
    connection.exec_driver_sql(_BEGIN_CHANGE if changing else "BEGIN")
