"""Mail under a key stolen since is opened on the log's word alone: that it was decided before."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from broker.envelope.decision import encode_delivery
from broker.envelope.submitted import deliver, parse_submitted
from broker.ledger.commit import Entry
from broker.ledger.state import Number
from broker.log.commitments import statement_of
from broker.log.leaf import LeafKind, Statement
from broker.node.erasure import destroy
from broker.node.held import SAID_AFTER, WAITS
from broker.node.node import Node
from broker.store.tilefiles import older_name
from broker.transport.errors import Unreachable
from keys.directory.view import DirectoryView
from schemas.decision import Decision
from schemas.directory import (
    HubDocument,
    MemberDocument,
    OfficersDocument,
    Revocation,
    RevocationReason,
)
from tests.audit.bundles import entry
from tests.support.envelopes import decide, make
from tests.support.nodes import Clock
from tests.support.region import TestRegion
from tests.support.witnesses import Watched, watching

pytestmark = pytest.mark.hub
MINUTE = timedelta(minutes=1)
STOLEN_AFTER, LATER = 10 * MINUTE, 20 * MINUTE


@dataclass
class Stage:
    """MY's node, and an alert from SG whose key will be said to be stolen."""

    watched: Watched
    decision: Decision
    raw: bytes
    at: Clock

    @property
    def region(self) -> TestRegion:
        return self.watched.region

    @property
    def my(self) -> Node:
        return self.watched.nodes["MY"]

    def pass_time(self, by: timedelta) -> None:
        self.at.ahead += by

    def leaf(self, change: Callable[[Statement], Statement] = lambda each: each) -> Entry:
        seq = self.watched.size
        statement = change(statement_of(self.decision, boot=1, seq=seq))
        signed = statement.sign(self.region.gateway_sign_key).found_at(bytes(16), seq)
        return Entry(signed.to_bytes(), Number("gw-test", 1, seq))

    async def log(self, *leaves: Entry, witnesses: tuple[str, ...] = ("SG", "MY", "VN")) -> None:
        """Let the log grow, and these members cosign it now."""
        await self.watched.grow(of=leaves)
        await self.watched.rounds(*witnesses)

    async def steal(self, view: DirectoryView | None = None) -> None:
        """The revocation is known, and the mail arrives after it, twice."""
        self.my.present.take(view or node_key(self.region))
        for _ in range(2):
            assert await self.my.incoming.take(self.raw)

    async def step(self) -> None:
        await self.watched.steps("MY")

    async def outcome(self) -> tuple[int, int]:
        status = await self.my.status()
        return status.inbox, status.quarantined


@pytest_asyncio.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    at = Clock()
    async with watching(tmp_path / "w", at) as watched:
        region = watched.region
        sealed = make(region, ("MY",)).sealed.raw
        decision = decide(region, sealed)
        raw = encode_delivery(deliver(parse_submitted(sealed), "MY"), decision, "MY")
        yield Stage(watched, decision, raw, at)


def gone(region: TestRegion) -> dict[str, object]:
    return {"revoked_at": region.now + STOLEN_AFTER, "reason": RevocationReason.COMPROMISED}


def node_key(region: TestRegion) -> DirectoryView:
    def document(old: MemberDocument) -> MemberDocument:
        keys = tuple(key.model_copy(update=gone(region)) for key in old.verification_keys)
        return old.model_copy(update={"verification_keys": keys})

    return region.changed("SG", document=document)


def officer(region: TestRegion) -> DirectoryView:
    def officers(old: OfficersDocument) -> OfficersDocument:
        left = tuple(each.model_copy(update=gone(region)) for each in old.officers)
        return old.model_copy(update={"officers": left})

    return region.changed("SG", officers=officers)


def gateway(region: TestRegion) -> DirectoryView:
    hub: HubDocument = region.view.hub
    keys = tuple(key.model_copy(update=gone(region)) for key in hub.gateway_keys)
    return replace(region.view, hub=hub.model_copy(update={"gateway_keys": keys}))


@pytest.mark.parametrize("stolen", [node_key, officer, gateway])
async def test_what_the_log_had_before_the_theft_is_opened_with_its_warning(
    stage: Stage, stolen: Callable[[TestRegion], DirectoryView]
) -> None:
    await stage.log(stage.leaf())
    stage.pass_time(LATER)
    await stage.log(entry_of_directory(stage))
    await stage.steal(stolen(stage.region))
    assert await stage.outcome() == (0, 0)
    await stage.step()
    assert await stage.outcome() == (1, 0)
    (item,) = (await stage.my.inbox()).items
    code = "officer-revoked-since" if stolen is officer else "key-revoked-since"
    assert code in item.warnings
    assert await stage.my.outgoing.submit_due() == 1  # that it was delivered
    assert await stage.my.incoming.take(stage.raw)
    await stage.step()
    assert await stage.outcome() == (1, 0)
    assert not await stage.watched.alarms("MY")


def entry_of_directory(stage: Stage) -> Entry:
    seq = stage.watched.size
    raw = entry(seq, kind=LeafKind.DIRECTORY, snapshot=stage.region.view.version.hash)
    return Entry(raw, Number("log", 1, seq))


