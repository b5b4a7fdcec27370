"""Cosignatures as the hub collects them: when it says that they are missing, and what stops it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from structlog.testing import capture_logs
from typing_extensions import override

from broker.ledger.commit import Committer
from broker.ledger.cosigning import AGAIN, Cosigning
from broker.ledger.errors import LedgerError
from broker.ledger.place import LogKeys
from broker.ledger.quorum import UNMET, signer_there
from broker.ledger.signer_socket import SignerClient
from broker.ledger.standings import MAX_REPORTED_BYTES, MAX_REPORTS
from broker.log.checkpoint import Checkpoint, parse_checkpoint
from broker.log.errors import LogError
from broker.log.merkle import Frontier, leaf_hash
from broker.log.note import Note
from broker.log.notekeys import SignatureType
from broker.log.notesigner import NoteSigner
from broker.log.policy import Group, KnownLog, Policy, Witness
from broker.log.witness import WitnessRequest, parse_request
from broker.store.witnessed import UNMET_SINCE, WitnessedAt
from broker.transport.services import TELL_LATEST
from schemas import canonical
from tests.ledger.growing import ORIGIN, a_log, entries

KEYS = LogKeys.of(ORIGIN, bytes(32), bytes(31) + b"x")
NAMES = ("MY", "SG", "TH", "VN")
SIGNERS = {
    name: NoteSigner(name, SignatureType.COSIGNATURE_MLDSA44, bytes(31) + name[:1].encode())
    for name in NAMES
}
MINUTE = timedelta(minutes=1)


class Hands:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.at = datetime(2026, 11, 15, 8, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at


def policy(names: Sequence[str] = NAMES, quorum: int = 3) -> Policy:
    witnesses = tuple(Witness(n.encode(), SIGNERS[n].vkey) for n in names)
    group = Group(b"region", quorum, tuple(n.encode() for n in names))
    return Policy(tuple(KnownLog(key) for key in KEYS.vkeys), witnesses, (group,), b"region")


NOBODY = Policy(tuple(KnownLog(key) for key in KEYS.vkeys), (), (), None)


@dataclass
class Stage:
    committer: Committer
    clock: Hands
    cosigning: Cosigning
    size: int = 0

    def again(self) -> Cosigning:
        """The process after a restart."""
        return Cosigning(self.committer.files, policy, now=self.clock)

    async def grow(self, count: int = 1) -> None:
        await self.committer.grow(self.size, entries(self.size, count), {})
        self.size += count

    async def cosign(self, *names: str, at: Cosigning | None = None) -> None:
        at = at or self.cosigning
        for name in names:
            at.standings.show(name.encode(), b"")
            asked = parse_request(await at.next(name.encode(), b"0\n"))
            checkpoint = parse_checkpoint(asked.note.text)
            line = SIGNERS[name].cosign(checkpoint, time_s=int(self.clock.at.timestamp()))
            await at.submit(name.encode(), b"200 " + line.to_text().encode())

    async def said(self, at: Cosigning | None = None) -> list[str]:
        """How loud it says that the quorum is missing, in one turn of the watch."""
        with capture_logs() as logs:
            await (at or self.cosigning).tick()
        return [line["log_level"] for line in logs if line["event"] == UNMET]

    def signed(self, checkpoint: Checkpoint, name: str) -> bytes:
        line = SIGNERS[name].cosign(checkpoint, time_s=int(self.clock.at.timestamp()))
        return KEYS.sign(checkpoint).signed_also((line,)).to_bytes()


@pytest_asyncio.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    clock = Hands()
    async with a_log(tmp_path, sign=KEYS.sign, vkeys=KEYS.vkeys) as committer:
        yield Stage(committer, clock, Cosigning(committer.files, policy, now=clock))


def another(size: int) -> Checkpoint:
    tree = Frontier().append(leaf_hash(b"other %d" % number) for number in range(size))
    return Checkpoint(ORIGIN, size, tree.root())


async def test_a_missing_quorum_is_warned_of_after_a_minute_and_alarmed_after_fifteen(
    stage: Stage,
) -> None:
    await stage.grow()
    assert await stage.said() == []  # no node ever asks; the round begins all the same
    stage.clock.at += MINUTE - timedelta(seconds=1)
    assert await stage.said() == []
    stage.clock.at += timedelta(seconds=1)
    assert await stage.said() == ["warning"]
    assert await stage.said() == []  # once a minute
    stage.clock.at += 13 * MINUTE
    await stage.grow()  # traffic goes on
    assert await stage.said() == ["warning"]
    stage.clock.at += MINUTE
    assert await stage.said() == ["error"]
    again = stage.again()
    stage.clock.at += MINUTE
    assert await stage.said(again) == ["error"]  # a restart forgets nothing
    await stage.cosign("SG", "MY", "VN", at=again)
    stage.clock.at += MINUTE
    assert await stage.said(again) == []


async def test_a_clock_that_is_set_back_silences_no_missing_quorum(stage: Stage) -> None:
    await stage.grow()
    assert await stage.said() == []  # the round begins
    stage.clock.at += 20 * MINUTE
    assert await stage.said() == ["error"]
    stage.clock.at -= 3 * MINUTE
    assert await stage.said() == ["error"]
    assert await stage.said() == []


class Passing(Hands):
    """A clock by which five seconds pass between two looks at it."""

    def __init__(self) -> None:
        super().__init__()
        self.passed, self.until = asyncio.Event(), self.at

    @override
    def __call__(self) -> datetime:
        self.at += timedelta(seconds=5)
        if self.at >= self.until:
            self.passed.set()
        return self.at


async def waits_for_its_signer(at: Cosigning, folder: Path, seconds: int) -> list[tuple[str, int]]:
    """What a log says that is begun without a signer and killed so many seconds later."""
    clock = at.now
    assert isinstance(clock, Passing)
    clock.passed.clear()
    clock.until = clock.at + timedelta(seconds=seconds)
    with capture_logs() as logs:
        nobody = SignerClient(folder / "nobody")
        waiting = asyncio.get_running_loop().create_task(signer_there(nobody, at.quorum, poll_s=0))
        async with asyncio.timeout(20):
            await clock.passed.wait()
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting
    said = [line for line in logs if line["event"] == UNMET]
    assert {line["error_code"] for line in said} <= {"signer-down"}
    assert all(("alarm" in line) is (line["log_level"] == "error") for line in said)
    return [(line["log_level"], line["delay_s"]) for line in said]


async def test_a_log_whose_signer_stays_down_warns_after_a_minute_and_alarms_after_fifteen(
    stage: Stage, tmp_path: Path
) -> None:
    stage.clock = Passing()
    said = await waits_for_its_signer(stage.again(), tmp_path, 20 * 60)
    warned = [delay_s for level, delay_s in said if level == "warning"]
    alarmed = [delay_s for level, delay_s in said if level == "error"]
    assert 60 <= warned[0] < 90
    assert max(warned) < 15 * 60 <= alarmed[0] < 16 * 60 + 30
    assert 10 <= len(warned) <= 14  # once a minute


async def test_the_time_without_a_quorum_outlives_restarts_and_ends_with_one(
    stage: Stage, tmp_path: Path
) -> None:
    """Else a log that is started again and again would never raise its alarm."""
    kept = WitnessedAt(stage.committer.files.folder, UNMET_SINCE)
    stage.clock = Passing()
    await waits_for_its_signer(stage.again(), tmp_path, 30)
    began = kept.read()
    assert began is not None
    levels = []
    for _ in range(60):  # each of them lives for half a minute
        levels += [level for level, _ in await waits_for_its_signer(stage.again(), tmp_path, 30)]
    assert kept.read() == began
    assert "error" in levels
    assert "error" not in levels[: len(levels) // 3]
    again = stage.again()
    await signer_there(stage.committer.signer, again.quorum)  # it is up
    await again.tick()
    assert kept.read() is None  # nothing is there that anybody could cosign
    await stage.grow()
    await again.tick()
    assert kept.read() is not None
    await stage.cosign("SG", "MY", "VN", at=again)
    assert kept.read() is None
    assert stage.again().quorum.unmet_since is None


async def test_a_region_without_witnesses_forgets_that_its_signer_was_down(
    stage: Stage, tmp_path: Path
) -> None:
    stage.clock = Passing()
    alone = Cosigning(stage.committer.files, lambda: NOBODY, now=stage.clock)
    assert await waits_for_its_signer(alone, tmp_path, 120)
    await stage.grow()
    await alone.tick()
    assert alone.quorum.unmet_since is None
    folder = stage.committer.files.folder
    assert WitnessedAt(folder, UNMET_SINCE).read() is None
    assert WitnessedAt(folder).read() is None  # gateways would refuse after two days


async def test_cosignatures_are_asked_for_again_though_nothing_grows(stage: Stage) -> None:
    await stage.grow()
    await stage.cosign("SG", "MY", "VN")
    stage.clock.at += AGAIN - timedelta(seconds=1)
    assert await stage.said() == []
    stage.clock.at += timedelta(seconds=1)
    assert await stage.said() == []  # a round is due now
    stage.clock.at += MINUTE
    assert await stage.said() == ["warning"]


async def test_a_region_without_witnesses_misses_none(stage: Stage) -> None:
    alone = Cosigning(stage.committer.files, lambda: NOBODY, now=stage.clock)
    await stage.grow()
    await alone.tick()
    stage.clock.at += 60 * MINUTE
    assert await stage.said(alone) == []
    assert WitnessedAt(stage.committer.files.folder).read() is None


async def test_gateways_read_when_the_quorum_was_last_there(stage: Stage) -> None:
    noted = WitnessedAt(stage.committer.files.folder)
    await stage.cosigning.tick()
    assert noted.read() is None  # nothing to witness yet
    await stage.grow()
    await stage.cosigning.tick()
    began = stage.clock.at
    assert noted.read() == began
    stage.clock.at += 60 * MINUTE
    await stage.cosigning.tick()
    assert noted.read() == began
    await stage.cosign("SG", "MY", "VN")
    assert noted.read() == stage.clock.at


async def test_the_end_of_the_process_puts_the_newest_tree_to_the_witnesses(stage: Stage) -> None:
    await stage.grow()
    await stage.cosign("SG", "MY", "VN")
    await stage.grow()  # seconds after the last round
    assert not await stage.cosigning.last_round(within_s=0)
    async with asyncio.TaskGroup() as group:
        done = group.create_task(stage.cosigning.last_round(within_s=20))
        group.create_task(stage.cosign("SG", "MY", "VN"))
    assert done.result()
    raw = stage.committer.files.raw("cosigned")
    assert raw is not None
    assert policy().check(raw).checkpoint.size == 2


@pytest.mark.parametrize(("size", "code"), [(3, "witness-ahead"), (2, "fork"), (1, "fork")])
async def test_the_log_stops_at_a_signed_tree_that_is_not_its_own_whenever_it_shows(
    stage: Stage, size: int, code: str
) -> None:
    await stage.grow(2)
    await stage.cosign("SG", "MY", "VN")
    await stage.cosigning.tick()
    stage.cosigning.standings.show(b"TH", stage.signed(another(size), "TH"))
    with pytest.raises(LedgerError) as caught:
        await stage.cosigning.tick()
    assert caught.value.code == code
    async with asyncio.timeout(20):
        with pytest.raises(LedgerError):
            await stage.cosigning.watch_quorum()


async def test_what_a_witness_refused_stops_the_log_too_and_the_others_hear(stage: Stage) -> None:
    await stage.grow(2)
    standings = stage.cosigning.standings
    harmless = WitnessRequest(0, (), KEYS.sign(parse_checkpoint_of(stage)))
    for _ in range(2):
        standings.report(b"SG", harmless.to_bytes())
    await stage.cosigning.tick()
    forked = WitnessRequest(0, (), KEYS.sign(another(2))).to_bytes()
    standings.report(b"MY", forked)
    with pytest.raises(LedgerError):
        await stage.cosigning.tick()
    assert standings.reported(b"VN", b"1\n") == forked
    assert standings.reported(b"VN", b"2\n") == b""
    for body in (b"", b"x", b"-1\n"):
        with pytest.raises(LogError):
            standings.reported(b"VN", body)
    unsigned = WitnessRequest(
        0, (), another(2).signed((SIGNERS["SG"].cosign(another(2), time_s=1),))
    )
    with pytest.raises(LogError):
        standings.report(b"SG", unsigned.to_bytes())


def under_one_key(checkpoint: Checkpoint) -> Note:
    """As by somebody who stole one of the log's keys: it stops nothing, but others must hear."""
    return checkpoint.signed((KEYS.ed25519.sign(checkpoint.to_text()),))


