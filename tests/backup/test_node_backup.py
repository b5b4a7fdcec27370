"""A node backed up while it runs, and put back yesterday's: nothing lost, nothing twice."""

import io
import json
import shutil
import sqlite3
import tarfile
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from broker import clock
from broker.cli.demo.processes import Processes
from broker.cli.demo.region import DemoRegion
from broker.client import Client
from broker.node.ids import to_ms
from broker.node.pairs import GAP_AFTER
from broker.store.archive import ABOUT, ArchiveError, read_archive, write_archive
from schemas.desk import RecipientState
from tests.support.processes import running_region, warning
from tests.support.waiting import until

pytestmark = [pytest.mark.processes, pytest.mark.timeout(400), pytest.mark.slow]
NODES = ("SG", "MY", "VN")


async def command(processes: Processes, home: Path, *words: str) -> tuple[int, dict[str, Any]]:
    code, text = await processes.command("--home", str(home), "node", *words)
    (line,) = [line for line in text.splitlines() if line.startswith('{"schema"')] or ["{}"]
    return code, json.loads(line) or {"text": text}


async def inbox(client: Client) -> Counter[str]:
    return Counter(str(item.alert_id) for item in (await client.inbox(limit=200)).items)


async def sent(clients: dict[str, Client], first: int, count: int) -> list[str]:
    """Alerts of SG that MY and VN have."""
    found = []
    for number in range(first, first + count):
        submission = await clients["SG"].send(warning(number, ("MY", "VN")))

        async def delivered(ident: Any = submission.id) -> bool:  # noqa: ANN401
            outcomes = (await clients["SG"].status(ident)).recipients
            return {each.state for each in outcomes} == {RecipientState.DELIVERED}

        await until(delivered)
        found.append(str(submission.alert_id))
    return found


def long_ago(home: Path) -> None:
    """Hours go by at a node: its gaps are old, it tells its peers again, and hands in again."""
    ago = to_ms(clock.now() - GAP_AFTER)
    with closing(sqlite3.connect(home / "node" / "node.db", timeout=30)) as database:
        database.execute("UPDATE gaps SET noticed_ms = ?", (ago,))
        database.execute("UPDATE peers SET told_ms = 0")
        database.execute("UPDATE sent SET again_ms = 0")
        database.commit()


async def lacks(home: Path, count: int) -> bool:
    """Whether MY knows of at least so many numbers; a control of SG may be one more."""
    with closing(sqlite3.connect(home / "node" / "node.db", timeout=30)) as database:
        (found,) = database.execute("SELECT count(*) FROM gaps WHERE peer = 'SG'").fetchone()
    return bool(found >= count)


async def stop(processes: Processes, code: str) -> None:
    await processes.kill(code)  # as a machine dies; SQLite has what was committed


async def rejoined(
    region: DemoRegion, processes: Processes, clients: dict[str, Client], wanted: Counter[str]
) -> None:
    """Let MY be heard, and come back to what it must have; a quarter of an hour goes by twice."""
    my, sg = region.home("MY"), region.home("SG")

    async def noticed() -> bool:
        return await lacks(my, 3)

    await processes.start_node("MY")
    await until(noticed, 180)
    await stop(processes, "MY")
    long_ago(my)
    await stop(processes, "SG")
    long_ago(sg)
    await processes.start_node("SG")
    await processes.start_node("MY")

    async def whole() -> bool:
        return await inbox(clients["MY"]) == wanted

    await until(whole, 180)


async def test_yesterdays_backup_rejoins_and_nothing_is_lost_or_there_twice(
    tmp_path: Path,
) -> None:
    async with running_region(tmp_path / "r", nodes=NODES) as (region, processes, clients):
        my = region.home("MY")
        before = await sent(clients, 0, 2)
        kept = tmp_path / "my.tar"
        code, made = await command(processes, my, "backup", "--to", str(kept), "--json")
        assert code == 0, made
        assert kept.stat().st_mode & 0o077 == 0
        code, refused = await command(processes, my, "backup", "--to", str(kept), "--json")
        assert (code, refused["code"]) == (1, "exists")

        since = await sent(clients, 10, 3)
        assert await inbox(clients["MY"]) == Counter([*before, *since])
        code, refused = await command(processes, my, "restore", str(kept), "--json")
        assert (code, refused["code"]) == (1, "exists")
        await stop(processes, "MY")
        shutil.rmtree(my / "node")
        (my / "region" / "root.json").unlink()
        code, back = await command(processes, my, "restore", str(kept), "--json")
        assert code == 0, back
        assert back["member"] == "MY"
        assert back["incarnation"] > 1

        others = await inbox(clients["VN"])
        await rejoined(region, processes, clients, Counter([*before, *since]))
        later = await sent(clients, 20, 1)
        assert await inbox(clients["MY"]) == Counter([*before, *since, *later])
        assert await inbox(clients["VN"]) == others + Counter(later)

        async def no_gap() -> bool:
            return (await clients["MY"].node_status()).gaps == ()

        await until(no_gap, 60)
        status = await clients["MY"].node_status()
        assert (status.quarantined, status.incarnation) == (0, back["incarnation"])


