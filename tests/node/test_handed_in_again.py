"""What a peer says it lacks is handed in again: so much of it as is kept, and no faster than so."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest_asyncio
from sqlalchemy import insert, select

from broker import clock
from broker.node import repeats
from broker.node.ids import new_id, to_ms
from broker.store import tables
from broker.store.database import Database, open_database
from schemas.control import Missing
from tests.support.databases import Databases

NOW = clock.now()


@dataclass
class Sent:
    """What a node sent to MY under its first incarnation, and what of it is kept."""

    database: Database

    async def add(self, numbers: range, *, kept: bool = True) -> None:
        rows: list[dict[str, Any]] = [{"id": str(new_id(NOW)), "number": each} for each in numbers]
        named = [{**row, "peer": "MY", "incarnation": 1, "state": "accepted"} for row in rows]
        whole = [
            {
                "id": row["id"],
                "subject": f"submit.SG.normal.{row['number']}",
                "digest": b"",
                "raw": b"sealed",
                "until_ms": to_ms(NOW + repeats.KEPT),
            }
            for row in rows
        ]

        async def change(connection: Any) -> None:  # noqa: ANN401
            await connection.execute(insert(tables.sent), named)
            if kept:
                await connection.execute(insert(tables.repeatable), whole)

        await self.database.change(change)

    async def again(self, *missing: Missing) -> int:
        return await self.database.change(lambda c: repeats.again(c, "MY", missing))

    async def waiting(self) -> list[int]:
        """The numbers of what waits in the outbox, in its order."""
        asked = select(tables.outbox.c.subject).order_by(tables.outbox.c.number)
        async with self.database.read() as connection:
            found = (await connection.execute(asked)).scalars()
            return [int(subject.rpartition(".")[2]) for subject in found]


@pytest_asyncio.fixture
async def sent(databases: Databases, tmp_path: Path) -> AsyncIterator[Sent]:
    async with open_database(databases.url(tmp_path / "n.db"), tables.metadata) as opened:
        yield Sent(opened)


async def test_what_is_kept_no_more_takes_no_room_from_what_is(sent: Sent) -> None:
    older = repeats.MAX_AT_ONCE + 34
    await sent.add(range(1, older), kept=False)
    await sent.add(range(older, older + 11))
    assert await sent.again((1, 1, older + 10)) == 11
    assert await sent.waiting() == list(range(older, older + 11))


async def test_what_waits_already_takes_no_room_from_what_does_not(sent: Sent) -> None:
    await sent.add(range(1, 2 * repeats.MAX_AT_ONCE + 1))
    assert await sent.again((1, 1, repeats.MAX_AT_ONCE)) == repeats.MAX_AT_ONCE
    everything = (1, 1, 2 * repeats.MAX_AT_ONCE)
    assert await sent.again(everything) == repeats.MAX_AT_ONCE
    assert await sent.again(everything) == 0
    assert await sent.waiting() == list(range(1, 2 * repeats.MAX_AT_ONCE + 1))