async def test_no_member_s_reports_take_the_room_of_another_s(stage: Stage) -> None:
    count = MAX_REPORTS + 3
    await stage.grow(count)
    standings, tree = stage.cosigning.standings, Frontier()
    for each in entries(0, count):  # all of it public, and the log's own
        tree = tree.append((leaf_hash(each.raw),))
        note = KEYS.sign(Checkpoint(ORIGIN, tree.size, tree.root()))
        standings.report(b"MY", WitnessRequest(0, (), note).to_bytes())
    assert len(standings.reports) == MAX_REPORTS
    forked = WitnessRequest(0, (), under_one_key(another(2))).to_bytes()
    standings.report(b"SG", forked)
    assert standings.reported(b"VN", b"%d\n" % MAX_REPORTS) == forked
    assert standings.wrong is None


async def test_one_member_s_reports_have_a_bound_in_bytes(stage: Stage) -> None:
    await stage.grow(3)
    standings, tree = stage.cosigning.standings, Frontier()
    for each in entries(0, 3):
        tree = tree.append((leaf_hash(each.raw),))
        long = ("x" * 400_000,)
        note = under_one_key(Checkpoint(ORIGIN, tree.size, tree.root(), long))
        standings.report(b"MY", WitnessRequest(0, (), note).to_bytes())
    assert 0 < sum(map(len, standings.reports)) <= MAX_REPORTED_BYTES
    assert len(standings.reports) == 2


