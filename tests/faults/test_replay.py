"""Envelopes and copies that are repeated, reordered, cut short or altered on their way."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import select

from broker import clock
from broker.envelope.decision import parse_delivery
from broker.log.audited import parse_audited
from broker.node.node import Node
from broker.store import tables
from broker.transport.link import Link
from broker.transport.message import Message
from keys.primitives.hashing import sha256
from schemas import canonical
from schemas.desk import NodeStatus, RecipientState, Submission
from tests.support.envelopes import make
from tests.support.gateway import running_gateway
from tests.support.hub import RunningHub, running_hub
from tests.support.nodes import Clock, opened_node, request, running_node, send, until_over
from tests.support.region import make_region

pytestmark = [pytest.mark.hub, pytest.mark.timeout(300)]


@dataclass
class Stage:
    """A hub with a gateway, SG at work, and MY, which a test starts."""

    hub: RunningHub
    folder: Path
    gateway: Link
    sg: Node
    clock_of_my: Clock = field(default_factory=Clock)

    @asynccontextmanager
    async def my(self) -> AsyncIterator[Node]:
        async with (
            opened_node(self.hub, "MY", self.folder, now=self.clock_of_my) as node,
            node.running(),
        ):
            yield node

    async def queue(self) -> Submission:
        return await send(self.sg, self.hub.region, request(self.hub.region, ("MY",)))

    async def delivered(self) -> Submission:
        """One more alert, sent and confirmed: whatever came before it has been dealt with."""
        last = await until_over(self.sg, (await self.queue()).submission_id)
        assert last.recipients[0].state is RecipientState.DELIVERED, last.recipients[0].code
        return last

    async def stored(self, submission: Submission) -> Submission:
        """The submission once its copy lies in the inbox at the hub."""
        async for shown in self.sg.watch(submission.submission_id):
            if shown.recipients[0].state is RecipientState.STORED:
                return shown
        pytest.fail("it is over before it was stored")

    async def confirmed(self, submission: Submission) -> None:
        """Return once MY said that it keeps the alert, whatever it said before."""
        while True:
            ticket = self.sg.changes.ticket()
            shown = await self.sg.submission(submission.submission_id)
            if shown.recipients[0].state is RecipientState.DELIVERED:
                return
            await ticket.wait()

    async def intercepted(self, count: int) -> list[Message]:
        """What lies in the inbox of MY, taken out of it."""
        taken: list[Message] = []
        while len(taken) < count:
            taken += await self.gateway.pull("INBOX_MY_normal", "normal", batch=count, timeout_s=5)
        for message in taken:
            await message.ack()
        return taken

    async def publish(self, message: Message, payload: bytes | None = None, *, turn: int) -> None:
        """Put a copy into the inbox of MY as the hub's operator could."""
        await self.gateway.publish_acked(
            message.subject, payload or message.payload, msg_id=f"operator.{turn}.{message.subject}"
        )


@pytest_asyncio.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    region = make_region(("SG", "MY"), now=clock.now())
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub(region, tmp_path / "hub"))
        gateway = await stack.enter_async_context(running_gateway(hub))
        sg = await stack.enter_async_context(running_node(hub, "SG", tmp_path))
        yield Stage(hub, tmp_path, gateway, sg)


async def status_when(node: Node, right: Callable[[NodeStatus], bool]) -> NodeStatus:
    """The node's status once it is `right`; the test's time limit ends the wait."""
    while True:
        ticket = node.mail.ticket()
        status = await node.status()
        if right(status):
            return status
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.1):  # a clock that a test moves wakes nobody
                await ticket.wait()


