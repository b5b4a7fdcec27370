"""A newer directory counts once the log proves it; what it takes away bites before."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from broker.ledger.commit import Entry
from broker.ledger.state import Number
from broker.log.checkpoint import parse_checkpoint
from broker.log.leaf import LeafKind
from broker.log.note import parse_note
from broker.node.directorygate import DEFAULT_WAIT, PROVEN_WITHIN, UNPROVEN, DirectoryGate
from broker.node.present import SPLIT_GRACE
from keys.directory.bundle import Bundle
from keys.directory.client import DirectoryCopy
from keys.directory.restricting import restricted
from keys.directory.view import DirectoryView
from keys.errors import DirectoryError
from keys.kid import kid_of
from keys.primitives.signing import SignKey
from schemas.directory import (
    MemberDocument,
    Officer,
    OfficerRole,
    OfficersDocument,
    Revocation,
    RevocationReason,
    VerificationKey,
    WitnessSet,
)
from tests.audit.bundles import entry
from tests.support.directory import found
from tests.support.envelopes import delivery, make
from tests.support.nodes import Clock
from tests.support.region import NOW, YEAR, TestRegion, make_region
from tests.support.witnesses import WITNESSES, Watched, watching

pytestmark = [pytest.mark.hub, pytest.mark.usefixtures("databases")]
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
BUNDLE = Bundle.of(roots=[b"-"], timestamp=b"", snapshot=b"", targets=b"", roles={}, files={})
NEW_KEY, NEW_OFFICER = SignKey.generate(), SignKey.generate()


def copy_of(view: DirectoryView) -> DirectoryCopy:
    return DirectoryCopy(view, BUNDLE)


@dataclass
class Stage:
    """MY's node, whose directory the log has proved."""

    watched: Watched
    gate: DirectoryGate

    @property
    def region(self) -> TestRegion:
        return self.watched.region

    @property
    def view(self) -> DirectoryView:
        return self.gate.present.view

    async def log(self, *of: DirectoryView, quorum: bool = True) -> None:
        """Let the log speak of these directories, and the members cosign it."""
        first = self.watched.size
        leaves = [
            Entry(
                entry(seq, kind=LeafKind.DIRECTORY, snapshot=view.version.hash),
                Number("log", 1, seq),
            )
            for seq, view in enumerate(of, start=first)
        ]
        await self.watched.grow(of=leaves)
        if quorum:
            await self.look()

    async def look(self) -> None:
        await self.watched.rounds()
        await self.watched.watch("MY").mirror.follow()
        await self.gate.settle()

    def pass_time(self, by: timedelta) -> None:
        assert self.watched.at is not None
        self.watched.at.ahead += by

    def jump(self, by: timedelta) -> None:
        assert self.watched.at is not None
        self.watched.at.jumped += by

    async def alarmed(self) -> bool:
        return UNPROVEN in await self.watched.alarms("MY")


@pytest_asyncio.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    async with watching(tmp_path / "w", Clock()) as found:
        yield found


@pytest_asyncio.fixture
async def stage(watched: Watched) -> Stage:
    found = Stage(watched, watched.nodes["MY"].gate)
    await found.log(watched.region.view)
    return found


def changed(view: DirectoryView, region: TestRegion) -> DirectoryView:
    """The next version: SG revokes the key it has, and certifies a new key and an officer."""

    def document(old: MemberDocument) -> MemberDocument:
        gone = {"revoked_at": region.now, "reason": RevocationReason.SUPERSEDED}
        keys = tuple(key.model_copy(update=gone) for key in old.verification_keys)
        new = VerificationKey(
            key=NEW_KEY.public.raw, not_before=region.now - YEAR, not_after=region.now + YEAR
        )
        return old.model_copy(update={"verification_keys": (*keys, new)})

    def officers(old: OfficersDocument) -> OfficersDocument:
        new = Officer(
            id="SG-NEW",
            key=NEW_OFFICER.public.raw,
            roles=(OfficerRole.OFFICER,),
            not_before=region.now - YEAR,
            not_after=region.now + YEAR,
        )
        return old.model_copy(update={"officers": (*old.officers, new)})

    return replace(region, view=view).changed("SG", document=document, officers=officers)


