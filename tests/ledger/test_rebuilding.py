"""A lost record: nothing is judged until the log has put back which ids are decided."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from broker import clock
from broker.cli.admin.log_resume import put_right
from broker.errors import BrokerError
from broker.gateway import record
from broker.gateway.audit_watch import AuditWatch, nothing_lost
from broker.gateway.directory import DirectoryInForce
from broker.hub.memory import StreamMemory
from broker.ledger.reading import AUDIT
from broker.ledger.subjects import SealedSubjects, SubjectSealer
from broker.log.announcement import stream_id
from broker.log.audited import parse_audited
from broker.log.leaf import LeafKind
from broker.log.rebuilt import decided_before, is_rebuilt, ready
from broker.transport.streams import AUDIT_AGE, AUDIT_PREFIX, ready_subject, years_at
from broker.transport.streamstates import StreamState, stream_states
from keys.primitives.signing import SignKey
from schemas.directory import LogDocument
from schemas.receipt import DecisionReceipt, TemporaryRefusal
from tests.ledger.stages import Stage, a_stage
from tests.support.envelopes import make
from tests.support.gateway import Source, receipt, running_gateway, submit
from tests.support.hub import BOUND_S, RunningHub, running_hub
from tests.support.region import make_region

pytestmark = [pytest.mark.hub, pytest.mark.timeout(60)]


@pytest_asyncio.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with a_stage(tmp_path) as found:
        await found.announce()
        yield found


def directory(hub: RunningHub, key: SignKey) -> DirectoryInForce:
    """The region's, which names a log with this sequencer."""
    log = LogDocument(
        origin="log.example/x", ed25519=bytes(32), ml_dsa_44=bytes(1312), sequencer=key.public.raw
    )
    view = hub.region.view
    named = replace(view, hub=view.hub.model_copy(update={"log": log}))
    return DirectoryInForce.read(Source(named))


async def made_anew(stage: Stage) -> str:
    """Lose the stream; return when the new one was made."""
    config = (await stage.own.api(f"STREAM.INFO.{stage.stream}", {}))["config"]
    await stage.own.api(f"STREAM.DELETE.{stage.stream}", {})
    await stage.own.api(f"STREAM.CREATE.{stage.stream}", config)
    return (await stream_states(stage.own, "audit.>"))[stage.stream].created


async def test_what_was_decided_before_a_loss_is_not_decided_twice(stage: Stage) -> None:
    made = await stage.decide(3)
    leaves = await stage.grow()
    await made_anew(stage)
    pen = stage.sequencer.pen
    done = await put_right(stage.own, stage.committer.state, pen.key)
    assert (done.streams, done.subjects) == ((stage.stream,), 3)
    again = await put_right(stage.own, stage.committer.state, pen.key)  # killed halfway, say
    assert (again.streams, again.subjects) == ((stage.stream,), 0)
    for each in made:
        standing = await stage.own.get_last(stage.stream, record.decided("SG", each.label.id))
        assert standing is not None
        assert standing.payload == decided_before(standing.subject, pen.key)
    await submit(stage.sg, made[0], attempt=2)
    refused = record.reused("SG", made[0].label.id, made[0].sealed.digest)
    async with asyncio.timeout(BOUND_S):
        while (found := await stage.own.get_last(stage.stream, refused)) is None:
            pass  # each look is a request to the server
    standing = parse_audited(found.payload).open(stage.region.record_keys)
    assert standing.decision.header.code == "id-reused"
    await stage.decide(1)
    stage.size = await stage.sequencer.resume(stage.size)
    await stage.announce()
    kinds = [leaf.signed.statement.kind for leaf in (await stage.grow())[len(leaves) :]]
    # The loss, the refusal and the number that it voided, and one more decision; nothing else.
    assert sorted(kinds) == sorted(
        [LeafKind.STREAM, LeafKind.DECISION, LeafKind.VOID, LeafKind.DECISION]
    )
    with pytest.raises(BrokerError) as caught:
        await put_right(stage.own, stage.committer.state, pen.key)
    assert caught.value.code == "nothing-to-resume"


