"""The gateway on a real hub: verdicts, receipts, standing decisions, quotas, held mail, poison."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from broker import clock
from broker.envelope.decision import (
    check_accepted,
    encode_delivery,
    parse_delivery,
    verify_decision,
)
from broker.envelope.delivered import open_delivered
from broker.envelope.submitted import deliver, parse_submitted
from broker.gateway.directory import DirectoryInForce
from broker.hub.unread import SPARE, UnreadSweep
from broker.log.audited import parse_audited
from broker.transport.errors import StreamFull
from broker.transport.link import Link
from broker.transport.message import EXPIRES_HEADER
from broker.transport.streamstates import stream_states
from keys.primitives.hashing import sha256
from schemas.decision import Decision, parse_decision
from schemas.label import DirectoryVersion, Sender
from schemas.policy import PolicyDocument
from schemas.receipt import DecisionReceipt, NoticeReceipt, TemporaryRefusal, Where, parse_notice
from schemas.vocabulary import Lane, Precedence, Status
from tests.support.envelopes import Made, decide, make
from tests.support.gateway import (
    Source,
    mail,
    no_mail,
    receipt,
    running_gateway,
    submit,
)
from tests.support.hub import BOUND_S, MIB, SMALL, RunningHub, nothing_read, running_hub
from tests.support.region import TestRegion, make_region

pytestmark = pytest.mark.hub


@dataclass
class Stage:
    """A hub, a worker, and two members' links."""

    hub: RunningHub
    region: TestRegion
    source: Source
    directory: DirectoryInForce
    gateway: Link
    sg: Link
    my: Link

    def make(self, tail: int = 1, **changes: object) -> Made:
        return make(self.region, ("MY", "TH"), tail=tail, **changes)

    def decision(self, told: object) -> Decision:
        assert isinstance(told, DecisionReceipt)
        decision = parse_decision(told.decision)
        verify_decision(decision, self.region.view)
        return decision


@pytest_asyncio.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    th = PolicyDocument(format=1, member="TH", title="TH takes nothing")
    region = make_region(("SG", "MY", "TH"), now=clock.now(), policies={"TH": th})
    source = Source(region.view)
    directory = DirectoryInForce.read(source)
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub(region, tmp_path / "hub"))
        gateway = await stack.enter_async_context(running_gateway(hub, directory=directory))
        links = [await stack.enter_async_context(hub.member_link(code)) for code in ("SG", "MY")]
        for link in links:
            await link.wait_connected(BOUND_S)
        yield Stage(hub, region, source, directory, gateway, *links)


async def test_an_alert_reaches_whom_policy_permits_and_the_sender_learns_the_rule(
    stage: Stage,
) -> None:
    made = stage.make()
    await submit(stage.sg, made)
    told = await receipt(stage.sg)
    decision = stage.decision(told)
    assert isinstance(told, DecisionReceipt)
    assert told.copies == (("MY", Where.STORED),)
    assert decision.header.digest == made.sealed.digest
    verdicts = {record.recipient: (record.accepted, record.rule) for record in decision.records}
    assert verdicts["MY"][0]
    assert verdicts["TH"] == (False, "no permit matched in TH import")
    got = await mail(stage.my, "MY")
    decided_at = check_accepted(got, stage.region.view, member="MY")
    opened = open_delivered(
        got.delivered,
        member="MY",
        open_keys=stage.region.members["MY"].open_keys,
        view=stage.region.view,
        at=decided_at,
    )
    assert opened.content == made.content


async def test_each_lane_is_served(stage: Stage) -> None:
    for number, (lane, changes) in enumerate(
        {
            Lane.URGENT: {"precedence": Precedence.FLASH},
            Lane.EXERCISE: {"status": Status.EXERCISE},
        }.items()
    ):
        await submit(stage.sg, stage.make(number + 10, **changes))
        assert (await mail(stage.my, "MY", str(lane))).delivered.frame.label.lane is lane