def ended(view: DirectoryView, region: TestRegion) -> bool:
    """Whether SG's key of before is refused."""
    standing = view.verification_standing("SG", region.members["SG"].kid)
    return not standing.holds(at=region.now + SECOND)


def grants(view: DirectoryView) -> bool:
    """Whether SG's new key and officer count."""
    sg = view.member("SG")
    found = {kid_of(NEW_KEY.public.raw) in sg.verification}
    found.add(kid_of(NEW_OFFICER.public.raw) in sg.certified)
    (both,) = found
    return both


async def test_what_ends_ends_at_once_and_what_is_new_waits_for_the_log(stage: Stage) -> None:
    newer = changed(stage.view, stage.region)
    await stage.gate.offer(copy_of(newer))
    assert stage.view.version == stage.region.view.version
    assert ended(stage.view, stage.region)
    assert not grants(stage.view)
    await stage.log(newer, quorum=False)  # signed by the log alone
    await stage.gate.settle()
    assert not grants(stage.view)
    await stage.look()
    assert stage.view.version == newer.version
    assert grants(stage.view)
    assert stage.gate.present.candidate is None
    assert not await stage.alarmed()


async def test_the_same_directory_again_is_fresh_for_longer(stage: Stage) -> None:
    later = replace(stage.view, fresh_until=stage.view.fresh_until + MINUTE)
    await stage.gate.offer(copy_of(later))
    assert stage.view.fresh_until == later.fresh_until


async def test_a_log_that_speaks_of_no_directory_is_said_after_five_minutes(
    watched: Watched,
) -> None:
    stage = Stage(watched, watched.nodes["MY"].gate)
    await watched.grow(2)
    newer = changed(stage.view, stage.region)
    await stage.gate.offer(copy_of(newer))
    assert stage.view.version == newer.version
    await stage.look()
    stage.pass_time(PROVEN_WITHIN - SECOND)
    await stage.look()
    assert not await stage.alarmed()
    stage.pass_time(SECOND)
    await stage.look()
    assert await stage.alarmed()


async def test_a_hub_that_hides_the_proof_is_alarmed_of_and_stops_the_sealing_in_an_hour(
    stage: Stage,
) -> None:
    newer = changed(stage.view, stage.region)
    newer = replace(newer, fresh_until=newer.fresh_until + 10 * DEFAULT_WAIT)
    await stage.gate.offer(copy_of(newer))
    stage.pass_time(PROVEN_WITHIN)
    await stage.gate.settle()
    assert await stage.alarmed()
    for _ in range(9):  # while a quorum stands behind the log, nothing is taken without a proof
        stage.pass_time(10 * MINUTE)
        await stage.watched.grow()
        await stage.look()
    assert stage.view.version == stage.region.view.version
    assert not grants(stage.view)
    assert ended(stage.view, stage.region)
    assert stage.gate.present.hindrance() == "directory-expired"
    (alarm,) = (await stage.watched.nodes["MY"].status()).alarms
    assert alarm.count == 1


async def test_a_quorum_that_is_gone_freezes_nothing_for_more_than_an_hour(stage: Stage) -> None:
    newer = changed(stage.view, stage.region)
    fewer = WitnessSet(since=stage.region.now, members=("MY", "SG", "VN"))
    newer = replace(newer, witness_sets=(*newer.witness_sets, fewer))
    await stage.gate.offer(copy_of(newer))
    stage.pass_time(DEFAULT_WAIT - SECOND)
    await stage.gate.settle()
    assert stage.view.witness_sets == stage.region.view.witness_sets
    stage.pass_time(SECOND)
    await stage.gate.settle()
    assert stage.view.version == newer.version  # the new witnesses with it
    assert await stage.alarmed()
    stage.pass_time(2 * SPLIT_GRACE)
    await stage.gate.settle()
    assert stage.gate.present.split_since is None  # it is known why the log does not speak of it
    again = DirectoryGate(stage.gate.present, stage.gate.database, None)  # after a restart
    await again.settle()
    assert stage.gate.present.split_since is None