async def test_what_was_put_back_by_others_is_a_fault(stage: Stage) -> None:
    await stage.grow()
    subject = f"audit.{clock.now().year}.SG.x"
    forged = decided_before(subject, SignKey.generate())
    await stage.own.publish_acked(subject, forged, msg_id="1")
    moved = decided_before(f"{subject}.y", stage.sequencer.pen.key)
    await stage.own.publish_acked(f"{subject}.z", moved, msg_id="2")
    kinds = [leaf.signed.statement.kind for leaf in await stage.grow()]
    assert kinds == [LeafKind.FAULT, LeafKind.FAULT]


async def test_a_stream_that_is_gone_must_be_made_first(stage: Stage) -> None:
    await stage.decide(1)
    await stage.grow()
    await stage.own.api(f"STREAM.DELETE.{stage.stream}", {})
    with pytest.raises(BrokerError) as caught:
        await put_right(stage.own, stage.committer.state, stage.sequencer.pen.key)
    assert caught.value.code == "no-stream"


async def test_a_gateway_judges_nothing_until_the_stream_is_ready(tmp_path: Path) -> None:
    key = SignKey.generate()
    async with a_stage(tmp_path) as stage, watching(stage, key) as watch:
        await watch.look()
        assert watch.may_judge
        created = await made_anew(stage)
        await watch.look()
        assert not watch.may_judge
        await watch.look()
        assert not watch.may_judge
        name = stage.stream
        wrong = (
            ready(stream_id(name, created), SignKey.generate()),
            ready(stream_id(name, "another time"), key),
            decided_before(ready_subject(name), key),
        )
        for number, raw in enumerate(wrong):
            await stage.own.publish_acked(ready_subject(name), raw, msg_id=f"{number}")
            await watch.look()
            assert not watch.may_judge
        mark = ready(stream_id(name, created), key)
        await stage.own.publish_acked(ready_subject(name), mark, msg_id="mark")
        await watch.look()
        assert watch.may_judge
        await stage.hub.restart()  # what a server forgot shows before anything is judged
        async with asyncio.timeout(BOUND_S):
            while watch.may_judge:  # noqa: ASYNC110 - until the connection is another one
                await asyncio.sleep(0.01)
        assert not watch.may_judge
        await watch.look()
        assert watch.may_judge


@asynccontextmanager
async def watching(
    stage: Stage, key: SignKey, lost: Callable[[], Mapping[str, int]] = nothing_lost
) -> AsyncIterator[AuditWatch]:
    async with stage.hub.hub_link() as link:
        await link.wait_connected(BOUND_S)
        yield AuditWatch(link, lambda: key.public.raw, lost)


async def test_a_loss_that_the_hub_noticed_holds_a_worker_that_begins(stage: Stage) -> None:
    key, state = stage.sequencer.pen.key, stage.committer.state
    await stage.decide(1)
    await stage.grow()
    last = (await stream_states(stage.own, "audit.>"))[stage.stream].last_seq
    async with stage.hub.hub_link() as link:
        await link.wait_connected(BOUND_S)
        watch = AuditWatch(link, lambda: key.public.raw, lambda: {stage.stream: last})
        await watch.look()
        assert not watch.may_judge
        done = await put_right(stage.own, state, key, {stage.stream: last})
        assert done.streams == (stage.stream,)
        with pytest.raises(BrokerError) as caught:  # the hub's memory still says so: it is done
            await put_right(stage.own, state, key, {stage.stream: last})
        assert caught.value.code == "nothing-to-resume"
        await watch.look()
        assert watch.may_judge  # behind what the hub noticed; its memory may say so for ever
        nobody = AuditWatch(link, lambda: None, lambda: {stage.stream: 10**6})
        await nobody.look()
        assert nobody.may_judge  # no log, and so nobody who could put anything back


async def test_a_look_that_comes_after_the_mark_holds_nobody(stage: Stage) -> None:
    """The hub looks seldom, and a worker may have stood still while everything was put right."""
    key, state = stage.sequencer.pen.key, stage.committer.state
    await stage.decide(3)
    await stage.grow()
    memory = await seen_again(stage, StreamMemory())
    async with watching(stage, key, lambda: memory.lost) as watch:
        await watch.look()
        await made_anew(stage)
        memory = memory.before_repair(await stream_states(stage.own, AUDIT), now=clock.now())
        await put_right(stage.own, state, key, memory.lost)
        await stage.decide(2)  # by a worker that noticed it in time
        await watch.look()
        assert watch.may_judge
        memory = await seen_again(stage, memory)
        await watch.look()
        assert watch.may_judge
    async with watching(stage, key, lambda: memory.lost) as later:
        await later.look()
        assert later.may_judge


