"""What the hub does not take now of the release of one alert's files delays no other."""

from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import insert, select

from broker import clock
from broker.node.node import Node
from broker.store.tables import arrivals as table
from broker.transport.attaching import Done, done_answer, error_answer, read_asked
from broker.transport.unlinked import Unlinked
from schemas.desk import ArrivalState
from tests.support.labels import uuid7_at
from tests.support.nodes import Clock, lonely_node
from tests.support.region import LONG, make_region

REGION = make_region(("SG", "MY"), now=clock.now(), fresh=LONG)
IDS = [uuid7_at(REGION.now, number) for number in range(40)]
BAD = set(IDS[:20])  # more than are told together
UNWANTED = {"state": str(ArrivalState.REFUSED), "chunks": 0, "have": 0}
WHOLE = {"state": str(ArrivalState.COMPLETE), "chunks": 1, "have": 1}


class Hub:
    """A hub whose disk does not take what is said of some envelopes."""

    def __init__(self) -> None:
        self.bad = set(BAD)
        self.told: list[UUID] = []

    def __call__(self, subject: str, payload: bytes) -> bytes:
        asked = read_asked(subject.rpartition(".")[2], payload)
        assert isinstance(asked, Done)
        self.told.append(asked.id)
        return error_answer("disk-failed") if asked.id in self.bad else done_answer()


async def put_in(node: Node, kind: dict[str, object]) -> None:
    """Files of all these alerts, of which the hub is to be told."""
    now_ms = int(REGION.now.timestamp() * 1000)
    rows = [
        {
            "envelope_id": str(ident),
            "number": 0,
            "sender": "SG",
            "code": "",
            "expires_ms": now_ms + 86_400_000,
            "due_ms": number,
            "told": 0,
            "sealed": b"",
            **kind,
        }
        for number, ident in enumerate(IDS)
    ]
    await node.database.change(lambda c: c.execute(insert(table), rows))


async def waiting(node: Node) -> set[UUID]:
    async with node.database.read() as connection:
        rows = await connection.execute(select(table.c.envelope_id).where(table.c.told == 0))
        return {UUID(row.envelope_id) for row in rows}


@pytest.mark.parametrize("kind", [WHOLE, UNWANTED], ids=["all here", "unwanted"])
async def test_what_the_hub_does_not_take_of_some_delays_no_other(
    tmp_path: Path, kind: dict[str, object]
) -> None:
    async with lonely_node(REGION, "MY", tmp_path / "my.db") as my:
        hub, time = Hub(), Clock()
        time.stopped = time()
        my.present.now, my.present.steady = time, time.steady
        my.arrivals.link = Unlinked(hub)
        await put_in(my, kind)
        for _ in range(5):
            await my.arrivals.tell_due()
        assert await waiting(my) == BAD
        assert sorted(hub.told) == sorted(IDS)  # each once, until it is due again
        hub.bad.clear()
        time.stopped += timedelta(minutes=2)
        for _ in range(3):
            await my.arrivals.tell_due()
        assert await waiting(my) == set()
