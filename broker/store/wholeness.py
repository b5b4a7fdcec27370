"""Finds a damaged database before anybody asks for what is damaged, and ends its process.

SQLite reads a page when it is asked for what lies there: a bit that flipped in an old alert would
show when an officer opens it, and one in the middle of a table could spread with what is written
next. So every page is looked at after each start, and once a day, while the process works.
"""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from sqlalchemy import make_url

from broker.logs import get_logger
from broker.store.errors import DAMAGED, StoreError

EVERY_S: Final = 24 * 3600.0
_FIRST_BYTE: Final = 0xFF  # of a code, whose other bytes say more; sqlite.org/rescode.html
_NOT_NOW: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
    }
)
_log = get_logger()


async def keep_whole(url: str) -> None:
    """Look at a database for ever; PostgreSQL has means of its own, its page checksums.

    Args:
        url: Of SQLAlchemy.

    Raises:
        StoreError: `database-damaged`.
    """
    where = make_url(url)
    if where.get_backend_name() != "sqlite":
        return
    while True:
        try:
            await asyncio.to_thread(check_whole, Path(where.database or ""))
        except StoreError as error:
            if error.code == "database-damaged":
                _log.error(error.code, alarm=error.code)
                raise
            _log.warning("database-not-looked-at", error_code=error.code)
        await asyncio.sleep(EVERY_S)


def check_whole(path: Path) -> None:
    """Return if SQLite finds nothing wrong with any page, whoever works with the file meanwhile.

    It reads the whole file, and what is sealed in it is not opened: a bit that flips there is found
    by whoever opens it.

    Raises:
        StoreError: `database-damaged`; `database-locked`: it could not be looked at now.
    """
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            (told,) = database.execute("PRAGMA quick_check(1)").fetchone()
    except UnicodeDecodeError:  # a changed bit in a text, as in `as_store_error`
        told = ""
    except sqlite3.Error as error:
        if error.sqlite_errorcode & _FIRST_BYTE in _NOT_NOW:
            reason = f"{path} could not be looked at"
            raise StoreError("database-locked", reason, retry="later") from None
        told = ""
    if told != "ok":
        raise StoreError("database-damaged", DAMAGED)
