"""An erased record is nowhere on the hub's disk; its leaf stays, and its id stays decided."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest
import pytest_asyncio

from broker import clock
from broker.errors import BrokerError
from broker.gateway import record
from broker.ledger.intake import Witnessed
from broker.log.audited import parse_audited
from broker.log.erasure import erasure_ref, is_erasure, parse_erasure
from broker.log.leaf import LeafKind, parse_leaf
from broker.log.merkle import leaf_hash
from broker.transport.streamstates import erase_message, stream_states
from keys.primitives.hashing import sha256
from keys.primitives.signing import SignKey
from tests.ledger.erasing import Stage, erasing
from tests.support.gateway import no_mail, submit
from tests.support.hub import BOUND_S

pytestmark = [pytest.mark.hub, pytest.mark.timeout(90)]


@pytest_asyncio.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with erasing(tmp_path) as running:
        yield running


async def test_an_erased_record_is_nowhere_on_the_hubs_disk(stage: Stage) -> None:
    before, made, after = (stage.make(number) for number in (1, 2, 3))
    await stage.decide(before)
    decision = await stage.decide(made)
    await stage.decide(after)
    marks = await stage.marks(made, decision)
    assert any("AUDIT" in name for name in stage.places(*marks))
    done = await stage.erase(made)
    assert (done.leaves, done.messages) == (1, 1)
    await stage.gone(*marks)
    await stage.hub.restart(kill=True)
    await stage.own.wait_connected(BOUND_S)
    assert stage.places(*marks) == []
    for kept in (before, after):
        subject = record.decided("SG", kept.label.id)
        standing = await stage.own.get_last(record.stream_of(subject), subject)
        assert standing is not None
        audited = parse_audited(standing.payload).open(stage.region.record_keys)
        assert audited.decision.header.digest == kept.sealed.digest


async def test_its_leaf_stays_and_another_speaks_of_it_to_whoever_has_the_salt(
    stage: Stage,
) -> None:
    await stage.decide(stage.make(1))
    made = stage.make(2)
    decision = await stage.decide(made)
    await stage.erase(made)
    async with asyncio.timeout(BOUND_S):
        while not stage.leaves(LeafKind.ERASURE):  # it is in the log; soon it is in sight
            await stage.committer.state.locked()
    entries = stage.entries()
    (erasure,) = stage.leaves(LeafKind.ERASURE)
    assert stage.leaves(LeafKind.STREAM) == []
    assert len(stage.leaves(LeafKind.DECISION)) == 2
    erasure.signed.verify(stage.pen.key.public)
    name = sha256(erasure.signed.to_bytes()).hex()
    salt, index = parse_erasure((stage.folder / "erasures" / f"{name}.erasure").read_bytes())
    assert erasure.signed.statement.ref == erasure_ref(salt, leaf_hash(entries[index]))
    about = parse_leaf(entries[index]).signed.statement
    assert about.seq == 1  # the second decision's number
    assert about.c_body not in entries[-1]
    assert decision.header.digest not in b"".join(entries)


async def test_an_erased_id_stays_decided(stage: Stage) -> None:
    made = stage.make(1)
    await stage.decide(made)
    await stage.erase(made)
    other = stage.make(1)
    assert other.label.id == made.label.id
    assert (await stage.decide(other)).header.code == "id-reused"
    # The same bytes again: within the server's window their second receipt is dropped.
    await submit(stage.sg, made, attempt=2)
    assert (await stage.refusal(made)).header.code == "id-reused"
    await no_mail(stage.my, "MY")


async def test_erasing_again_adds_nothing_and_takes_what_came_since(stage: Stage) -> None:
    made = stage.make(1)
    await stage.decide(made)
    await stage.erase(made)
    await submit(stage.sg, made, attempt=2)
    refused = await stage.refusal(made)  # a record of its own, under the same id
    beside = record.reused("SG", made.label.id, made.sealed.digest)
    async with asyncio.timeout(BOUND_S):
        while beside not in await stage.subjects():
            pass  # each look is a request to the database
    marks = await stage.marks(made, refused)
    again = await stage.erase(made)
    subjects = await stage.subjects()
    assert beside not in subjects
    assert record.decided("SG", made.label.id) in subjects  # the id stays decided
    assert (again.leaves, again.messages) == (1, 1)
    await stage.gone(*marks)
    once_more = await stage.erase(made)
    assert (once_more.leaves, once_more.messages) == (0, 0)
    assert len(stage.leaves(LeafKind.ERASURE)) == 2


async def test_copies_that_nobody_took_go_too(stage: Stage) -> None:
    made = stage.make(1)
    await submit(stage.sg, made)
    (message,) = await stage.sg.pull("RECEIPT_SG", "SG", batch=1, timeout_s=10)
    assert b"gw-1" in message.payload  # it waits for its acknowledgement still
    done = await stage.erase(made)
    assert done.messages == 3  # the record, the receipt, the copy in MY's inbox
    await stage.gone(made.sealed.digest, made.sealed.raw[-64:])


async def test_a_crash_before_the_deletion_is_gone_on_with(stage: Stage) -> None:
    """The statement stands beside the record: what a kill between the two leaves behind."""
    made = stage.make(1)
    decision = await stage.decide(made)
    subject = record.decided("SG", made.label.id)
    stream = record.stream_of(subject)
    first = await stage.own.get_last(stream, subject)
    assert first is not None
    marks = await stage.marks(made, decision)
    tombstone = stage.pen.state(LeafKind.ERASURE, now=clock.now(), ref=bytes(31) + b"\1")
    await stage.own.publish_acked(
        subject, tombstone.to_bytes(), msg_id="t", expect_last_subject_seq=first.seq
    )
    done = await stage.erase(made)
    assert (done.leaves, done.messages) == (0, 1)
    await stage.gone(*marks)


async def test_nothing_is_deleted_before_the_log_has_read_it(stage: Stage) -> None:
    stage.grown.cancel()
    await asyncio.wait((stage.grown,))
    made = stage.make(1)
    await stage.decide(made)
    for _ in range(2):
        with pytest.raises(BrokerError) as caught:
            await stage.eraser(within_s=0.3).erase("SG", made.label.id, now=clock.now())
        assert (caught.value.code, caught.value.retry) == ("not-logged", "later")
    subject = record.decided("SG", made.label.id)
    standing = await stage.own.get_last(record.stream_of(subject), subject)
    assert standing is not None
    assert not is_erasure(standing.payload)


@pytest.mark.parametrize("ident", [UUID(int=7), UUID("0193a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b")])
async def test_what_was_never_decided_cannot_be_erased(stage: Stage, ident: UUID) -> None:
    with pytest.raises(BrokerError) as caught:
        await stage.eraser().erase("SG", ident, now=clock.now())
    assert caught.value.code == "no-record"


async def test_an_erasure_that_the_log_did_not_sign_is_a_fault(stage: Stage) -> None:
    made = stage.make(1)
    await stage.decide(made)
    subject = record.decided("SG", made.label.id)
    forged = Witnessed(SignKey.generate()).state(LeafKind.ERASURE, now=clock.now())
    await stage.own.publish_acked(f"{subject}.erased.x", forged.to_bytes(), msg_id="f")
    async with asyncio.timeout(BOUND_S):
        while not stage.leaves(LeafKind.FAULT):
            await stage.own.get_last(record.stream_of(subject), subject)  # lets the log go on
    assert stage.leaves(LeafKind.ERASURE) == []


async def test_without_the_erasing_delete_the_bytes_would_stay(stage: Stage) -> None:
    """What the search above can see: a plain deletion leaves every byte on the disk."""
    made = stage.make(1)
    marks = await stage.marks(made, await stage.decide(made))
    subject = record.decided("SG", made.label.id)
    stream = record.stream_of(subject)
    standing = await stage.own.get_last(stream, subject)
    assert standing is not None
    await stage.decide(stage.make(2))
    await stage.own.api(f"STREAM.MSG.DELETE.{stream}", {"seq": standing.seq, "no_erase": True})
    assert stage.places(*marks) != []
    with pytest.raises(BrokerError):
        await erase_message(stage.own, stream, standing.seq)  # too late


async def test_the_hub_is_told_of_each_message_that_goes_and_takes_none_for_lost(
    stage: Stage,
) -> None:
    made = stage.make(1)
    await submit(stage.sg, made)  # its copy and its receipt are taken by nobody
    async with asyncio.timeout(BOUND_S):
        while True:  # each look is a request to the server
            before = await stream_states(stage.own)
            if before["RECEIPT_SG"].messages and not before["SUBMIT_SG"].messages:
                break
    done = await stage.erase(made)
    after = await stream_states(stage.own)
    gone = {name: after[name].gone - before[name].gone for name in after}
    assert sum(gone.values()) == done.messages > 1
    assert {name: count for name, count in gone.items() if count} == dict(stage.noted)
