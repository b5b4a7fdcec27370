"""Connections of SQLite for readers, kept open from one to the next.

SQLAlchemy takes some ninety microseconds to lend a connection and to take it back, many times what
a reader then asks of it. Another database's connections are the pool's, as its settings say.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry

from broker.store.postgresql import READING
from broker.store.sqlite import driver_of

MAX_IDLE: Final = 4  # seldom do so many read at one moment: no statement waits for another


class Readers:
    """What is lent to readers; each has it for itself, at one point in time."""

    def __init__(self, engine: AsyncEngine) -> None:
        """Take where connections come from."""
        self._engine = engine
        self._idle: list[AsyncConnection] = []
        self._closed = False

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[AsyncConnection]:
        """Give a connection while the block runs."""
        if self._engine.dialect.name != "sqlite":
            async with self._engine.connect() as connection:
                # Not as the engine's options: those are set before anybody holds the connection,
                # and the driver may let others go first, so that who is cancelled then loses it.
                yield await connection.execution_options(**READING)
            return
        # Whoever reads in a loop must not keep all others waiting: statements wait for nothing.
        await asyncio.sleep(0)
        connection = self._idle.pop() if self._idle else await self._engine.connect()
        try:
            yield connection
            await _left(connection)
        except BaseException:
            await connection.close()
            raise
        if len(self._idle) < MAX_IDLE and not self._closed:
            self._idle.append(connection)
        else:
            await connection.close()

    async def close(self) -> None:
        """Give all back; a reader that is still at work gives back its own."""
        self._closed = True
        while self._idle:
            await self._idle.pop().close()


def close_late(engine: AsyncEngine) -> None:
    """Close what is given back after the engine was disposed of.

    SQLAlchemy lays such a connection into the pool that it has replaced, where nobody closes it: it
    stays open until it is garbage. A reader that is cancelled may be as late as that.
    """
    pool = engine.sync_engine.pool

    def given_back(_: object, record: ConnectionPoolEntry) -> None:
        if engine.sync_engine.pool is not pool:
            record.invalidate()

    event.listen(pool, "checkin", given_back)


async def _left(connection: AsyncConnection) -> None:
    """End the reader's transaction, whichever way it began."""
    if connection.in_transaction():
        await connection.rollback()
        return
    driver = driver_of(connection)
    if driver.in_transaction:
        driver.rollback()