async def test_a_look_after_the_mark_of_a_stream_that_lost_its_end_holds_nobody(
    stage: Stage,
) -> None:
    """As a worker sees it that read more of the stream than the log did before the loss."""
    key, state = stage.sequencer.pen.key, stage.committer.state
    await stage.decide(1)
    await stage.grow()
    states = await stream_states(stage.own, AUDIT)
    known = states[stage.stream]
    longer = {**states, stage.stream: replace(known, last_seq=known.last_seq + 9)}
    memory = StreamMemory().seen(longer, now=clock.now())
    async with watching(stage, key, lambda: memory.lost) as watch:
        await watch.look()
        watch._known = longer
        memory = memory.before_repair(states, now=clock.now())
        assert memory.lost == {stage.stream: known.last_seq}
        assert memory.went_back == (stage.stream,)
        await put_right(stage.own, state, key, memory.lost)
        await stage.decide(1)
        await watch.look()
        assert watch.may_judge
        assert (await seen_again(stage, memory)).lost == memory.lost


async def test_what_a_worker_alone_noticed_is_held_until_a_mark_behind_it(stage: Stage) -> None:
    key = stage.sequencer.pen.key
    await stage.decide(1)
    created = (await stream_states(stage.own, AUDIT))[stage.stream].created
    mark = ready(stream_id(stage.stream, created), key)
    await stage.own.publish_acked(ready_subject(stage.stream), mark, msg_id="before the loss")
    async with watching(stage, key) as watch:
        await watch.look()
        known = watch._known[stage.stream]
        watch._known = {stage.stream: replace(known, last_seq=known.last_seq + 1)}
        for _ in range(2):
            await watch.look()
            assert not watch.may_judge
        await stage.own.publish_acked(ready_subject(stage.stream), mark, msg_id="after it")
        await watch.look()
        assert watch.may_judge


async def test_what_was_put_right_is_not_held_while_its_mark_is_read_again(stage: Stage) -> None:
    """The hub's memory says for ever that it was lost; each look reads the mark once more."""
    key, name = stage.sequencer.pen.key, stage.stream
    await stage.decide(1)
    created = (await stream_states(stage.own, AUDIT))[name].created
    mark = ready(stream_id(name, created), key)
    await stage.own.publish_acked(ready_subject(name), mark, msg_id="mark")
    async with watching(stage, key, lambda: {name: 0}) as watch:
        await watch.look()
        async with asyncio.TaskGroup() as group:
            looking = group.create_task(watch.look())
            while not looking.done():
                assert watch.may_judge
                await asyncio.sleep(0)
        assert watch.may_judge


async def test_a_loss_that_the_memory_names_no_more_holds_nobody(stage: Stage) -> None:
    """An older memory was put back, say: there is nothing that a mark could put right."""
    lost = {stage.stream: 12}
    async with watching(stage, SignKey.generate(), lambda: lost) as watch:
        await watch.look()
        assert not watch.may_judge
        lost.clear()
        await watch.look()
        assert watch.may_judge


async def test_a_memory_begun_anew_holds_until_the_log_marked_every_stream(stage: Stage) -> None:
    """What the damaged one knew of losses may have been anything, an older mark or not."""
    key, state = stage.sequencer.pen.key, stage.committer.state
    await stage.decide(2)
    await stage.grow()
    states = await stream_states(stage.own, AUDIT)
    mark = ready(stream_id(stage.stream, states[stage.stream].created), key)
    await stage.own.publish_acked(ready_subject(stage.stream), mark, msg_id="long ago")
    memory = StreamMemory(begun_anew=True)
    async with watching(stage, key, lambda: memory.held(clock.now())) as watch:
        await watch.look()  # the hub has not looked yet
        assert not watch.may_judge
        assert memory.before_repair(states, now=clock.now()).begun_anew
        states = await stream_states(stage.own, AUDIT)
        half = {name: states[name] for name in states if name != stage.stream}
        half_seen = memory.seen(half, now=clock.now(), silent={stage.stream})
        assert half_seen.begun_anew  # nobody spoke for one of them
        memory = half_seen.seen(states, now=clock.now())
        assert not memory.begun_anew
        assert memory.lost == {name: seen.last_seq for name, seen in states.items()}
        assert set(memory.went_back) == states.keys()
        await watch.look()
        assert not watch.may_judge
        done = await put_right(stage.own, state, key, memory.lost)
        assert set(done.streams) == states.keys()
        await watch.look()
        assert watch.may_judge
        assert (await seen_again(stage, memory)).lost == memory.lost