async def test_the_same_bytes_again_get_the_standing_decision_and_no_second_copy(
    stage: Stage,
) -> None:
    made = stage.make()
    await submit(stage.sg, made)
    first = stage.decision(await receipt(stage.sg))
    await mail(stage.my, "MY")
    await submit(stage.sg, made, attempt=2)
    # Inside the server's window the repeated receipt is dropped with the repeated delivery.
    other = stage.make(2)
    await submit(stage.sg, other)
    assert stage.decision(await receipt(stage.sg)).header.digest == other.sealed.digest
    assert (await mail(stage.my, "MY")).delivered.frame.digest == other.sealed.digest
    standing = await stage.gateway.get_last(
        f"AUDIT_{made.label.created.year}", f"audit.{made.label.created.year}.SG.{made.label.id}"
    )
    assert standing is not None
    assert parse_audited(standing.payload).open(stage.region.record_keys).decision == first


async def test_other_bytes_under_a_decided_id_are_refused_and_recorded(stage: Stage) -> None:
    made, other = stage.make(), stage.make()
    assert made.label.id == other.label.id
    await submit(stage.sg, made)
    await receipt(stage.sg)
    await mail(stage.my, "MY")
    await submit(stage.sg, other)
    decision = stage.decision(await receipt(stage.sg))
    assert decision.header.code == "id-reused"
    assert decision.header.digest == other.sealed.digest
    await no_mail(stage.my, "MY")


async def test_an_id_stays_decided_after_the_server_was_killed(stage: Stage) -> None:
    made, other = stage.make(), stage.make()
    await submit(stage.sg, made)
    await receipt(stage.sg)
    await mail(stage.my, "MY")
    await stage.hub.restart(stage.sg, stage.my, stage.gateway)
    await submit(stage.sg, other)
    told = stage.decision(await receipt(stage.sg))
    while told.header.digest == made.sealed.digest:  # whose acknowledgement died with the server
        assert not told.header.code
        told = stage.decision(await receipt(stage.sg))
    assert (told.header.code, told.header.digest) == ("id-reused", other.sealed.digest)
    for message in await stage.my.pull("INBOX_MY_normal", "normal", batch=9, timeout_s=0.5):
        # Only what was handed out before, whose acknowledgement died with the server.
        assert parse_delivery(message.payload).delivered.frame.digest == made.sealed.digest


async def test_a_sender_that_names_another_member_is_refused(stage: Stage) -> None:
    made = make(stage.region, ("SG",), sender=Sender(member="TH", agency="HQ"))
    subject = f"submit.SG.{made.label.lane}.{made.label.id}"
    await stage.sg.publish_acked(subject, made.sealed.raw, msg_id="x")
    assert stage.decision(await receipt(stage.sg)).header.code == "wrong-sender"
    year = made.label.created.year
    assert await stage.gateway.get_last(f"AUDIT_{year}", f"audit.{year}.TH.{made.label.id}") is None
    await no_mail(stage.sg, "SG")


@pytest.mark.parametrize("subject", ["submit.SG.normal.rubbish", "submit.SG.urgent.a.b.c"])
async def test_rubbish_is_refused_and_recorded_and_stops_nothing(
    stage: Stage, subject: str
) -> None:
    await stage.sg.publish_acked(subject, b"rubbish", msg_id="x", headers={"X": "y" * 2000})
    decision = stage.decision(await receipt(stage.sg))
    assert (decision.header.code, decision.header.digest) == ("not-canonical", sha256(b"rubbish"))
    await submit(stage.sg, stage.make())
    await mail(stage.my, "MY")


async def test_what_may_pass_later_is_told_so_and_not_recorded(stage: Stage) -> None:
    version = stage.region.view.version
    ahead = DirectoryVersion(root=version.root, snapshot=version.snapshot + 1, hash=version.hash)
    region = replace(stage.region, view=replace(stage.region.view, version=ahead))
    made = make(region, ("MY",))
    await submit(stage.sg, made)
    told = await receipt(stage.sg)
    assert isinstance(told, TemporaryRefusal)
    assert (told.code, told.digest) == ("directory-behind", made.sealed.digest)
    stage.source.current = region.view
    stage.directory.reread()
    await submit(stage.sg, made, attempt=2)
    assert not stage.decision(await receipt(stage.sg)).header.code
    await mail(stage.my, "MY")


