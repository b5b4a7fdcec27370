"""Finding which files go to the hub next reads few of those that wait."""

from pathlib import Path
from uuid import UUID

from sqlalchemy import insert

from broker.node import uploads
from broker.node.rounds import Round, next_in
from broker.store import tables
from broker.store.database import open_database, sqlite_url
from tests.support.steps import steps_of


async def steps(folder: Path, count: int) -> list[int]:
    """Of what is asked at each window, with so many envelopes of every kind here."""
    kinds = ((1, 0, 0), (1, 1, 0), (1, 1, 2**44), (0, 1, 0))  # decided, urgency, due
    rows = [
        {
            "envelope_id": str(UUID(int=number * len(kinds) + kind)),
            "submission_id": str(UUID(int=number)),
            "expires_ms": 2**45,
            "sealed": b"sealed",
            **dict(zip(("decided", "urgency", "due_ms"), values, strict=True)),
        }
        for number in range(count)
        for kind, values in enumerate(kinds)
    ]
    url = sqlite_url(folder / f"{count}.db")
    async with open_database(url, tables.metadata) as here:
        await here.change(lambda c: c.execute(insert(tables.uploads), rows))
        async with here.read() as connection:
            found = [await steps_of(connection, uploads._URGENCY.value(connection, by_ms=1))]
            _, later = await next_in(connection, uploads._NEXT, Round(), by_ms=1, of_urgency=1)
            for now in (Round(), later):
                asked = next_in(connection, uploads._NEXT, now, by_ms=1, of_urgency=1)
                found.append(await steps_of(connection, asked))
    return found


async def test_no_window_reads_more_however_many_envelopes_wait(tmp_path: Path) -> None:
    few, many = await steps(tmp_path, 20), await steps(tmp_path, 2_000)
    assert min(few) > 0
    assert all(more <= 2 * less for less, more in zip(few, many, strict=True))