async def test_a_clock_that_jumps_takes_nothing_without_a_proof(stage: Stage) -> None:
    await stage.gate.offer(copy_of(changed(stage.view, stage.region)))
    stage.pass_time(PROVEN_WITHIN - SECOND)
    stage.jump(2 * DEFAULT_WAIT)
    await stage.gate.settle()
    assert not await stage.alarmed()
    assert stage.view.version == stage.region.view.version
    stage.pass_time(DEFAULT_WAIT)
    await stage.gate.settle()
    assert stage.view.version != stage.region.view.version


async def test_a_clock_that_is_ahead_takes_no_quorum_for_gone(stage: Stage) -> None:
    await stage.gate.offer(copy_of(changed(stage.view, stage.region)))
    for _ in range(7):
        stage.pass_time(10 * MINUTE)
        await stage.watched.grow()
        await stage.look()
    stage.jump(2 * DEFAULT_WAIT)
    await stage.gate.settle()
    assert stage.view.version == stage.region.view.version
    assert stage.gate.present.hindrance() == "directory-expired"


async def test_a_clock_that_was_ahead_for_a_moment_lengthens_nothing(stage: Stage) -> None:
    newer = changed(stage.view, stage.region)
    await stage.gate.offer(copy_of(replace(newer, fresh_until=newer.fresh_until + DEFAULT_WAIT)))
    before = stage.view.fresh_until
    for jump in (2 * DEFAULT_WAIT, -2 * DEFAULT_WAIT):
        stage.jump(jump)
        await stage.gate.settle()
        assert stage.view.fresh_until == before


async def test_a_clock_that_is_set_back_keeps_no_alarm_quiet(stage: Stage) -> None:
    await stage.gate.offer(copy_of(changed(stage.view, stage.region)))
    stage.jump(-2 * DEFAULT_WAIT)
    stage.pass_time(PROVEN_WITHIN - SECOND)
    await stage.gate.settle()
    assert not await stage.alarmed()
    stage.pass_time(SECOND)
    await stage.gate.settle()
    assert await stage.alarmed()


async def test_one_witness_that_states_a_time_without_end_neither_ends_nor_holds_anything(
    tmp_path: Path,
) -> None:
    async with watching(tmp_path / "w", Clock(), codes=WITNESSES) as watched:
        stage = Stage(watched, watched.nodes["MY"].gate)
        await stage.log(watched.region.view, quorum=False)
        await watched.rounds("SG", "MY", "TH")
        note = parse_note(watched.committer.files.checkpoint() or b"")
        signer = watched.watch("VN").cosigner.signer()
        line = signer.cosign(parse_checkpoint(note.text), time_s=2**62)
        watched.cosigning.standings.show(b"VN", b"")
        await watched.cosigning.submit(b"VN", b"200 " + line.to_text().encode())
        await watched.watch("MY").mirror.follow()
        shown = (await watched.nodes["MY"].status()).log
        assert shown is not None
        assert "VN" in shown.cosigned_by
        assert shown.witnessed_at >= datetime(9999, 12, 31, tzinfo=UTC)
        newer = changed(stage.view, stage.region)
        await stage.gate.offer(copy_of(newer))
        stage.pass_time(DEFAULT_WAIT)
        await stage.gate.settle()
        assert stage.view.version == newer.version  # as if it had stated nothing


async def test_by_a_setting_nothing_is_ever_taken_without_a_proof(stage: Stage) -> None:
    stage.gate.wait = timedelta(0)
    await stage.gate.offer(copy_of(changed(stage.view, stage.region)))
    stage.pass_time(100 * DEFAULT_WAIT)
    await stage.gate.settle()
    assert stage.view.version == stage.region.view.version


async def test_what_is_older_than_the_newest_leaf_is_not_taken(stage: Stage) -> None:
    first = changed(stage.view, stage.region)
    second = replace(stage.region, view=first).changed("TH")
    await stage.log(first, second)
    await stage.gate.offer(copy_of(first))
    assert stage.view.version == stage.region.view.version
    await stage.gate.offer(copy_of(second))
    assert stage.view.version == second.version


