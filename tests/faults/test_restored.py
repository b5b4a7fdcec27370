"""A node restored from yesterday's backup: what came since comes again, and nothing twice."""

import asyncio
import shutil
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import delete, select, update

from broker import clock
from broker.node.ids import to_ms
from broker.node.node import Node
from broker.node.pairs import GAP_AFTER, begin_anew
from broker.node.repeats import KEPT
from broker.store.tables import gaps, peers, repeatable
from schemas.desk import RecipientState
from tests.support.gateway import running_gateway
from tests.support.hub import BOUND_S, RunningHub, running_hub
from tests.support.nodes import opened_node, request, running_node, send, until_over
from tests.support.region import TestRegion, make_region
from tests.support.waiting import must_come

pytestmark = [pytest.mark.hub, pytest.mark.timeout(300), pytest.mark.slow]


@dataclass
class Stage:
    """A hub with a gateway, SG and VN at work, and where MY's database lies."""

    region: TestRegion
    hub: RunningHub
    folder: Path
    sg: Node
    vn: Node

    async def sent(self, count: int) -> list[str]:
        """Alerts that MY and VN have."""
        ids = []
        for _ in range(count):
            asked = request(self.region, ("MY", "VN"))
            submission = await send(self.sg, self.region, asked)
            last = await until_over(self.sg, submission.submission_id)
            assert {each.state for each in last.recipients} == {RecipientState.DELIVERED}
            ids.append(str(last.alert_id))
        return ids

    @asynccontextmanager
    async def my(self) -> AsyncIterator[Node]:
        async with running_node(self.hub, "MY", self.folder) as node:
            await node.link.wait_connected(BOUND_S)
            yield node

    def put_back(self, backup: Path) -> None:
        for path in self.folder.glob("MY.db*"):
            path.unlink()
        shutil.copy(backup, self.folder / "MY.db")


@pytest_asyncio.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    region = make_region(("SG", "MY", "VN"), now=clock.now())
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub(region, tmp_path / "hub"))
        await stack.enter_async_context(running_gateway(hub))
        sg = await stack.enter_async_context(running_node(hub, "SG", tmp_path))
        vn = await stack.enter_async_context(running_node(hub, "VN", tmp_path))
        yield Stage(region, hub, tmp_path, sg, vn)


async def inbox_of(node: Node) -> Counter[str]:
    return Counter(str(item.alert_id) for item in (await node.inbox(limit=100)).items)


async def a_quarter_of_an_hour_goes_by(stage: Stage, my: Node) -> None:
    """For MY's gaps; the server forgets the ids of its window, as it does after two minutes."""
    ago = to_ms(clock.now() - GAP_AFTER)

    async def change(connection: object) -> None:
        await connection.execute(update(gaps).values(noticed_ms=ago))  # type: ignore[attr-defined]
        await connection.execute(update(peers).values(told_ms=ago))  # type: ignore[attr-defined]

    await my.database.change(change)
    await stage.hub.restart(my.link, stage.sg.link, stage.vn.link)


async def lacking(my: Node, count: int) -> None:
    """Return once MY knows how many numbers of SG it lacks."""
    async with must_come(BOUND_S, lambda: f"MY does not lack {count} numbers"):
        while True:
            async with my.database.read() as connection:
                rows = (await connection.execute(select(gaps).where(gaps.c.peer == "SG"))).all()
            if len(rows) == count:
                return
            await asyncio.sleep(0.05)


async def backed_up_and_put_back(stage: Stage, *, had: int = 2) -> tuple[list[str], list[str]]:
    """What MY had when it was backed up, and what came later and is forgotten with the rest."""
    async with stage.my():
        before = await stage.sent(had)
    backup = stage.folder / "backup.db"
    with closing(sqlite3.connect(stage.folder / "MY.db")) as database:
        database.execute("VACUUM INTO ?", (str(backup),))
    async with stage.my():
        since = await stage.sent(3)
    stage.put_back(backup)
    async with opened_node(stage.hub, "MY", stage.folder) as my:
        assert await my.database.change(lambda c: begin_anew(c, now=clock.now())) > 1
        assert await inbox_of(my) == Counter(before)
    return before, since


