"""One database of a process: durable, one writer, several changes to a commit.

SQLite by default, in write-ahead mode with `synchronous=FULL`: committed means on the disk; or
PostgreSQL, by its URL. All changes go through one task, which commits what waits together, so that
many desks share the cost of one synchronous write. A change that fails leaves the others of its
commit alone.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import MetaData, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from broker import clock
from broker.logs import get_logger
from broker.store.alone import Begin, alone, changing
from broker.store.errors import DAMAGED_CODE, StoreError, as_store_error, damaged, store_error
from broker.store.postgresql import postgresql_engine
from broker.store.readers import Readers, close_late
from broker.store.schema import bring_up, schema_of, version_in
from broker.store.sqlite import bring_home, emptied_journal, part_of_change, sqlite_engine

__all__ = [
    "Change",
    "Database",
    "StoreError",
    "check_url",
    "open_database",
    "sqlite_url",
    "version_at",
]

MAX_WAITING: Final = 1000  # changes; a caller beyond that waits for its turn to wait
MAX_TOGETHER: Final = 128  # changes in one commit
EMPTYING_S: Final = 5.0  # for how long a journal is tried to be emptied, while others write
_EMPTYING_AGAIN_S: Final = 0.05
ResultT = TypeVar("ResultT")
_AWAY: Final = frozenset({"database-lost", "database-in-use", "database-missing"})
_DAMAGE_AGAIN: Final = timedelta(hours=1)
_log = get_logger()
Change = Callable[[AsyncConnection], Awaitable[ResultT]]


@dataclass
class _Waiting:
    change: Change[Any]
    result: "asyncio.Future[Any]"


@dataclass
class Database:
    """An open database. `change` for writing, `read` for reading."""

    engine: AsyncEngine
    begin: Begin  # Owned by the writer; nobody else begins a change.
    lost_at: datetime | None = None  # Since when the database was away; whoever says it clears it.
    damaged_at: datetime | None = None  # When damage was met in it, to the hour.
    _queue: "asyncio.Queue[_Waiting]" = field(default_factory=lambda: asyncio.Queue(MAX_WAITING))
    _away: bool = False
    # Held by the writer in a change, and while the journal is emptied: neither finds the other.
    _writing: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        """Keep connections for readers."""
        self._readers = Readers(self.engine)

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
        try:
            with as_store_error():
                async with self._readers.lent() as connection:
                    yield connection
        except StoreError as error:
            self._note_damage(error)
            raise

    def met_damage(self) -> None:
        """Note that something in it is not as it was written."""
        now = clock.now()
        if self.damaged_at is None or now - self.damaged_at >= _DAMAGE_AGAIN:
            self.damaged_at = now
            _log.error(DAMAGED_CODE, alarm=DAMAGED_CODE)

    async def empty_journal(self) -> None:
        """Bring SQLite's write-ahead log home and empty it: it holds rows as they were.

        Another database keeps its own journals, for as long as its operator says. Nobody who writes
        waits for it: while somebody reads, it is tried again for a few seconds.

        Raises:
            StoreError: `database-locked`: somebody reads for longer, as a look at all of it does.
        """
        path = self.engine.url.database
        if self.engine.dialect.name != "sqlite" or not path:
            return
        loop = asyncio.get_running_loop()
        until = loop.time() + EMPTYING_S
        with as_store_error():
            await asyncio.to_thread(bring_home, path)
            while True:
                async with self._writing:
                    if await asyncio.to_thread(emptied_journal, path):
                        return
                if loop.time() >= until:
                    break
                await asyncio.sleep(_EMPTYING_AGAIN_S)
        raise StoreError("database-locked", "somebody reads the database", retry="later")

    async def close(self) -> None:
        """Give back the connections kept for readers; the engine is its owner's."""
        await self._readers.close()

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
            with as_store_error():
                async with self._writing, self.begin() as connection:
                    for waiting in batch:
                        await self._apply(connection, waiting, done)
        except StoreError as error:
            self._note(error)
            self._note_damage(error)
            for waiting in batch:
                _fail(waiting, error)
            return
        except Exception:  # noqa: BLE001 - the edge of the writer: else all would wait for ever
            _log.exception("database-failed")
            for waiting in batch:
                _fail(waiting, StoreError("database-failed", "it broke", retry="later"))
            return
        if self._away:
            self._away = False
            _log.warning("database-back")
        for waiting, result in done:
            if not waiting.result.done():
                waiting.result.set_result(result)

    def _note(self, error: StoreError) -> None:
        """Say once that the database went away; a person hears of it when it is back."""
        if error.code in _AWAY and not self._away:
            self._away = True
            self.lost_at = self.lost_at or clock.now()
            _log.error("database-away", error_code=error.code)

    def _note_damage(self, error: StoreError) -> None:
        if error.code == DAMAGED_CODE:
            self.met_damage()

    async def _apply(
        self, connection: AsyncConnection, waiting: _Waiting, done: list[tuple[_Waiting, Any]]
    ) -> None:
        if waiting.result.cancelled():
            return
        first: DBAPIError | None = None
        try:
            async with part_of_change(connection):
                try:
                    done.append((waiting, await waiting.change(connection)))
                except DBAPIError as error:
                    first = error
                    raise
        except DBAPIError as error:
            # A full disk ends the whole transaction, so undoing a part of it fails as well.
            if first is None or error is not first or error.connection_invalidated:
                raise first or error from None
            refused = store_error(error)
            self._note_damage(refused)
            _fail(waiting, refused)
        except UnicodeDecodeError:  # as in `as_store_error`, which the change's own part is not in
            refused = damaged()
            self._note_damage(refused)
            _fail(waiting, refused)
        except Exception as error:  # noqa: BLE001 - it is the caller's, who awaits the future
            if isinstance(error, StoreError):
                self._note_damage(error)
            _fail(waiting, error)


