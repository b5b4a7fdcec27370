"""500 alerts among three members while gateway, nodes and nats-server are killed at random.

Every fifth is for somebody who may not have it: Thailand, whose refusal the sender's node foresees,
and Viet Nam, which signs a stricter policy a moment before: whoever hears of it first refuses, the
gateway, the sender's node, or the recipient's own.
"""

import asyncio
import os
import random  # noqa: TID251 - a seeded order of kills, so that a failure can be repeated
from collections import Counter
from pathlib import Path

import pytest

from broker import clock
from broker.cli.demo import alerts
from broker.cli.demo.processes import Processes
from broker.cli.demo.region import NODES, DemoRegion
from broker.client import BrokerError, Client, OutcomeUnknown, SignedDraft
from keys.directory import layout
from keys.directory.ceremony import sign_proposal
from keys.directory.drafting import Draft
from keys.directory.holders import load_ministry, load_online_signers
from keys.directory.repository import DirectoryRepository
from keys.home import Home
from schemas.desk import DraftRequest, InboxItem, RecipientState, Submission, SubmissionState
from schemas.vocabulary import TLP, Purpose, Status
from tests.support.processes import kill_child, running_region
from tests.support.waiting import must_come

pytestmark = [pytest.mark.processes, pytest.mark.timeout(420)]
COUNT = int(os.environ.get("KENTONG_FAULT_ALERTS", "500"))  # noqa: TID251 - a test setting
KILLS = max(6, COUNT // 25)
SENDERS = 6
BOUND_S = 300
REFUSED_EVERY = 5
STRICTER = b"""
[[rule]]
name = "no-more-of-this"
effect = "forbid"
direction = "import"
purposes_any = ["threat-analysis"]
"""


async def prepared(client: Client, to: tuple[str, ...], number: int) -> SignedDraft:
    """A draft, signed; asked for again while the node is away."""
    request = DraftRequest(
        status=Status.EXERCISE,
        alert=alerts.cyber(clock.now().date(), number),
        recipients=to,
        agency="POLICE",
        tlp=TLP.AMBER,
        purposes=(Purpose.THREAT_ANALYSIS if number % REFUSED_EVERY == 0 else Purpose.WARN,),
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


def forbid_at_vn(region: DemoRegion) -> None:
    """Publish a policy of Viet Nam that forbids what it took until now."""
    place = Home(region.hub)
    repository = DirectoryRepository(place.directory, pinned_root=place.pinned_root())
    known = repository.trusted().content
    path = layout.member_files("VN")[1]
    draft = Draft(known, now=clock.now(), bundle=repository.bundle())
    draft.put_member_files("VN", {path: known.files[path] + STRICTER})
    ministry = load_ministry(Home(region.home("VN")).ministry("VN"))
    signed, _ = sign_proposal(draft.proposal(), known, ministry.signer(lambda _: region.passphrase))
    online = load_online_signers(place.hub_keys, region.passphrase)
    repository.publish(signed, online=online, now=clock.now())


async def test_each_accepted_alert_is_in_each_inbox_exactly_once(tmp_path: Path) -> None:
    order = random.Random(20261124)  # noqa: S311 - not for a secret
    async with running_region(tmp_path / "r") as (region, processes, clients):
        await asyncio.to_thread(forbid_at_vn, region)
        sent: list[tuple[str, Submission]] = []
        numbers = iter(range(COUNT))

        async def send_some() -> None:
            for number in numbers:
                sender = NODES[number % len(NODES)]
                more = ("TH",) if number % REFUSED_EVERY == 0 else ()
                to = (*(code for code in NODES if code != sender), *more)
                signed = await prepared(clients[sender], to, number)
                sent.append((sender, await submitted(clients[sender], signed)))

        async with must_come(BOUND_S, lambda: f"not all of {len(sent)} alerts are over"):
            async with asyncio.TaskGroup() as group:
                killing = group.create_task(misfortune(processes, order))
                for _ in range(SENDERS):
                    group.create_task(send_some())
            final = [await settled(clients[code], each) for code, each in sent]
        assert sum(killing.result().values()) >= KILLS // 2
        assert len(sent) == COUNT
        assert len({each.submission_id for _, each in sent}) == COUNT

        wanted: Counter[tuple[str, str]] = Counter()
        refused: Counter[tuple[str, str]] = Counter()
        for each in final:
            for outcome in each.recipients:
                if outcome.state is RecipientState.REFUSED:
                    refused[outcome.recipient, outcome.refused_by] += 1
                    assert outcome.code == "policy-import-forbid"
                    continue
                assert outcome.state is RecipientState.DELIVERED, outcome.code
                assert outcome.decided_at is not None  # its signed receipt was verified
                wanted[outcome.recipient, str(each.alert_id)] += 1
        assert refused["TH", "node"] == len(range(0, COUNT, REFUSED_EVERY))
        assert sum(refused["VN", who] for who in ("node", "gateway", "recipient")) > 0
        assert {recipient for recipient, _ in refused} == {"TH", "VN"}
        got: Counter[tuple[str, str]] = Counter()
        for code in NODES:
            for item in await whole_inbox(clients[code]):
                got[code, str(item.alert_id)] += 1
        assert got == wanted
        assert set(got.values()) == {1}
        # What the gateway let through a moment before it knew, Viet Nam's own node kept apart.
        for code, client in clients.items():
            kept_apart = (await client.node_status()).quarantined
            assert kept_apart == refused[code, "recipient"]


async def settled(client: Client, submission: Submission) -> Submission:
    """Its last state."""
    while True:
        try:
            known = await client.status(submission.submission_id)
            shown = known.shown
            if shown.state is SubmissionState.NEEDS_ATTENTION:  # its node heard of it meanwhile
                await known.proceed()
        except BrokerError:
            await asyncio.sleep(0.2)
            continue
        if all(
            each.state.final and (each.decided_at or each.refused_by == "node")
            for each in shown.recipients
        ):
            return shown
        await asyncio.sleep(0.1)