async def test_a_year_that_is_over_holds_nobody(stage: Stage) -> None:
    name = f"AUDIT_{years_at(clock.now())[0] - 1}"
    config = (await stage.own.api(f"STREAM.INFO.{stage.stream}", {}))["config"]
    subject = f"audit.{name.removeprefix(AUDIT_PREFIX)}.>"
    config |= {"name": name, "subjects": [subject]}
    await stage.own.api(f"STREAM.CREATE.{name}", config)
    async with watching(stage, SignKey.generate(), lambda: {name: 0}) as watch:
        await watch.look()
        assert watch.may_judge
        await stage.own.api(f"STREAM.DELETE.{name}", {})
        await watch.look()
        assert watch.may_judge


async def test_a_mark_of_another_stream_puts_nothing_right(stage: Stage) -> None:
    """As in a stream that an operator put back from a copy, marks and all."""
    key, state = stage.sequencer.pen.key, stage.committer.state
    await stage.decide(1)
    await stage.grow()
    mark = ready(stream_id(stage.stream, "another time"), key)
    await stage.own.publish_acked(ready_subject(stage.stream), mark, msg_id="mark")
    done = await put_right(stage.own, state, key, {stage.stream: 0})
    assert done.streams == (stage.stream,)


async def seen_again(stage: Stage, memory: StreamMemory) -> StreamMemory:
    """What the hub remembers after a look at the streams as they are."""
    return memory.seen(await stream_states(stage.own, AUDIT), now=clock.now())


async def test_submissions_wait_and_are_told_to_come_again(tmp_path: Path) -> None:
    region, key = make_region(("SG", "MY"), now=clock.now()), SignKey.generate()
    name = f"AUDIT_{clock.now().year}"
    async with (
        running_hub(region, tmp_path / "hub") as hub,
        hub.member_link("SG") as sg,
        hub.hub_link() as own,
        running_gateway(hub, directory=directory(hub, key), lost=lambda: {name: 0}),
    ):
        for link in (sg, own):
            await link.wait_connected(BOUND_S)
        made = make(region, ("MY",))
        await submit(sg, made)
        told = await receipt(sg)
        assert isinstance(told, TemporaryRefusal)
        assert (told.code, told.id) == ("audit-unready", made.label.id)
        subject = record.decided("SG", made.label.id)
        assert await own.get_last(name, subject) is None
        created = (await stream_states(own, "audit.>"))[name].created
        mark = ready(stream_id(name, created), key)
        await own.publish_acked(ready_subject(name), mark, msg_id="mark")
        attempt = 1
        async with asyncio.timeout(BOUND_S):
            while not isinstance(told, DecisionReceipt):
                attempt += 1
                await submit(sg, made, attempt=attempt)
                told = await receipt(sg)
        assert await own.get_last(name, subject) is not None


def test_the_hub_remembers_a_loss_until_the_log_put_it_right() -> None:
    now = clock.now()
    before = {"AUDIT_2026": StreamState("1", 9), "B": StreamState("1", 9)}
    known = StreamMemory().seen(before, now=now)
    behind = known.seen({"AUDIT_2026": StreamState("1", 6), "B": StreamState("1", 6)}, now=now)
    assert behind.lost == {"AUDIT_2026": 6}
    later = behind.looked_into().seen({"AUDIT_2026": StreamState("1", 8)}, now=now)
    assert later.lost == {"AUDIT_2026": 6}  # to know why is not to put it right
    assert later.seen({}, now=now).lost == {"AUDIT_2026": 0}
    assert nothing_lost() == {}