async def test_copies_for_a_full_inbox_are_held_and_others_are_not_delayed(
    tmp_path: Path,
) -> None:
    region = make_region(("SG", "MY", "TH"), now=clock.now())
    sizes = replace(SMALL, inbox=MIB // 4, held=MIB // 4)
    async with (
        running_hub(region, tmp_path / "hub", sizes=sizes) as hub,
        running_gateway(hub),
        hub.member_link("SG") as sg,
        hub.member_link("MY") as my,
        hub.member_link("TH") as th,
    ):
        for link in (sg, my, th):
            await link.wait_connected(BOUND_S)
        where: list[Where] = []
        made: list[Made] = []
        while Where.BOUNCED not in where:
            made.append(make(region, ("MY", "TH"), tail=len(made) + 1))
            await submit(sg, made[-1])
            assert (await mail(th, "TH")).delivered.frame.label.id == made[-1].label.id
            told = await receipt(sg)
            if isinstance(told, NoticeReceipt):
                notice = parse_notice(told.notice)
                assert (notice.where, notice.recipient) == (Where.BOUNCED, "MY")
                told = await receipt(sg)
            assert isinstance(told, DecisionReceipt)
            where.append(dict(told.copies)["MY"])
        assert where == sorted(where, key=[Where.STORED, Where.HELD, Where.BOUNCED].index)
        assert where.count(Where.HELD) > 1
        for sent in made[:-1]:  # MY comes back and finds everything that was accepted, in order
            assert (await mail(my, "MY")).delivered.frame.label.id == sent.label.id
        await no_mail(my, "MY")


async def test_a_held_copy_that_expires_is_announced_to_both_sides(stage: Stage) -> None:
    made = stage.make(expires=stage.region.now + timedelta(days=1))
    await submit(stage.sg, made)
    await receipt(stage.sg)
    delivered = await stage.my.pull("INBOX_MY_normal", "normal", batch=1, timeout_s=5)
    ident = made.label.id
    async with stage.hub.hub_link() as own:
        await own.wait_connected(BOUND_S)
        await stage.gateway.publish_acked(
            f"held.MY.SG.normal.{ident}",
            delivered[0].payload,
            msg_id="h",
            headers={"Kentong-Expires": "1000"},
        )
    for link, member in ((stage.sg, "SG"), (stage.my, "MY")):
        told = await receipt(link, member)
        assert isinstance(told, NoticeReceipt)
        notice = parse_notice(told.notice)
        assert (notice.where, notice.id, notice.recipient) == (Where.EXPIRED, ident, "MY")
        key = stage.region.view.gateway_key(told.kid, at=stage.region.now)
        key.verify(told.signature, b"kentong/notice/1\0" + told.notice)


async def test_a_copy_that_nobody_reads_leaves_its_inbox_and_both_sides_hear(
    stage: Stage,
) -> None:
    until = stage.region.now + timedelta(days=1)
    made = stage.make(expires=until)
    staying = stage.make(tail=2, expires=until + timedelta(days=1))
    for one in (made, staying):
        await submit(stage.sg, one)
        await receipt(stage.sg)
    async with stage.hub.hub_link() as own:
        await own.wait_connected(BOUND_S)
        sweep = UnreadSweep(own, nothing_read)
        assert await sweep.sweep(until - timedelta(seconds=1)) == 0
        assert await sweep.sweep(until + timedelta(seconds=1)) == 1
        assert await sweep.sweep(until + timedelta(seconds=1)) == 0
    for link, member in ((stage.sg, "SG"), (stage.my, "MY")):
        told = await receipt(link, member)
        assert isinstance(told, NoticeReceipt)
        notice = parse_notice(told.notice)
        assert (notice.where, notice.id) == (Where.EXPIRED, made.label.id)
    assert (await mail(stage.my, "MY")).delivered.frame.label.id == staying.label.id
    await no_mail(stage.my, "MY")


async def test_the_hub_remembers_no_more_of_what_was_read_than_of_what_waits(
    stage: Stage,
) -> None:
    ends = str(int((stage.region.now + timedelta(days=80)).timestamp() * 1000))
    async with stage.hub.hub_link() as own:
        await own.wait_connected(BOUND_S)
        sweep = UnreadSweep(own, nothing_read)

        async def wait_for(first: int, count: int) -> None:
            for number in range(first, first + count):
                subject, headers = f"deliver.MY.normal.{number}", {EXPIRES_HEADER: ends}
                await own.publish_acked(subject, b"x", msg_id=subject, headers=headers)
            await sweep.sweep(stage.region.now)

        def remembered() -> int:
            return len(sweep._streams["INBOX_MY_normal"].leaving)

        await wait_for(0, 1)
        for first in range(1, 101, 10):  # never empty when the hub looks, and read all the time
            await wait_for(first, 10)
            for message in await stage.my.pull("INBOX_MY_normal", "normal", batch=10, timeout_s=5):
                await message.ack()
        await until_left(own, "INBOX_MY_normal", 1)
        await sweep.sweep(stage.region.now)
        assert remembered() == 1
        # The first one stays, and what lies behind it goes.
        (first_left,) = await stage.my.pull("INBOX_MY_normal", "normal", batch=1, timeout_s=5)
        await wait_for(200, 2 * SPARE)
        for message in await stage.my.pull(
            "INBOX_MY_normal", "normal", batch=2 * SPARE, timeout_s=5
        ):
            await message.ack()
        await until_left(own, "INBOX_MY_normal", 1)
        await sweep.sweep(stage.region.now)
        assert remembered() == 1
        await first_left.ack()
        assert await sweep.sweep(stage.region.now + timedelta(days=81)) == 0


async def until_left(link: Link, stream: str, count: int) -> None:
    async with asyncio.timeout(BOUND_S):
        while (await stream_states(link))[stream].messages != count:  # noqa: ASYNC110 - the server
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("good", [True, False])
async def test_a_held_copy_is_returned_by_a_clock_that_is_believed_alone(
    tmp_path: Path, *, good: bool
) -> None:
    region = make_region(("SG", "MY"), now=clock.now())
    made = make(region, ("MY",))
    raw = made.sealed.raw
    copy = encode_delivery(deliver(parse_submitted(raw), "MY"), decide(region, raw), "MY")
    async with (
        running_hub(region, tmp_path / "hub") as hub,
        running_gateway(hub, clock_is_good=lambda: good) as link,
    ):
        subject = f"held.MY.SG.normal.{made.label.id}"
        await link.publish_acked(subject, copy, msg_id="1", headers={EXPIRES_HEADER: "1"})
        if good:
            assert isinstance(await receipt(link, "SG"), NoticeReceipt)
            await no_mail(link, "MY")
        else:
            assert (await mail(link, "MY")).delivered.frame.label.id == made.label.id


async def test_a_full_lane_leaves_room_in_the_others(tmp_path: Path) -> None:
    region = make_region(("SG", "MY"), now=clock.now())
    async with (
        running_hub(region, tmp_path / "hub", sizes=replace(SMALL, inbox=MIB // 8)) as hub,
        hub.hub_link() as own,
        hub.member_link("MY") as my,
    ):
        for link in (own, my):
            await link.wait_connected(BOUND_S)

        async def flood() -> None:
            for number in range(40):
                await own.publish_acked("deliver.MY.exercise.x", bytes(4096), msg_id=f"{number}")

        with pytest.raises(StreamFull):
            await flood()
        await own.publish_acked("deliver.MY.urgent.x", bytes(4096), msg_id="urgent")
        assert len(await my.pull("INBOX_MY_urgent", "urgent", batch=9, timeout_s=5)) == 1