async def test_a_senders_own_bytes_again_are_not_delivered_twice(stage: Stage) -> None:
    await forget_soon(stage, "SUBMIT_SG", "submit.SG.>")
    await forget_soon(stage, "INBOX_MY_normal", "deliver.MY.normal.>")
    made = make(stage.hub.region, ("MY",), counter=1000)
    subject = f"submit.SG.normal.{made.label.id}"
    async with stage.my() as my:
        for turn in range(
            3
        ):  # each beyond the server's window: its own deduplication has forgotten
            await stage.sg.link.publish_acked(subject, made.sealed.raw, msg_id=f"{turn}")
            await stage.delivered()
        page = await my.inbox()
        assert sum(item.id == made.label.id for item in page.items) == 1
        assert len(page.items) == 4
        assert (await my.status()).quarantined == 0
    year = made.label.created.year
    standing = await stage.gateway.get_last(f"AUDIT_{year}", f"audit.{year}.SG.{made.label.id}")
    assert standing is not None
    assert (
        parse_audited(standing.payload).open(stage.hub.region.record_keys).decision.header.digest
        == made.sealed.digest
    )


async def forget_soon(stage: Stage, stream: str, subject: str) -> None:
    """Shorten the server's memory of message ids to the least it allows."""
    found = await stage.gateway.api(f"STREAM.INFO.{stream}", {})
    config = {**found["config"], "subjects": [subject], "duplicate_window": 100_000_000}
    await stage.gateway.api(f"STREAM.UPDATE.{stream}", config)


async def test_a_copy_that_the_hub_publishes_again_is_not_stored_twice(stage: Stage) -> None:
    submission = await stage.stored(await stage.queue())
    (message,) = await stage.intercepted(1)
    async with stage.my() as my:
        for turn in range(3):
            await stage.publish(message, turn=turn)
        await stage.delivered()
        items = (await my.inbox()).items
        ident = parse_delivery(message.payload).delivered.frame.label.id
        assert [item.id for item in items].count(ident) == 1
        assert len(items) == 2
    last = await until_over(stage.sg, submission.submission_id)
    assert last.recipients[0].state is RecipientState.DELIVERED


async def test_copies_in_another_order_all_arrive_and_no_gap_is_claimed(stage: Stage) -> None:
    for _ in range(5):
        await stage.stored(await stage.queue())
    taken = await stage.intercepted(5)
    numbers = [parse_delivery(each.payload).delivered.slot.pair_seq for each in taken]
    assert numbers == [(1, number) for number in range(1, 6)]
    withheld, *others = taken
    for turn, message in enumerate(reversed(others)):
        await stage.publish(message, turn=turn)
    async with stage.my() as my:
        await status_when(my, lambda status: status.inbox == 4)
        await stage.sg.upkeep.tell_pairs()
        await noticed(my)
        stage.clock_of_my.ahead = timedelta(minutes=16)
        status = await status_when(my, lambda status: bool(status.gaps))
        assert [(gap.peer, gap.number) for gap in status.gaps] == [("SG", 1)]  # withheld, not late
        await stage.publish(withheld, turn=5)
        await status_when(my, lambda status: not status.gaps and status.inbox == 5)


async def noticed(node: Node) -> None:
    """Return once a pair-state has shown that a number is missing."""
    while True:
        async with node.database.read() as connection:
            if (await connection.execute(select(tables.gaps))).first() is not None:
                return
        await asyncio.sleep(0.05)


async def decided(stage: Stage) -> None:
    """Return once nothing waits to be judged in SG's lane."""
    while True:
        info = await stage.gateway.api("CONSUMER.INFO.SUBMIT_SG.GATEWAY-normal", {})
        if not info["num_pending"] + info["num_ack_pending"]:
            return
        await asyncio.sleep(0.05)


