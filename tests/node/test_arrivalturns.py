"""Whose turn it is among files that arrive, and that finding it reads few of those that wait."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from sqlalchemy import insert, update

from broker.node import arrivalrows
from broker.node.arrivalturns import Turns
from broker.store.database import Database, open_database
from broker.store.tables import arrivals as table
from broker.store.tables import metadata
from schemas.desk import ArrivalState
from tests.support.databases import Databases
from tests.support.steps import steps_of

NOW_MS = 1_000


@pytest_asyncio.fixture
async def database(databases: Databases, tmp_path: Path) -> AsyncIterator[Database]:
    async with open_database(databases.url(tmp_path / "node.db"), metadata) as opened:
        yield opened


def a_file(alert: int, sender: str = "SG", *, number: int = 0, **values: object) -> dict[str, Any]:
    """A file on its way, due at once."""
    return {
        "envelope_id": str(UUID(int=alert)),
        "number": number,
        "sender": sender,
        "chunks": 1,
        "have": 0,
        "state": str(ArrivalState.ARRIVING),
        "code": "",
        "expires_ms": 2**45,
        "due_ms": 0,
        "told": 0,
        "sealed": b"sealed",
        "urgent": 0,
        **values,
    }


async def await_files(database: Database, *files: Mapping[str, Any]) -> None:
    await database.change(lambda c: c.execute(insert(table), list(files)))


async def put_off(database: Database, ident: str, due_ms: int) -> None:
    later = update(table).where(table.c.envelope_id == ident).values(due_ms=due_ms)
    await database.change(lambda c: c.execute(later))


async def turns_of(
    database: Database, count: int, *, turns: Turns | None = None, by_ms: int = NOW_MS
) -> list[Any]:
    """The next turns, no file being fetched meanwhile."""
    mine = turns or Turns()
    async with database.read() as connection:
        found = [await mine.next(connection, by_ms=by_ms) for _ in range(count)]
    return [row for row in found if row is not None]


@pytest.mark.parametrize("urgent", [0, 1])
async def test_a_thousand_files_of_one_sender_leave_anothers_its_share(
    database: Database, urgent: int
) -> None:
    many = [a_file(n, urgent=urgent) for n in range(1_000)]
    await await_files(database, *many, a_file(5_000, "VN", urgent=urgent))
    senders = [row.sender for row in await turns_of(database, 40)]
    assert senders.count("VN") == 20
    assert {frozenset(senders[n : n + 2]) for n in range(0, 40, 2)} == {frozenset({"SG", "VN"})}


async def test_urgent_ones_have_every_second_turn_of_whomever_else(database: Database) -> None:
    films = [a_file(n, sender) for n, sender in enumerate(("SG", "SG", "TH", "VN"))]
    await await_files(database, *films, a_file(9, "MY", urgent=1))
    found = await turns_of(database, 12)
    assert [row.urgent for row in found] == [1, 0] * 6
    others = [row.sender for row in found if not row.urgent]
    assert others == ["SG", "TH", "VN"] * 2


async def test_what_one_sender_says_is_urgent_costs_it_no_turn_of_the_rest(
    database: Database,
) -> None:
    await await_files(database, a_file(1), a_file(2, urgent=1), a_file(3, "VN"))
    found = await turns_of(database, 8)
    assert [(row.sender, row.urgent) for row in found] == [
        ("SG", 1),
        ("SG", 0),
        ("SG", 1),
        ("VN", 0),
    ] * 2


async def test_of_one_senders_files_each_has_a_turn_before_any_has_a_second(
    database: Database,
) -> None:
    files = [a_file(n, number=number) for n in range(5) for number in range(3)]
    await await_files(database, *files)
    places = [(row.envelope_id, row.number) for row in await turns_of(database, 30)]
    assert len(set(places[:15])) == 15
    assert places[15:] == places[:15]


async def test_what_is_put_off_again_and_again_ends_every_round_all_the_same(
    database: Database,
) -> None:
    """Files that were looked for and are due again already never keep a new one waiting."""
    await await_files(database, *(a_file(n) for n in range(3)))
    turns, seen = Turns(), list[str]()
    for by_ms in range(NOW_MS, NOW_MS + 12):
        (row,) = await turns_of(database, 1, turns=turns, by_ms=by_ms)
        seen.append(row.envelope_id)
        await put_off(database, row.envelope_id, by_ms)
        if by_ms == NOW_MS:
            await await_files(database, a_file(7))
    assert str(UUID(int=7)) in seen[:5]
    assert all(seen.count(str(UUID(int=n))) >= 2 for n in (0, 1, 2, 7))


async def test_what_is_not_due_has_no_turn_by_whatever_clock(database: Database) -> None:
    await await_files(database, a_file(1, due_ms=5), a_file(2, due_ms=8), a_file(3, due_ms=2**45))
    turns = Turns()
    first = await turns_of(database, 4, turns=turns, by_ms=NOW_MS)
    assert [row.due_ms for row in first] == [5, 8, 5, 8]
    back = await turns_of(database, 3, turns=turns, by_ms=6)  # the clock was put back
    assert [row.due_ms for row in back] == [5, 5, 5]
    assert await turns_of(database, 1, turns=turns, by_ms=4) == []


async def test_nothing_is_kept_of_files_but_their_senders(database: Database) -> None:
    await await_files(database, *(a_file(n, sender) for n in range(50) for sender in ("SG",)))
    await await_files(database, a_file(60, "VN", urgent=1))
    turns = Turns()
    await turns_of(database, 200, turns=turns)
    assert len(turns._lines) == 2


# --- what it costs ---


async def filled(folder: Path, count: int) -> dict[str, int]:
    """The steps of what is asked at each window, with so many files of every kind here."""
    files = list[dict[str, Any]]()
    for n in range(count):
        files += [
            a_file(10 * n, urgent=n % 2),
            a_file(10 * n + 1, "VN", due_ms=2**44),
            a_file(10 * n + 2, state="complete", told=1),
            a_file(10 * n + 3, state="refused", chunks=0, due_ms=2**44),
        ]
    async with open_database(f"sqlite+aiosqlite:///{folder / f'{count}.db'}", metadata) as here:
        await await_files(here, *files, a_file(10 * count, state="complete"))
        turns = Turns()
        async with here.read() as connection:
            first = await steps_of(connection, turns.next(connection, by_ms=NOW_MS))
            for _ in range(7):
                await turns.next(connection, by_ms=NOW_MS)
            further = turns.next(connection, by_ms=NOW_MS)
            return {
                "first turn": first,
                "further turn": await steps_of(connection, further),
                "told": await steps_of(connection, arrivalrows.TO_TELL.rows(connection)),
                "unwanted": await steps_of(
                    connection, arrivalrows.UNWANTED.rows(connection, by_ms=NOW_MS)
                ),
            }


async def test_no_window_reads_more_however_many_files_wait(tmp_path: Path) -> None:
    few, many = await filled(tmp_path, 20), await filled(tmp_path, 2_000)
    assert min(few.values()) > 0
    assert {name: many[name] <= 2 * few[name] for name in few} == dict.fromkeys(few, True)
