"""No alarm hides another, however many a member raises and whomever a hub names."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.node.alarms import all_alarms, raise_alarm, settle
from broker.store.database import Database, open_database
from broker.store.tables import metadata
from schemas.desk import Alarm
from schemas.label import MAX_MEMBERS
from tests.support.databases import Databases
from tests.support.region import NOW

MANY = 1000


@pytest_asyncio.fixture
async def database(databases: Databases, tmp_path: Path) -> AsyncIterator[Database]:
    async with open_database(databases.url(tmp_path / "node.db"), metadata) as opened:
        yield opened


async def shown(database: Database) -> list[Alarm]:
    async with database.read() as connection:
        return list(await all_alarms(connection))


async def raised(database: Database, *said: tuple[str, str, str]) -> None:
    """Code, peer and identifier of each, a second apart."""

    async def change(connection: AsyncConnection) -> None:
        for number, (code, peer, ident) in enumerate(said):
            now = NOW + timedelta(seconds=number)
            await raise_alarm(connection, code, peer=peer, ident=ident, now=now)

    await database.change(change)


async def test_however_many_wrong_files_a_member_sends_a_fork_of_the_log_is_shown(
    database: Database,
) -> None:
    wrong = [("attachment-mismatch", "MY", f"{number}") for number in range(MANY)]
    await raised(database, ("log-fork", "", ""), *wrong)
    found = await shown(database)
    assert [(each.code, each.peer, each.count) for each in found] == [
        ("attachment-mismatch", "MY", MANY),
        ("log-fork", None, 1),
    ]
    many = found[0]
    assert (many.first_at, many.last_at) == (
        NOW + timedelta(seconds=1),
        NOW + timedelta(seconds=MANY),
    )


async def test_however_many_members_are_named_the_other_alarms_are_shown(
    database: Database,
) -> None:
    named = [("quarantined-bad-signature", f"P{number:03}", "") for number in range(MANY)]
    await raised(database, ("log-fork", "", ""), ("log-stalled", "", ""), *named)
    found = await shown(database)
    codes = [each.code for each in found]
    assert {"log-fork", "log-stalled"} < set(codes)
    of_one = [each for each in found if each.code == "quarantined-bad-signature"]
    assert len(of_one) == MAX_MEMBERS + 1
    assert sum(each.count for each in of_one) == MANY
    assert [each.count for each in of_one if each.peer is None] == [MANY - MAX_MEMBERS]
    newest = {f"P{number}" for number in range(MANY - MAX_MEMBERS, MANY)}
    assert {each.peer for each in of_one} == {*newest, None}


async def test_what_is_settled_is_gone_for_every_envelope(database: Database) -> None:
    await raised(
        database,
        ("attachment-mismatch", "MY", "1"),
        ("attachment-mismatch", "MY", "2"),
        ("attachment-mismatch", "VN", "3"),
    )
    counts = {each.peer: each.count for each in await shown(database)}
    assert counts == {"MY": 2, "VN": 1}
    assert await database.change(lambda c: settle(c, "attachment-mismatch")) == 3
    assert await shown(database) == []
