"""Files on their way from a desk to its node: in order, whole, once, and bounded."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio
from sqlalchemy import select

from broker import clock
from broker.envelope.chunks import SEALED_CHUNK_BYTES
from broker.node.errors import NodeError
from broker.node.node import Node
from broker.node.staging import KEPT
from broker.store.tables import drafts
from keys.primitives.hashing import sha256
from schemas.attachment import CHUNK_BYTES, MAX_ATTACHMENT_BYTES
from schemas.desk import AttachedFile, AttachmentRequest, AttachmentUpload, SendingState
from schemas.label import Facts
from tests.support.alerts import trafficking_alert
from tests.support.attachments import (
    DESK,
    a_file,
    code_of,
    cut,
    handed,
    named,
    serving_attachments,
)
from tests.support.hub import BOUND_S, RunningHub, running_hub
from tests.support.nodes import Clock, opened_node, request, send, sign, until_over
from tests.support.region import make_region

pytestmark = [pytest.mark.hub, pytest.mark.usefixtures("databases")]


@pytest_asyncio.fixture
async def hub(tmp_path: Path) -> AsyncIterator[RunningHub]:
    region = make_region(("SG", "MY", "TH"), now=clock.now())
    async with running_hub(region, tmp_path / "hub") as running:
        yield running


@pytest_asyncio.fixture
async def sg(hub: RunningHub, tmp_path: Path) -> AsyncIterator[Node]:
    async with opened_node(hub, "SG", tmp_path) as node:
        yield node


def asked_for(content: bytes) -> AttachmentRequest:
    return AttachmentRequest.model_validate(named(content).model_dump(exclude={"attachment_id"}))


async def test_a_desk_goes_on_where_it_broke_off(hub: RunningHub, tmp_path: Path) -> None:
    content = a_file(4)
    chunks = cut(content)
    async with opened_node(hub, "SG", tmp_path) as node:
        upload = await node.create_attachment(DESK, asked_for(content))
        for index in (0, 1):
            await node.put_chunk(DESK, upload.attachment_id, index, chunks[index])
    async with opened_node(hub, "SG", tmp_path) as node:  # killed, and another process
        await node.staging.tidy()
        again = await node.create_attachment(DESK, asked_for(content))
        assert (again.attachment_id, again.next) == (upload.attachment_id, 2)
        await node.put_chunk(DESK, again.attachment_id, 1, chunks[1])  # repeated, no harm
        for index in (2, 3):
            again = await node.put_chunk(DESK, again.attachment_id, index, chunks[index])
        assert again.complete
        at_rest = b"".join(path.read_bytes() for path in (tmp_path / "SG-attachments").rglob("0-*"))
        assert len(at_rest) >= len(content)
        assert all(content[at : at + 64] not in at_rest for at in range(0, len(content), 4096))


async def test_a_desk_cannot_hand_over_something_else(sg: Node) -> None:
    content = a_file(3)
    chunks = cut(content)
    upload = await sg.create_attachment(DESK, asked_for(content))
    ident = upload.attachment_id
    assert await code_of(sg.put_chunk(DESK, ident, 1, chunks[1])) == "out-of-order"
    assert await code_of(sg.put_chunk(DESK, ident, 0, chunks[0][:-1])) == "no-such-chunk"
    assert await code_of(sg.put_chunk(DESK, ident, 3, chunks[0])) == "no-such-chunk"
    assert await code_of(sg.put_chunk("other", ident, 0, chunks[0])) == "not-found"
    assert await code_of(sg.put_chunk(DESK, uuid4(), 0, chunks[0])) == "not-found"
    await sg.put_chunk(DESK, ident, 0, chunks[0])
    assert await code_of(sg.put_chunk(DESK, ident, 0, chunks[1])) == "chunk-differs"
    await sg.put_chunk(DESK, ident, 1, chunks[0])  # swapped: the whole will not be the same
    assert await code_of(sg.put_chunk(DESK, ident, 2, chunks[2])) == "attachment-mismatch"
    assert await code_of(sg.attachment_upload(DESK, ident)) == "not-found"  # begin again


async def test_of_two_chunks_for_one_place_the_one_that_is_kept_is_told_so(sg: Node) -> None:
    content = a_file(2)
    chunks, others = cut(content), [bytes(CHUNK_BYTES), bytes([1]) * CHUNK_BYTES]
    ident = (await sg.create_attachment(DESK, asked_for(content))).attachment_id
    offered = [chunks[0], *others, chunks[0]]
    outcomes = await asyncio.gather(
        *(sg.put_chunk(DESK, ident, 0, each) for each in offered), return_exceptions=True
    )
    kept = await sg.staging.chunk(ident, 0)
    for each, outcome in zip(offered, outcomes, strict=True):
        if each == kept:
            assert isinstance(outcome, AttachmentUpload)
            assert outcome.next == 1
        else:
            assert isinstance(outcome, NodeError)
            assert outcome.code == "chunk-differs"


async def test_a_draft_names_whole_files_of_this_node_once(sg: Node, hub: RunningHub) -> None:
    content = a_file(2)
    upload = await sg.create_attachment(DESK, asked_for(content))
    half = named(content).model_copy(update={"attachment_id": upload.attachment_id})

    def drafted(*files: AttachedFile) -> object:
        return sg.create_draft(request(hub.region, ("MY",), attachments=files))

    assert await code_of(drafted(named(content))) == "attachment-missing"
    assert await code_of(drafted(half)) == "attachment-incomplete"
    whole = await handed(sg, content)
    other = whole.model_copy(update={"sha256": sha256(b"other")})
    assert await code_of(drafted(other)) == "attachment-mismatch"
    assert await code_of(drafted(whole, whole)) == "attachment-repeated"
    asked = request(hub.region, ("MY",), attachments=(whole,))
    draft = await sg.create_draft(asked)
    assert draft.preview.facts.personal_data
    submission = await send(sg, hub.region, asked)
    assert submission.attachments[0].state is SendingState.WAITING
    assert await code_of(drafted(whole)) == "attachment-used"
    assert (
        await code_of(sg.put_chunk(DESK, upload.attachment_id, 0, content[:CHUNK_BYTES]))
        == "attachment-used"
    )


async def test_too_large_a_file_names_both_sizes(sg: Node, hub: RunningHub) -> None:
    huge = MAX_ATTACHMENT_BYTES + 1
    wanted = AttachmentRequest(name="x", media_type="a/b", bytes=huge, sha256=bytes(32))
    with pytest.raises(NodeError, match=f"{huge}.*{MAX_ATTACHMENT_BYTES}") as caught:
        await sg.create_attachment(DESK, wanted)
    assert caught.value.code == "attachment-too-large"
    file = AttachedFile(name="x", media_type="a/b", bytes=huge, sha256=bytes(32))
    asked = request(hub.region, ("MY",), attachments=(file,))
    assert await code_of(sg.preview(asked)) == "attachment-too-large"


async def test_files_that_never_fit_at_the_hub_are_refused_at_the_draft(
    sg: Node, hub: RunningHub, tmp_path: Path
) -> None:
    await sg.link.wait_connected(BOUND_S)
    room = 2 * SEALED_CHUNK_BYTES
    files = (await handed(sg, a_file(1), "a"), await handed(sg, a_file(2), "b"))
    asked = request(hub.region, ("MY",), attachments=files)
    await sg.preview(asked)  # a hub that was not asked yet hinders nothing
    half = 2  # of a sender's room goes to one recipient at the most, where two may share it
    async with serving_attachments(hub, tmp_path / "chunks", quota=half * room) as service:
        await sg.upkeep.learn_room()
        with pytest.raises(NodeError, match=f"{3 * SEALED_CHUNK_BYTES}.*{room}") as caught:
            await sg.preview(asked)
        assert caught.value.code == "attachments-never-fit"
        assert caught.value.retry == "never"
        assert await code_of(sg.create_draft(asked)) == "attachments-never-fit"
        async with sg.database.read() as connection:
            kept = (await connection.execute(select(drafts.c.id))).all()
        assert kept == []
        await sg.create_draft(request(hub.region, ("MY",), attachments=files[1:]))
        service.store.quota_bytes = half * 3 * SEALED_CHUNK_BYTES
        await sg.upkeep.learn_room()
        await sg.create_draft(asked)
        service.store.quota_bytes = half * room
        await sg.upkeep.learn_room()
    await sg.upkeep.learn_room()  # nobody answers: what it said counts on
    assert await code_of(sg.create_draft(asked)) == "attachments-never-fit"


async def test_a_node_keeps_only_so_much_for_the_hub(sg: Node) -> None:
    sg.staging.quota_bytes = 3 * CHUNK_BYTES
    await sg.create_attachment(DESK, asked_for(a_file(2)))
    with pytest.raises(NodeError) as caught:
        await sg.create_attachment(DESK, asked_for(a_file(2)))
    assert (caught.value.code, caught.value.retry) == ("attachments-full", "later")


async def test_what_no_alert_took_is_forgotten_after_a_day(hub: RunningHub, tmp_path: Path) -> None:
    now = Clock()
    async with opened_node(hub, "SG", tmp_path, now=now) as node:
        file = await handed(node, a_file(2))
        assert file.attachment_id is not None
        now.ahead = KEPT + timedelta(minutes=1)
        node.present.skew = now.ahead
        await node.staging.forget_idle()
        assert (await node.attachment_upload(DESK, file.attachment_id)).complete  # in doubt, kept
        node.present.skew = timedelta(0)
        await node.staging.forget_idle()
        assert await code_of(node.attachment_upload(DESK, file.attachment_id)) == "not-found"
        assert list((tmp_path / "SG-attachments").rglob("0-*")) == []


@pytest.mark.parametrize("media", ["image/jpeg", "text/plain"])
async def test_no_file_goes_with_a_victim_or_a_minor(sg: Node, hub: RunningHub, media: str) -> None:
    file = named(a_file(1), media=media)
    alert = trafficking_alert()
    asked = request(hub.region, ("MY",), alert=alert, attachments=(file,))
    assert await code_of(sg.preview(asked)) == "attachment-with-victim"
    minor = Facts(personal_data=True, victim=False, minor=True, biometrics=False)
    asked = request(hub.region, ("MY",), facts=minor, attachments=(file,))
    expected = "image-with-minor" if media == "image/jpeg" else "attachment-with-victim"
    assert await code_of(sg.preview(asked)) == expected


async def test_what_was_handed_over_can_be_taken_back(sg: Node, hub: RunningHub) -> None:
    first, second = a_file(2), a_file(3)
    kept = await handed(sg, first, "kept.bin")
    gone = await handed(sg, second, "gone.bin")
    assert kept.attachment_id is not None
    assert gone.attachment_id is not None
    begun = await sg.create_attachment(DESK, asked_for(a_file(4)))
    listed = (await sg.attachments_waiting(DESK)).items
    assert [(each.name, each.bytes, each.next, each.complete) for each in listed] == [
        ("kept.bin", len(first), 2, True),
        ("gone.bin", len(second), 3, True),
        ("film.bin", 4 * CHUNK_BYTES - 100, 0, False),
    ]
    draft = await sg.create_draft(request(hub.region, ("MY",), attachments=(gone,)))
    for each in (gone.attachment_id, begun.attachment_id):
        await sg.withdraw_attachment(DESK, each)
        assert await code_of(sg.withdraw_attachment(DESK, each)) == "not-found"
        assert await code_of(sg.put_chunk(DESK, each, 0, cut(second)[0])) == "not-found"
    assert sg.staging.files.shelves() == (str(kept.attachment_id),)
    submitting = sg.submit_draft(
        draft.draft_id,
        signature=sign(hub.region, draft),
        officer_kid=draft.officer_kid,
        idempotency_key=str(uuid4()),
    )
    assert await code_of(submitting) == "attachment-missing"
    (left,) = (await sg.attachments_waiting(DESK)).items
    assert left.attachment_id == kept.attachment_id
    assert (await sg.create_attachment(DESK, asked_for(second))).next == 0  # begun anew


async def test_what_is_anothers_or_went_with_an_alert_cannot_be_taken_back(
    sg: Node, hub: RunningHub
) -> None:
    content = a_file(2)
    file = await handed(sg, content)
    ident = file.attachment_id
    assert ident is not None
    assert await code_of(sg.withdraw_attachment("other", ident)) == "not-found"
    assert (await sg.attachments_waiting("other")).items == ()
    assert await code_of(sg.withdraw_attachment(DESK, uuid4())) == "not-found"
    submission = await send(sg, hub.region, request(hub.region, ("MY",), attachments=(file,)))
    assert await code_of(sg.withdraw_attachment(DESK, ident)) == "attachment-used"
    assert (await sg.attachments_waiting(DESK)).items == ()
    assert await sg.staging.chunk(ident, 0) == cut(content)[0]  # it still goes with its alert
    assert await sg.staging.of_submission(submission.submission_id)


async def test_a_chunk_that_comes_while_its_file_is_taken_back_is_not_left_behind(sg: Node) -> None:
    content = a_file(3)
    chunks = cut(content)
    ident = (await sg.create_attachment(DESK, asked_for(content))).attachment_id
    outcomes = await asyncio.gather(
        sg.put_chunk(DESK, ident, 0, chunks[0]),
        sg.withdraw_attachment(DESK, ident),
        return_exceptions=True,
    )
    assert outcomes[1] is None
    assert sg.staging.files.shelves() == ()
    assert await code_of(sg.attachment_upload(DESK, ident)) == "not-found"


async def test_a_cancelled_alert_takes_its_files_with_it(hub: RunningHub, tmp_path: Path) -> None:
    async with opened_node(hub, "SG", tmp_path) as node:
        file = await handed(node, a_file(2))
        asked = request(hub.region, ("MY",), attachments=(file,))
        submission = await send(node, hub.region, asked)
        await node.uploads.forget_over()
        assert list((tmp_path / "SG-attachments").rglob("0-*"))  # it waits with its alert
        await node.cancel(submission.submission_id)
        await node.uploads.forget_over()
        last = await until_over(node, submission.submission_id)
        assert last.attachments[0].state is SendingState.DROPPED
        assert list((tmp_path / "SG-attachments").rglob("0-*")) == []
