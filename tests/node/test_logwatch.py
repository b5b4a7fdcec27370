"""The node as witness, with a real hub between it and a real log."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from broker.ledger.cosigning import Cosigning
from broker.ledger.errors import LedgerError
from broker.log.checkpoint import Checkpoint, parse_checkpoint
from broker.log.errors import LogError
from broker.log.merkle import Frontier, consistency_proof, leaf_hash
from broker.log.note import parse_note
from broker.log.tiles import Tile, encode_bundle, lookup_in
from broker.log.witness import WitnessRequest
from tests.ledger.growing import ORIGIN, entries
from tests.support.nodes import Clock
from tests.support.witnesses import KEYS, NODES, Watched, watching

pytestmark = pytest.mark.usefixtures("databases")


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    async with watching(tmp_path) as found:
        yield found


async def test_a_quorum_of_nodes_cosigns_and_each_copies_what_was_cosigned(
    watched: Watched,
) -> None:
    files = watched.committer.files
    await watched.grow(300)
    await watched.rounds("SG", "MY")
    assert files.raw("cosigned") is None  # three of four are a quorum, two are not
    await watched.rounds("VN")
    note = files.raw("cosigned")
    assert note is not None
    assert await watched.watch("MY").mirror.follow()
    assert await watched.watch("MY").mirror.sizes(ORIGIN) == (300, 300)
    first = parse_checkpoint(parse_note(note).text)
    await watched.grow(40)
    await watched.rounds(*NODES)
    assert await watched.watch("MY").mirror.follow()
    shown = await watched.watch("MY").shown()
    assert shown is not None
    assert (shown.first_size, shown.first_root) == (300, first.root.hex())  # on first use
    assert (shown.copied, shown.proven, shown.cosigned_size) == (340, 340, 340)
    assert shown.cosigned_by == ("MY", "SG", "VN")
    assert not await watched.watch("MY").mirror.follow()


async def test_two_trees_of_one_size_are_never_both_cosigned(watched: Watched) -> None:
    await watched.committer.grow(0, entries(0, 3), {})
    await watched.rounds("SG")
    other = Frontier().append(map(leaf_hash, (b"x", b"y", b"z")))
    note = KEYS.sign(Checkpoint(ORIGIN, 3, other.root()))
    status, _ = await watched.watch("SG").cosigner.answer(WitnessRequest(3, (), note).to_bytes())
    assert status.value == 422
    (alarm,) = (await watched.nodes["SG"].status()).alarms
    assert alarm.code == "log-inconsistent"
    assert note.to_bytes() in await asyncio.to_thread(Path(alarm.detail).read_bytes)


async def test_a_witness_whose_clock_went_back_signs_nothing(tmp_path: Path) -> None:
    at = Clock()
    async with watching(tmp_path, at) as watched:
        await watched.committer.grow(0, entries(0, 3), {})
        await watched.rounds("SG")
        await watched.committer.grow(3, entries(3, 1), {})
        at.ahead = timedelta(hours=-1)
        await watched.rounds("SG")
        assert (await watched.watch("SG").shown()).cosigned_size == 3  # type: ignore[union-attr]
        at.ahead = timedelta(0)
        await watched.rounds("SG")
        assert (await watched.watch("SG").shown()).cosigned_size == 4  # type: ignore[union-attr]


async def test_a_witness_that_knows_its_clock_is_wrong_signs_nothing(watched: Watched) -> None:
    await watched.committer.grow(0, entries(0, 3), {})
    watched.nodes["SG"].present.skew = timedelta(minutes=10)
    await watched.rounds("SG")
    assert (await watched.watch("SG").shown()).cosigned_size == 0  # type: ignore[union-attr]
    watched.nodes["SG"].present.skew = timedelta(0)
    await watched.rounds("SG")
    assert (await watched.watch("SG").shown()).cosigned_size == 3  # type: ignore[union-attr]


async def test_a_log_put_back_from_a_backup_is_not_grown(watched: Watched) -> None:
    await watched.committer.grow(0, entries(0, 5), {})
    await watched.rounds("SG", "MY")
    again = Cosigning(watched.committer.files, watched.cosigning.policy, round_s=0)
    assert not again.standings.compare(5)  # nobody showed anything yet
    for code in ("SG", "MY"):
        note = watched.cosigning.standings.latest[code.encode()]
        assert note is not None
        again.standings.show(code.encode(), note.note.to_bytes())
    assert again.standings.compare(5)  # four less a quorum of three, and one more
    with pytest.raises(LedgerError) as caught:
        again.standings.compare(4)
    assert caught.value.code == "witness-ahead"
    with pytest.raises(LogError):
        again.standings.show(b"VN", again.standings.latest[b"SG"].note.to_bytes())  # type: ignore[union-attr]


async def test_a_copy_refuses_leaves_that_were_not_signed(watched: Watched) -> None:
    files = watched.committer.files
    await watched.committer.grow(0, entries(0, 10), {})
    await watched.rounds(*NODES)
    bundle = files.folder / "tile" / "entries" / "000.p" / "10"
    raw = bundle.read_bytes()
    bundle.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    mirror = watched.watch("SG").mirror
    with pytest.raises(LogError):
        await mirror.follow()
    assert await mirror.sizes(ORIGIN) == (0, 0)
    assert [a.code for a in (await watched.nodes["SG"].status()).alarms] == ["log-broken"]
    bundle.write_bytes(raw)
    assert await mirror.follow()


@pytest.mark.parametrize("change", ["rewritten", "torn", "gone"])
async def test_a_past_that_changes_on_the_hubs_disk_is_noticed_while_nothing_grows(
    watched: Watched, change: str
) -> None:
    await watched.committer.grow(0, entries(0, 9), {})
    await watched.rounds(*NODES)
    mirror = watched.watch("VN").mirror
    assert await mirror.follow()
    await mirror.compare()
    assert not (await watched.nodes["VN"].status()).alarms
    files = watched.committer.files
    path = files.folder / Tile(None, 0, 9).path
    rewritten = (b"another", *files.read(Tile(None, 0, 9))[1:])
    if change == "gone":
        path.unlink()
    else:
        path.write_bytes(encode_bundle(rewritten) if change == "rewritten" else b"\0")
    with pytest.raises(LogError):
        await mirror.compare()
    (alarm,) = (await watched.nodes["VN"].status()).alarms
    assert alarm.code == "log-broken"
    assert mirror.files.read(Tile(None, 0, 9)) == tuple(e.raw for e in entries(0, 9))


async def test_a_step_compares_at_once_and_then_only_when_it_is_time(watched: Watched) -> None:
    await watched.committer.grow(0, entries(0, 9), {})
    await watched.rounds(*NODES)
    watch = watched.watch("VN")
    await watch.step()
    (watched.committer.files.folder / Tile(None, 0, 9).path).write_bytes(b"")
    await watch.step()  # ten minutes have not gone by
    watch.compare_s = 0
    with pytest.raises(LogError):
        await watch.step()


async def test_of_two_requests_at_once_one_is_cosigned_and_the_other_sees_the_new_size(
    watched: Watched,
) -> None:
    await watched.grow(3)
    await watched.rounds("SG")
    asked = []
    for count in (2, 4):  # both extend what was seen, and neither is ahead of the other in time
        await watched.grow(count)
        size = watched.size
        lookup = lookup_in(watched.committer.files.read, size)
        note = parse_note(watched.committer.files.checkpoint() or b"")
        asked.append(WitnessRequest(3, consistency_proof(3, size, lookup), note).to_bytes())
    cosigner = watched.watch("SG").cosigner
    answers = await asyncio.gather(*(cosigner.answer(each) for each in asked * 3))
    won = [status.value for status, _ in answers].count(200)
    assert won == 1
    shown = await watched.watch("SG").shown()
    assert shown is not None
    bodies = {body for status, body in answers if status.value == 409}
    assert bodies == {f"{shown.cosigned_size}\n".encode()}
    assert shown.cosigned_size in {5, 9}


async def test_two_first_requests_at_once_are_not_both_trusted(watched: Watched) -> None:
    trees = [Frontier().append([leaf_hash(b"tree %d" % at)]) for at in range(4)]
    asked = [
        WitnessRequest(0, (), KEYS.sign(Checkpoint(ORIGIN, 1, tree.root()))).to_bytes()
        for tree in trees
    ]
    cosigner = watched.watch("SG").cosigner
    answers = await asyncio.gather(*(cosigner.answer(each) for each in asked))
    assert [status.value for status, _ in answers].count(200) == 1
