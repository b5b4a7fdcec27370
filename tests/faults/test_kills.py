"""500 alerts among three members while gateway, nodes and nats-server are killed at random."""

import asyncio
import os
import random  # noqa: TID251 - a seeded order of kills, so that a failure can be repeated
from collections import Counter
from pathlib import Path

import pytest

from broker import clock
from broker.cli.demo import alerts
from broker.cli.demo.processes import Processes
from broker.cli.demo.region import NODES
from broker.client import BrokerError, Client, OutcomeUnknown, SignedDraft
from schemas.desk import DraftRequest, InboxItem, RecipientState, Submission
from schemas.vocabulary import TLP, Purpose, Status
from tests.support.processes import kill_child, running_region

pytestmark = [pytest.mark.processes, pytest.mark.timeout(420)]
COUNT = int(os.environ.get("KENTONG_FAULT_ALERTS", "500"))  # noqa: TID251 - a test setting
KILLS = max(6, COUNT // 25)
SENDERS = 6
BOUND_S = 300


async def prepared(client: Client, to: tuple[str, ...], number: int) -> SignedDraft:
    """A draft, signed; asked for again while the node is away."""
    request = DraftRequest(
        status=Status.EXERCISE,
        alert=alerts.cyber(clock.now().date(), number),
        recipients=to,
        agency="POLICE",
        tlp=TLP.AMBER,
        purposes=(Purpose.WARN,),
    )
    while True:
        try:
            return await client.prepare(request)
        except BrokerError as error:
            await again_later(error)


async def submitted(client: Client, signed: SignedDraft) -> Submission:
    """Queued, by asking until the node says so: the same bytes never double."""
    while True:
        try:
            return (await client.submit(signed)).shown
        except OutcomeUnknown:
            continue
        except BrokerError as error:
            await again_later(error)


async def again_later(error: BrokerError) -> None:
    """Wait, if the node is only away; anything else fails the test."""
    if error.retry != "later" and error.code != "unreachable":
        raise error
    await asyncio.sleep(0.2)


async def misfortune(processes: Processes, order: random.Random) -> Counter[str]:
    """Kill -9, again and again."""
    done: Counter[str] = Counter()
    for _ in range(KILLS):
        await asyncio.sleep(order.uniform(0.3, 1.2))
        victim = order.choice([*NODES, "gateway", "gateway", "nats-server"])
        if victim in NODES:
            await processes.kill(victim)
            await processes.start_node(victim)
            done[victim] += 1
        elif kill_child(processes, victim):
            done[victim] += 1
    return done


async def whole_inbox(client: Client) -> list[InboxItem]:
    items: list[InboxItem] = []
    while True:
        page = await client.inbox(since=items[-1].position if items else 0, limit=500)
        items += page.items
        if not page.more:
            return items


async def test_each_accepted_alert_is_in_each_inbox_exactly_once(tmp_path: Path) -> None:
    order = random.Random(20261124)  # noqa: S311 - not for a secret
    async with running_region(tmp_path / "r") as (_, processes, clients):
        sent: list[tuple[str, Submission]] = []
        numbers = iter(range(COUNT))

        async def send_some() -> None:
            for number in numbers:
                sender = NODES[number % len(NODES)]
                to = tuple(code for code in NODES if code != sender)
                signed = await prepared(clients[sender], to, number)
                sent.append((sender, await submitted(clients[sender], signed)))

        async with asyncio.timeout(BOUND_S):
            async with asyncio.TaskGroup() as group:
                killing = group.create_task(misfortune(processes, order))
                for _ in range(SENDERS):
                    group.create_task(send_some())
            final = [await settled(clients[code], each) for code, each in sent]
        assert sum(killing.result().values()) >= KILLS // 2
        assert len(sent) == COUNT
        assert len({each.submission_id for _, each in sent}) == COUNT

        wanted: Counter[tuple[str, str]] = Counter()
        for each in final:
            for outcome in each.recipients:
                assert outcome.state is RecipientState.DELIVERED, outcome.code
                assert outcome.decided_at is not None  # its signed receipt was verified
                wanted[outcome.recipient, str(each.alert_id)] += 1
        got: Counter[tuple[str, str]] = Counter()
        for code in NODES:
            for item in await whole_inbox(clients[code]):
                got[code, str(item.alert_id)] += 1
        assert got == wanted
        assert set(got.values()) == {1}
        for client in clients.values():
            assert (await client.node_status()).quarantined == 0


async def settled(client: Client, submission: Submission) -> Submission:
    """Its last state."""
    while True:
        try:
            shown = (await client.status(submission.submission_id)).shown
        except BrokerError:
            await asyncio.sleep(0.2)
            continue
        if all(each.state.final and each.decided_at for each in shown.recipients):
            return shown
        await asyncio.sleep(0.1)
