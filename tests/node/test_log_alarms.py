"""What a node raises about the log, and when; and what is no reason for an alarm."""

import shutil
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection
from structlog.testing import capture_logs

from broker import clock
from broker.api.metrics import Metrics
from broker.ledger.commit import Entry
from broker.ledger.state import Number
from broker.log.checkpoint import Checkpoint
from broker.log.commitments import route_of
from broker.log.errors import LogError
from broker.log.leaf import LeafKind
from broker.log.merkle import Frontier, leaf_hash
from broker.log.note import Note
from broker.log.tiles import Tile
from broker.log.witness import WitnessRequest
from broker.node import proofs
from broker.node.ids import new_id
from broker.node.logevidence import MAX_KEPT, LogEvidence
from broker.node.logstate import mark_left_out
from broker.node.mirror import PATIENCE
from broker.node.suspects import MAX_WAITING
from broker.store import tables
from broker.transport.services import MAX_REPORT_BYTES
from tests.audit.bundles import entry
from tests.ledger.growing import ORIGIN, entries
from tests.support.envelopes import decide, delivery, make
from tests.support.nodes import Clock
from tests.support.witnesses import KEYS, WITNESSES, Watched, watching

pytestmark = [pytest.mark.hub, pytest.mark.usefixtures("databases"), pytest.mark.slow]
SECOND = timedelta(seconds=1)


@pytest_asyncio.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    async with watching(tmp_path / "w", Clock()) as found:
        yield found


def pass_time(watched: Watched, by: timedelta) -> None:
    assert watched.at is not None
    watched.at.ahead += by


async def own(watched: Watched) -> tuple[int, int, int]:
    """Of MY's own mail: proved, not yet, not in time."""
    log = await watched.watch("MY").shown()
    assert log is not None
    return log.own_proved, log.own_waiting, log.own_overdue


async def test_what_has_no_proof_after_five_minutes_is_an_alarm_everywhere(
    watched: Watched,
) -> None:
    made = make(watched.region, ("MY",))
    my = watched.nodes["MY"]
    assert await my.incoming.take(delivery(watched.region, made.sealed.raw, "MY"))
    await watched.grow(3)  # none of it about our mail
    await watched.steps()
    pass_time(watched, proofs.PROVEN_WITHIN - 10 * SECOND)
    await watched.watch("MY").prove()
    assert await watched.alarms("MY") == []
    assert await own(watched) == (0, 1, 0)
    pass_time(watched, 20 * SECOND)
    with capture_logs() as logs:
        await watched.watch("MY").prove()
        await watched.watch("MY").prove()  # said once
    said = [(line["event"], line["alarm"]) for line in logs if "alarm" in line]
    assert said == [("log-not-proven", "log-not-proven")]
    status = await my.status()
    assert [(a.code, a.count) for a in status.alarms] == [("log-not-proven", 1)]
    assert status.log is not None
    assert await own(watched) == (0, 0, 1)
    metric = b'kentong_node_alarm{code="log-not-proven"} 1.0'
    assert metric in Metrics().exposition(status, streams=0, now=clock.now())


async def test_a_node_that_was_away_for_a_day_catches_up_and_nobody_is_alarmed(
    tmp_path: Path,
) -> None:
    async with watching(tmp_path / "w", Clock(), codes=WITNESSES) as watched:
        here = [code for code in WITNESSES if code != "VN"]
        directory = entry(0, kind=LeafKind.DIRECTORY, snapshot=watched.region.view.version.hash)
        await watched.grow(of=[Entry(directory, Number("log", 1, 0))])
        await watched.grow(4)
        await watched.steps()
        for _ in range(24):
            pass_time(watched, timedelta(hours=1))
            await watched.grow(30)
            with capture_logs() as logs:
                await watched.cosigning.tick()
                await watched.steps(*here)
                await watched.cosigning.tick()
            assert [line for line in logs if "alarm" in line] == []
        assert watched.watch("VN").mirror.late_since is None
        await watched.steps("VN")
        shown = await watched.watch("VN").shown()
        assert shown is not None
        assert (shown.copied, shown.proven, shown.cosigned_size) == (725, 725, 725)
        for code in WITNESSES:
            assert await watched.alarms(code) == []