async def test_what_the_log_got_after_the_theft_is_set_aside_and_its_sender_told(
    stage: Stage,
) -> None:
    await stage.log(entry_of_directory(stage))
    stage.pass_time(STOLEN_AFTER)
    await stage.log(stage.leaf())
    await stage.steal()
    await stage.step()
    assert await stage.outcome() == (0, 1)
    assert await stage.watched.alarms("MY") == ["quarantined-key-revoked-since"]
    assert await stage.my.outgoing.submit_due() == 1  # that it was rejected, and why


async def test_what_has_no_leaf_waits_only_while_an_early_one_may_still_come(
    stage: Stage,
) -> None:
    await stage.log(entry_of_directory(stage))
    await stage.steal()
    await stage.step()
    assert await stage.outcome() == (0, 0)  # the log was last cosigned before the revocation
    assert not await stage.watched.alarms("MY")
    stage.pass_time(SAID_AFTER)
    await stage.step()
    assert await stage.outcome() == (0, 0)
    assert WAITS in await stage.watched.alarms("MY")
    stage.pass_time(STOLEN_AFTER)
    await stage.log(entry_of_directory(stage))
    await stage.step()
    assert await stage.outcome() == (0, 1)


@pytest.mark.parametrize(
    "change",
    [
        lambda said: replace(said, c_body=bytes(32)),
        lambda said: replace(said, time_s=said.time_s - 60),
        lambda said: replace(said, gateway="gw-other"),
    ],
    ids=["body", "time", "gateway"],
)
async def test_a_leaf_that_says_something_else_proves_nothing(
    stage: Stage, change: Callable[[Statement], Statement]
) -> None:
    await stage.log(stage.leaf(change))
    stage.pass_time(LATER)
    await stage.log(entry_of_directory(stage))
    await stage.steal()
    await stage.step()
    assert await stage.outcome() == (0, 1)


async def test_a_leaf_that_no_gateway_signed_proves_nothing(stage: Stage) -> None:
    whole = stage.leaf()
    flipped = whole.raw[:-30] + bytes([whole.raw[-30] ^ 1]) + whole.raw[-29:]
    await stage.log(replace(whole, raw=flipped))
    stage.pass_time(LATER)
    await stage.log(entry_of_directory(stage))
    await stage.steal()
    await stage.step()
    assert await stage.outcome() == (0, 1)


async def test_two_of_four_witnesses_in_time_prove_nothing(stage: Stage) -> None:
    await stage.log(stage.leaf(), witnesses=("SG", "MY"))
    stage.pass_time(LATER)
    await stage.watched.rounds("VN")  # the third says so, but after the revocation
    await stage.log(entry_of_directory(stage))
    await stage.steal()
    await stage.step()
    assert await stage.outcome() == (0, 1)


async def test_an_older_checkpoint_of_another_tree_proves_nothing(stage: Stage) -> None:
    await stage.log(entry_of_directory(stage))
    early = stage.watched.committer.files.raw("cosigned")
    assert early is not None
    stage.pass_time(STOLEN_AFTER)
    await stage.log(stage.leaf())
    for size in (2, 3):  # under names that say it covers the leaf
        stage.watched.committer.files.publish_note(older_name(size), early)
    await stage.steal()
    await stage.step()
    assert await stage.outcome() == (0, 1)


async def test_nothing_proves_the_past_of_a_member_that_is_in_other_hands(stage: Stage) -> None:
    await stage.log(stage.leaf())
    stage.pass_time(LATER)
    await stage.log(entry_of_directory(stage))
    whole = Revocation(
        member="SG", at=stage.region.now + STOLEN_AFTER, reason=RevocationReason.LOST
    )
    await stage.steal(
        replace(stage.region, view=node_key(stage.region)).changed("SG", revocations=(whole,))
    )
    await stage.step()
    assert await stage.outcome() == (0, 1)


async def test_a_hub_that_does_not_answer_leaves_it_held(stage: Stage) -> None:
    await stage.log(stage.leaf())
    stage.pass_time(LATER)
    await stage.log(entry_of_directory(stage))
    await stage.step()
    await stage.steal()
    await stage.watched.served.aclose()
    with pytest.raises(Unreachable):
        await stage.step()
    held = stage.watched.watch("MY").held
    assert held is not None
    await held.settle()
    assert held.waiting == 1
    assert await stage.outcome() == (0, 0)
    await stage.watched.restart_log()
    await held.settle()
    assert held.waiting == 0
    assert await stage.outcome() == (1, 0)


async def test_the_last_checkpoint_before_a_directory_is_kept(stage: Stage) -> None:
    files = stage.watched.committer.files
    for leaf in (stage.leaf, stage.leaf, stage.leaf, lambda: entry_of_directory(stage)):
        await stage.log(leaf())
        stage.pass_time(MINUTE)
    kept = [size for size in range(1, 5) if files.raw(older_name(size)) is not None]
    assert kept == [1, 3]  # the first of an hour, and the last before the directory
    (over,) = {files.oldest_over(number) for number in (1, 2)}
    assert over == files.raw(older_name(3))
    assert files.oldest_over(3) == files.raw("cosigned")


async def test_what_is_held_is_erased_with_everything_else(stage: Stage) -> None:
    await stage.log(entry_of_directory(stage))
    await stage.steal()
    ident = stage.decision.header.id
    assert ident is not None
    assert await destroy(stage.my.database, ident) == 1
    stage.pass_time(LATER)
    await stage.log(entry_of_directory(stage))
    await stage.step()
    assert await stage.outcome() == (0, 0)