@asynccontextmanager
async def open_database(
    url: str, tables: MetaData, *, sole: bool = False
) -> AsyncIterator[Database]:
    """Open the database at `url`, bring its tables to our version, and write until the block ends.

    Args:
        url: Of SQLAlchemy, for SQLite or PostgreSQL; without a password.
        tables: What is kept there.
        sole: Whether no other process may open it so meanwhile: for what works on it for long.

    Raises:
        StoreError: It cannot be opened, or is damaged; `database-in-use`; as `postgresql_engine`
            and `bring_up`.
    """
    engine, name = _engine(url, tables), schema_of(tables).name
    close_late(engine)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(engine.dispose)
        with as_store_error():
            begin = await stack.enter_async_context(alone(engine, name)) if sole else None
            await _bring_up(engine, tables, begin)
        database = Database(engine, begin or changing(engine))
        stack.push_async_callback(database.close)
        # Not in a TaskGroup, which would wrap what the block raises; it ends with the block.
        writer = asyncio.get_running_loop().create_task(database.write_for_ever())
        try:
            yield database
        finally:
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writer


def _engine(url: str, tables: MetaData) -> AsyncEngine:
    try:
        where = make_url(url)
    except ArgumentError:
        raise StoreError("database-url", "this is no URL of a database") from None
    match where.get_backend_name():
        case "sqlite":
            return sqlite_engine(url, where.database or "")
        case "postgresql":
            return postgresql_engine(where, schema_of(tables).name)
        case _:
            known = "a database is sqlite+aiosqlite:///FILE or postgresql://..."
            raise StoreError("database-url", known)


async def _bring_up(engine: AsyncEngine, tables: MetaData, begin: Begin | None) -> None:
    """Bring the tables up if need be; that is nothing to do beside a process at work."""
    schema = schema_of(tables)
    async with engine.connect() as connection:
        if await version_in(connection, schema) == schema.newest:
            return
    async with AsyncExitStack() as stack:
        if begin is None:
            begin = await stack.enter_async_context(alone(engine, schema.name))
        async with begin() as connection:
            await connection.run_sync(bring_up, tables)


def check_url(url: str, tables: MetaData) -> None:
    """Return if a database can be opened by this URL, as far as the URL itself goes.

    Raises:
        StoreError: `database-url`; as `postgresql_engine`.
    """
    _engine(url, tables)


async def version_at(url: str, tables: MetaData) -> str:
    """Return the version that a database says it has, and change nothing; empty if it says none.

    Raises:
        StoreError: As `open_database`.
    """
    engine = _engine(url, tables)
    try:
        with as_store_error():
            async with engine.connect() as connection:
                return await version_in(connection, schema_of(tables))
    finally:
        await engine.dispose()


def sqlite_url(path: Path) -> str:
    """Return the URL of a SQLite file."""
    return f"sqlite+aiosqlite:///{path}"


def _fail(waiting: _Waiting, error: BaseException) -> None:
    if not waiting.result.done():
        waiting.result.set_exception(error)