async def test_what_came_after_the_backup_comes_again_and_nothing_twice(stage: Stage) -> None:
    before, since = await backed_up_and_put_back(stage)
    others = await inbox_of(stage.vn)
    async with stage.my() as my:
        await my.upkeep.tell_pairs()  # its new incarnation; SG then says what MY must have
        async with must_come(BOUND_S, lambda: "nobody was told of numbers"):
            while not await stage.sg.upkeep.tell_pairs():  # noqa: ASYNC110 - on its way
                await asyncio.sleep(0.05)
        await lacking(my, 3)
        await a_quarter_of_an_hour_goes_by(stage, my)
        await my.upkeep.tell_pairs()
        async with must_come(BOUND_S, lambda: "what was lost did not come again"):
            while await inbox_of(my) != Counter([*before, *since]):  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.05)
        await lacking(my, 0)
        assert (await my.status()).gaps == ()
        assert (await my.status()).quarantined == 0
        later = await stage.sent(1)
        assert await inbox_of(my) == Counter([*before, *since, *later])
    assert await inbox_of(stage.vn) == others + Counter(later)
    assert len((await stage.sg.outbox()).items) == 6


async def test_it_asks_a_peer_too_to_which_it_had_never_written_when_it_was_backed_up(
    stage: Stage,
) -> None:
    """That peer may take no mail of it, so that nothing but a pair-state ever goes there."""
    _, since = await backed_up_and_put_back(stage, had=0)

    async def a_day_goes_by(connection: object) -> None:
        await connection.execute(update(peers).values(told_ms=0))  # type: ignore[attr-defined]

    async with stage.my() as my:
        assert not await my.upkeep.tell_pairs()  # it has forgotten that it ever answered
        await stage.sg.database.change(a_day_goes_by)
        await stage.sg.upkeep.tell_pairs()
        await lacking(my, 3)
        await a_quarter_of_an_hour_goes_by(stage, my)
        await my.upkeep.tell_pairs()
        async with must_come(BOUND_S, lambda: "what was lost did not come again"):
            while await inbox_of(my) != Counter(since):  # noqa: ASYNC110 - another node does it
                await asyncio.sleep(0.05)
        assert (await my.status()).gaps == ()


async def test_what_is_kept_no_more_stays_a_gap_that_shows(stage: Stage) -> None:
    before, since = await backed_up_and_put_back(stage)

    async def drop(connection: object) -> None:
        await connection.execute(delete(repeatable))  # type: ignore[attr-defined]

    await stage.sg.database.change(drop)
    async with stage.my() as my:
        await my.upkeep.tell_pairs()
        async with must_come(BOUND_S, lambda: "nobody was told of numbers"):
            while not await stage.sg.upkeep.tell_pairs():  # noqa: ASYNC110 - on its way
                await asyncio.sleep(0.05)
        await lacking(my, len(since))
        await a_quarter_of_an_hour_goes_by(stage, my)
        assert [gap.peer for gap in (await my.status()).gaps] == ["SG"] * len(since)
        await my.upkeep.tell_pairs()
        later = await stage.sent(1)
        assert await inbox_of(my) == Counter([*before, *later])
        assert len((await my.status()).gaps) == len(since)


async def test_it_is_kept_for_as_long_as_is_said_and_then_dropped(stage: Stage) -> None:
    async with stage.my():
        await stage.sent(1)

    async def kept() -> int:
        async with stage.sg.database.read() as connection:
            return len((await connection.execute(select(repeatable))).all())

    assert await kept()
    await stage.sg.upkeep.forget()
    assert await kept()
    later = clock.now() + KEPT + GAP_AFTER
    stage.sg.present.now = lambda: later
    await stage.sg.upkeep.forget()
    assert not await kept()
