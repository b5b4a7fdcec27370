"""One changed bit in what node and hub keep: told, or nothing that anybody believes is changed.

A bit is drawn from the seed for each text and each blob of each row, and many more anywhere in the
files that stand for something. KENTONG_CHAOS_SEED draws others.
"""

import asyncio
import os
import random  # noqa: TID251 - seeded places, so that a failure can be repeated
import re
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from broker import clock
from broker.errors import BrokerError
from broker.gateway import boots
from broker.hub.erased import note_erased, read_erased
from broker.hub.memory import Known, StreamMemory, read_memory, write_memory
from broker.hub.suspensions import Suspensions, read_suspensions, write_suspensions
from broker.hub.timekeeping import believe, read_time
from broker.ledger.signer import Signer
from broker.ledger.state import metadata as log_metadata
from broker.node.logstate import seen_of
from broker.node.logwatch import LogWatch
from broker.node.node import Node
from broker.node.rewrapping import _NAMED
from broker.node.vault import Vault
from broker.store import tables
from broker.store.database import StoreError, open_database, sqlite_url
from broker.store.digested import write_digested
from broker.store.errors import DAMAGED_CODE, damaged
from broker.store.wholeness import check_whole, keep_whole
from keys.errors import KeysError
from tests.ledger.growing import ORIGIN
from tests.support.attachments import (
    a_file,
    handed,
    received,
    serving_attachments,
    until_here,
    until_sent,
)
from tests.support.envelopes import delivery, make
from tests.support.gateway import running_gateway
from tests.support.nodes import lonely_node, request, send
from tests.support.region import TestRegion
from tests.support.witnesses import KEYS, watched_region, watching

pytestmark = [pytest.mark.hub, pytest.mark.timeout(400)]
SEED = int(os.environ.get("KENTONG_CHAOS_SEED", "1"))  # noqa: TID251 - a test setting
FLIPS = 40  # anywhere in a database, beside those in each text and blob
BITS = 40  # of a small file
Cell = tuple[str, str]
Rows = dict[str, list[tuple[bytes | int | None, ...]]]


@dataclass(frozen=True)
class Homes:
    """What a region left on its disks after a busy minute."""

    region: TestRegion
    folder: Path

    def database(self, name: str) -> Path:
        return self.folder / ("log/log.db" if name == "log" else f"nodes/{name}.db")


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Homes:
    return asyncio.run(_lived(tmp_path_factory.mktemp("homes")))


async def _lived(folder: Path) -> Homes:
    """Two nodes with mail both ways, a file, something in quarantine, and a log they witness."""
    region = watched_region()
    folder.chmod(0o700)  # noqa: ASYNC240 - once, before anything runs
    async with asyncio.timeout(180), AsyncExitStack() as stack:
        watched = await stack.enter_async_context(watching(folder, region=region))
        hub = watched.hub
        await stack.enter_async_context(running_gateway(hub))
        await stack.enter_async_context(serving_attachments(hub, folder / "chunks"))
        await watched.grow(5)
        await watched.rounds()
        await watched.steps()
        sg, my = watched.nodes["SG"], watched.nodes["MY"]
        async with sg.running(), my.running():
            for number in range(3):
                files = (await handed(sg, a_file(1)),) if number == 0 else ()
                asked = request(region, ("MY",), attachments=files)
                last = await until_sent(sg, await send(sg, region, asked))
                assert last.id is not None
                while not [i for i in (await my.inbox(limit=9)).items if i.id == last.id]:
                    await my.mail.ticket().wait()
                await until_here(my, last.id)
        other = make(region, ("MY",), counter=77, tail=77)
        spoiled = bytearray(delivery(region, other.sealed.raw, "MY"))
        spoiled[-9] ^= 1
        await my.incoming.take(bytes(spoiled))
        for node in (sg, my):
            officer = region.members[node.member].officer_kid
            to = ("VN",)
            await send(node, region, request(region, to, officer_kid=officer))
            await node.outgoing.seal_due()
            await node.create_draft(request(region, to, officer_kid=officer))
    return Homes(region, folder)


# --- databases ---


