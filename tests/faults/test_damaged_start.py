"""What was found damaged serves nobody again, however often it is started."""

import asyncio
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from os import SEEK_END
from pathlib import Path

import pytest

from broker.cli.demo.processes import Processes
from broker.errors import BrokerError
from broker.store.wholeness import marker_of
from tests.chaos.ondisk import flip
from tests.support.processes import running_region, warning
from tests.support.waiting import must_come

pytestmark = [pytest.mark.processes, pytest.mark.timeout(300), pytest.mark.slow]
ENDED_S = 60.0


@contextmanager
def damaged(path: Path) -> Iterator[None]:
    """Change an id where it stands in its row, so that no page and no statement shows it."""
    aside = path.with_name("aside.db")
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        ident = database.execute("SELECT alert_id FROM inbox").fetchone()[0].encode()
    shutil.copy(path, aside)
    flip(path, 8 * path.read_bytes().index(ident))
    yield
    aside.rename(path)


async def ended(processes: Processes, code: str) -> None:
    """Start a node that ends by itself, before it is ready or a moment later."""
    with suppress(BrokerError):
        await processes.start_node(code)
    async with must_come(ENDED_S, lambda: "the damaged node did not end"):
        assert await processes._running.pop(code).wait()


async def test_a_node_that_was_found_damaged_lets_no_desk_in_when_it_is_started_again(
    tmp_path: Path,
) -> None:
    async with running_region(tmp_path / "r", nodes=("SG", "MY")) as (region, processes, clients):
        await clients["SG"].send(warning(1, ("MY",)))
        async with must_come(ENDED_S, lambda: "the alert never came"):
            while not (await clients["MY"].inbox(limit=1)).items:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.1)
        await processes.kill("MY")
        path, log = region.home("MY") / "node/node.db", region.folder / "MY.log"
        with damaged(path):
            await ended(processes, "MY")
            assert marker_of(path).exists()
            before = log.read_bytes()
            assert before.count(b"Ready:") == 2
            for _ in range(2):
                await ended(processes, "MY")
            since = log.read_bytes()[len(before) :]
            assert since.count(b"database-damaged") >= 2
            assert b"Ready:" not in since
        await processes.start_node("MY")
        assert (await clients["MY"].inbox(limit=1)).items
        assert not marker_of(path).exists()
        kept = region.folder / "MY.tar"
        marker_of(path).touch()  # while it runs; a backup is whole, and takes no mark with it
        node = ("--home", str(region.home("MY")), "node")
        code, text = await processes.command(*node, "backup", "--to", str(kept))
        assert code == 0, text
        await processes.kill("MY")
        path.parent.rename(region.folder / "lost")
        code, text = await processes.command(*node, "restore", str(kept))
        assert code == 0, text
        assert not marker_of(path).exists()


async def test_a_log_that_was_found_damaged_is_looked_at_before_anything_else(
    tmp_path: Path,
) -> None:
    async with running_region(tmp_path / "r", nodes=("SG",), log=True) as (region, processes, _):
        await processes.stop()
        path = region.hub / "log/log.db"
        with closing(sqlite3.connect(path)) as database:
            database.execute("CREATE TABLE more AS SELECT zeroblob(100000) AS x")
            database.commit()
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with path.open("r+b") as file:  # its last page, which nobody asks for
            file.seek(-4096, SEEK_END)
            file.write(b"\xff" * 4096)
        marker_of(path).touch()
        async with must_come(ENDED_S, lambda: "the damaged log did not end"):
            code, text = await processes.command(
                *("--home", str(region.hub), "log", "run", "--no-signer"),
                *("--passphrase-file", str(region.passphrase_file)),
            )
        assert code
        assert "database-damaged" in text
        assert marker_of(path).exists()