async def test_what_is_erased_is_still_in_an_older_backup_and_is_erased_again(
    tmp_path: Path,
) -> None:
    async with running_region(tmp_path / "r", nodes=("SG", "MY")) as (region, processes, clients):
        my = region.home("MY")
        submission = await clients["SG"].send(warning(1, ("MY",)))

        async def there() -> bool:
            return await inbox(clients["MY"]) == {str(submission.alert_id): 1}

        await until(there)
        (item,) = (await clients["MY"].inbox(limit=10)).items
        older, newer = tmp_path / "older.tar", tmp_path / "newer.tar"
        assert (await command(processes, my, "backup", "--to", str(older), "--json"))[0] == 0
        assert (await command(processes, my, "erase", str(item.id), "--json"))[0] == 0
        assert await inbox(clients["MY"]) == {}
        assert (await command(processes, my, "backup", "--to", str(newer), "--json"))[0] == 0
        assert held(newer) == 0
        assert held(older) == 1

        await stop(processes, "MY")
        shutil.rmtree(my / "node")
        assert (await command(processes, my, "restore", str(older), "--json"))[0] == 0
        await processes.start_node("MY")
        assert await inbox(clients["MY"]) == {str(submission.alert_id): 1}
        assert (await command(processes, my, "erase", str(item.id), "--json"))[0] == 0
        assert await inbox(clients["MY"]) == {}


def held(backup: Path) -> int:
    """How many alerts lie in a backup's database."""
    folder = backup.with_suffix("")
    read_archive(backup, folder)
    with closing(sqlite3.connect(folder / "node" / "node.db")) as database:
        (found,) = database.execute("SELECT count(*) FROM inbox").fetchone()
    shutil.rmtree(folder)
    return int(found)


def tar_of(path: Path, *entries: tuple[str, bytes, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, kind, raw in entries:
            entry = tarfile.TarInfo(name)
            entry.type, entry.size, entry.linkname = kind, len(raw), "/etc/passwd"
            archive.addfile(entry, io.BytesIO(raw))
    return path


FILE, LINK = tarfile.REGTYPE, tarfile.SYMTYPE
WRONG = {
    "climbs out of its folder": ((ABOUT, FILE, b"{}"), ("../out", FILE, b"x")),
    "begins at the root": ((ABOUT, FILE, b"{}"), ("/kentong-out", FILE, b"x")),
    "is a link": ((ABOUT, FILE, b"{}"), ("node/keys", LINK, b"")),
    "says not what it is": (("node/node.db", FILE, b"x"),),
    "holds a file twice": ((ABOUT, FILE, b"{}"), ("a", FILE, b"x"), ("a", FILE, b"y")),
    "holds nothing": (),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_archive_that_is_no_backup_puts_nothing_in_place(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "into"
    with pytest.raises(ArchiveError) as refused:
        read_archive(tar_of(tmp_path / "wrong.tar", *WRONG[name]), folder)
    assert refused.value.code in {"backup-damaged", "bad-file"}
    assert {path.name for path in tmp_path.iterdir()} <= {"wrong.tar", "into"}
    assert not Path("/kentong-out").exists()


def test_an_archive_that_ends_early_is_refused_wherever_it_ends(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 700)
    whole = tmp_path / "whole.tar"
    assert write_archive(whole, b"{}", [("a", tmp_path / "a"), ("gone", tmp_path / "no")]) == 1
    raw = whole.read_bytes()
    for end in range(0, 3584, 64):
        cut = tmp_path / "cut.tar"
        cut.write_bytes(raw[:end])
        with pytest.raises(ArchiveError):
            read_archive(cut, tmp_path / f"into-{end}")
    assert read_archive(whole, tmp_path / "into") == b"{}"
    assert (tmp_path / "into" / "a").read_bytes() == b"x" * 700