async def test_a_hub_that_shows_an_older_directory_than_the_log_stops_the_sealing(
    stage: Stage,
) -> None:
    newer = changed(stage.view, stage.region)
    await stage.log(newer)
    await stage.gate.offer(copy_of(stage.view))
    stage.pass_time(SPLIT_GRACE + SECOND)
    await stage.look()
    assert stage.gate.present.hindrance() == "directory-split"
    assert await stage.alarmed()
    await stage.gate.offer(copy_of(newer))
    assert stage.gate.present.split_since is None
    assert stage.view.version == newer.version


async def test_mail_under_a_key_that_is_not_proved_yet_waits_and_is_not_refused(
    stage: Stage,
) -> None:
    region = stage.region
    newer = changed(stage.view, region)
    members = {**region.members, "SG": replace(region.members["SG"], sign_key=NEW_KEY)}
    later = replace(region, view=newer, members=members)
    raw = delivery(later, make(later, ("MY",)).sealed.raw, "MY")
    my = stage.watched.nodes["MY"]
    await stage.gate.offer(copy_of(newer))
    assert not await my.incoming.take(raw)
    await stage.log(newer)
    assert await my.incoming.take(raw)
    assert len((await my.inbox()).items) == 1
    assert not (await my.status()).quarantined


async def test_a_decision_under_the_candidate_is_no_split(stage: Stage) -> None:
    newer = changed(stage.view, stage.region)
    await stage.gate.offer(copy_of(newer))
    present = stage.gate.present
    assert present.meet(newer.version) == ""
    assert present.split_since is None
    other = newer.version.model_copy(update={"hash": bytes(32)})
    assert present.meet(other) == "directory-split"


async def test_a_node_that_starts_again_begins_with_what_was_proved(tmp_path: Path) -> None:
    region = found(tmp_path / "region")
    client = region.client("MY/node/directory")
    assert client.load_proven() is None
    first = await client.refresh(region.fetch, now=NOW)
    client.keep_proven(first.bundle)
    named = region.document("SG").model_copy(update={"names": {"en": "another"}})
    region.put_own(named, NOW)
    newest = await client.refresh(region.fetch, now=NOW)
    kept, proven = client.load(), client.load_proven()
    assert kept is not None
    assert proven is not None
    assert (kept.view.version, proven.view.version) == (newest.view.version, first.view.version)
    assert proven.view.version != newest.view.version
    path = client.folder / "proven.json"
    path.write_bytes(path.read_bytes().replace(b"SG", b"SX"))
    with pytest.raises(DirectoryError):
        client.load_proven()


def test_nothing_is_granted_by_a_restriction() -> None:

    region = make_region(WITNESSES)
    at = region.now + SECOND
    suspended = region.changed(
        "SG",
        revocations=(
            Revocation(member="SG", kid=None, at=region.now, reason=RevocationReason.SUSPENDED),
        ),
    )
    until = region.view.fresh_until
    bitten = restricted(region.view, suspended, fresh_until=until)
    with pytest.raises(DirectoryError) as caught:
        bitten.verification_key("SG", region.members["SG"].kid, at=at)
    assert caught.value.code == "member-suspended"
    lifted = restricted(suspended, region.view, fresh_until=until)
    with pytest.raises(DirectoryError):
        lifted.verification_key("SG", region.members["SG"].kid, at=at)
    revoked = changed(region.view, region)
    unrevoked = restricted(revoked, region.view, fresh_until=until)
    assert ended(unrevoked, region)
    assert bitten.version == region.view.version
    stolen = tuple(
        key.model_copy(update={"revoked_at": region.now, "reason": RevocationReason.COMPROMISED})
        for key in region.view.hub.gateway_keys
    )
    hub = region.view.hub.model_copy(update={"gateway_keys": stolen})
    gateway = restricted(region.view, replace(region.view, hub=hub), fresh_until=until)
    with pytest.raises(DirectoryError):
        gateway.gateway_key(region.gateway_kid, at=region.now - MINUTE)
