"""How much SQLite does for something, whatever the machine does meanwhile."""

from collections.abc import Awaitable

from sqlalchemy.ext.asyncio import AsyncConnection

from broker.store.sqlite import driver_of

EVERY = 10


async def steps_of(connection: AsyncConnection, work: Awaitable[object]) -> int:
    """The steps that SQLite's machine takes for `work` over this connection, by tens."""
    counted = 0

    def count() -> int:
        nonlocal counted
        counted += 1
        return 0

    driver = driver_of(connection)
    driver.set_progress_handler(count, EVERY)
    try:
        await work
    finally:
        driver.set_progress_handler(None, 0)
    return counted
