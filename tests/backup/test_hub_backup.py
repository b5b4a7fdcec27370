"""A hub backed up, gone on, and put back: nothing lost, nothing twice, one history of its log."""

import asyncio
import json
import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from broker.cli.admin.hub_backup import read_about
from broker.cli.demo.region import DemoRegion, found
from broker.client import Client, Submission
from broker.errors import BrokerError
from broker.ledger.place import LedgerPlace
from broker.log.merkle import tree_root
from broker.log.tiles import lookup_in
from broker.store.database import sqlite_url
from keys.directory.bundle import parse_bundle
from keys.directory.layout import MAX_SNAPSHOT_BYTES
from keys.directory.metadata import Snapshot, read_metadata
from keys.directory.source import PublishedDirectory
from keys.directory.toml_text import toml
from schemas.desk import RecipientState
from tests.cli.test_ceremonies import run, with_ministry
from tests.faults.test_log import audited, published
from tests.faults.test_log_restored import all_proved, said, stop_hub
from tests.support.processes import running_region, warning

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600), pytest.mark.slow]
BOUND_S = 560.0


async def answer(region: DemoRegion, *words: str) -> tuple[int, dict[str, Any]]:
    done = await asyncio.to_thread(run, region, region.hub, "hub", *words, "--json")
    (line,) = [line for line in done.stdout.splitlines() if line.startswith('{"schema"')] or ["{}"]
    return done.returncode, json.loads(line) or {"text": done.stdout + done.stderr}


async def delivered(clients: dict[str, Client], first: int, count: int) -> list[str]:
    """Alerts of SG that MY and VN have, and say that they have."""
    found = []
    for number in range(first, first + count):
        submission = await clients["SG"].send(warning(number, ("MY", "VN")))
        while await states(clients["SG"], submission) != {RecipientState.DELIVERED}:  # noqa: ASYNC110 - others do it
            await asyncio.sleep(0.1)
        found.append(str(submission.alert_id))
    return found


async def states(client: Client, submission: Submission) -> set[RecipientState]:
    return {each.state for each in (await client.status(submission.id)).recipients}


async def inbox(client: Client) -> Counter[str]:
    return Counter(str(item.alert_id) for item in (await client.inbox(limit=200)).items)


async def published_anew(region: DemoRegion, out: Path) -> int:
    """Certify an officer; return the number of the snapshot that then is in force."""
    sg = with_ministry(region, "SG")
    add = ("officer", "add", "SG-NEW", "--member", "SG", "--out", str(out))
    for where, words in ((sg, add), (region.hub, ("directory", "publish", str(out)))):
        done = await asyncio.to_thread(run, region, where, *words)
        assert done.returncode == 0, done.stderr
    return PublishedDirectory.at(region.hub).view().version.snapshot


async def held(region: DemoRegion, code: str, snapshot: int) -> Path:
    """The file of a node's copy of the directory, once it is this new."""
    path = region.home(code) / "node" / "directory" / "directory.json"
    while _snapshot(await asyncio.to_thread(path.read_bytes)) < snapshot:  # noqa: ASYNC110 - another process
        await asyncio.sleep(0.2)
    return path


def _snapshot(raw: bytes) -> int:
    text = parse_bundle(raw).snapshot.encode()
    return read_metadata(Snapshot, text, max_bytes=MAX_SNAPSHOT_BYTES).signed.version


