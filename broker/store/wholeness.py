"""Finds a damaged database before anybody asks for what is damaged, and ends its process.

SQLite reads a page when it is asked for what lies there: a bit that flipped in an old alert would
show when an officer opens it, and one in the middle of a table could spread with what is written
next. So every page is looked at after each start, and once a day, while the process works.

Whoever starts the process again would have it take and confirm mail until the look is done once
more, and all of that is lost with the file. So a file named `<database>.damaged` is left beside it;
while that is there a start looks first, and opens the database only if nothing is wrong any more.
"""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from sqlalchemy import MetaData, make_url, select

from broker.logs import get_logger
from broker.store.errors import DAMAGED_CODE, StoreError, damaged
from keys.files import replace_file

EVERY_S: Final = 24 * 3600.0
AGAIN_S: Final = 300.0  # after a look that came to no end; a second one in a row is an alarm
NOT_LOOKED_AT: Final = "database-not-looked-at"
_PRIVATE: Final = 0o600
_FIRST_BYTE: Final = 0xFF  # of a code, whose other bytes say more; sqlite.org/rescode.html
_DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
# What SQLite says, under the code that it has for everything else, of a file whose header or whose
# names a bit changed: what it is asked here is right for every file of ours.
_DAMAGED_NAMES: Final = ("no such table", "no such column", "unsupported file format")
_log = get_logger()


async def keep_whole(url: str, tables: MetaData | None = None, *, again_s: float = AGAIN_S) -> None:
    """Look at a database for ever; PostgreSQL has means of its own, its page checksums.

    Args:
        url: Of SQLAlchemy.
        tables: What must be there by these names.
        again_s: How long after a look that came to no end the next one begins.

    Raises:
        StoreError: `database-damaged`; the next start looks before it opens it.
    """
    path = _file(url)
    if path is None:
        return
    missed = 0
    while True:
        try:
            await _looked_at(path, tables)
        except StoreError as error:
            if error.code == DAMAGED_CODE:
                _mark(path)
                _log.error(error.code, alarm=error.code)
                raise
            missed += 1
            if missed == 1:
                _log.warning(NOT_LOOKED_AT, error_code=error.code)
            else:
                _log.error(NOT_LOOKED_AT, error_code=error.code, alarm=NOT_LOOKED_AT)
            await asyncio.sleep(again_s)
        else:
            missed = 0
            await asyncio.sleep(EVERY_S)


async def check_marked(url: str) -> None:
    """Return if a database was not found damaged, or if nothing is wrong with its pages any more.

    To be called before the database is opened by whoever works with it for long. A file that was
    put right, or put back, is taken as it is, and its mark goes.

    Args:
        url: Of SQLAlchemy; only a file of SQLite can be marked.

    Raises:
        StoreError: `database-damaged`; `database-locked`: it could not be looked at now.
    """
    path = _file(url)
    if path is None or not marker_of(path).exists():
        return
    if path.exists():  # else it was moved away
        try:
            await _looked_at(path, None)
        except StoreError as error:
            _log.error(error.code, alarm=error.code)
            raise
    marker_of(path).unlink(missing_ok=True)
    _log.warning("database-whole-again")


def check_names(url: str, tables: MetaData) -> None:
    """Return if a database has these tables and columns; of its pages this reads a few.

    Args:
        url: Of SQLAlchemy; one elsewhere is not looked at.
        tables: What must be there by these names.

    Raises:
        StoreError: As `check_whole`.
    """
    path = _file(url)
    if path is not None:
        with _as_damage(), closing(_opened(path)) as database:
            _find_names(database, tables)


def marker_of(path: Path) -> Path:
    """Return the file that says that a database was found damaged."""
    return path.with_name(f"{path.name}.damaged")


def fault(error: sqlite3.Error) -> StoreError:
    """Return what a look that SQLite did not bring to an end says of the database.

    Only what cannot have another cause is damage: who is told of it puts an older backup back, and
    loses mail. Whatever else there is, the disk that cannot read a sector too, may pass.
    """
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_MISUSE)  # the module's own have none
    named = code == sqlite3.SQLITE_ERROR and str(error).startswith(_DAMAGED_NAMES)
    if named or code & _FIRST_BYTE in _DAMAGE:
        return damaged()
    return StoreError("database-locked", "it could not be looked at", retry="later")


def _file(url: str) -> Path | None:
    where = make_url(url)
    return Path(where.database or "") if where.get_backend_name() == "sqlite" else None


def _mark(path: Path) -> None:
    try:
        replace_file(marker_of(path), b"", mode=_PRIVATE)
    except OSError:  # the process ends all the same; the look after the next start tries again
        _log.exception("damage-not-marked")


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
    with _as_damage():
        database = sqlite3.connect(f"file:{path}?mode=ro", uri=True, check_same_thread=False)
        database.text_factory = bytes  # of what it tells: a changed name may be no text any more
        return database


def _check(database: sqlite3.Connection, tables: MetaData | None) -> None:
    with _as_damage(), closing(database):
        (told,) = database.execute("PRAGMA integrity_check(1)").fetchone()
        if told != b"ok":
            raise damaged()
        if tables is not None:
            _find_names(database, tables)


def _find_names(database: sqlite3.Connection, tables: MetaData) -> None:
    for table in tables.sorted_tables:
        database.execute(str(select(table))).close()  # prepared, and of its rows none is read


@contextmanager
def _as_damage() -> Iterator[None]:
    """Raise what is said of a database, in place of what SQLite says."""
    try:
        yield
    except UnicodeDecodeError:  # SQLite names what a bit changed
        raise damaged() from None
    except sqlite3.Error as error:
        raise fault(error) from None