async def test_a_tree_is_told_of_once_and_again_under_more_signatures(stage: Stage) -> None:
    await stage.grow(2)
    standings = stage.cosigning.standings
    first = WitnessRequest(0, (), under_one_key(another(2))).to_bytes()
    for old in (0, 1, 2):
        standings.report(b"MY", WitnessRequest(old, (), under_one_key(another(2))).to_bytes())
    for number in range(3):
        varied = replace(another(2), extensions=(str(number),))
        standings.report(b"MY", WitnessRequest(0, (), under_one_key(varied)).to_bytes())
    assert standings.reports == [first]
    assert standings.wrong is None
    whole = WitnessRequest(0, (), KEYS.sign(another(2))).to_bytes()
    standings.report(b"MY", whole)
    assert standings.reports == [first, whole]
    assert standings.wrong is not None


def parse_checkpoint_of(stage: Stage) -> Checkpoint:
    raw = stage.committer.files.checkpoint()
    assert raw is not None
    return policy().verify_log(raw).checkpoint


async def test_a_number_alone_stops_nothing(stage: Stage) -> None:
    await stage.grow(2)
    await stage.cosign("SG")
    assert await stage.cosigning.next(b"SG", b"99\n") == TELL_LATEST
    await stage.cosigning.tick()


async def test_who_never_cosigned_counts_only_while_there_is_nothing_to_cosign(
    stage: Stage,
) -> None:
    for name in NAMES:
        stage.cosigning.standings.show(name.encode(), b"")
    assert stage.cosigning.standings.compare(0)
    await stage.grow(2)
    assert not stage.cosigning.standings.compare(2)
    await stage.cosign("SG", "MY")
    assert stage.cosigning.standings.compare(2)


async def test_a_witness_that_lost_its_memory_gets_what_the_others_cosigned(stage: Stage) -> None:
    await stage.grow(2)
    await stage.cosign("SG", "MY")
    stage.cosigning.standings.show(b"TH", b"")
    found = canonical.decode(stage.cosigning.standings.others(b"TH", b""), max_bytes=10**6)
    assert isinstance(found, dict)
    notes = found["cosigned"]
    assert isinstance(notes, list)
    names = [set(policy().verify_log(note).cosigned) for note in notes if isinstance(note, bytes)]
    assert names == [{b"SG"}, {b"MY"}]
