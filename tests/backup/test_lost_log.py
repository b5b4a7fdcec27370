"""A log whose disk was lost, or whose database is in PostgreSQL: put back, it is one history."""

import asyncio
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from broker.cli.demo.region import DemoRegion, found
from broker.hub.place import HubPlace
from broker.ledger.place import LedgerPlace
from broker.ledger.signer_socket import serving
from broker.ledger.state import metadata
from broker.log.checkpoint import Checkpoint
from broker.log.merkle import tree_root
from broker.log.tiles import lookup_in
from broker.store.database import open_database
from keys.directory.toml_text import toml
from tests.backup.test_hub_backup import delivered
from tests.faults.test_log import audited, published
from tests.faults.test_log_restored import all_proved, said, stop_hub
from tests.ledger.growing import entries
from tests.support.commands import Machine
from tests.support.postgres import Postgres
from tests.support.processes import running_region

pytestmark = pytest.mark.slow

BOUND_S = 560.0
DATABASE = "lost_log"


def in_postgresql(region: DemoRegion, postgres: Postgres) -> None:
    """Let the region's log keep its state there, in place of a file."""
    place = LedgerPlace(region.hub)
    chosen = place.config().model_copy(update={"database": postgres.database(DATABASE)})
    place.config_file.write_bytes(toml(chosen.model_dump(mode="json")))


@dataclass(frozen=True)
class Hub:
    """A hub's machine, and what a person types there."""

    region: DemoRegion

    @property
    def machine(self) -> Machine:
        return Machine(self.region.hub, self.region.passphrase_file)

    @property
    def place(self) -> LedgerPlace:
        return LedgerPlace(self.region.hub)

    def told(self, *words: str) -> dict[str, Any]:
        return dict(json.loads(self.machine.good("hub", *words, "--json")))

    async def grown(self, count: int) -> Checkpoint:
        """What is published once the log, which nobody runs, has that many leaves more."""
        passphrase = self.region.passphrase_file.read_bytes().strip()
        with self.place.open_signer(passphrase) as signer, self.place.files.written():
            async with (
                serving(signer, self.place.socket),
                open_database(self.place.database_url, metadata, sole=True) as database,
            ):
                committer = self.place.committer(database)
                if not await committer.state.is_founded():
                    await committer.found()
                size = (await committer.recover()).size
                if count:
                    await committer.grow(size, entries(size, count), {})
                    await committer.recover()  # shows it at once
                assert await committer.state.count() == size + count
        return published(self.place)


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    return Hub(found(tmp_path / "r", log=True))


async def test_a_log_in_postgresql_is_put_back_from_the_archive_and_the_dump_of_one_stop(
    hub: Hub, postgres: Postgres, tmp_path: Path
) -> None:
    in_postgresql(hub.region, postgres)
    kept, dump = tmp_path / "hub.tar", tmp_path / "log.dump"
    before = await hub.grown(5)
    with hub.place.files.written():  # as the log does while it runs
        assert hub.machine.refused("hub", "backup", "--to", str(kept))[0] == "hub-runs"
    said = hub.machine.good("hub", "backup", "--to", str(kept))
    assert "database is not in it" in said
    kept.unlink()
    assert hub.told("backup", "--to", str(kept))["log_database"] is False
    postgres.dump(DATABASE, dump)
    await hub.grown(3)
    for name in ("hub", "log", "region"):
        shutil.rmtree(hub.region.hub / name)
    postgres.drop(DATABASE)
    back = hub.told("restore", str(kept))
    assert (back["log"], back["log_database"]) == (True, False)
    assert hub.place.config().database == postgres.url(DATABASE)
    postgres.restore(dump, DATABASE)
    try:
        assert await hub.grown(0) == before
        assert (await hub.grown(2)).size == before.size + 2
    finally:
        postgres.drop(DATABASE)