async def test_what_may_only_be_late_is_an_alarm_after_fifteen_minutes(watched: Watched) -> None:
    await watched.grow(3)
    await watched.steps()
    await watched.grow(3)
    await watched.rounds()
    files = watched.committer.files
    bundle = files.folder / Tile(None, 0, 6).path
    aside = bundle.rename(bundle.with_name("aside"))
    mirror = watched.watch("VN").mirror

    async def late() -> None:
        with pytest.raises(LogError) as caught:
            await mirror.follow()
        assert caught.value.retry == "later"

    await late()
    pass_time(watched, PATIENCE - SECOND)
    await late()
    assert await watched.alarms("VN") == []
    pass_time(watched, SECOND)
    await late()
    assert await watched.alarms("VN") == ["log-stalled"]
    aside.rename(bundle)
    assert await mirror.follow()
    assert mirror.late_since is None


async def test_a_quorum_of_an_older_set_of_witnesses_is_no_broken_log(watched: Watched) -> None:
    await watched.grow(3)
    await watched.rounds()
    files = watched.committer.files
    raw = files.raw("cosigned")
    assert raw is not None
    signed = watched.policy().check(raw)
    fewer = signed.note.signatures[:-1]  # as if one of the three were a witness no more
    files.publish_note("cosigned", signed.checkpoint.signed(fewer).to_bytes())
    with pytest.raises(LogError) as caught:
        await watched.watch("SG").mirror.follow()
    assert caught.value.code == "quorum-unmet"
    assert await watched.alarms("SG") == []


async def test_a_damaged_copy_is_said_and_written_anew(watched: Watched) -> None:
    await watched.grow(600)
    await watched.steps()
    watch = watched.watch("SG")
    for tile in (Tile(None, 0, 256), Tile(0, 1, 256), Tile(1, 0, 2)):
        path = watch.files.folder / tile.path
        whole = path.read_bytes()
        path.write_bytes(whole[:-40])
        watch.compare_s = 0  # so that every tile is met sooner or later
        for _ in range(40):
            await watch.step()
            if path.read_bytes() == whole:
                break
        assert path.read_bytes() == whole, tile
        await watched.grow()
        await watched.steps()
    assert await watched.alarms("SG") == ["log-copy-damaged"]
    await watch.step()
    assert (await watch.mirror.sizes(ORIGIN)) == (603, 603)


async def test_a_flipped_bit_in_our_own_copy_accuses_nobody(watched: Watched) -> None:
    await watched.grow(300)
    await watched.steps()
    watch = watched.watch("SG")
    path = watch.files.folder / Tile(0, 0, 256).path
    whole = path.read_bytes()
    path.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    upper = watch.files.folder / Tile(1, 0, 1).path
    upper.write_bytes(bytes(32))
    await watch.step()
    assert await watched.alarms("SG") == ["log-copy-damaged"]
    assert path.read_bytes() == whole


async def test_a_copy_that_a_backup_left_out_is_read_again_without_an_alarm(
    watched: Watched,
) -> None:
    await watched.grow(300)
    await watched.steps()
    watch = watched.watch("SG")
    shutil.rmtree(watch.files.folder)
    await watch.database.change(mark_left_out)
    await watched.grow()
    await watch.step()  # reads again what was there, and the next ones go on
    for _ in range(2):
        await watched.steps()
    path = watch.files.folder / Tile(0, 0, 256).path
    whole = path.read_bytes()
    assert await watched.alarms("SG") == []
    assert (await watch.mirror.sizes(ORIGIN)) == (301, 301)
    path.write_bytes(whole[:-40])  # and from then on it is damage again
    watch.compare_s = 0  # so that it is met sooner or later
    for _ in range(40):
        await watch.step()
        if path.read_bytes() == whole:
            break
    assert path.read_bytes() == whole
    assert await watched.alarms("SG") == ["log-copy-damaged"]