def cut(raw: bytes) -> bytes:
    return raw[: len(raw) // 2]


def inside(change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """Change the copy and leave the decision beside it as it was."""

    def changed(raw: bytes) -> bytes:
        match canonical.decode(raw, max_bytes=len(raw)):
            case [1, bytes(copy), bytes(decision)]:
                return canonical.encode([1, change(copy), decision])
            case _:
                raise AssertionError

    return changed


def flipped(where: float) -> Callable[[bytes], bytes]:
    def flip(raw: bytes) -> bytes:
        at = int(len(raw) * where)
        return raw[:at] + bytes((raw[at] ^ 1,)) + raw[at + 1 :]

    return flip


DAMAGE = {
    "cut": inside(cut),
    "a bit of the stanza": inside(flipped(0.35)),
    "a bit of the content": inside(flipped(0.8)),
    "a bit of the signature": inside(flipped(0.9999)),
}


@pytest.mark.parametrize("name", DAMAGE)
async def test_a_damaged_copy_is_quarantined_and_its_sender_told(stage: Stage, name: str) -> None:
    submission = await stage.stored(await stage.queue())
    (message,) = await stage.intercepted(1)
    await stage.publish(message, DAMAGE[name](message.payload), turn=1)
    async with stage.my() as my:
        last = await until_over(stage.sg, submission.submission_id)
        outcome = last.recipients[0]
        assert (outcome.state, outcome.refused_by) == (RecipientState.REFUSED, "recipient")
        assert outcome.code
        status = await my.status()
        assert (status.inbox, status.quarantined) == (0, 1)
        assert (f"quarantined-{outcome.code}", "SG") in {(a.code, a.peer) for a in status.alarms}
        # The lane carries on, and the true copy is still welcome: its sender is told that too.
        await stage.delivered()
        await stage.publish(message, turn=2)
        await status_when(my, lambda status: status.inbox == 2)
        await stage.confirmed(submission)


async def test_a_damaged_repetition_does_not_undo_what_was_delivered(stage: Stage) -> None:
    submission = await stage.stored(await stage.queue())
    (message,) = await stage.intercepted(1)
    async with stage.my() as my:
        await stage.publish(message, turn=1)
        assert (await until_over(stage.sg, submission.submission_id)).recipients[0].delivered_at
        await stage.publish(message, DAMAGE["a bit of the content"](message.payload), turn=2)
        await status_when(my, lambda status: status.quarantined == 1)
        await stage.delivered()
        shown = await stage.sg.submission(submission.submission_id)
        assert shown.recipients[0].state is RecipientState.DELIVERED


async def test_a_copy_cut_beyond_reading_raises_an_alarm_and_its_number_stays_missing(
    stage: Stage,
) -> None:
    await stage.stored(await stage.queue())
    (message,) = await stage.intercepted(1)
    await stage.publish(message, cut(message.payload), turn=1)
    async with stage.my() as my:
        await stage.delivered()
        await stage.sg.upkeep.tell_pairs()
        await noticed(my)
        stage.clock_of_my.ahead = timedelta(minutes=16)
        status = await status_when(my, lambda status: bool(status.gaps))
        assert [(gap.peer, gap.number) for gap in status.gaps] == [("SG", 1)]
        assert "quarantined-bad-delivery" in {alarm.code for alarm in status.alarms}


async def test_submissions_cut_short_are_refused_as_malformed_and_block_nothing(
    stage: Stage,
) -> None:
    made = make(stage.hub.region, ("MY",), counter=1000)
    raw = made.sealed.raw
    parts = [raw[:length] for length in (0, 1, 20, len(raw) // 2, len(raw) - 1)]
    async with stage.my() as my:
        for number, part in enumerate(parts):
            subject = f"submit.SG.normal.{made.label.id}"
            await stage.sg.link.publish_acked(subject, part, msg_id=f"cut.{number}")
        await decided(stage)
        year = clock.now().year
        for part in parts:
            subject = f"audit.{year}.SG.malformed.{sha256(part).hex()}"
            kept = await stage.gateway.get_last(f"AUDIT_{year}", subject)
            assert kept is not None
            assert (
                parse_audited(kept.payload).open(stage.hub.region.record_keys).decision.header.code
            )
        info = await stage.gateway.api("CONSUMER.INFO.SUBMIT_SG.GATEWAY-normal", {})
        assert (info["num_pending"], info["num_redelivered"]) == (0, 0)
        await stage.delivered()
        assert [item.id for item in (await my.inbox()).items] != [made.label.id]
        # What was cut short names no id: the whole envelope is judged as if nothing had been.
        await stage.sg.link.publish_acked(
            f"submit.SG.normal.{made.label.id}", raw, msg_id=f"{made.sealed.digest.hex()}.1"
        )
        await status_when(my, lambda status: status.inbox == 2)
