"""Two nodes, a gateway and a real hub: what a desk may rely on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import pytest_asyncio
from sqlalchemy import select

from broker import clock
from broker.node import pairs
from broker.node.errors import NodeError
from broker.node.ids import new_id
from broker.node.incoming import MAX_FAULTS, MAX_RETRIES
from broker.node.node import Node
from broker.node.present import Present
from broker.node.vault import Vault
from broker.store import tables
from keys.identity import MemberIdentity
from keys.primitives.hashing import sha256
from schemas.control import PairState
from schemas.desk import OriginalDocument, RecipientState, SubmissionState
from schemas.label import DirectoryVersion, Facts
from schemas.policy import PolicyDocument
from schemas.vocabulary import Lane, Status
from tests.support.envelopes import delivery, make
from tests.support.gateway import running_gateway
from tests.support.handed import Handed
from tests.support.hub import BOUND_S, RunningHub, running_hub
from tests.support.nodes import Clock, opened_node, request, running_node, send, sign, until_over
from tests.support.region import TestRegion, make_region

pytestmark = [pytest.mark.hub, pytest.mark.usefixtures("databases")]


@dataclass
class Stage:
    """SG and MY at work, TH taking nothing."""

    region: TestRegion
    hub: RunningHub
    folder: Path
    sg: Node
    my: Node


def a_region() -> TestRegion:
    th = PolicyDocument(format=1, member="TH", title="TH takes nothing")
    return make_region(("SG", "MY", "TH"), now=clock.now(), policies={"TH": th})


@pytest_asyncio.fixture
async def hub(tmp_path: Path) -> AsyncIterator[RunningHub]:
    async with running_hub(a_region(), tmp_path / "hub") as running:
        yield running


@pytest_asyncio.fixture
async def stage(hub: RunningHub, tmp_path: Path) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(running_gateway(hub))
        sg, my = [
            await stack.enter_async_context(running_node(hub, code, tmp_path))
            for code in ("SG", "MY")
        ]
        yield Stage(hub.region, hub, tmp_path, sg, my)


async def test_an_alert_arrives_and_its_sender_learns_that_it_was_kept(stage: Stage) -> None:
    async with asyncio.timeout(BOUND_S):
        asked = request(stage.region, ("MY", "TH"))
        submission = await send(stage.sg, stage.region, asked)
        assert submission.state is SubmissionState.QUEUED
        last = await until_over(stage.sg, submission.submission_id)
        outcomes = {outcome.recipient: outcome for outcome in last.recipients}
        assert outcomes["MY"].state is RecipientState.DELIVERED
        assert outcomes["MY"].delivered_at is not None
        assert outcomes["TH"].state is RecipientState.REFUSED
        assert outcomes["TH"].rule == "no permit matched in TH import"
        assert outcomes["TH"].refused_by == "node"
        async for item in stage.my.subscribe():
            assert item.alert == asked.alert.body
            assert (item.sender, item.officer.pseudonym) == ("SG", "SG-7Q4")
            assert item.id == last.id
            break
        assert (await stage.my.status()).inbox == 1


async def test_an_original_travels_byte_for_byte_or_its_hash_does(stage: Stage) -> None:
    document = OriginalDocument(content=b"\x00 the source \xff", media_type="text/plain", name="a")
    async with asyncio.timeout(BOUND_S):
        for without in (False, True):
            asked = request(stage.region, ("MY",), original=document, without_original=without)
            submission = await send(stage.sg, stage.region, asked)
            last = await until_over(stage.sg, submission.submission_id)
            assert last.id is not None
            item = await stage.my.item(last.id)
            assert item.original is not None
            assert item.original.sha256 == sha256(document.content)
            assert item.original.carried is not without
            if without:
                with pytest.raises(NodeError):
                    await stage.my.original(last.id)
            else:
                assert await stage.my.original(last.id) == document


async def test_the_same_request_twice_is_one_submission(stage: Stage) -> None:
    draft = await stage.sg.create_draft(request(stage.region, ("MY",)))
    signature = sign(stage.region, draft)
    first, again = [
        await stage.sg.submit_draft(
            draft.draft_id,
            signature=signature,
            officer_kid=draft.officer_kid,
            idempotency_key="the-same-key",
        )
        for _ in range(2)
    ]
    assert first.submission_id == again.submission_id
    other = await stage.sg.create_draft(request(stage.region, ("MY",)))
    with pytest.raises(NodeError) as caught:
        await stage.sg.submit_draft(
            other.draft_id,
            signature=sign(stage.region, other),
            officer_kid=other.officer_kid,
            idempotency_key="the-same-key",
        )
    assert (caught.value.code, caught.value.kind) == ("idempotency-reused", "conflict")
    with pytest.raises(NodeError) as caught:
        await stage.sg.submit_draft(
            draft.draft_id,
            signature=signature,
            officer_kid=draft.officer_kid,
            idempotency_key="another-key",
        )
    assert caught.value.code == "draft-used"
    equal = (await stage.sg.preview(request(stage.region, ("MY",)))).equal_alerts
    assert [each.submission_id for each in equal] == [first.submission_id]


async def test_a_wrong_signature_queues_nothing(stage: Stage) -> None:
    draft = await stage.sg.create_draft(request(stage.region, ("MY",)))
    with pytest.raises(NodeError) as caught:
        await stage.sg.submit_draft(
            draft.draft_id,
            signature=bytes(64),
            officer_kid=draft.officer_kid,
            idempotency_key="some-key-1",
        )
    assert (caught.value.code, caught.value.kind) == ("bad-signature", "forbidden")
    assert (await stage.sg.outbox()).items == ()


async def test_what_is_queued_without_a_hub_arrives_when_there_is_one(
    hub: RunningHub, tmp_path: Path
) -> None:
    region = hub.region
    await hub.server.stop(kill=True)
    async with running_node(hub, "SG", tmp_path) as sg:
        queued = [await send(sg, region, request(region, ("MY",))) for _ in range(5)]
        assert all(each.state is SubmissionState.QUEUED for each in queued)
    await hub.server.start()
    async with (
        asyncio.timeout(BOUND_S),
        running_gateway(hub),
        running_node(hub, "SG", tmp_path) as sg,  # another process, as it were
        running_node(hub, "MY", tmp_path) as my,
    ):
        for each in queued:
            last = await until_over(sg, each.submission_id)
            assert last.recipients[0].state is RecipientState.DELIVERED
        assert len((await my.inbox()).items) == 5


async def test_mail_given_twice_is_kept_once(hub: RunningHub, tmp_path: Path) -> None:
    region = hub.region
    made = make(region, ("MY",))
    raw = delivery(region, made.sealed.raw, "MY")
    async with opened_node(hub, "MY", tmp_path) as my:
        for _ in range(3):
            assert await my.incoming.take(raw)
        assert len((await my.inbox()).items) == 1
        async with my.database.read() as connection:
            assert len((await connection.execute(select(tables.outbox))).all()) == 1


async def test_what_fails_a_check_is_quarantined_and_its_sender_told(
    hub: RunningHub, tmp_path: Path
) -> None:
    region = hub.region
    low = Facts(personal_data=False, victim=False, minor=False, biometrics=False)
    made = make(region, ("MY",), facts=low)
    raw = delivery(region, made.sealed.raw, "MY")
    damaged = bytearray(raw)
    damaged[-200] ^= 1
    async with opened_node(hub, "MY", tmp_path) as my:
        assert await my.incoming.take(raw)
        assert await my.incoming.take(b"rubbish")
        assert await my.incoming.take(bytes(damaged))
        assert (await my.inbox()).items == ()
        status = await my.status()
        assert status.quarantined >= 2
        assert "quarantined-facts-understated" in {alarm.code for alarm in status.alarms}
        async with my.database.read() as connection:
            answers = (await connection.execute(select(tables.outbox))).all()
        assert len(answers) == 1  # the rejection; nobody answers rubbish
        assert answers[0].subject.startswith("submit.MY.control.")


async def rejections(node: Node) -> int:
    async with node.database.read() as connection:
        return len((await connection.execute(select(tables.outbox))).all())


@pytest.mark.parametrize("readable", [True, False])
async def test_what_always_fails_in_a_way_nobody_foresaw_stops_no_lane(
    hub: RunningHub, tmp_path: Path, *, readable: bool
) -> None:
    made = make(hub.region, ("MY",))
    copy = delivery(hub.region, made.sealed.raw, "MY")
    poison = Handed(copy, "deliver.MY.normal.x", "INBOX_MY_normal.normal")
    async with opened_node(hub, "MY", tmp_path) as my:
        broken = SimpleNamespace(open_keys=None)  # what no check expects
        my.incoming.identity = cast("MemberIdentity", broken)
        if not readable:
            broken_view = cast("Present", SimpleNamespace(now=my.present.now, view=None))
            my.incoming._quarantine = replace(my.incoming._quarantine, present=broken_view)
        for attempt in (1, MAX_RETRIES + 1, MAX_FAULTS):
            await my.incoming._take(poison.message(attempt))
        assert all(told.startswith(b"-NAK") for told in poison.told)
        assert (await my.status()).quarantined == 0
        await my.incoming._take(poison.message(MAX_FAULTS + 1))
        assert poison.told[-1] == b"+ACK"
        status = await my.status()
        assert status.quarantined == 1
        assert [alarm.code for alarm in status.alarms] == ["quarantined-node-fault"]
        assert await rejections(my) == (1 if readable else 0)
        async with my.database.read() as connection:
            kept = (await connection.execute(select(tables.quarantine))).one()
        assert kept.raw == poison.raw


async def test_a_node_that_cannot_seal_says_why_and_keeps_what_is_queued(
    hub: RunningHub, tmp_path: Path
) -> None:
    now = Clock()
    region = hub.region
    async with opened_node(hub, "SG", tmp_path, now=now) as sg:
        submission = await send(sg, region, request(region, ("MY",)))
        now.stopped = region.view.fresh_until
        assert await sg.outgoing.seal_due() == 0
        held = await sg.submission(submission.submission_id)
        assert (held.state, held.waiting_for) == (SubmissionState.QUEUED, "directory-expired")
        now.stopped = None
        sg.present.skew = timedelta(minutes=10)
        assert (await sg.status()).clock.state == "skew"
        await sg.outgoing.seal_due()
        assert (await sg.submission(submission.submission_id)).waiting_for == "clock-skew"
        sg.present.skew = timedelta(seconds=31)
        assert (await sg.status()).clock.state == "warn"
        sg.present.meet(DirectoryVersion(root=1, snapshot=1, hash=bytes(32)))
        now.stopped = clock.now() + timedelta(minutes=11)
        await sg.outgoing.seal_due()
        assert (await sg.submission(submission.submission_id)).waiting_for == "directory-split"
        now.stopped = None
        assert await sg.outgoing.seal_due() == 1
        sealed = await sg.submission(submission.submission_id)
        assert (sealed.state, sealed.waiting_for) == (SubmissionState.SUBMITTED, "")


async def test_a_verdict_that_got_worse_waits_for_a_person(hub: RunningHub, tmp_path: Path) -> None:
    region = hub.region
    async with opened_node(hub, "SG", tmp_path) as sg:
        submission = await send(sg, region, request(region, ("MY",)))
        nothing = PolicyDocument(format=1, member="MY", title="MY takes nothing any more")
        sg.present.take(region.changed("MY", policy=nothing))
        await sg.outgoing.seal_due()
        stopped = await sg.submission(submission.submission_id)
        assert stopped.state is SubmissionState.NEEDS_ATTENTION
        assert stopped.attention == "policy-import-default"
        await sg.proceed(submission.submission_id)
        await sg.outgoing.seal_due()
        done = await sg.submission(submission.submission_id)
        assert done.state is SubmissionState.DECIDED
        assert done.recipients[0].refused_by == "node"
        with pytest.raises(NodeError):
            await sg.proceed(submission.submission_id)


async def test_what_was_not_handed_over_can_be_cancelled(hub: RunningHub, tmp_path: Path) -> None:
    region = hub.region
    async with opened_node(hub, "SG", tmp_path) as sg:
        first, second = [await send(sg, region, request(region, ("MY",))) for _ in range(2)]
        cancelled = await sg.cancel(first.submission_id)
        assert cancelled.state is SubmissionState.CANCELLED
        await sg.outgoing.seal_due()
        with pytest.raises(NodeError) as caught:
            await sg.cancel(second.submission_id)
        assert caught.value.code == "already-submitted"
        async with sg.database.read() as connection:
            assert len((await connection.execute(select(tables.outbox))).all()) == 1


async def test_without_the_hub_it_stays_queued_and_can_be_cancelled(
    hub: RunningHub, tmp_path: Path
) -> None:
    region = hub.region
    async with opened_node(hub, "SG", tmp_path) as sg:
        submission = await send(sg, region, request(region, ("MY",)))
        sg.outgoing.link = hub.member_link("SG")  # never connected
        assert await sg.outgoing.seal_due(online=True) == 0
        waiting = await sg.submission(submission.submission_id)
        assert (waiting.state, waiting.waiting_for) == (SubmissionState.QUEUED, "hub-unreachable")
        cancelled = await sg.cancel(submission.submission_id)
        assert cancelled.state is SubmissionState.CANCELLED


async def test_an_exercise_is_counted_apart(stage: Stage) -> None:
    async with asyncio.timeout(BOUND_S):
        asked = request(stage.region, ("MY",), status=Status.EXERCISE)
        submission = await send(stage.sg, stage.region, asked)
        assert submission.exercise
        assert submission.lane is Lane.EXERCISE
        await until_over(stage.sg, submission.submission_id)
        status = await stage.my.status()
        assert (status.inbox, status.exercise_inbox) == (0, 1)
        assert (await stage.my.inbox()).items[0].exercise


async def test_a_withheld_number_shows_as_a_gap_until_it_arrives(
    hub: RunningHub, tmp_path: Path
) -> None:
    now = Clock()
    async with opened_node(hub, "MY", tmp_path, now=now) as my:
        at = clock.now()
        state = PairState(at=at, incarnation=1, since=1, highest=4, void=((2, 2),))

        async def tell(connection: object) -> None:
            await pairs.arrived(connection, "SG", (1, 1), now=at)  # type: ignore[arg-type]
            await pairs.compare(connection, "SG", state, now=at)  # type: ignore[arg-type]

        await my.database.change(tell)
        assert (await my.status()).gaps == ()
        now.stopped = at + timedelta(minutes=16)
        assert [gap.number for gap in (await my.status()).gaps] == [3, 4]
        made = make(replace(hub.region), ("MY",), counter=3)
        assert await my.incoming.take(delivery(hub.region, made.sealed.raw, "MY"))
        assert [gap.number for gap in (await my.status()).gaps] == [4]
        now.stopped = at + timedelta(hours=30)
        assert "pair-state-missing" in {alarm.code for alarm in (await my.status()).alarms}


async def test_pair_states_go_out_and_are_understood(stage: Stage) -> None:
    async with asyncio.timeout(BOUND_S):
        submission = await send(stage.sg, stage.region, request(stage.region, ("MY",)))
        await until_over(stage.sg, submission.submission_id)
        assert await stage.sg.upkeep.tell_pairs() <= 1  # its own task may have told it already
        while True:
            ticket = stage.my.changes.ticket()
            async with stage.my.database.read() as connection:
                rows = (await connection.execute(select(tables.numbers))).all()
            if len(rows) >= 2:
                break
            await asyncio.wait([asyncio.ensure_future(ticket.wait())], timeout=0.5)  # noqa: TID251
        assert (await stage.my.status()).gaps == ()


async def test_a_cursor_moves_forward_and_never_beyond_the_inbox(
    hub: RunningHub, tmp_path: Path
) -> None:
    async with opened_node(hub, "MY", tmp_path) as my:
        assert (await my.cursor("case-system")).position == 0
        with pytest.raises(NodeError):
            await my.acknowledge("case-system", 1)
        for tail in (1, 2):
            made = make(hub.region, ("MY",), tail=tail, counter=tail)
            await my.incoming.take(delivery(hub.region, made.sealed.raw, "MY"))
        assert (await my.acknowledge("case-system", 2)).position == 2
        assert (await my.acknowledge("case-system", 1)).position == 2
    async with opened_node(hub, "MY", tmp_path) as my:
        assert (await my.cursor("case-system")).position == 2
        assert len((await my.inbox(since=1)).items) == 1
        with pytest.raises(NodeError):
            await my.item(new_id(clock.now()))


BAD_REQUESTS = {
    "unknown type": ({"alert": {"type": "wildlife", "version": 1, "body": {}}}, "unknown-type"),
    "no alert": ({"alert": {"type": "cyber", "version": 1, "body": {"x": 1}}}, "bad-alert"),
    "no signer": ({"officer_kid": None}, "officer-key-missing"),
    "a stranger": ({"officer_kid": bytes(16)}, "unknown-officer"),
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
async def test_a_request_that_breaks_a_rule_is_refused_with_its_code(
    hub: RunningHub, tmp_path: Path, name: str
) -> None:
    changes, code = BAD_REQUESTS[name]
    asked = request(hub.region, ("MY",))
    bad = asked.model_validate({**dict(asked), **changes}, strict=False)
    async with opened_node(hub, "SG", tmp_path) as sg:
        with pytest.raises(NodeError) as caught:
            await sg.create_draft(bad)
        assert caught.value.code == code


def test_content_at_rest_opens_only_for_its_row_and_key() -> None:
    vault = Vault(bytes(32))
    sealed = vault.seal(b"secret", name="inbox/1")
    assert vault.open(sealed, name="inbox/1") == b"secret"
    assert b"secret" not in sealed
    for other, name, blob in (
        (vault, "inbox/2", sealed),
        (Vault(bytes(31) + b"\x01"), "inbox/1", sealed),
        (vault, "inbox/1", sealed[:-1]),
    ):
        with pytest.raises(NodeError) as caught:
            other.open(blob, name=name)
        assert caught.value.code == "storage-damaged"