async def test_many_that_cannot_be_proved_hinder_no_other(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proofs, "_AT_ONCE", 4)
    region = watched.region
    decisions = [decide(region, make(region, ("MY",), tail=at).sealed.raw) for at in range(11)]
    await watched.grow(11)  # leaves that say nothing of them
    await watched.rounds()
    await watched.steps()
    node = watched.nodes["MY"]

    async def change(connection: AsyncConnection) -> None:
        for number, decision in enumerate(decisions):
            ident = new_id(node.present.now())
            await proofs.expect(connection, ident, decision, sent=True, envelope=b"")
            row = {"about": route_of(decision), "number": number}
            await connection.execute(insert(tables.leaves).values(row))

    await node.database.change(change)
    watch = watched.watch("MY")
    seen = set()
    for _ in range(3):
        await watch.prove()
        seen.add(watch._proved_to)
    assert watch._proved_to == proofs.FIRST
    assert len(seen) == 3  # every one of them had its turn
    (alarm,) = {(a.code, a.count) for a in (await node.status()).alarms}
    assert alarm == ("log-leaf-mismatch", 11)  # one line, however many alerts it is about


async def test_the_first_cosigned_tree_is_held_against_what_a_quorum_cosigned(
    watched: Watched,
) -> None:
    await watched.grow(3)
    await watched.rounds("SG", "MY", "VN")
    tree = Frontier().append(map(leaf_hash, (b"x", b"y", b"z")))
    other = KEYS.sign(Checkpoint(ORIGIN, 3, tree.root()))
    lone = await watched.open_node("TH", watched.folder / "lone")
    watched.nodes["TH"] = lone
    status, _ = await watched.watch("TH").cosigner.answer(WitnessRequest(0, (), other).to_bytes())
    assert status.value == 200  # it was shown another tree than all the others
    with pytest.raises(LogError):
        await watched.watch("TH").mirror.follow()
    assert await watched.alarms("TH") == ["log-broken"]


def test_many_harmless_refusals_leave_room_for_the_others(tmp_path: Path) -> None:
    evidence = LogEvidence(tmp_path / "node" / "evidence")
    (tmp_path / "node").mkdir(mode=0o700)
    for number in range(MAX_KEPT + 3):
        evidence.keep("log-refused", b"%d" % number)
    assert len(evidence.kept("log-refused")) == MAX_KEPT
    assert evidence.keep("log-fork", b"two trees").read_bytes() == b"two trees"
    assert evidence.kept("log-fork") == [b"two trees"]


async def test_evidence_that_finds_no_room_is_an_alarm_and_room_made_is_used(
    watched: Watched,
) -> None:
    await watched.grow(4)
    await watched.steps()
    cosigner = watched.watch("SG").cosigner
    for number in range(MAX_KEPT):
        cosigner.evidence.keep("log-refused", b"%d" % number)
    await watched.steps("SG")
    assert await watched.alarms("SG") == []
    tree = Frontier().append(leaf_hash(each.raw) for each in entries(0, 3))
    asked = WitnessRequest(0, (), KEYS.sign(Checkpoint(ORIGIN, 3, tree.root()))).to_bytes()
    assert (await cosigner.answer(asked))[0].value == 409
    for _ in range(2):
        await watched.steps("SG")
    (alarm,) = (await watched.nodes["SG"].status()).alarms
    assert (alarm.code, alarm.count) == ("evidence-not-kept", 1)
    assert alarm.detail == str(cosigner.evidence.folder)
    next(cosigner.evidence.folder.iterdir()).unlink()
    await cosigner.answer(asked)
    assert asked in cosigner.evidence.kept("log-refused")
    await watched.steps("SG")
    assert (await watched.nodes["SG"].status()).alarms == (alarm,)