def test_a_loss_is_over_once_what_it_took_had_left_by_age() -> None:
    """By then the log's mark left too: who waited for it would wait for ever."""
    now, name = datetime(2026, 11, 26, 12, tzinfo=UTC), "AUDIT_2026"
    state = {name: StreamState("1", 6)}
    lost = StreamMemory().seen({name: StreamState("1", 9)}, now=now).seen(state, now=now)
    assert (lost.lost, lost.lost_at) == ({name: 6}, {name: now})
    last, later = now + AUDIT_AGE, now + AUDIT_AGE + timedelta(seconds=1)
    assert int(name[-4:]) in years_at(later)  # it is still judged by this stream
    assert lost.seen(state, now=last).lost == {name: 6}
    assert lost.seen(state, now=later, clock_is_good=False).lost == {name: 6}
    over = lost.seen(state, now=later)
    assert (over.lost, over.lost_at) == ({}, {})
    again = lost.seen({name: StreamState("1", 5)}, now=last)
    assert again.seen({name: StreamState("1", 5)}, now=later).lost == {name: 5}
    older = StreamMemory(streams=lost.streams, lost=lost.lost)  # of a version that kept no time
    assert older.seen(state, now=now).lost_at == {name: now}


def test_the_stream_of_a_year_that_is_over_may_be_removed() -> None:
    now = datetime(2026, 11, 26, 12, tzinfo=UTC)
    names = ("AUDIT_2024", "AUDIT_2025", "AUDIT_2026")
    assert years_at(now)[0] == 2025
    known = StreamMemory().seen({name: StreamState("1", 9) for name in names}, now=now)
    rest = {name: StreamState("1", 9) for name in names[1:]}
    after = known.seen(rest, now=now)
    assert (after.lost, after.went_back) == ({}, ())
    assert known.seen(rest, now=now, clock_is_good=False).lost == {"AUDIT_2024": 0}
    assert known.seen({}, now=now).lost == {"AUDIT_2025": 0, "AUDIT_2026": 0}
    earlier = known.model_copy(update={"lost": {"AUDIT_2024": 0}})
    assert earlier.seen(rest, now=now).lost == {}


def test_a_repair_notices_losses_of_decisions_alone() -> None:
    """The hub looks beside it: what it saw of other streams a moment before must not go back."""
    now = clock.now()
    before = {name: StreamState("1", 9, 9) for name in ("AUDIT_2026", "AUDIT_2027", "B")}
    known = StreamMemory().seen(before, now=now)
    grown = {"AUDIT_2026": StreamState("1", 12, 12), "B": StreamState("1", 3, 3)}
    after = known.before_repair({**grown, "AUDIT_2027": StreamState("2", 4, 4)}, now=now)
    assert after.lost == {"AUDIT_2027": 0}  # any mark that names it is newer
    assert after.went_back == ("AUDIT_2027",)
    assert {**known.streams, "AUDIT_2027": after.streams["AUDIT_2027"]} == after.streams
    assert after.before_repair({**grown, "AUDIT_2027": StreamState("2", 4, 4)}, now=now) == after
    gone = known.before_repair({"AUDIT_2026": StreamState("1", 5, 5)}, now=now)
    assert gone.lost == {"AUDIT_2026": 5, "AUDIT_2027": 0}


def test_subjects_open_under_their_key_alone() -> None:
    sealer, other = (SubjectSealer.of(SignKey.generate()) for _ in range(2))
    subjects = [f"audit.2026.SG.0193a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1{n}" for n in range(3)]
    own = [f"audit.2026.{nobodys}" for nobodys in ("gateway.gw-1.0.1", "opened", "log.ready")]
    row = sealer.seal(2026, [*own, *subjects])
    assert row is not None
    assert sealer.open(row) == subjects
    assert row.year == 2026
    assert b".SG." not in row.sealed  # four bytes: not there by chance
    assert sealer.seal(2026, own) is None
    wrong = bytes([row.sealed[0] ^ 1, *row.sealed[1:]]), row.sealed[:-1], row.sealed[:9], b""
    for sealed in wrong:
        with pytest.raises(BrokerError) as caught:
            sealer.open(SealedSubjects(2026, sealed))
        assert caught.value.code == "subject-damaged"
    with pytest.raises(BrokerError):
        other.open(row)


async def test_rows_of_a_year_that_is_over_go(stage: Stage) -> None:
    await stage.decide(2)
    await stage.grow()
    state, year = stage.committer.state, clock.now().year
    (row,) = (await state.subjects(year)).values()
    assert len(SubjectSealer.of(stage.sequencer.pen.key).open(row)) == 2
    await state.keep_years((year - 1, year))
    assert await state.subjects(year)
    await state.keep_years((year + 1,))
    assert await state.subjects(year) == {}
    assert is_rebuilt(decided_before("audit.2026.SG.x", SignKey.generate()))
