"""In which order files go to the hub, and what ends those that never can."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
import pytest_asyncio
from sqlalchemy import ColumnElement, LargeBinary, Text, cast, literal, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker import clock
from broker.envelope.chunks import SEALED_CHUNK_BYTES
from broker.gateway import record
from broker.hub.attachments import PATIENCE, AttachmentService
from broker.hub.chunkheads import Head
from broker.log.rebuilt import decided_before
from broker.node import alarms
from broker.node.node import Node
from broker.node.sealing import hurry
from broker.node.uploads import LEFT_OUT, WINDOW, Uploads
from broker.store import tables
from keys.primitives.signing import SignKey
from schemas.desk import AttachmentSent, SendingState, Submission, SubmissionState
from schemas.vocabulary import Precedence
from tests.support.attachments import a_file, fill, handed, serving_attachments
from tests.support.gateway import running_gateway
from tests.support.hub import BOUND_S, RunningHub, running_hub
from tests.support.nodes import Clock, request, running_node, send
from tests.support.region import make_region

pytestmark = [pytest.mark.hub, pytest.mark.usefixtures("databases")]
FILM, PHOTOGRAPH = 12, 2  # chunks


@dataclass
class Stage:
    """SG at work, but for its files: these go when the test lets them.

    Attributes:
        put: The chunks that reached the hub, by their envelope, in that order.
    """

    hub: RunningHub
    service: AttachmentService
    sg: Node
    uploads: Uploads
    put: list[UUID]

    async def accepted(
        self, chunks: int, precedence: Precedence, to: tuple[str, ...] = ("MY",)
    ) -> Submission:
        """An alert that the gateway accepted, with a file that waits."""
        file = await handed(self.sg, a_file(chunks), f"{chunks}.bin")
        asked = request(self.hub.region, to, attachments=(file,), precedence=precedence)
        submission = await send(self.sg, self.hub.region, asked)
        while True:
            ticket = self.sg.changes.ticket()
            submission = await self.sg.submission(submission.submission_id)
            if str(submission.id) in {row.envelope_id for row in await self.uploads.accepted()}:
                return submission
            await ticket.wait()

    async def file(self, submission: Submission) -> AttachmentSent:
        (sent,) = (await self.sg.submission(submission.submission_id)).attachments
        return sent


@pytest_asyncio.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(4 * BOUND_S))
        region = make_region(("SG", "MY", "TH"), now=clock.now())
        hub = await stack.enter_async_context(running_hub(region, tmp_path / "hub"))
        await stack.enter_async_context(running_gateway(hub))
        service = await stack.enter_async_context(serving_attachments(hub, tmp_path / "chunks"))
        sg = await stack.enter_async_context(running_node(hub, "SG", tmp_path))
        own = sg.uploads
        own.link = hub.member_link("SG")  # never connected: by itself the node brings nothing
        uploads = Uploads(own.present, own.database, own.vault, own.staging, sg.link, own.changes)
        put, keep = list[UUID](), service.store.keep

        async def counted(sender: str, ident: UUID, number: int, index: int, raw: bytes) -> None:
            await keep(sender, ident, number, index, raw)
            put.append(ident)

        service.store.keep = counted  # type: ignore[method-assign]
        yield Stage(hub, service, sg, uploads, put)


def due_at(submission: Submission, due_ms: int) -> object:
    """The change that lets an alert's files go at a time, and not before."""

    async def change(connection: AsyncConnection) -> None:
        mine = tables.uploads.c.envelope_id == str(submission.id)
        await connection.execute(update(tables.uploads).where(mine).values(due_ms=due_ms))

    return change


async def test_an_urgent_alerts_file_goes_before_all_others(stage: Stage) -> None:
    film = await stage.accepted(FILM, Precedence.ROUTINE)
    photograph = await stage.accepted(PHOTOGRAPH, Precedence.FLASH)
    await stage.uploads.upload_due()
    assert stage.put == [photograph.id] * PHOTOGRAPH + [film.id] * FILM
    for each in (film, photograph):
        assert (await stage.file(each)).state is SendingState.UPLOADED


@pytest.mark.parametrize("document", [b"{", b"\xff"])
async def test_a_damaged_submission_holds_up_no_other_upload_nor_its_own_nor_the_outbox(
    stage: Stage, document: bytes
) -> None:
    """The disk may have left a text that is no document any more, or no text."""
    damaged = await stage.accepted(PHOTOGRAPH, Precedence.ROUTINE)
    whole = await stage.accepted(PHOTOGRAPH, Precedence.ROUTINE)
    mine = tables.submissions.c.id == str(damaged.submission_id)
    spoiled = update(tables.submissions).where(mine).values(document=_text(document))
    await stage.sg.database.change(lambda connection: connection.execute(spoiled))
    await stage.uploads.upload_due()
    assert Counter(stage.put) == {damaged.id: PHOTOGRAPH, whole.id: PHOTOGRAPH}
    assert (await stage.file(whole)).state is SendingState.UPLOADED
    over = update(tables.submissions).values(state=str(SubmissionState.DECIDED))
    await stage.sg.database.change(lambda connection: connection.execute(over))
    await stage.uploads.forget_over()
    for each in (damaged, whole):
        assert not await stage.uploads.staging.of_submission(each.submission_id)
    page = await stage.sg.outbox(limit=1)
    assert [each.submission_id for each in page.items] == [whole.submission_id]
    last = await stage.sg.outbox(limit=1, before=page.next)
    assert (last.items, last.next) == ((), None)
    assert "database-damaged" in {alarm.code for alarm in (await stage.sg.status()).alarms}


def _text(raw: bytes) -> ColumnElement[str]:
    """A text with these bytes, which only SQLite takes for one; PostgreSQL keeps its own whole."""
    return cast(literal(raw, LargeBinary), Text)


