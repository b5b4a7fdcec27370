"""Attached files in tests: their bytes, handing them to a node, and the hub's service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from broker import clock
from broker.envelope.chunks import SEALED_CHUNK_BYTES
from broker.gateway import record
from broker.gateway.decide import Decider
from broker.hub.attachments import AttachmentService
from broker.hub.chunkheads import Head
from broker.hub.chunkstore import ChunkStore
from broker.node.errors import NodeError
from broker.node.node import Node
from broker.store.chunkfiles import ChunkFiles
from keys.primitives.hashing import random_bytes, sha256
from schemas.attachment import CHUNK_BYTES
from schemas.decision import Decision
from schemas.desk import AttachedFile, AttachmentRequest, Submission
from tests.support.hub import BOUND_S, MIB, RunningHub

QUOTA = 64 * MIB
FILLING = UUID(int=1)  # an envelope that takes room and is never handed in
DESK = "desk"


def a_file(chunks: int = 3, *, spare: int = 100) -> bytes:
    """Random bytes that take so many chunks, the last not full."""
    return random_bytes(chunks * CHUNK_BYTES - spare)


def named(
    content: bytes, name: str = "film.bin", media: str = "application/x-test"
) -> AttachedFile:
    return AttachedFile(name=name, media_type=media, bytes=len(content), sha256=sha256(content))


def cut(content: bytes) -> list[bytes]:
    return [content[at : at + CHUNK_BYTES] for at in range(0, len(content), CHUNK_BYTES)]


async def handed(node: Node, content: bytes, name: str = "film.bin") -> AttachedFile:
    """The file, handed to the node whole."""
    wanted = named(content, name)
    request = AttachmentRequest.model_validate(wanted.model_dump(exclude={"attachment_id"}))
    upload = await node.create_attachment(DESK, request)
    for index, chunk in enumerate(cut(content)):
        upload = await node.put_chunk(DESK, upload.attachment_id, index, chunk)
    assert upload.complete
    return wanted.model_copy(update={"attachment_id": upload.attachment_id})


async def received(node: Node, item_id: UUID, number: int = 1, *, start: int = 0) -> bytes:
    _, chunks = await node.attachment(item_id, number, start=start)
    return b"".join([chunk async for chunk in chunks])


async def until_sent(node: Node, submission: Submission) -> Submission:
    """The submission once nothing more can change, its files included."""
    return [each async for each in node.watch(submission.submission_id)][-1]


async def until_here(node: Node, item_id: UUID) -> None:
    """Return once every file of an alert has left the state `arriving`."""
    while True:
        ticket = node.mail.ticket()
        item = await node.item(item_id)
        if all(each.state != "arriving" for each in item.attachments):
            return
        await ticket.wait()


@asynccontextmanager
async def serving_attachments(
    hub: RunningHub, folder: Path, *, quota: int = QUOTA
) -> AsyncIterator[AttachmentService]:
    """The hub's service, stopped at once at the end like a process that is killed."""
    async with hub.hub_link() as link:
        await link.wait_connected(BOUND_S)
        store = ChunkStore(ChunkFiles(folder), quota)
        await store.load()
        service = AttachmentService(
            store, link, lambda: hub.region.view, hub.region.record_keys, lambda: True
        )
        await service.admit(hub.members)
        yield service


async def stand(hub: RunningHub, decision: Decision, subject: str = "") -> None:
    """Let a decision stand, as a gateway does."""
    header = decision.header
    assert header.id is not None
    decider = Decider(
        "gw-test", hub.region.gateway_kid, hub.region.gateway_sign_key, hub.region.record_keys
    )
    async with hub.hub_link() as link:
        await link.wait_connected(BOUND_S)
        await record.AuditTrail(link).stand(
            subject or record.decided(header.sender, header.id),
            decider.audited(decision).to_bytes(),
        )


async def fill(service: AttachmentService, sender: str, recipient: str) -> None:
    """Take all the room that a sender's files may have for one recipient."""
    store, members = service.store, service.view().members()
    others = [each for each in members if each != sender]
    count = store.most(others) // SEALED_CHUNK_BYTES
    head = Head((recipient,), (count,), clock.now() + timedelta(days=1))
    await store.open(sender, FILLING, head, others, patient=True)


async def code_of(asking: object) -> str:
    """The code with which a node refuses."""
    with pytest.raises(NodeError) as caught:
        await asking  # type: ignore[misc]
    return caught.value.code
