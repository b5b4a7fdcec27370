"""What is queued while it may go is sealed by the same commit, and queued even if it cannot be."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest
import pytest_asyncio
from sqlalchemy import func, select

from broker import clock
from broker.node.node import Node
from broker.store.tables import outbox
from schemas.desk import Submission, SubmissionState
from schemas.directory import MemberDocument, RevocationReason
from tests.support.hub import RunningHub, running_hub
from tests.support.nodes import request, running_node, send
from tests.support.region import make_region

pytestmark = pytest.mark.hub
BOUND_S = 30.0


@pytest_asyncio.fixture
async def hub(tmp_path: Path) -> AsyncIterator[RunningHub]:
    async with running_hub(make_region(("SG", "MY"), now=clock.now()), tmp_path / "hub") as running:
        yield running


async def until_sealed(node: Node, ident: UUID) -> None:
    """Return once the task that seals has done its work, and so is there."""
    async with asyncio.timeout(BOUND_S):
        async for shown in node.watch(ident):
            if shown.state is SubmissionState.SUBMITTED:
                return


async def sent_to_my(node: Node, hub: RunningHub) -> Submission:
    return await send(node, hub.region, request(hub.region, ("MY",)))


async def test_what_may_go_is_sealed_by_the_commit_that_queues_it(
    hub: RunningHub, tmp_path: Path
) -> None:
    async with running_node(hub, "SG", tmp_path) as sg:
        await until_sealed(sg, (await sent_to_my(sg, hub)).submission_id)
        told = await sent_to_my(sg, hub)
        assert told.state is SubmissionState.QUEUED  # what a desk is told, as ever
        kept = await sg.submission(told.submission_id)
        assert (kept.state, kept.revision) == (SubmissionState.SUBMITTED, told.revision + 1)
        async with sg.database.read() as connection:
            rows = await connection.execute(select(func.count()).select_from(outbox))
            assert rows.scalar_one() == 2


async def test_what_cannot_be_sealed_is_queued_all_the_same(
    hub: RunningHub, tmp_path: Path
) -> None:
    def document(old: MemberDocument) -> MemberDocument:
        gone = {"revoked_at": hub.region.now, "reason": RevocationReason.SUPERSEDED}
        keys = tuple(key.model_copy(update=gone) for key in old.verification_keys)
        return old.model_copy(update={"verification_keys": keys})

    async with running_node(hub, "SG", tmp_path) as sg:
        await until_sealed(sg, (await sent_to_my(sg, hub)).submission_id)
        sg.present.take(hub.region.changed("SG", document=document))
        told = await sent_to_my(sg, hub)
        kept = await sg.submission(told.submission_id)
        assert (kept.state, kept.revision) == (SubmissionState.QUEUED, told.revision)
        sg.present.take(hub.region.view)
        sg.changes.happened()
        await until_sealed(sg, told.submission_id)
