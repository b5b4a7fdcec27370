"""A log that the directory does not name signs nothing: its home may be an old backup."""

import asyncio
import json
from pathlib import Path

import pytest

from broker.cli.demo.region import NODES, DemoRegion
from broker.client import Client
from broker.hub.place import HubPlace
from broker.ledger.place import LedgerPlace
from tests.cli.test_ceremonies import run, with_ministry
from tests.faults.test_log import published, send
from tests.support.processes import running_region
from tests.support.waiting import must_come

pytestmark = [pytest.mark.processes, pytest.mark.soak, pytest.mark.timeout(300)]
COUNT = 3


def with_unnamed_log(region: DemoRegion) -> None:
    made = run(region, region.hub, "log", "init", "log.example/later")
    assert made.returncode == 0, made.stderr
    assert "log.vkeys" in "".join(made.stdout.split())


def named(region: DemoRegion) -> None:
    """The hub's document with its log, signed by three of four members, and published."""
    change = region.folder / "log-change.json"
    document = str(HubPlace(region.hub).hub_document)
    steps: list[tuple[Path, tuple[str, ...]]] = [
        (region.hub, ("propose", "--hub", document, "--out", str(change)))
    ]
    for code in NODES:
        sign = ("sign", str(change), "--member", code, "--yes")
        steps.append((with_ministry(region, code), sign))
    steps.append((region.hub, ("publish", str(change))))
    for home, words in steps:
        done = run(region, home, "directory", *words)
        assert done.returncode == 0, done.stderr


async def test_a_log_grows_once_it_is_named_and_its_witnesses_were_asked(tmp_path: Path) -> None:
    async with (
        must_come(280, lambda: "not all decisions are in the log"),
        running_region(tmp_path / "r", prepare=with_unnamed_log) as (region, _, clients),
    ):
        place = LedgerPlace(region.hub)
        for number in range(COUNT):  # traffic goes on
            await send(clients["SG"], number)
        while place.files.checkpoint() is None:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.1)
        status = await asyncio.to_thread(run, region, region.hub, "log", "status", "--json")
        told = json.loads(status.stdout)  # seconds later, and a growth takes a quarter of one
        assert (told["ok"], told["signed"], told["size"]) == (True, 0, 0)
        await asyncio.to_thread(named, region)
        while published(place).size < COUNT:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.1)
        await send(clients["SG"], COUNT)
        for client in clients.values():  # until each has seen a quorum under its own mail
            while not await proved(client):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.1)


async def proved(client: Client) -> bool:
    log = (await client.node_status()).log
    return log is not None and log.own_proved > 0 and not log.own_waiting
