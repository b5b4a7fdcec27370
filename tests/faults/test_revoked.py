"""A recipient that may receive no more, at each moment between a desk's click and the decision."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import pytest_asyncio

from broker import clock
from broker.gateway.directory import DirectoryInForce
from broker.node.node import Node
from keys.directory.view import DirectoryView
from schemas.desk import RecipientOutcome, RecipientState, Submission, SubmissionState
from schemas.directory import MemberDocument, Revocation, RevocationReason
from tests.support.gateway import Source, running_gateway
from tests.support.hub import RunningHub, running_hub
from tests.support.nodes import opened_node, request, running_node, send, until_over
from tests.support.region import TestRegion, make_region

pytestmark = [pytest.mark.hub, pytest.mark.timeout(300)]


@dataclass
class Stage:
    """SG, whose tasks the test starts, MY at work; VN is the member that falls away."""

    region: TestRegion
    hub: RunningHub
    source: Source
    directory: DirectoryInForce
    sg: Node
    my: Node

    def hub_learns(self, view: DirectoryView) -> None:
        self.source.current = view
        self.directory.reread()

    async def queue(self) -> Submission:
        return await send(self.sg, self.region, request(self.region, ("MY", "VN")))


@pytest_asyncio.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    region = make_region(("SG", "MY", "VN"), now=clock.now())
    source = Source(region.view)
    directory = DirectoryInForce.read(source)
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub(region, tmp_path / "hub"))
        await stack.enter_async_context(running_gateway(hub, directory=directory))
        sg = await stack.enter_async_context(opened_node(hub, "SG", tmp_path))
        my = await stack.enter_async_context(running_node(hub, "MY", tmp_path))
        yield Stage(region, hub, source, directory, sg, my)


def suspended(region: TestRegion) -> DirectoryView:
    """VN as two other members suspended it."""
    entry = Revocation(member="VN", at=clock.now(), reason=RevocationReason.SUSPENDED)
    return region.changed("VN", revocations=(entry,))


def revoked(region: TestRegion) -> DirectoryView:
    """VN after it revoked every key that one could seal to."""

    def without_keys(document: MemberDocument) -> MemberDocument:
        gone = {"revoked_at": clock.now(), "reason": RevocationReason.COMPROMISED}
        keys = tuple(key.model_copy(update=gone) for key in document.encryption_keys)
        return document.model_copy(update={"encryption_keys": keys})

    return region.changed("VN", document=without_keys)


def removed(region: TestRegion) -> DirectoryView:
    """The region without VN."""
    view = suspended(region)
    left = {code: member for code, member in view.member_views.items() if code != "VN"}
    return replace(view, member_views=left)


CASES = {
    # how VN falls away: (the node's code, the gateway's)
    "suspended": (suspended, "member-suspended", "member-suspended"),
    "revoked": (revoked, "no-encryption-key", "stale-key"),
    "removed": (removed, "unknown-member", "unknown-member"),
}


async def when(node: Node, submission: Submission, state: SubmissionState) -> Submission:
    """The submission once it is in `state`; the test's time limit ends the wait."""
    while True:
        ticket = node.changes.ticket()
        shown = await node.submission(submission.submission_id)
        if shown.state is state:
            return shown
        await ticket.wait()


def of(submission: Submission, code: str) -> RecipientOutcome:
    return next(each for each in submission.recipients if each.recipient == code)


def told(outcome: RecipientOutcome) -> tuple[RecipientState, str, str]:
    return outcome.state, outcome.code, outcome.refused_by


@pytest.mark.parametrize("case", CASES)
async def test_between_queueing_and_sealing_a_person_decides_and_the_others_receive(
    stage: Stage, case: str
) -> None:
    falls_away, code, _ = CASES[case]
    submission = await stage.queue()
    view = falls_away(stage.region)
    stage.sg.present.take(view)
    stage.hub_learns(view)
    async with stage.sg.running():
        stopped = await when(stage.sg, submission, SubmissionState.NEEDS_ATTENTION)
        assert stopped.attention == code
        assert told(of(stopped, "VN")) == (RecipientState.QUEUED, code, "")
        assert told(of(stopped, "MY")) == (RecipientState.QUEUED, "", "")
        assert (await stage.my.status()).inbox == 0
        await stage.sg.proceed(submission.submission_id)
        last = await until_over(stage.sg, submission.submission_id)
        assert last.state is SubmissionState.DECIDED
        assert told(of(last, "VN")) == (RecipientState.REFUSED, code, "node")
        assert of(last, "MY").state is RecipientState.DELIVERED
        assert (await stage.my.status()).inbox == 1


@pytest.mark.parametrize("case", ["suspended", "removed"])
async def test_between_sealing_and_deciding_the_gateway_refuses_that_copy_alone(
    stage: Stage, case: str
) -> None:
    falls_away, _, code = CASES[case]
    submission = await stage.queue()
    assert await stage.sg.outgoing.seal_due() == 1
    stage.hub_learns(falls_away(stage.region))
    async with stage.sg.running():
        last = await until_over(stage.sg, submission.submission_id)
        assert told(of(last, "VN")) == (RecipientState.REFUSED, code, "gateway")
        assert of(last, "VN").decided_at is not None
        assert of(last, "MY").state is RecipientState.DELIVERED
        assert (await stage.my.status()).inbox == 1


async def test_a_key_revoked_after_sealing_is_not_sealed_to_again(stage: Stage) -> None:
    """The gateway asks to seal again; that waits for the directory which says why."""
    submission = await stage.queue()
    assert await stage.sg.outgoing.seal_due() == 1
    view = revoked(stage.region)
    stage.hub_learns(view)
    async with stage.sg.running():
        waiting = await when(stage.sg, submission, SubmissionState.QUEUED)
        assert (waiting.waiting_for, waiting.id is not None) == ("sealing-again", True)
        assert of(waiting, "MY").state.accepted
        stage.sg.present.take(view)
        stage.sg.changes.happened()
        stopped = await when(stage.sg, submission, SubmissionState.NEEDS_ATTENTION)
        assert told(of(stopped, "VN")) == (RecipientState.QUEUED, "no-encryption-key", "")
        await stage.sg.proceed(submission.submission_id)
        last = await until_over(stage.sg, submission.submission_id)
        assert told(of(last, "VN")) == (RecipientState.REFUSED, "no-encryption-key", "node")
        assert of(last, "MY").state is RecipientState.DELIVERED
        assert (await stage.my.status()).inbox == 1