def rows_of(path: Path) -> Rows | None:
    """Every cell of every table, read past the indices; None if SQLite cannot."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as database:
            database.text_factory = bytes
            names = [n.decode().lower() for (n,) in database.execute(_TABLES)]
            every = "SELECT * FROM {} NOT INDEXED"
            cells = {name: database.execute(every.format(name)).fetchall() for name in names}
            cells["sqlite_schema"] = database.execute("SELECT sql FROM sqlite_schema").fetchall()
    except (sqlite3.Error, UnicodeDecodeError):  # the latter is of a name in the schema
        return None
    return {name: sorted(rows, key=repr) for name, rows in cells.items()}


_TABLES = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"


def changed(old: Rows, after: Path, columns: dict[str, list[str]]) -> set[Cell] | None:
    """The columns in which a cell differs; None if more than cells does."""
    new = rows_of(after)
    if new is None or {n: len(r) for n, r in old.items()} != {n: len(r) for n, r in new.items()}:
        return None
    found: set[Cell] = set()
    for name, rows in old.items():
        gone = [row for row in rows if row not in new[name]]
        come = [row for row in new[name] if row not in rows]
        if len(gone) > 1:
            return None
        for was, became in zip(gone, come, strict=True):
            places = [
                at for at, pair in enumerate(zip(was, became, strict=True)) if pair[0] != pair[1]
            ]
            found |= {(name, columns[name][at]) for at in places}
    return found


def columns_of(path: Path) -> tuple[dict[str, list[str]], set[Cell]]:
    """The columns of each table, and those of them that stand in an index as well."""
    with closing(sqlite3.connect(path)) as database:
        names = [name for (name,) in database.execute(_TABLES)]
        columns = {n: [c[1] for c in database.execute(f"PRAGMA table_info({n})")] for n in names}
        indexed = {
            (name, column[2])
            for name in names
            for index in database.execute(f"PRAGMA index_list({name})").fetchall()
            for column in database.execute(f"PRAGMA index_info({index[1]})").fetchall()
        }
    return {**columns, "sqlite_schema": ["sql"]}, indexed


def places(path: Path, order: random.Random) -> Iterator[int]:
    """Bits of each text and blob that some row has, then of any byte that is not zero."""
    raw, found = path.read_bytes(), rows_of(path)
    assert found is not None
    for rows in found.values():
        for values in zip(*rows, strict=True):
            long = [v for v in values if isinstance(v, bytes) and len(v) > 3 and v in raw]
            if long:
                value = order.choice(long)
                at = order.choice([found.start() for found in re.finditer(re.escape(value), raw)])
                yield 8 * at + order.randrange(8 * len(value))
    used = [at for at, byte in enumerate(raw) if byte]
    for _ in range(FLIPS):
        yield 8 * order.choice(used) + order.randrange(8)


def flipped(raw: bytes, bit: int) -> bytes:
    changed = bytearray(raw)
    changed[bit // 8] ^= 1 << (bit % 8)
    return bytes(changed)


def flips(path: Path, copy: Path) -> Iterator[int]:
    """Let `copy` be the file with one bit changed, again and again."""
    raw, order = path.read_bytes(), random.Random(f"{SEED} {path.name}")  # noqa: S311 - no secret
    for bit in places(path, order):
        for left in copy.parent.glob(f"{copy.name}-*"):
            left.unlink()
        copy.write_bytes(flipped(raw, bit))
        yield bit


async def read_all(node: Node) -> list[str]:
    """What desks see, everything sealed opened, and the witness's memory."""
    await node.status()
    items = [await node.item(item.id) for item in (await node.inbox(limit=100)).items]
    outbox = await node.outbox(limit=100)
    if DAMAGED_CODE in await alarms_of(node):  # a submission is left out, and that is told so
        raise damaged()
    sent = [(await node.submission(each.submission_id)).alert_id for each in outbox.items]
    vault = Vault(node.identity.storage_key)
    async with node.database.read() as connection:
        await seen_of(connection, ORIGIN)
        for table, name_of in _NAMED:
            for row in (await connection.execute(table.select())).all():
                if row.sealed:  # else all of it is over
                    vault.open(row.sealed, name=name_of(row))
        for row in (await connection.execute(tables.attachments.select())).all():
            await node.attachment_upload(row.owner, row.id)
    return sorted([f"{item.id} {item.alert}" for item in items] + [str(each) for each in sent])


