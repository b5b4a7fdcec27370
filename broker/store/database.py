"""One database of a process: durable, one writer, several changes to a commit.

SQLite by default, in write-ahead mode with `synchronous=FULL`: committed means on the disk. All
changes go through one task, which commits what waits together, so that many desks share the cost
of one synchronous write. A change that fails leaves the others of its commit alone.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import MetaData, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from broker.errors import BrokerError
from broker.store.sqlite import CHANGING, emptied_journal, sqlite_engine

MAX_WAITING: Final = 1000  # changes; a caller beyond that waits for its turn to wait
MAX_TOGETHER: Final = 128  # changes in one commit
ResultT = TypeVar("ResultT")
Change = Callable[[AsyncConnection], Awaitable[ResultT]]


class StoreError(BrokerError):
    """The database did not do it; nothing of the change was kept."""


@dataclass
class _Waiting:
    change: Change[Any]
    result: "asyncio.Future[Any]"


@dataclass
class Database:
    """An open database. `change` for writing, `read` for reading."""

    engine: AsyncEngine
    _queue: "asyncio.Queue[_Waiting]" = field(default_factory=lambda: asyncio.Queue(MAX_WAITING))

    def __post_init__(self) -> None:
        """Keep the engine as the writer uses it."""
        self._changing = self.engine.execution_options(**{CHANGING: True})

    async def change(self, change: Change[ResultT]) -> ResultT:
        """Return what `change` returned, once it is on the disk.

        Args:
            change: Takes the connection; must not commit, nor wait for anything else.

        Raises:
            StoreError: `disk-full`, `database-damaged`, `database-locked`, `database-lost`,
                `database-conflict` or `database-failed`.
            Exception: Whatever `change` raised; it was rolled back.
        """
        waiting = _Waiting(change, asyncio.get_running_loop().create_future())
        await self._queue.put(waiting)
        result: ResultT = await waiting.result
        return result

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Give a connection for reading, at one point in time.

        Raises:
            StoreError: As `change`.
        """
        with _as_store_error():
            async with self.engine.connect() as connection:
                yield connection

    async def empty_journal(self) -> None:
        """Bring SQLite's write-ahead log home and empty it: it holds rows as they were.

        Another database keeps its own journals, for as long as its operator says.

        Raises:
            StoreError: `database-locked`: somebody reads at this moment.
        """
        if self.engine.dialect.name != "sqlite":
            return
        with _as_store_error():
            async with self.engine.connect() as connection:
                emptied = await connection.run_sync(emptied_journal)
        if not emptied:
            raise StoreError("database-locked", "somebody reads the database", retry="later")

    async def write_for_ever(self) -> None:
        """Commit what waits; the only writer."""
        while True:
            batch = [await self._queue.get()]
            while len(batch) < MAX_TOGETHER and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            await self._commit(batch)

    async def _commit(self, batch: list[_Waiting]) -> None:
        done: list[tuple[_Waiting, Any]] = []
        try:
            with _as_store_error():
                async with self._changing.begin() as connection:
                    for waiting in batch:
                        await self._apply(connection, waiting, done)
        except StoreError as error:
            for waiting in batch:
                _fail(waiting, error)
            return
        for waiting, result in done:
            if not waiting.result.done():
                waiting.result.set_result(result)

    @staticmethod
    async def _apply(
        connection: AsyncConnection, waiting: _Waiting, done: list[tuple[_Waiting, Any]]
    ) -> None:
        if waiting.result.cancelled():
            return
        first: DBAPIError | None = None
        try:
            async with connection.begin_nested():
                try:
                    done.append((waiting, await waiting.change(connection)))
                except DBAPIError as error:
                    first = error
                    raise
        except DBAPIError:
            # A full disk ends the whole transaction, so undoing a part of it fails as well.
            if first is not None:
                raise first from None
            raise
        except Exception as error:  # noqa: BLE001 - it is the caller's, who awaits the future
            _fail(waiting, error)


@asynccontextmanager
async def open_database(url: str, metadata: MetaData) -> AsyncIterator[Database]:
    """Open the database at `url`, create what is missing, and write until the block ends.

    Raises:
        StoreError: It cannot be opened, or is damaged.
    """
    where = make_url(url)
    if where.get_backend_name() == "sqlite":
        engine = sqlite_engine(url, where.database or "")
    else:
        engine = create_async_engine(url, hide_parameters=True)  # parameters could be content
    database = Database(engine)
    try:
        with _as_store_error():
            async with engine.begin() as connection:
                await connection.run_sync(metadata.create_all)
        # Not in a TaskGroup, which would wrap what the block raises; it ends with the block.
        writer = asyncio.get_running_loop().create_task(database.write_for_ever())
        try:
            yield database
        finally:
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writer
    finally:
        await engine.dispose()


def sqlite_url(path: Path) -> str:
    """Return the URL of a SQLite file."""
    return f"sqlite+aiosqlite:///{path}"


_DAMAGED: Final = "the database is damaged: restore it from a backup"
_REASONS: Final = (
    ("disk is full", "disk-full", "the disk is full: nothing was kept; make room and try again"),
    ("malformed", "database-damaged", _DAMAGED),
    ("not a database", "database-damaged", "the file is no database: restore it from a backup"),
    ("locked", "database-locked", "another process holds the database"),
    ("disk i/o error", "disk-full", "the disk does not take it: nothing was kept"),
)
_LOST: Final = ("database-lost", "the database cannot be reached, or went away")
_STATES: Final = (  # how PostgreSQL's SQLSTATE begins; its manual, appendix A
    ("40", "database-conflict", "another transaction was first: nothing was kept"),
    ("53100", "disk-full", "the database's disk is full: nothing was kept"),
    ("08", *_LOST),
    ("57P", *_LOST),
)


@contextlib.contextmanager
def _as_store_error() -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError:  # the driver meets a changed bit in a text, and lets it out bare
        raise StoreError("database-damaged", _DAMAGED, retry="later") from None
    except DBAPIError as error:
        state = getattr(error.orig, "sqlstate", None) or ""
        for start, code, message in _STATES:
            if state.startswith(start):
                raise StoreError(code, message, retry="later") from None
        text = str(error.orig).lower()
        if error.connection_invalidated or (not state and "connection" in text):
            raise StoreError(*_LOST, retry="later") from None
        for part, code, message in _REASONS:
            if part in text:
                raise StoreError(code, message, retry="later") from None
        raise StoreError("database-failed", "the database refused", retry="later") from error


def _fail(waiting: _Waiting, error: BaseException) -> None:
    if not waiting.result.done():
        waiting.result.set_exception(error)
