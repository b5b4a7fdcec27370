"""Whose state a database holds: two nodes on one would number and fetch each other's mail."""

from typing import Final

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.store.database import StoreError
from broker.store.tables import meta

MEMBER: Final = "member"


async def claim(connection: AsyncConnection, member: str) -> None:
    """Write down whose state this is, or return if it says so already.

    Raises:
        StoreError: `database-of-another`: another member's node works with it.
    """
    query = select(meta.c.value).where(meta.c.name == MEMBER)
    found = (await connection.execute(query)).scalar_one_or_none()
    if found is None:
        await connection.execute(insert(meta).values(name=MEMBER, value=member))
    elif found != member:
        raise StoreError("database-of-another", f"the database holds the state of {found}")