@pytest.mark.parametrize("old", [0, 2, 9])
async def test_what_the_log_signed_and_we_refused_is_kept_and_told_to_the_others(
    watched: Watched, old: int
) -> None:
    await watched.grow(4)
    await watched.steps()
    tree = Frontier().append(leaf_hash(b"other %d" % at) for at in range(3))
    asked = WitnessRequest(old, (), KEYS.sign(Checkpoint(ORIGIN, 3, tree.root()))).to_bytes()
    status, _ = await watched.watch("SG").cosigner.answer(asked)
    assert status.value == (400 if old > 3 else 409)
    await watched.steps("SG")  # it holds it against its copy, and tells the hub
    assert "log-fork" in await watched.alarms("SG")
    await watched.steps("VN")  # the others hear of it and hold it against theirs
    assert await watched.alarms("VN") == ["log-fork"]
    (alarm,) = (await watched.nodes["VN"].status()).alarms
    assert watched.watch("VN").cosigner.evidence.kept("log-fork") == [asked]
    assert alarm.detail
    await watched.restart_log()
    await watched.steps("SG")  # the hub has forgotten, the witness has not
    assert watched.cosigning.standings.reports == [asked]


async def test_what_others_report_pushes_out_nothing_that_we_refused_ourselves(
    watched: Watched,
) -> None:
    await watched.grow(3)
    await watched.steps()
    tree = Frontier().append(leaf_hash(b"other %d" % at) for at in range(7))
    asked = WitnessRequest(3, (), KEYS.sign(Checkpoint(ORIGIN, 7, tree.root()))).to_bytes()
    assert (await watched.watch("SG").cosigner.answer(asked))[0].value == 422
    await watched.steps("SG")  # it tells the hub
    standings = watched.cosigning.standings
    for size in range(100, 100 + MAX_WAITING):  # as by one who stole one of the log's keys
        whole = KEYS.sign(Checkpoint(ORIGIN, size, bytes(32)))
        note = Note(whole.text, whole.signatures[:1])
        standings.report(b"MY", WitnessRequest(0, (), note).to_bytes())
    for _ in range(2):
        await watched.steps("SG")
    assert await watched.alarms("SG") == ["log-inconsistent"]
    await watched.grow(4)
    await watched.steps("SG")  # its copy has seven leaves now
    assert "log-fork" in await watched.alarms("SG")
    assert watched.watch("SG").cosigner.evidence.kept("log-fork") == [asked]


async def test_a_request_that_was_only_overtaken_alarms_nobody(watched: Watched) -> None:
    await watched.grow(4)
    await watched.steps()
    tree = Frontier().append(leaf_hash(each.raw) for each in entries(0, 3))
    asked = WitnessRequest(0, (), KEYS.sign(Checkpoint(ORIGIN, 3, tree.root()))).to_bytes()
    status, body = await watched.watch("SG").cosigner.answer(asked)
    assert (status.value, body) == (409, b"4\n")
    await watched.steps()
    for code in watched.nodes:
        assert await watched.alarms(code) == []
    assert watched.cosigning.standings.wrong is None
    assert watched.watch("SG").cosigner.evidence.kept("log-refused") == [asked]


@pytest.mark.parametrize("how", ["one signature is rubbish", "malformed", "padded"])
async def test_a_second_tree_is_told_to_all_however_its_request_was_spoiled(
    watched: Watched, how: str
) -> None:
    await watched.grow(4)
    await watched.steps()
    tree = Frontier().append(leaf_hash(b"other %d" % at) for at in range(3))
    asked = WitnessRequest(4, (), KEYS.sign(Checkpoint(ORIGIN, 3, tree.root()))).to_bytes()
    if how == "malformed":
        asked = asked.replace(b"old 4", b"old 04")
    if how == "padded":
        asked += b"x" * MAX_REPORT_BYTES
    if how == "one signature is rubbish":
        asked = asked[:-9] + (b"A" if asked[-9:-8] != b"A" else b"B") + asked[-8:]
    status, _ = await watched.watch("SG").cosigner.answer(asked)
    assert status.value == (403 if how == "one signature is rubbish" else 400)
    await watched.steps("SG")
    assert "log-fork" in await watched.alarms("SG")
    assert asked in watched.watch("SG").cosigner.evidence.kept("log-fork")
    await watched.steps("VN")
    assert await watched.alarms("VN") == ["log-fork"]
    stops = watched.cosigning.standings.wrong
    assert (stops is not None) is (how != "one signature is rubbish")  # one key stops nobody's log
