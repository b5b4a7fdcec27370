"""What waits for a person, or was never sealed, is past its time like everything else.

The node here never reaches a hub, so that its own clock is all that it has, besides what was
signed and a clock that nobody sets.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker import clock
from broker.carry.done import Done
from broker.carry.leaving import write_for_hub
from broker.node import submissions
from broker.node.changes import wait_for_change
from broker.node.erasure import destroy
from broker.node.errors import NodeError
from broker.node.node import Node
from broker.node.present import MAX_SKEW
from broker.store.tables import drafts, outbox
from broker.store.tables import submissions as table
from keys.directory.layout import TIMESTAMP_LASTS
from schemas.desk import DraftRequest, RecipientState, SendingState, Submission, SubmissionState
from schemas.label import DirectoryVersion, Retention
from tests.support.attachments import a_file, handed
from tests.support.nodes import Clock, lonely_node, request, send, sign
from tests.support.region import TestRegion, make_region

KEPT_FOR = timedelta(days=2)
MINUTE = timedelta(minutes=1)
BOUND_S = 30.0


@dataclass
class Times:
    """The clock that a person may set, and the one that only counts."""

    own: Clock = field(default_factory=Clock)
    counted: timedelta = timedelta(0)

    def of(self, node: Node) -> None:
        node.present.now = self.own
        node.upkeep.passed.steady = self.seconds

    def seconds(self) -> float:
        return self.counted.total_seconds()

    def go_by(self, so_long: timedelta) -> None:
        self.own.ahead += so_long
        self.counted += so_long


@dataclass
class Place:
    region: TestRegion
    folder: Path
    times: Times
    node: Node

    def asked(self, delete_by: datetime, **changes: object) -> DraftRequest:
        kept = Retention(review_by=delete_by, delete_by=delete_by)
        expires = delete_by - timedelta(seconds=1)
        return request(self.region, ("MY",), expires=expires, retention=kept, **changes)

    async def queued(self, **changes: object) -> Submission:
        asked = self.asked(clock.now() + KEPT_FOR, **changes)
        return await send(self.node, self.region, asked)

    async def blob(self, submission: Submission) -> bytes:
        async with self.node.database.read() as connection:
            found = select(table.c.sealed).where(table.c.id == str(submission.submission_id))
            return bytes((await connection.execute(found)).scalar_one())

    def on_the_disk(self, blob: bytes) -> bool:
        assert len(blob) > 200
        files = [path.read_bytes() for path in self.folder.iterdir() if path.is_file()]
        return any(blob[100:164] in raw for raw in files)


@pytest_asyncio.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    region, times = make_region(("SG", "MY"), now=clock.now()), Times()
    async with lonely_node(region, "SG", tmp_path / "sg.db") as node:
        times.of(node)
        await node.upkeep.forget()  # counts from here on, as it does from the start of a process
        yield Place(region, tmp_path, times, node)


async def needs_attention(node: Node, submission: Submission) -> None:
    async def change(connection: AsyncConnection) -> None:
        asks = {"state": SubmissionState.NEEDS_ATTENTION, "attention": "policy-import-forbid"}
        known = await submissions.find(connection, submission.submission_id)
        await submissions.save(connection, known.model_copy(update=asks))

    await node.database.change(change)


@pytest.mark.parametrize("attention", [False, True], ids=["queued", "needs-attention"])
async def test_its_bytes_are_gone_from_every_file_and_it_says_so(
    place: Place, *, attention: bool
) -> None:
    node = place.node
    submission, other = await place.queued(), await place.queued()
    if attention:
        await needs_attention(node, submission)
        await needs_attention(node, other)
    blobs = [await place.blob(submission), await place.blob(other)]
    place.times.go_by(KEPT_FOR - MINUTE - TIMESTAMP_LASTS)
    await node.upkeep.forget()
    assert all(place.on_the_disk(blob) for blob in blobs)
    place.times.go_by(TIMESTAMP_LASTS + 2 * MINUTE)
    await node.upkeep.forget()
    assert not any(place.on_the_disk(blob) for blob in blobs)
    gone = await node.submission(submission.submission_id)
    assert (gone.state, gone.attention, gone.waiting_for) == (SubmissionState.DECIDED, "", "")
    (outcome,) = gone.recipients
    assert (outcome.state, outcome.code) == (RecipientState.REFUSED, "retention-over")
    revision = gone.revision
    await node.upkeep.forget()
    assert (await node.submission(submission.submission_id)).revision == revision
    with pytest.raises(NodeError):
        await node.proceed(submission.submission_id)


async def test_a_submission_that_the_disk_changed_goes_like_all_others(place: Place) -> None:
    damaged, other = await place.queued(), await place.queued()
    blobs = [await place.blob(damaged), await place.blob(other)]
    mine = table.c.id == str(damaged.submission_id)
    spoiled = update(table).where(mine).values(document="{")
    await place.node.database.change(lambda connection: connection.execute(spoiled))
    place.times.go_by(KEPT_FOR + MINUTE)
    await place.node.upkeep.forget()
    assert not any(place.on_the_disk(blob) for blob in blobs)
    (outcome,) = (await place.node.submission(other.submission_id)).recipients
    assert (outcome.state, outcome.code) == (RecipientState.REFUSED, "retention-over")


async def test_a_node_at_work_without_a_link_does_it_by_itself(place: Place) -> None:
    submission = await place.queued()
    blob = await place.blob(submission)
    place.times.go_by(KEPT_FOR + MINUTE)
    async with place.node.running():
        last = [each async for each in place.node.watch(submission.submission_id)][-1]
        assert last.recipients[0].code == "retention-over"
        async with asyncio.timeout(BOUND_S):
            while True:
                ticket = place.node.changes.ticket()
                if not place.on_the_disk(blob):
                    break
                await wait_for_change(ticket, 1.0)


async def test_a_clock_that_was_set_destroys_nothing_whichever_way(place: Place) -> None:
    submission = await place.queued()
    place.times.own.ahead = 10 * KEPT_FOR  # set ahead; nothing else says that so much time went by
    await place.node.upkeep.forget()
    assert await place.blob(submission)
    place.times.own.ahead = -MAX_SKEW - 2 * MINUTE  # behind what the hub has signed
    place.times.counted = KEPT_FOR + TIMESTAMP_LASTS
    await place.node.upkeep.forget()
    assert await place.blob(submission)
    place.times.own.ahead = place.times.counted
    await place.node.upkeep.forget()
    assert not await place.blob(submission)


async def test_a_newer_directory_says_how_late_it_is_after_the_machine_was_off(
    place: Place, tmp_path: Path
) -> None:
    submission = await place.queued()
    place.times.own.ahead = KEPT_FOR + MINUTE  # off meanwhile: nothing has counted
    await place.node.upkeep.forget()
    assert await place.blob(submission)
    later = clock.now() + place.times.own.ahead
    newer = DirectoryVersion(root=1, snapshot=2, hash=bytes(32))
    place.node.present.take(
        replace(place.region.view, version=newer, fresh_until=later + TIMESTAMP_LASTS)
    )
    place.times.counted += TIMESTAMP_LASTS
    place.times.own.ahead += TIMESTAMP_LASTS
    left = await write_for_hub(
        place.node, Done(tmp_path / "carry"), tmp_path / "to-hub.carry", lambda *_: None
    )
    assert (left.envelopes, left.queued) == (0, 0)
    assert not await place.blob(submission)


async def test_what_was_counted_is_known_after_a_restart(tmp_path: Path) -> None:
    region, own = make_region(("SG", "MY"), now=clock.now()), Clock()
    first, second = Times(own), Times(own)
    async with lonely_node(region, "SG", tmp_path / "sg.db") as node:
        first.of(node)
        await node.upkeep.forget()
        submission = await Place(region, tmp_path, first, node).queued()
        first.go_by(KEPT_FOR - 2 * MINUTE)
        await node.upkeep.forget()
        counted = node.upkeep.passed.at_least()
    async with lonely_node(region, "SG", tmp_path / "sg.db") as node:
        second.of(node)
        place = Place(region, tmp_path, second, node)
        await node.upkeep.forget()
        known = node.upkeep.passed.at_least()
        assert counted is not None
        assert known is not None
        assert abs(counted - known) < MINUTE
        assert await place.blob(submission)
        second.go_by(4 * MINUTE)
        await node.upkeep.forget()
        assert not await place.blob(submission)


async def test_files_that_were_handed_over_with_it_go_too(place: Place) -> None:
    file = await handed(place.node, a_file(2))
    submission = await place.queued(attachments=(file,))
    await needs_attention(place.node, submission)
    out = place.folder / "sg.db-attachments" / "out"
    assert [path for path in out.rglob("*") if path.is_file()]
    place.times.go_by(KEPT_FOR + MINUTE)
    await place.node.upkeep.forget()
    assert [path for path in out.rglob("*") if path.is_file()] == []
    (sent,) = (await place.node.submission(submission.submission_id)).attachments
    assert sent.state is SendingState.DROPPED


async def test_a_draft_is_kept_for_no_longer_than_its_alert(place: Place) -> None:
    hour = timedelta(hours=1)
    draft = await place.node.create_draft(place.asked(clock.now() + hour))
    async with place.node.database.read() as connection:
        blob = bytes((await connection.execute(select(drafts.c.sealed))).scalar_one())
    assert place.on_the_disk(blob)
    place.times.go_by(hour + MINUTE)
    await place.node.upkeep.forget()
    assert not place.on_the_disk(blob)
    with pytest.raises(NodeError):
        await place.node.submit_draft(
            draft.draft_id,
            signature=sign(place.region, draft),
            officer_kid=draft.officer_kid,
            idempotency_key=str(uuid4()),
        )


async def test_what_is_to_be_sealed_again_after_its_content_went_is_refused(place: Place) -> None:
    node = place.node
    submission = await place.queued()
    assert await node.outgoing.seal_due() == 1
    async with node.database.read() as connection:
        assert UUID((await connection.execute(select(outbox.c.id))).scalar_one())
    assert await destroy(node.database, submission.submission_id)

    async def change(connection: AsyncConnection) -> None:  # as the gateway's refusal does it
        known = await submissions.find(connection, submission.submission_id)
        again = {"MY": {"state": RecipientState.QUEUED}}
        moved = submissions.with_outcomes(known, again, now=clock.now())
        await submissions.save(connection, moved)

    await node.database.change(change)
    await node.outgoing.seal_due()
    (outcome,) = (await node.submission(submission.submission_id)).recipients
    assert (outcome.state, outcome.code) == (RecipientState.REFUSED, "retention-over")
