"""Finds a damaged database before anybody asks for what is damaged, and ends its process.

SQLite reads a page when it is asked for what lies there: a bit that flipped in an old alert would
show when an officer opens it, and one in the middle of a table could spread with what is written
next. So every page is looked at after each start, and once a day, while the process works.
"""

import asyncio
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from sqlalchemy import MetaData, make_url, select

from broker.logs import get_logger
from broker.store.errors import DAMAGED_CODE, StoreError, damaged

EVERY_S: Final = 24 * 3600.0
_FIRST_BYTE: Final = 0xFF  # of a code, whose other bytes say more; sqlite.org/rescode.html
_NOT_NOW: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_INTERRUPT,
    }
)
_log = get_logger()


async def keep_whole(url: str, tables: MetaData | None = None) -> None:
    """Look at a database for ever; PostgreSQL has means of its own, its page checksums.

    Args:
        url: Of SQLAlchemy.
        tables: What must be there by these names.

    Raises:
        StoreError: `database-damaged`.
    """
    where = make_url(url)
    if where.get_backend_name() != "sqlite":
        return
    while True:
        try:
            await _looked_at(Path(where.database or ""), tables)
        except StoreError as error:
            if error.code == DAMAGED_CODE:
                _log.error(error.code, alarm=error.code)
                raise
            _log.warning("database-not-looked-at", error_code=error.code)
        await asyncio.sleep(EVERY_S)


async def _looked_at(path: Path, tables: MetaData | None) -> None:
    """Do as `check_whole` beside the loop; a process that is told to end does not wait for it."""
    database = _opened(path)
    try:
        await asyncio.to_thread(_check, database, tables)
    finally:
        with suppress(sqlite3.ProgrammingError):  # it is closed: the thread is done
            database.interrupt()


def check_whole(path: Path, tables: MetaData | None = None) -> None:
    """Return if SQLite finds nothing wrong with any page, whoever works with the file meanwhile.

    It reads the whole file and holds each index against its table: a bit that flips in an id by
    which a row is found hides the row, and leaves every page well. What is sealed is not opened: a
    bit that flips there is found by whoever opens it.

    Args:
        path: Of the file.
        tables: What must be there by these names.

    Raises:
        StoreError: `database-damaged`; `database-locked`: it could not be looked at now.
    """
    _check(_opened(path), tables)


def _opened(path: Path) -> sqlite3.Connection:
    try:
        return sqlite3.connect(f"file:{path}?mode=ro", uri=True, check_same_thread=False)
    except sqlite3.Error as error:
        raise _fault(error) from None


def _check(database: sqlite3.Connection, tables: MetaData | None) -> None:
    try:
        with closing(database):
            (told,) = database.execute("PRAGMA integrity_check(1)").fetchone()
            for table in tables.sorted_tables if tables is not None else ():
                database.execute(str(select(table)))
    except UnicodeDecodeError:  # a changed bit in a text, as in `as_store_error`
        raise damaged() from None
    except sqlite3.Error as error:
        raise _fault(error) from None
    if told != "ok":
        raise damaged()


def _fault(error: sqlite3.Error) -> StoreError:
    if error.sqlite_errorcode & _FIRST_BYTE in _NOT_NOW:
        return StoreError("database-locked", "it could not be looked at", retry="later")
    return damaged()
