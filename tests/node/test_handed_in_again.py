"""What a peer says it lacks is handed in again: so much of it as is kept, and no faster than so."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest_asyncio
from sqlalchemy import delete, insert, select

from broker import clock
from broker.node import repeats
from broker.node.ids import new_id, to_ms
from broker.node.pacing import DUE
from broker.store import tables
from broker.store.database import Database, open_database
from schemas.canonical import MAX_INT
from schemas.control import Missing
from tests.support.databases import Databases

NOW = clock.now()
SECOND = timedelta(seconds=1)


@dataclass
class Sent:
    """What a node sent to MY under its first incarnation, and what of it is kept."""

    database: Database

    async def add(self, numbers: range, *, kept: bool = True, lane: str = "normal") -> None:
        rows: list[dict[str, Any]] = [{"id": str(new_id(NOW)), "number": each} for each in numbers]
        named = [{**row, "peer": "MY", "incarnation": 1, "state": "accepted"} for row in rows]
        whole = [
            {
                "id": row["id"],
                "subject": f"submit.SG.{lane}.{row['number']}",
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

    async def again(self, *missing: Missing, incarnation: int = 1, at: datetime = NOW) -> int:
        return await self.database.change(
            lambda c: repeats.again(c, "MY", missing, incarnation=incarnation, now=at)
        )

    async def queue(self, *subjects: str) -> None:
        """What is sealed for the first time."""
        rows = [
            {
                "id": subject,
                "subject": f"submit.SG.{subject}",
                "digest": b"",
                "attempt": 0,
                "next_ms": 0,
                "raw": b"sealed",
            }
            for subject in subjects
        ]
        await self.database.change(lambda c: c.execute(insert(tables.outbox), rows))

    async def taken(self) -> list[int]:
        """The numbers of what the hub takes: all that waits."""
        numbers = await self.waiting()
        await self.database.change(lambda c: c.execute(delete(tables.outbox)))
        return numbers

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


async def test_a_peer_that_asks_for_everything_costs_no_more_than_a_look_at_so_many(
    sent: Sent,
) -> None:
    beyond = repeats.MAX_LOOKED_AT + 1
    await sent.add(range(beyond - 1, beyond + 1))
    assert await sent.again((1, 1, MAX_INT), (2, 1, MAX_INT)) == 1
    assert await sent.waiting() == [beyond - 1]
    assert await sent.again((1, beyond, MAX_INT)) == 1


async def test_no_peer_has_more_than_so_many_waiting(sent: Sent) -> None:
    await sent.add(range(1, 2 * repeats.MAX_AT_ONCE + 1))
    everything = (1, 1, 2 * repeats.MAX_AT_ONCE)
    assert await sent.again(everything) == repeats.MAX_AT_ONCE
    assert await sent.again(everything) == 0
    assert await sent.taken() == list(range(1, repeats.MAX_AT_ONCE + 1))
    assert await sent.again(everything) == repeats.MAX_AT_ONCE
    assert await sent.waiting() == list(range(repeats.MAX_AT_ONCE + 1, everything[2] + 1))


async def test_the_same_goes_once_in_hours_whatever_the_peer_says(sent: Sent) -> None:
    await sent.add(range(1, 4))
    assert await sent.again((1, 1, 2)) == 2
    await sent.taken()
    for after in (SECOND, timedelta(hours=1), repeats.AGAIN_AFTER - SECOND):
        assert await sent.again((1, 1, 2), at=NOW + after) == 0
    assert await sent.again((1, 1, 3), at=NOW + SECOND) == 1  # the third for the first time
    await sent.taken()
    assert await sent.again((1, 1, 3), at=NOW + repeats.AGAIN_AFTER) == 2


async def test_a_peer_restored_once_more_gets_it_once_more(sent: Sent) -> None:
    await sent.add(range(1, 3))
    assert await sent.again((1, 1, 2), incarnation=7) == 2
    await sent.taken()
    soon = NOW + repeats.AGAIN_IF_RESTORED
    assert await sent.again((1, 1, 2), incarnation=8, at=soon - SECOND) == 0
    assert await sent.again((1, 1, 2), incarnation=7, at=soon) == 0
    assert await sent.again((1, 1, 2), incarnation=8, at=soon) == 2
    await sent.taken()
    assert await sent.again((1, 1, 2), incarnation=8, at=soon + repeats.AGAIN_IF_RESTORED) == 0


async def test_a_clock_that_was_ahead_holds_nothing_back(sent: Sent) -> None:
    await sent.add(range(1, 2))
    assert await sent.again((1, 1, 1), at=NOW + timedelta(days=365)) == 1
    await sent.taken()
    assert await sent.again((1, 1, 1)) == 1


async def test_what_a_peer_asks_for_goes_behind_all_that_is_new(sent: Sent) -> None:
    await sent.add(range(1, 3), lane="urgent")
    assert await sent.again((1, 1, 2)) == 2
    await sent.queue("normal.3", "exercise.4", "urgent.5")
    async with sent.database.read() as connection:
        due = await DUE.rows(connection, by_ms=0, count=4)
    assert [row.subject.partition("SG.")[2] for row in due] == [
        "urgent.5",
        "normal.3",
        "exercise.4",
        "urgent.1",
    ]
