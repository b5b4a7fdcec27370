"""A node restored from a backup never gives out a number twice: the command begins them anew."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import select

from broker import clock
from broker.cli.admin.node_place import NodeConfig, NodePlace
from broker.node import pairs
from broker.node.node import Node
from broker.store import tables
from schemas.desk import RecipientState
from tests.support.databases import Databases
from tests.support.gateway import running_gateway
from tests.support.hub import BOUND_S, RunningHub, running_hub
from tests.support.nodes import opened_node, request, running_node, send, until_over
from tests.support.region import make_region

pytestmark = [pytest.mark.hub, pytest.mark.slow]


async def deliver_one(node: Node, hub: RunningHub) -> None:
    asked = request(hub.region, ("MY",))
    last = await until_over(node, (await send(node, hub.region, asked)).submission_id)
    assert last.recipients[0].state is RecipientState.DELIVERED, last.recipients[0].code


async def numbers_when(node: Node, wanted: set[tuple[int, int]]) -> set[tuple[int, int]]:
    """SG's numbers at this node, once all that are wanted are there."""
    table = tables.numbers
    async with asyncio.timeout(BOUND_S):
        while True:
            async with node.database.read() as connection:
                rows = await connection.execute(select(table.c.incarnation, table.c.number))
                seen = {(row.incarnation, row.number) for row in rows}
            if wanted <= seen:
                return seen
            await asyncio.sleep(0.02)  # a control that arrives wakes nobody


def say_restored(home: Path, url: str) -> int:
    """The incarnation that the command names."""
    place = NodePlace(home)
    config = NodeConfig(member="SG", hub_url="tls://localhost:4222", database_url=url)
    place.write(config, b"-----BEGIN CERTIFICATE-----\n")
    done = subprocess.run(
        [sys.executable, "-c", "from broker.cli import main; main()", "node", "restored"],
        env={**os.environ, "KENTONG_HOME": str(home)},  # noqa: TID251 - handed on to a child
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split("incarnation ")[1].split()[0])


@asynccontextmanager
async def a_region(folder: Path, home: Path) -> AsyncIterator[tuple[RunningHub, Node]]:
    """A hub with a gateway, MY at work, and an empty home for SG's commands."""
    region = make_region(("SG", "MY"), now=clock.now())
    await asyncio.to_thread(home.mkdir, mode=0o700)
    async with (
        asyncio.timeout(4 * BOUND_S),
        running_hub(region, folder / "hub") as hub,
        running_gateway(hub),
        running_node(hub, "MY", folder) as my,
    ):
        yield hub, my


async def test_after_a_restore_numbers_begin_anew_and_no_gap_is_seen(
    databases: Databases, tmp_path: Path
) -> None:
    database, backup, home = tmp_path / "SG.db", tmp_path / "backup.db", tmp_path / "home"
    async with a_region(tmp_path, home) as (hub, my):
        async with running_node(hub, "SG", tmp_path) as sg:
            await deliver_one(sg, hub)
        databases.back_up(database, backup)  # the node does not run, so one file is all of it
        async with running_node(hub, "SG", tmp_path) as sg:
            await deliver_one(sg, hub)
        databases.put_back(backup, database)
        said = await asyncio.to_thread(say_restored, home, databases.url(database))
        assert said > 1
        async with opened_node(hub, "SG", tmp_path) as sg, sg.running():
            assert (await sg.status()).incarnation == said
            await deliver_one(sg, hub)
            now = clock.now()
            state = await sg.database.change(lambda c: pairs.state_for(c, "MY", now=now))
        assert state.incarnation == said
        wanted = {(1, 1), (1, 2), *((said, number) for number in range(1, state.highest + 1))}
        seen = await numbers_when(my, wanted)
        assert {number for number in seen if number[0] == said} <= wanted
        await my.database.change(lambda c: pairs.compare(c, "SG", state, now=now))
        async with my.database.read() as connection:
            assert await pairs.count_gaps(connection, now=now + 2 * pairs.GAP_AFTER) == {}
        status = await my.status()
        assert (status.inbox, status.quarantined) == (3, 0)


async def test_one_backup_put_back_twice_gives_no_number_twice(
    databases: Databases, tmp_path: Path
) -> None:
    database, backup, home = tmp_path / "SG.db", tmp_path / "backup.db", tmp_path / "home"
    async with a_region(tmp_path, home) as (hub, my):
        async with running_node(hub, "SG", tmp_path):
            pass
        databases.back_up(database, backup)
        said: list[int] = []
        for _ in range(2):
            databases.put_back(backup, database)
            said.append(await asyncio.to_thread(say_restored, home, databases.url(database)))
            async with opened_node(hub, "SG", tmp_path) as sg, sg.running():
                await deliver_one(sg, hub)
        assert 1 < said[0] < said[1]  # peers take the higher one for new
        await numbers_when(my, {(incarnation, 1) for incarnation in said})
