"""What goes first, and how much at one time."""

from pathlib import Path

import pytest
from sqlalchemy import insert

from broker.node.pacing import DUE, rest_s
from broker.store.database import open_database
from broker.store.tables import metadata, outbox
from tests.support.databases import Databases


async def test_what_is_urgent_overtakes_what_waited_longer(
    databases: Databases, tmp_path: Path
) -> None:
    lanes = ["normal", "exercise", "control", "urgent", "normal", "urgent"]
    rows = [
        {
            "id": str(place),
            "subject": f"submit.SG.{lane}.{place}",
            "digest": b"",
            "attempt": 0,
            "next_ms": 0 if place else 99,
            "raw": b"sealed",
        }
        for place, lane in enumerate(lanes)
    ]
    async with open_database(databases.url(tmp_path / "db"), metadata) as database:
        await database.change(lambda connection: connection.execute(insert(outbox), rows))
        async with database.read() as connection:
            first = await DUE.rows(connection, by_ms=50, count=3)
            all_due = await DUE.rows(connection, by_ms=99, count=9)
    assert [row.number for row in first] == [4, 6, 2]
    assert [row.number for row in all_due] == [4, 6, 1, 2, 3, 5]


@pytest.mark.parametrize(("took_s", "rests_s"), [(0.2, 1.0), (0.9, 1.0), (6.0, 24.0)])
def test_work_that_fills_the_line_leaves_it_to_the_mail_for_longer(
    took_s: float, rests_s: float
) -> None:
    assert rest_s(took_s, 1.0) == rests_s
