"""A hub whose log was put back from a backup, and what a person sees of the log's alarms."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from broker import clock
from broker.cli.admin.node_place import NodePlace
from broker.cli.demo.command import _profile
from broker.cli.demo.processes import Processes
from broker.cli.demo.region import DemoRegion
from broker.client import Client, Profiles
from broker.ledger.place import LedgerPlace
from broker.node import alarms
from tests.cli.test_ceremonies import run
from tests.faults.test_log import audited, send, shown
from tests.support.processes import running_region
from tests.support.waiting import must_come

pytestmark = [pytest.mark.processes, pytest.mark.soak, pytest.mark.timeout(600)]


async def stop_hub(processes: Processes) -> None:
    process = processes._running.pop("hub")
    process.terminate()
    await process.wait()


async def all_proved(clients: dict[str, Client]) -> None:
    for client in clients.values():
        while (log := await shown(client)).own_waiting or not log.own_proved:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.2)


async def said(region: DemoRegion, word: str, *, after: int) -> None:
    """Return once the hub's processes logged `word`, beyond `after` bytes."""
    path = region.folder / "hub.log"
    while word not in (await asyncio.to_thread(path.read_text))[after:]:  # noqa: ASYNC110 - another process
        await asyncio.sleep(0.2)


async def put_back(region: DemoRegion, backup: Path) -> None:
    shutil.rmtree(region.hub / "log")
    shutil.copytree(backup, region.hub / "log")


async def test_a_hub_put_back_from_a_backup_signs_nothing_until_a_member_gave_it_the_leaves(
    tmp_path: Path,
) -> None:
    """The nodes by themselves, or a person with a member's copy, while the hub stands still."""
    async with (
        must_come(560, lambda: "what was lost of the log did not come again"),
        running_region(tmp_path / "r", log=True) as (region, processes, clients),
    ):
        folder, backup = region.hub / "log", tmp_path / "backup"
        await send(clients["SG"], 0)
        await all_proved(clients)
        await stop_hub(processes)
        shutil.copytree(folder, backup, ignore=lambda *_: ["socket"])
        await processes.start_hub()
        await send(clients["SG"], 1)
        await all_proved(clients)
        await stop_hub(processes)
        before = LedgerPlace(region.hub).files.checkpoint()
        await put_back(region, backup)
        already = (region.folder / "hub.log").stat().st_size
        await processes.start_hub()
        await said(region, '"witness-ahead"', after=already)
        await said(region, '"log-restored"', after=already)
        await send(clients["SG"], 2)
        await all_proved(clients)
        await stop_hub(processes)
        assert LedgerPlace(region.hub).files.checkpoint() != before
        await put_back(region, backup)
        copy = region.home("SG") / "node" / "log"
        done = run(region, region.hub, "log", "restore", "--from", str(copy), "--json")
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert told["new"] > told["old"]
        again = run(region, region.hub, "log", "restore", "--from", str(copy))
        assert again.returncode != 0
        assert "nothing-newer" in again.stderr
        await processes.start_hub()
        await all_proved(clients)
        status = json.loads(run(region, region.hub, "log", "status", "--json").stdout)
        assert status["witnesses"] == ["MY", "SG", "VN"]
        audited(region, LedgerPlace(region.hub), tmp_path)
        for client in clients.values():
            raised = {alarm.code for alarm in (await client.node_status()).alarms}
            assert not raised & {"log-fork", "log-broken", "log-inconsistent"}


async def test_a_person_sees_the_logs_alarms_until_they_are_settled(tmp_path: Path) -> None:
    async with running_region(tmp_path / "r", log=True) as (region, _, clients):
        await send(clients["SG"], 0)
        await all_proved(clients)
        home = region.home("SG")
        Profiles.load(home).add("desk", _profile(region, "SG"))

        def answers(*words: str) -> tuple[int, str]:
            done = run(region, home, *words)
            return done.returncode, done.stdout + done.stderr

        async def ask(*words: str) -> tuple[int, str]:
            return await asyncio.to_thread(answers, *words)

        assert (await ask("witness", "status"))[0] == 0
        code, out = await ask("doctor")
        assert code == 0, out
        async with NodePlace(home).database() as database:
            for _ in range(2):
                await database.change(
                    lambda c: alarms.raise_alarm(c, "log-not-proven", now=clock.now())
                )
        code, out = await ask("witness", "status")
        assert (code, "! log-not-proven x2" in out) == (1, True), out
        code, out = await ask("doctor")
        assert (code, "WRONG" in out, "log-not-proven" in out) == (1, True, True), out
        assert (await ask("node", "settle", "log-not-proven"))[0] == 0
        assert (await ask("node", "settle", "log-not-proven"))[0] == 1
        assert (await ask("witness", "status"))[0] == 0
        assert (await ask("doctor"))[0] == 0
        envelope = (await clients["SG"].outbox()).items[0].id
        assert (await ask("node", "erase", str(envelope)))[0] == 0
        assert (await ask("node", "erase", str(envelope)))[0] == 1
        assert (await ask("evidence", str(envelope), "--out", str(tmp_path / "e")))[0] != 0