@pytest.mark.parametrize("code", ["SG", "MY"])
async def test_a_bit_of_a_nodes_database_is_told_or_stands_in_no_index_seal_or_signature(
    homes: Homes, tmp_path: Path, code: str
) -> None:
    path, copy = homes.database(code), tmp_path / "copy.db"
    columns, indexed = columns_of(path)
    whole = rows_of(path)
    assert whole is not None
    copy.write_bytes(path.read_bytes())
    async with lonely_node(homes.region, code, copy) as node:
        check_whole(copy, tables.metadata)
        before = await read_all(node)
    told: Counter[str] = Counter()
    for bit in flips(path, copy):
        where = changed(whole, copy, columns)
        try:
            async with lonely_node(homes.region, code, copy) as node:
                check_whole(copy, tables.metadata)
                after = await read_all(node)
        except (BrokerError, KeysError) as error:
            told[error.code] += 1
            continue
        assert after == before, bit
        assert where is not None, bit
        assert not where & indexed, (bit, where)
        assert not {name for _, name in where} & {"sealed"}, (bit, where)
        assert not where & {("witnessed", "size"), ("witnessed", "root")}
    assert told[DAMAGED_CODE]
    assert told["storage-damaged"]
    assert "" not in told


async def test_a_bit_of_the_logs_database_is_told_or_stands_in_no_index(
    homes: Homes, tmp_path: Path
) -> None:
    path, copy = homes.database("log"), tmp_path / "copy.db"
    columns, indexed = columns_of(path)
    whole = rows_of(path)
    assert whole is not None
    told: Counter[str] = Counter()
    for bit in flips(path, copy):
        where = changed(whole, copy, columns)
        try:
            async with open_database(sqlite_url(copy), log_metadata):
                check_whole(copy, log_metadata)
        except StoreError as error:
            told[error.code] += 1
            continue
        assert where is not None, bit
        assert not where & indexed, (bit, where)
    assert told[DAMAGED_CODE]
    assert "" not in told


async def test_a_damaged_id_that_nobody_asks_for_ends_the_node_when_it_starts(
    homes: Homes, tmp_path: Path
) -> None:
    """Every page of it is well: the row is only not found any more by what it is called."""
    path, copy = homes.database("MY"), tmp_path / "copy.db"
    with closing(sqlite3.connect(path)) as database:
        ident = database.execute("SELECT alert_id FROM inbox").fetchone()[0].encode()
    raw = path.read_bytes()
    copy.write_bytes(flipped(raw, 8 * raw.index(ident)))
    with closing(sqlite3.connect(copy)) as database:
        assert database.execute("PRAGMA quick_check").fetchone() == ("ok",)
    with pytest.raises(StoreError) as caught:
        async with asyncio.timeout(60):
            await keep_whole(sqlite_url(copy), tables.metadata)
    assert caught.value.code == DAMAGED_CODE


