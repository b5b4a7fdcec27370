"""That one process alone works on a database: a locked file beside SQLite's, a session's lock else.

Two nodes on one state would give out the same numbers and fetch the same mail. Commands that change
a little beside a running node (a token, a settled alarm) do not ask to be alone.
"""

import contextlib
import fcntl
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final, TypeAlias

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncTransaction

from broker.store.errors import StoreError
from broker.store.postgresql import TIMED, lock_number
from broker.store.sqlite import CHANGING

Begin: TypeAlias = Callable[[], AbstractAsyncContextManager[AsyncConnection]]
_IN_USE: Final = "another process has the database to itself; end that first"
_LOCK_NOT_AVAILABLE: Final = "55P03"
_PROMPT: Final = ", ".join(  # in SQL: how soon the server notices that a machine went away
    f"set_config('{setting}', '{value}', false)"
    for setting, value in (
        ("tcp_keepalives_idle", "10s"),
        ("tcp_keepalives_interval", "5s"),
        ("tcp_keepalives_count", "3"),
    )
)
_MODE: Final = 0o600


@asynccontextmanager
async def alone(engine: AsyncEngine, name: str) -> AsyncIterator[Begin]:
    """Give what begins a change, while no other process is alone with the same database.

    Args:
        engine: Of the database.
        name: Of the state that is kept there.

    Raises:
        StoreError: `database-in-use`: another process is.
        DBAPIError: The database cannot be asked.
    """
    if engine.dialect.name == "sqlite":
        with _locked_file(engine.url.database or "", name):
            yield changing(engine)
        return
    own = _OwnSession(engine, name)
    try:
        _ = await own.open()
        yield own.begin
    finally:
        await own.close()


def changing(engine: AsyncEngine) -> Begin:
    """Return what begins a change beside other processes, one after another."""
    return engine.execution_options(**{CHANGING: True}).begin


@contextlib.contextmanager
def _locked_file(database: str, name: str) -> Iterator[None]:
    if not database or database == ":memory:":
        yield
        return
    try:
        handle = os.open(f"{database}.{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
    except OSError as error:
        raise StoreError("disk-failed", "no file can be made beside the database") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StoreError("database-in-use", _IN_USE, retry="later") from None
        yield
    finally:
        os.close(handle)


@dataclass
class _OwnSession:
    """The one session in which this process changes its database, and which holds the lock.

    Session and lock end together, whichever side goes away; so no change can be made without it,
    and what comes after a lost connection asks for the lock first.
    """

    engine: AsyncEngine
    name: str
    _connection: AsyncConnection | None = None

    async def open(self) -> AsyncConnection:
        """Return the session, with the lock."""
        if self._connection is not None and not self._connection.invalidated:
            return self._connection
        await self.close()
        self._connection = connection = await self.engine.connect()
        try:
            # Not as a change: all others would wait with this one. Who was killed may still be in
            # the server's books for a moment; whose machine is gone, for half a minute.
            await connection.exec_driver_sql(f"SELECT {TIMED}, {_PROMPT}")
            number = lock_number(self.name, "alone")
            await connection.exec_driver_sql(f"SELECT pg_advisory_lock({number})")
            await connection.commit()
            _ = await connection.execution_options(**{CHANGING: True})
        except BaseException as error:
            await self.close()
            if getattr(getattr(error, "orig", None), "sqlstate", "") == _LOCK_NOT_AVAILABLE:
                raise StoreError("database-in-use", _IN_USE, retry="later") from None
            raise
        return connection

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """Begin a change; a session that died since the last one is replaced without a word."""
        connection, transaction = await self._begun()
        try:
            yield connection
            await transaction.commit()
        except BaseException:
            try:
                await transaction.rollback()
            except SQLAlchemyError:
                await self.close()
            raise

    async def close(self) -> None:
        """End the session: given back to the pool, it would keep the lock."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(SQLAlchemyError):
                await connection.invalidate()
            with suppress(SQLAlchemyError):
                await connection.close()

    async def _begun(self) -> tuple[AsyncConnection, AsyncTransaction]:
        connection = await self.open()
        try:
            return connection, await connection.begin()
        except DBAPIError:
            await self.close()
        connection = await self.open()
        return connection, await connection.begin()