async def test_an_urgent_file_that_comes_later_waits_for_a_window_at_most(stage: Stage) -> None:
    film = await stage.accepted(FILM, Precedence.ROUTINE)
    photograph = await stage.accepted(PHOTOGRAPH, Precedence.FLASH)
    later = due_at(photograph, 2**45)
    await stage.sg.database.change(later)  # type: ignore[arg-type]
    keep = stage.service.store.keep

    async def first(sender: str, ident: UUID, number: int, index: int, raw: bytes) -> None:
        if not stage.put:
            await stage.sg.database.change(hurry)
        await keep(sender, ident, number, index, raw)

    stage.service.store.keep = first  # type: ignore[method-assign]
    await stage.uploads.upload_due()
    assert len(stage.put) == FILM + PHOTOGRAPH
    assert stage.put[0] == film.id
    assert stage.put.index(photograph.id) <= WINDOW  # type: ignore[arg-type]


async def test_of_equally_urgent_files_each_has_its_turn(stage: Stage) -> None:
    one = await stage.accepted(FILM, Precedence.ROUTINE)
    two = await stage.accepted(FILM, Precedence.ROUTINE)
    await stage.uploads.upload_due()
    assert sorted(stage.put, key=str) == sorted([one.id, two.id] * FILM, key=str)
    for place in range(len(stage.put) - 2 * WINDOW):
        assert len(set(stage.put[place : place + WINDOW + 1])) == 2


async def test_a_recipient_for_whom_there_is_no_room_is_named_to_the_sender(stage: Stage) -> None:
    store = stage.service.store
    store.quota_bytes = 2 * FILM * SEALED_CHUNK_BYTES  # of which one of two may have half
    full = Head(("TH",), (FILM,), clock.now() + timedelta(days=1))
    await store.open("SG", UUID(int=1), full, ("MY", "TH"), patient=True)
    film = await stage.accepted(FILM, Precedence.ROUTINE, ("MY", "TH"))
    await stage.uploads.upload_due()
    sent = await stage.file(film)
    assert (sent.state, sent.code) == (SendingState.WAITING, "attachment-quota")
    stage.service.now = lambda: clock.now() + PATIENCE
    await stage.sg.database.change(hurry)
    await stage.uploads.upload_due()
    sent = await stage.file(film)
    assert (sent.state, sent.code) == (SendingState.UPLOADED, LEFT_OUT)
    assert stage.put == [film.id] * FILM
    async with stage.sg.database.read() as connection:
        found = await alarms.all_alarms(connection)
    assert [(each.code, each.peer) for each in found] == [(LEFT_OUT, "TH")]


async def test_a_file_past_its_time_is_given_up_unless_the_clock_is_in_doubt(
    stage: Stage,
) -> None:
    await fill(stage.service, "SG", "MY")
    alert = await stage.accepted(PHOTOGRAPH, Precedence.ROUTINE)
    present, ahead = stage.uploads.present, Clock(timedelta(days=31))
    stage.uploads.present = replace(present, now=ahead, skew=None)
    await stage.uploads.upload_due()
    sent = await stage.file(alert)
    assert (sent.state, sent.code) == (SendingState.WAITING, "attachment-quota")
    await stage.sg.database.change(hurry)
    stage.uploads.present = replace(present, now=ahead, skew=timedelta(0))
    await stage.uploads.upload_due()
    await assert_given_up(stage, alert, "expired")


async def test_chunks_that_the_hub_lost_meanwhile_are_brought_again_before_the_file_goes(
    stage: Stage,
) -> None:
    """As after its disk came back from a copy of an hour ago."""
    film = await stage.accepted(FILM, Precedence.ROUTINE)
    keep, files, shelf = stage.service.store.keep, stage.service.store.files, f"SG/{film.id}"

    async def losing(sender: str, ident: UUID, number: int, index: int, raw: bytes) -> None:
        await keep(sender, ident, number, index, raw)
        if len(stage.put) == FILM - 1:
            files.drop(shelf, 0, 2)

    stage.service.store.keep = losing  # type: ignore[method-assign]
    await stage.uploads.upload_due()
    assert (await stage.file(film)).state is SendingState.UPLOADING
    assert len(stage.put) == FILM  # no more for now: others have their turns
    await stage.sg.database.change(hurry)
    await stage.uploads.upload_due()
    assert (await stage.file(film)).state is SendingState.UPLOADED
    assert files.first_missing(shelf, 0, FILM) == FILM


async def test_a_file_whose_decision_was_lost_is_given_up_and_said(stage: Stage) -> None:
    alert = await stage.accepted(PHOTOGRAPH, Precedence.ROUTINE)
    assert alert.id is not None
    await lose_record(stage.hub, alert.id)
    await stage.uploads.upload_due()
    await assert_given_up(stage, alert, "decision-lost")


async def lose_record(hub: RunningHub, ident: UUID) -> None:
    """What stands after a loss, once the log has put back which ids are decided."""
    subject = record.decided("SG", ident)
    async with hub.hub_link() as link:
        await link.wait_connected(BOUND_S)
        mark = decided_before(subject, SignKey.generate())
        await link.publish_acked(subject, mark, msg_id="put-back")


async def assert_given_up(stage: Stage, alert: Submission, code: str) -> None:
    sent = await stage.file(alert)
    assert (sent.state, sent.code) == (SendingState.REFUSED, code)
    assert await stage.uploads.accepted() == []
    alarms = {alarm.code: alarm for alarm in (await stage.sg.status()).alarms}
    assert alarms["attachment-not-sent"].detail == code
    await stage.uploads.forget_over()
    assert await stage.sg.staging.of_submission(alert.submission_id) == []
    assert stage.sg.staging.files.shelves() == ()