@pytest.mark.soak
async def test_yesterdays_hub_is_put_back_and_nothing_is_lost_doubled_or_signed_twice(
    tmp_path: Path,
) -> None:
    kept = tmp_path / "hub.tar"
    async with (
        asyncio.timeout(BOUND_S),
        running_region(tmp_path / "r", log=True) as (region, processes, clients),
    ):
        place = LedgerPlace(region.hub)
        before = await delivered(clients, 0, 2)
        await all_proved(clients)
        code, told = await answer(region, "backup", "--to", str(kept))
        assert (code, told["code"]) == (1, "hub-runs")
        assert not kept.exists()
        await stop_hub(processes)
        code, told = await answer(region, "backup", "--to", str(kept))
        assert (code, told.get("streams")) == (0, True), told
        assert kept.stat().st_mode & 0o077 == 0
        code, told = await answer(region, "backup", "--to", str(kept))
        assert (code, told["code"]) == (1, "exists")
        await processes.start_hub()

        since = await delivered(clients, 10, 3)
        snapshot = await published_anew(region, tmp_path / "officer.json")
        copy = await held(region, "MY", snapshot)
        await all_proved(clients)
        newest = published(place)
        code, told = await answer(region, "restore", str(kept))
        assert (code, told["code"]) == (1, "exists")
        await stop_hub(processes)
        for name in ("hub", "log"):
            shutil.rmtree(region.hub / name)
        (region.hub / "region" / "root.json").unlink()
        code, back = await answer(region, "restore", str(kept), "--directory", str(copy))
        assert code == 0, back
        assert (back["log"], back["snapshot"], back["newer_directory"]) == (True, snapshot, True)
        open_to_others = [
            path
            for path in (*(region.hub / "hub").rglob("*"), *(region.hub / "log").rglob("*"))
            if path.stat().st_mode & 0o077 and region.hub / "hub" / "directory" not in path.parents
        ]
        assert open_to_others == []

        already = (region.folder / "hub.log").stat().st_size
        await processes.start_hub()
        await said(region, '"witness-ahead"', after=already)  # it asked before it signed
        later = await delivered(clients, 20, 1)
        await said(region, '"log-restored"', after=already)
        await all_proved(clients)
        again = published(place)
        assert again.size > newest.size
        assert tree_root(newest.size, lookup_in(place.files.read, again.size)) == newest.root
        wanted = Counter([*before, *since, *later])
        assert await inbox(clients["MY"]) == await inbox(clients["VN"]) == wanted
        audited(region, place, tmp_path)
        for client in clients.values():
            status = await client.node_status()
            assert (status.quarantined, status.gaps) == (0, ())
            assert status.directory is not None
            assert status.directory.fresh
            codes = {alarm.code for alarm in status.alarms}
            assert not codes & {"log-fork", "log-broken", "directory-rollback", "directory-split"}


def test_a_backup_of_a_node_is_none_of_a_hub() -> None:
    with pytest.raises(BrokerError) as caught:
        read_about(b'{"format": 1, "member": "SG", "version": "1", "made": "2026"}')
    assert caught.value.code == "backup-damaged"


def test_a_hub_that_never_ran_and_a_database_elsewhere_are_put_back_whole(tmp_path: Path) -> None:
    region = found(tmp_path / "r", log=True)
    config = LedgerPlace(region.hub).config_file
    with closing(sqlite3.connect(tmp_path / "elsewhere.db")) as database:
        database.execute("CREATE TABLE known (word TEXT)")
        database.execute("INSERT INTO known VALUES ('quokka')")
        database.commit()
    for name, elsewhere in (("never-ran", False), ("elsewhere", True)):
        if elsewhere:
            chosen = (
                LedgerPlace(region.hub)
                .config()
                .model_copy(update={"database": sqlite_url(tmp_path / "elsewhere.db")})
            )
            config.write_bytes(toml(chosen.model_dump(mode="json")))
        kept, put = tmp_path / f"{name}.tar", tmp_path / name
        done = run(region, region.hub, "hub", "backup", "--to", str(kept))
        assert done.returncode == 0, done.stderr
        done = run(region, put, "hub", "restore", str(kept))
        assert done.returncode == 0, done.stderr
        assert LedgerPlace(put).config().database == ""
        assert (put / "log" / "log.db").exists() == elsewhere
        stores = {path.name for path in put.rglob("*.keystore")}
        assert stores == {path.name for path in region.hub.rglob("*.keystore")}
        assert PublishedDirectory.at(put).view().version == (
            PublishedDirectory.at(region.hub).view().version
        )
    with closing(sqlite3.connect(tmp_path / "elsewhere" / "log" / "log.db")) as database:
        assert database.execute("SELECT word FROM known").fetchall() == [("quokka",)]
