"""What the hub's operator suspended stays known at each member, with its reason and its end."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest_asyncio

from broker.node import notices
from broker.store.database import Database, open_database
from broker.store.tables import metadata
from broker.transport.services import Notice
from schemas.desk import Alarm
from tests.support.databases import Databases
from tests.support.region import NOW

HOUR = timedelta(hours=1)
FIRST = Notice("VN", "a stolen server", NOW, NOW + 72 * HOUR)
OTHER = Notice("TH", "it floods the hub", NOW + HOUR, NOW + 73 * HOUR)


@pytest_asyncio.fixture
async def database(databases: Databases, tmp_path: Path) -> AsyncIterator[Database]:
    async with open_database(databases.url(tmp_path / "node.db"), metadata) as database:
        yield database


async def told(
    database: Database, *standing: Notice, after: timedelta = HOUR
) -> tuple[tuple[Notice, ...], tuple[Alarm, ...]]:
    """What is new to the node when the hub says this, and the alarms it then shows."""
    fresh = await database.change(lambda c: notices.keep(c, standing, now=NOW + after))
    async with database.read() as connection:
        return fresh, await notices.suspension_alarms(connection)


async def test_each_suspension_is_new_once_and_shown_with_its_own_reason(
    database: Database,
) -> None:
    fresh, shown = await told(database, FIRST)
    assert fresh == (FIRST,)
    assert [(alarm.peer, alarm.first_at) for alarm in shown] == [("VN", NOW)]
    fresh, shown = await told(database, FIRST, OTHER)
    assert fresh == (OTHER,)
    assert [alarm.detail.split(";")[0] for alarm in shown] == [OTHER.reason, FIRST.reason]


async def test_one_that_ended_stays_to_be_seen_and_says_when(database: Database) -> None:
    await told(database, FIRST, OTHER)
    fresh, shown = await told(database, OTHER, after=5 * HOUR)  # lifted before its time
    assert fresh == ()
    assert [alarm.last_at for alarm in shown] == [OTHER.until, NOW + 5 * HOUR]
    _, shown = await told(database, after=100 * HOUR)  # over by itself
    assert [alarm.last_at for alarm in shown] == [OTHER.until, NOW + 5 * HOUR]


async def test_a_hub_that_invents_suspensions_fills_no_disk(database: Database) -> None:
    count = notices.MAX_KEPT + 5
    invented = [Notice("VN", "x", NOW + n * HOUR, NOW + (n + 1) * HOUR) for n in range(count)]
    fresh, shown = await told(database, *invented, after=timedelta(0))
    assert (len(fresh), len(shown)) == (count, notices.MAX_SHOWN)
    fresh, _ = await told(database, *invented[-notices.MAX_KEPT :], after=timedelta(0))
    assert fresh == ()
