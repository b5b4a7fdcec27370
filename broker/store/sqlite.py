"""SQLite without a thread's turn for each statement.

A statement on a small table takes some ten microseconds, and handing it to a thread and back a
hundred: with twenty statements for an alert, a node spent most of its time on that. So statements
run where they are asked for, and a reader is done before the next begins; what may wait for the
disk or for another process's lock (a commit, a pragma, the beginning of a change while somebody
else is in one) has the connection's thread, as in `aiosqlite`.
"""

import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import aiosqlite
from sqlalchemy import Connection, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from typing_extensions import override

from broker.errors import BrokerError

CHANGING: Final = "changing"
"""Execution option of a connection that will write: it takes the lock as it begins."""
_BUSY_MS: Final = 5000
_BEGIN_CHANGE: Final = "BEGIN IMMEDIATE"
_WAITING_WORDS: Final = (_BEGIN_CHANGE, "PRAGMA")
_ROWS_AT_ONCE: Final = 64
ResultT = TypeVar("ResultT")
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
        if words == _BEGIN_CHANGE:
            with contextlib.suppress(sqlite3.OperationalError):  # somebody is in one: wait below
                return self._at_once(lambda: fn(*args, **kwargs))
        if fn in self._waiting() or words.startswith(_WAITING_WORDS):
            return await super()._execute(fn, *args, **kwargs)  # type: ignore[no-untyped-call]
        return fn(*args, **kwargs)

    def _at_once(self, begin: Callable[[], ResultT]) -> ResultT:
        """Do what takes a lock without waiting for it.

        Raises:
            OperationalError: Another process has it.
        """
        self._conn.execute("PRAGMA busy_timeout=0")
        try:
            return begin()
        finally:
            self._conn.execute(f"PRAGMA busy_timeout={_BUSY_MS}")

    @property
    def driver(self) -> sqlite3.Connection:
        """The standard library's connection, whose statements run where they are called."""
        return self._conn

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


def driver_of(connection: AsyncConnection) -> sqlite3.Connection:
    """Return the standard library's connection below one of SQLite's."""
    pooled = connection.sync_connection
    lent = None if pooled is None else pooled.connection.driver_connection
    if not isinstance(lent, QuickConnection):
        raise TypeError("no open connection of SQLite")
    return lent.driver


@asynccontextmanager
async def part_of_change(connection: AsyncConnection) -> AsyncIterator[None]:
    """Let what the block does be undone by itself, if it raises.

    Raises:
        DBAPIError: SQLite ended the whole transaction: the disk is full, most likely.
    """
    if connection.dialect.name != "sqlite":
        async with connection.begin_nested():
            yield
        return
    driver = driver_of(connection)
    driver.execute("SAVEPOINT part")
    try:
        yield
    except BaseException:
        _leave(driver, "ROLLBACK TO part")
        _leave(driver, "RELEASE part")
        raise
    _leave(driver, "RELEASE part")


def _leave(driver: sqlite3.Connection, sql: str) -> None:
    try:
        driver.execute(sql)
    except sqlite3.Error as error:
        raise as_dbapi_error(error, sql) from error


def as_dbapi_error(error: sqlite3.Error, sql: str) -> DBAPIError:
    """Return what SQLAlchemy would raise in place of an error of the driver."""
    raised = DBAPIError.instance(sql, None, error, sqlite3.Error, hide_parameters=True)
    return raised if isinstance(raised, DBAPIError) else DBAPIError(sql, None, error)


def bring_home(path: str) -> None:
    """Bring of the write-ahead log what nobody reads any more home, without any writer's lock."""
    with _journal_of(path) as driver:
        driver.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
        driver.execute("PRAGMA wal_checkpoint(PASSIVE)")


def emptied_journal(path: str) -> bool:
    """Return whether the write-ahead log was brought home and emptied: nobody was in the way.

    It waits for nobody: while SQLite waits here for a reader, which may look at a whole database,
    it holds the lock that every writer needs.
    """
    with _journal_of(path) as driver:
        try:
            told = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
            return False
    return told is not None and not told[0]  # the first is whether somebody was in the way


@contextmanager
def _journal_of(path: str) -> Iterator[sqlite3.Connection]:
    """Give a connection for one thread, with which it ends: nobody else waits for a statement.

    Of a pool's, a task that is cancelled would leave one behind in the middle of its statement.
    """
    try:
        with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as driver:
            yield driver
    except sqlite3.Error as error:  # a full disk, for one
        raise as_dbapi_error(error, "PRAGMA wal_checkpoint") from error


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
    lent = connection.connection.driver_connection
    if lent is not None and lent.driver.in_transaction:
        return  # of a reader, begun by a prepared statement
    changing = connection.get_execution_options().get(CHANGING, False)
    connection.exec_driver_sql(_BEGIN_CHANGE if changing else "BEGIN")
