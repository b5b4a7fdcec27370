"""PostgreSQL killed, restarted or out of reach under a node: said, nothing lost, and it goes on."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar
from uuid import UUID, uuid4

import pytest

from broker import clock, logs
from broker.errors import BrokerError
from broker.node.alarms import LOST
from broker.node.node import Node
from broker.store.database import StoreError
from schemas.desk import RecipientState
from tests.support.databases import Databases, kept_in
from tests.support.gateway import running_gateway
from tests.support.hub import BOUND_S, RunningHub, running_hub
from tests.support.nodes import request, running_node, sign, until_over
from tests.support.postgres import Postgres
from tests.support.region import make_region

pytestmark = [pytest.mark.hub, pytest.mark.processes, pytest.mark.slow]
AGAIN_S = 0.05
ResultT = TypeVar("ResultT")


async def insist(ask: Callable[[], Awaitable[ResultT]]) -> ResultT:
    """What a desk does: the same again, as long as it may pass unchanged."""
    while True:
        try:
            return await ask()
        except BrokerError as error:
            if error.retry != "later":
                raise
            await asyncio.sleep(AGAIN_S)  # a desk has no other sign


async def send_one(node: Node, hub: RunningHub) -> UUID:
    key = str(uuid4())
    draft = await insist(lambda: node.create_draft(request(hub.region, ("MY",))))
    signature = sign(hub.region, draft, node.member)

    def submit() -> Awaitable[UUID]:
        return submitted(node, draft.draft_id, signature, draft.officer_kid, key)

    return await insist(submit)


async def submitted(node: Node, draft: UUID, signature: bytes, kid: bytes, key: str) -> UUID:
    queued = await node.submit_draft(
        draft, signature=signature, officer_kid=kid, idempotency_key=key
    )
    return queued.submission_id


async def over(node: Node, ident: UUID) -> None:
    last = await insist(lambda: until_over(node, ident))
    assert last.recipients[0].state is RecipientState.DELIVERED, last.recipients[0].code


async def alarm_is_raised(node: Node) -> None:
    while True:
        if LOST in {alarm.code for alarm in (await node.status()).alarms}:
            return
        await asyncio.sleep(AGAIN_S)  # the alarm wakes nobody


@pytest.mark.parametrize("end", ["killed", "restarted"])
async def test_what_was_queued_while_it_was_killed_arrives_exactly_once(
    tmp_path: Path, template: Postgres, end: str, capfd: pytest.CaptureFixture[str]
) -> None:
    region = make_region(("SG", "MY"), now=clock.now())
    logs.configure("test")
    async with (
        asyncio.timeout(5 * BOUND_S),
        running_hub(region, tmp_path / "hub") as hub,
        running_gateway(hub),
    ):
        with kept_in(Databases(template)):
            async with (
                running_node(hub, "SG", tmp_path) as sg,
                running_node(hub, "MY", tmp_path) as my,
            ):
                queued = [await send_one(sg, hub) for _ in range(5)]
                async with asyncio.TaskGroup() as group:
                    desks = [group.create_task(send_one(sg, hub)) for _ in range(20)]
                    await asyncio.wait(desks, return_when=asyncio.FIRST_COMPLETED)
                    if end == "killed":
                        await asyncio.to_thread(template.kill)
                    else:
                        await asyncio.to_thread(template.stop, "fast")
                    with pytest.raises(StoreError) as caught:
                        await sg.check_writes()
                    assert (caught.value.code, caught.value.retry) == ("database-lost", "later")
                    await asyncio.to_thread(template.start)
                queued += [task.result() for task in desks]
                for ident in queued:
                    await over(sg, ident)
                sent = {(await sg.submission(ident)).id for ident in queued}
                items = (await my.inbox(limit=100)).items
                assert len(items) == len(sent) == 25
                assert {item.id for item in items} == sent
                await alarm_is_raised(sg)
                assert (await my.status()).gaps == ()
    events = {json.loads(line)["event"] for line in capfd.readouterr().err.splitlines() if line}
    assert {"database-away", "database-back"} <= events
