"""An answer that the gateway refuses for its keys is said again, under keys that are in force."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from broker import clock
from broker.gateway.directory import DirectoryInForce
from broker.node.node import Node
from keys.primitives.hashing import sha256
from schemas.desk import RecipientState, Submission
from schemas.directory import MemberDocument, RevocationReason
from schemas.label import DirectoryVersion
from tests.support.gateway import Source, running_gateway
from tests.support.hub import running_hub
from tests.support.nodes import Clock, opened_node, request, running_node, send
from tests.support.region import make_region

pytestmark = [pytest.mark.hub, pytest.mark.timeout(300)]


def without_keys(document: MemberDocument) -> MemberDocument:
    gone = {"revoked_at": clock.now(), "reason": RevocationReason.SUPERSEDED}
    keys = tuple(key.model_copy(update=gone) for key in document.encryption_keys)
    return document.model_copy(update={"encryption_keys": keys})


async def when(node: Node, submission: Submission, state: RecipientState) -> None:
    """Return once the only recipient's copy is in `state`; the test's time limit ends the wait."""
    while True:
        ticket = node.changes.ticket()
        shown = await node.submission(submission.submission_id)
        if shown.recipients[0].state is state:
            return
        await ticket.wait()


async def test_a_confirmation_refused_for_its_key_is_said_again(tmp_path: Path) -> None:
    region = make_region(("SG", "MY"), now=clock.now())
    source = Source(region.view)
    directory = DirectoryInForce.read(source)
    time = Clock()
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub(region, tmp_path / "hub"))
        await stack.enter_async_context(running_gateway(hub, directory=directory))
        sg = await stack.enter_async_context(running_node(hub, "SG", tmp_path))
        my = await stack.enter_async_context(opened_node(hub, "MY", tmp_path, now=time))
        source.current = region.changed("SG", document=without_keys)  # MY does not know it yet
        directory.reread()
        submission = await send(sg, region, request(region, ("MY",)))
        await when(sg, submission, RecipientState.STORED)
        async with my.running():
            await until(my, waiting, 1)  # refused as `stale-key`
            assert (await my.status()).inbox == 1
            assert await my.upkeep.controls.seal_due() == 0  # not before its time
            old = region.view.version
            newer = DirectoryVersion(
                root=old.root, snapshot=old.snapshot + 2, hash=sha256(old.hash)
            )
            source.current = replace(region.view, version=newer)
            directory.reread()
            for node in (sg, my):
                node.present.take(source.current)
            time.ahead = timedelta(minutes=1)
            await my.upkeep.answer_again()
            await when(sg, submission, RecipientState.DELIVERED)
            await until(my, kept, 0)


async def until(node: Node, count: Callable[[Node], Awaitable[int]], wanted: int) -> None:
    """Return once there are `wanted`; the test's time limit ends the wait."""
    while True:
        ticket = node.changes.ticket()
        if await count(node) == wanted:
            return
        await ticket.wait()


async def waiting(node: Node) -> int:
    """How many answers wait to be sealed again."""
    async with node.database.read() as connection:
        return len(await node.upkeep.controls.waiting(connection))


async def kept(node: Node) -> int:
    """How many answers the hub has not accepted yet."""
    async with node.database.read() as connection:
        return await node.upkeep.controls.count(connection)
