"""The smallest durable write, by which a supervisor learns whether the database takes one."""

from typing import Final

from sqlalchemy import delete, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.store.tables import meta

TOUCHED: Final = "touched"


async def touch(connection: AsyncConnection) -> None:
    """Write one row anew; it says nothing."""
    await connection.execute(delete(meta).where(meta.c.name == TOUCHED))
    await connection.execute(insert(meta).values(name=TOUCHED, value=""))
