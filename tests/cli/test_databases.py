"""`kentong node init --database` and `migrate`: what an operator says and reads of a database."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import trustme

from broker.cli.admin.node_place import NodePlace
from broker.cli.demo.region import found
from broker.node.owner import claim
from broker.store.database import StoreError, open_database, sqlite_url
from broker.store.tables import metadata
from tests.support.databases import Databases

pytestmark = pytest.mark.slow

START = "from broker.cli import main; main()"
SECRET = "open-sesame-42"  # noqa: S105 - no server has it


def kentong(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-c", START, *words],
        env={**os.environ, "KENTONG_HOME": str(home)},  # noqa: TID251 - handed on to a child
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def init(home: Path, url: str) -> subprocess.CompletedProcess[str]:
    home.mkdir(mode=0o700)
    trustme.CA().cert_pem.write_to_path(home / "ca.pem")
    (home / "passphrase").write_text("a long enough passphrase\n")
    (home / "passphrase").chmod(0o600)
    words = ("--member", "SG", "--hub", "tls://hub.example.int:4222", "--ca", str(home / "ca.pem"))
    secret = ("--passphrase-file", str(home / "passphrase"))
    return kentong(home, "node", "init", *words, "--database", url, *secret)


def test_a_password_on_the_command_line_is_refused_and_nothing_is_made(tmp_path: Path) -> None:
    done = init(tmp_path / "home", f"postgresql://kentong:{SECRET}@db.example.int/node")
    assert done.returncode == 5
    assert "[database-password]" in done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert not (tmp_path / "home" / "node").exists()


def test_an_operator_asks_for_versions_reads_the_steps_and_has_them_done(
    tmp_path: Path, request: pytest.FixtureRequest, databases: Databases
) -> None:
    home = tmp_path / "home"
    if databases.postgres is None:
        url = sqlite_url(tmp_path / "own.db")
    else:
        url = databases.postgres.database("operators")
        request.addfinalizer(lambda: databases.postgres.drop("operators"))
    made = init(home, url)
    assert made.returncode == 0, made.stderr
    asked = kentong(home, "node", "migrate", "--check", "--json")
    assert asked.returncode == 1
    told = json.loads(asked.stdout)
    assert (told["ok"], told["before"]) == (False, "")
    written = kentong(home, "node", "migrate", "--sql")
    assert written.returncode == 0, written.stderr
    assert "CREATE TABLE submissions" in written.stdout
    assert kentong(home, "node", "migrate", "--check").returncode == 1  # it was only written
    done = kentong(home, "node", "migrate")
    assert done.returncode == 0, done.stderr
    again = kentong(home, "node", "migrate", "--check", "--json")
    assert again.returncode == 0
    told = json.loads(again.stdout)
    assert told["ok"]
    assert told["before"] == told["newest"]


@pytest.mark.processes
@pytest.mark.timeout(600)
async def test_two_nodes_never_work_on_one_database(databases: Databases, tmp_path: Path) -> None:
    region = await asyncio.to_thread(found, tmp_path / "r", nodes=("SG", "MY"))
    url = databases.url(tmp_path / "both.db")
    for code in ("SG", "MY"):
        place = NodePlace(region.home(code))
        config = place.config().model_copy(update={"database_url": url})
        place.write(config, place.authority_file.read_bytes())
    passphrase = ("--passphrase-file", str(region.passphrase_file))
    first = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", START, "node", "run", *passphrase),
        env={**os.environ, "KENTONG_HOME": str(region.home("SG"))},  # noqa: TID251 - to a child
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert first.stdout is not None
    async with asyncio.timeout(120):
        try:
            assert b"Ready" in await first.stdout.readline()
            refused = await asyncio.to_thread(
                kentong, region.home("MY"), "node", "run", *passphrase
            )
        finally:
            first.terminate()
            await first.wait()
        assert (refused.returncode, "[database-in-use]" in refused.stderr) == (5, True)
        refused = await asyncio.to_thread(kentong, region.home("MY"), "node", "run", *passphrase)
        assert (refused.returncode, "[database-of-another]" in refused.stderr) == (5, True)


async def test_another_members_database_is_refused(databases: Databases, tmp_path: Path) -> None:
    async with open_database(databases.url(tmp_path / "node.db"), metadata) as database:
        for _ in range(2):
            await database.change(lambda connection: claim(connection, "SG"))
        with pytest.raises(StoreError, match="SG") as caught:
            await database.change(lambda connection: claim(connection, "MY"))
    assert caught.value.code == "database-of-another"