async def test_a_witness_whose_memory_the_disk_changed_cosigns_nothing_and_says_so(
    homes: Homes, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.db"
    copy.write_bytes(homes.database("MY").read_bytes())
    with closing(sqlite3.connect(copy)) as database:
        assert database.execute("UPDATE witnessed SET size = size + 1").rowcount == 1
        database.commit()
    async with lonely_node(homes.region, "MY", copy) as node:
        async with node.database.read() as connection:
            with pytest.raises(StoreError) as caught:
                await seen_of(connection, ORIGIN)
        assert caught.value.code == DAMAGED_CODE
        watch = LogWatch(
            node.present,
            node.database,
            node.link,
            node.identity.witness_seed,
            tmp_path / "log",
            node.gate,
        )
        shown = await watch.shown()
        assert shown is not None
        assert not shown.cosigned_size
        assert DAMAGED_CODE in await alarms_of(node)


async def alarms_of(node: Node) -> set[str]:
    return {alarm.code for alarm in (await node.status()).alarms}


async def test_one_damaged_submission_ends_no_node_and_holds_up_no_other(
    homes: Homes, tmp_path: Path
) -> None:
    path, region = tmp_path / "node.db", homes.region
    asked = request(region, ("VN",))
    async with lonely_node(region, "SG", path) as node:
        await send(node, region, asked)
    with closing(sqlite3.connect(path)) as database:
        document = database.execute("SELECT document FROM submissions").fetchone()[0].encode()
    raw = path.read_bytes()
    bit = 8 * (raw.index(document) + document.index(b'"queued"') + 1)
    path.write_bytes(flipped(raw, bit))
    async with lonely_node(region, "SG", path) as node:
        whole = await send(node, region, request(region, ("MY",)))
        assert await node.outgoing.seal_due() == 1
        assert (await node.submission(whole.submission_id)).state == "submitted"
        assert DAMAGED_CODE in await alarms_of(node)
        shown = (await node.outbox()).items
        assert [each.submission_id for each in shown] == [whole.submission_id]


# --- files ---


@pytest.mark.parametrize("name", ["streams", "erased", "suspensions", "clock", "runs"])
def test_a_bit_of_what_the_hub_keeps_for_itself_is_damaged(tmp_path: Path, name: str) -> None:
    path, now = tmp_path / f"{name}.json", clock.now()
    tmp_path.chmod(0o700)
    read: Callable[[Path], object]
    match name:
        case "streams":
            known = {"AUDIT_2026": Known(created="2026-11-01", last_seq=70)}
            write_memory(path, StreamMemory(streams=known, lost={"AUDIT_2026": 12}))
            read = read_memory
        case "erased":
            note_erased(path, "AUDIT_2026", [3, 70])
            read = read_erased
        case "suspensions":
            write_suspensions(path, Suspensions().suspend("SG", "node stolen", now=now))
            read = read_suspensions
        case "clock":
            believe(path, clock.reading())
            read = read_time
        case _:
            run = boots.Run(boot="0" * 16, low=7, after={"AUDIT_2026": 70})
            write_digested(path, boots._Runs(runs=(run,)))
            read = boots.read_runs
    before, raw = read(path), path.read_bytes()
    order = random.Random(f"{SEED} {name}")  # noqa: S311 - not for a secret
    for bit in order.sample(range(8 * len(raw)), BITS):
        path.write_bytes(flipped(raw, bit))
        with pytest.raises(BrokerError) as caught:
            read(path)
        assert caught.value.code == "damaged", bit
    path.write_bytes(raw)
    assert read(path) == before


def test_a_bit_of_the_signers_memory_is_damaged(homes: Homes, tmp_path: Path) -> None:
    path, raw = tmp_path / "signer.json", (homes.folder / "log/signer.json").read_bytes()
    tmp_path.chmod(0o700)
    order = random.Random(f"{SEED} signer")  # noqa: S311 - not for a secret
    for bit in order.sample(range(8 * len(raw)), BITS):
        path.write_bytes(flipped(raw, bit))
        path.chmod(0o600)
        with pytest.raises(BrokerError) as caught:
            Signer.open(path, ORIGIN, KEYS.sign)
        assert caught.value.code == "signer-damaged", bit


async def test_a_bit_of_a_received_files_chunk_is_told_to_whoever_reads_it(
    homes: Homes, tmp_path: Path
) -> None:
    copy, kept = tmp_path / "copy.db", homes.folder / "nodes/MY/attachments"
    copy.write_bytes(homes.database("MY").read_bytes())
    files = tmp_path / f"{copy.name}-attachments"
    shutil.copytree(kept, files)
    (chunk,) = files.rglob("0-00000")
    raw, order = chunk.read_bytes(), random.Random(f"{SEED} chunk")  # noqa: S311 - not for a secret
    async with lonely_node(homes.region, "MY", copy) as node:
        (item,) = [i for i in (await node.inbox(limit=9)).items if i.attachments]
        whole = await received(node, item.id)
        for bit in order.sample(range(8 * len(raw)), BITS):
            chunk.write_bytes(flipped(raw, bit))
            with pytest.raises(BrokerError) as caught:
                await node.attachment(item.id, 1)  # before the first byte goes to the desk
            assert caught.value.code == "attachment-damaged", bit
            assert "attachment-damaged" in {each.code for each in (await node.status()).alarms}
        chunk.write_bytes(raw)
        assert await received(node, item.id) == whole