async def test_a_log_alone_is_put_back_beside_its_hub_and_no_other(
    hub: Hub, tmp_path: Path
) -> None:
    kept, log = tmp_path / "hub.tar", hub.region.hub / "log"
    before = await hub.grown(5)
    assert hub.told("backup", "--to", str(kept))["log_database"] is True
    newer = hub.region.hub / "hub" / "suspensions.json"
    newer.write_text("of today")
    words = ("hub", "restore", str(kept), "--log-only")
    assert hub.machine.refused(*words)[0] == "exists"
    log.rename(tmp_path / "log.lost")
    place = HubPlace(hub.region.hub)
    with place.locked():
        assert hub.machine.refused(*words)[0] == "hub-runs"
    mine, url = place.config_file.read_bytes(), place.config().public_url
    other = place.config().model_copy(update={"port": 4})
    place.config_file.write_bytes(toml(other.model_dump(mode="json")))
    assert hub.machine.refused(*words)[0] == "backup-of-another"
    place.config_file.write_bytes(mine)
    assert not log.exists()
    told = hub.told("restore", str(kept), "--log-only")
    assert (told["hub"], told["log_database"]) == (url, True)
    assert newer.read_text() == "of today"
    assert not list(hub.region.hub.glob(".restore-*"))
    assert await hub.grown(0) == before


async def test_a_snapshot_is_archived_while_the_hub_runs_again(hub: Hub, tmp_path: Path) -> None:
    kept, snapshot = tmp_path / "hub.tar", tmp_path / "snapshot"
    before = await hub.grown(5)
    shutil.copytree(hub.region.hub, snapshot, ignore=lambda *_: ["socket"])
    with HubPlace(hub.region.hub).locked(), hub.place.files.written():
        assert hub.machine.refused("hub", "backup", "--to", str(kept))[0] == "hub-runs"
        Machine(snapshot).good("hub", "backup", "--to", str(kept))
    await hub.grown(3)
    Machine(tmp_path / "back").good("hub", "restore", str(kept))
    assert published(LedgerPlace(tmp_path / "back")) == before


@pytest.mark.processes
@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kept_in", ["sqlite", "postgresql"])
async def test_a_lost_log_is_put_back_and_takes_from_the_members_what_it_signed_since(
    tmp_path: Path, postgres: Postgres, kept_in: str
) -> None:
    def prepare(region: DemoRegion) -> None:
        if kept_in == "postgresql":
            in_postgresql(region, postgres)

    kept, dump = tmp_path / "hub.tar", tmp_path / "log.dump"
    async with (
        asyncio.timeout(BOUND_S),
        running_region(tmp_path / "r", log=True, prepare=prepare) as (region, processes, clients),
    ):
        hub = Hub(region)
        await delivered(clients, 0, 2)
        await all_proved(clients)
        await stop_hub(processes)
        await asyncio.to_thread(hub.told, "backup", "--to", str(kept))
        if kept_in == "postgresql":
            postgres.dump(DATABASE, dump)
        await processes.start_hub()
        await delivered(clients, 10, 2)
        await all_proved(clients)
        newest = published(hub.place)
        await stop_hub(processes)
        shutil.rmtree(hub.place.folder)
        if kept_in == "postgresql":
            postgres.drop(DATABASE)
            postgres.restore(dump, DATABASE)
        await asyncio.to_thread(hub.told, "restore", str(kept), "--log-only")
        assert published(hub.place).size < newest.size
        already = (region.folder / "hub.log").stat().st_size
        await processes.start_hub()
        await said(region, '"log-restored"', after=already)
        await delivered(clients, 20, 1)
        await all_proved(clients)
        again = published(hub.place)
        assert again.size > newest.size
        assert tree_root(newest.size, lookup_in(hub.place.files.read, again.size)) == newest.root
        audited(region, hub.place, tmp_path)
        for client in clients.values():
            codes = {alarm.code for alarm in (await client.node_status()).alarms}
            assert not codes & {"log-fork", "log-broken", "log-inconsistent"}
        await stop_hub(processes)
    if kept_in == "postgresql":
        postgres.drop(DATABASE)
