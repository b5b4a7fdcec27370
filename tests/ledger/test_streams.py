"""A stream that lost, repeats or restarts its messages forks nothing: it is noticed, and said."""

import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from broker import clock
from broker.gateway.decide import Decider
from broker.gateway.leftovers import Leftovers
from broker.gateway.presence import Presence
from broker.gateway.record import AuditTrail, opened, void
from broker.ledger import resuming
from broker.ledger.errors import LedgerError
from broker.ledger.holes import Holes
from broker.ledger.intake import SEQUENCER, GatewayKey
from broker.ledger.reading import Batch
from broker.log import announcement
from broker.log.announcement import resumed_after_reset, stream_id
from broker.log.leaf import LeafKind, Statement
from broker.transport.errors import Refused
from broker.transport.streamstates import stream_states
from keys.primitives.hashing import sha256
from tests.ledger.stages import Stage, a_stage, sequencer_of
from tests.support.hub import BOUND_S

pytestmark = [pytest.mark.hub, pytest.mark.timeout(60)]


@pytest_asyncio.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with a_stage(tmp_path) as found:
        await found.announce()
        yield found


async def stops(stage: Stage) -> None:
    """It says why, grows by nothing, and a new start stops there as well."""
    before = stage.leaves()
    for _ in range(2):
        with pytest.raises(LedgerError) as caught:
            await stage.grow()
        assert caught.value.code == "stream-reset"
        stage.sequencer = sequencer_of(stage.own, stage.committer, stage.region)
        stage.size = await stage.sequencer.resume((await stage.committer.recover()).size)
    assert stage.leaves() == before


async def resumed(stage: Stage) -> Statement:
    """Let it go on as `kentong log resume --stream-reset` does; return what the log says of it."""
    state = stage.committer.state
    position = (await state.positions())[stage.stream]
    await resuming.allow_reset(state, stage.stream, position)
    before = stage.size
    stage.size = await stage.sequencer.resume(stage.size)
    assert stage.size == before + 1
    said = stage.all()[-1].signed.statement
    about = resumed_after_reset(stream_id(stage.stream, position.created), position.next_seq)
    assert (said.gateway, said.kind, said.c_body) == (SEQUENCER, LeafKind.STREAM, about)
    assert await state.marks() == {}
    return said


async def made_anew(stage: Stage) -> None:
    config = (await stage.own.api(f"STREAM.INFO.{stage.stream}", {}))["config"]
    await stage.own.api(f"STREAM.DELETE.{stage.stream}", {})
    await stage.own.api(f"STREAM.CREATE.{stage.stream}", config)


async def test_a_purged_stream_is_one_gap(stage: Stage) -> None:
    """The server takes no purge, nor leave for one; what is left to a hub is message by message."""
    await stage.decide(1)
    read = await stage.grow()
    await stage.decide(3)
    config = (await stage.own.api(f"STREAM.INFO.{stage.stream}", {}))["config"]
    for name, body in (
        (f"STREAM.PURGE.{stage.stream}", {}),
        (f"STREAM.UPDATE.{stage.stream}", {**config, "deny_purge": False}),
    ):
        with pytest.raises(Refused):
            await stage.own.api(name, body)
    for seq in range(1, 6):
        await stage.own.api(f"STREAM.MSG.DELETE.{stage.stream}", {"seq": seq})
    leaves = await stage.grow()
    (gap,) = [leaf for leaf in leaves if leaf not in read]
    assert gap.signed.statement.kind is LeafKind.STREAM
    assert gap.stream_seq == 5  # announcement, decision, and the last of three that are gone
    await stage.decide(1)
    assert len(await stage.grow()) == len(leaves) + 1


async def test_a_head_that_was_gone_before_it_was_read_is_a_gap(tmp_path: Path) -> None:
    async with a_stage(tmp_path) as stage:
        await stage.decide(3)
        await stage.announce()
        for seq in (1, 2):
            await stage.own.api(f"STREAM.MSG.DELETE.{stage.stream}", {"seq": seq})
        kinds = {leaf.stream_seq: leaf.signed.statement.kind for leaf in await stage.grow()}
        assert kinds == {2: LeafKind.STREAM, 3: LeafKind.DECISION}


async def test_a_stream_rolled_back_by_three_messages_stops_it(stage: Stage) -> None:
    await stage.decide(2)
    kept = stage.hub.place.folder.parent / "kept"
    await stage.hub.server.stop()
    shutil.copytree(stage.hub.place.store, kept)
    await stage.hub.server.start()
    for link in (stage.sg, stage.own, stage.gateway):
        await link.wait_connected(BOUND_S)
    await stage.decide(3)
    leaves = await stage.grow()
    before = (await stream_states(stage.own, "audit.>"))[stage.stream]
    await stage.hub.server.stop()
    shutil.rmtree(stage.hub.place.store)
    kept.rename(stage.hub.place.store)
    await stage.hub.server.start()
    await stage.own.wait_connected(BOUND_S)
    after = (await stream_states(stage.own, "audit.>"))[stage.stream]
    assert (after.created, after.last_seq) == (before.created, before.last_seq - 3)
    await stops(stage)
    await resumed(stage)
    assert len(await stage.grow()) == len(leaves) + 1  # what is there was read; nothing is doubled
    await stage.gateway.wait_connected(BOUND_S)
    await stage.sg.wait_connected(BOUND_S)
    await stage.decide(2)
    assert len(await stage.grow()) == len(leaves) + 3


async def test_a_stream_that_was_deleted_stops_it(stage: Stage) -> None:
    await stage.decide(1)
    await stage.grow()
    await stage.own.api(f"STREAM.DELETE.{stage.stream}", {})
    await stops(stage)


async def test_a_stream_of_a_year_that_is_over_may_go(stage: Stage) -> None:
    await stage.decide(1)
    leaves = await stage.grow()
    state = stage.committer.state
    (position,) = {(await state.positions())[stage.stream]}
    await state.read_on({"AUDIT_2020": position})
    assert await stage.grow() == leaves


async def test_a_stream_made_anew_is_read_once_an_operator_looked(stage: Stage) -> None:
    await stage.decide(3)
    leaves = await stage.grow()
    await made_anew(stage)
    await stops(stage)
    await resumed(stage)
    await stage.announce()
    await stage.decide(2)
    assert len(await stage.grow()) == len(leaves) + 3


async def test_a_permission_counts_for_the_place_it_was_given_for(stage: Stage) -> None:
    await stage.decide(3)
    await stage.grow()
    state = stage.committer.state
    position = (await state.positions())[stage.stream]
    earlier = replace(position, next_seq=position.next_seq - 1)
    await resuming.allow_reset(state, stage.stream, earlier)
    await made_anew(stage)
    await stops(stage)
    assert await state.marks() == {}


async def test_a_stream_that_no_gateway_announced_is_not_read(
    tmp_path: Path,
) -> None:
    async with a_stage(tmp_path) as stage:
        await stage.decide(2)
        assert await stage.grow() == []
        # Nor does a statement about another stream, or one that is no announcement, open it.
        decider = Decider(
            "gw-9",
            stage.region.gateway_kid,
            stage.region.gateway_sign_key,
            stage.region.record_keys,
        )
        subject = opened(clock.now().year)
        about = announcement.opened(stream_id(stage.stream, "another time"))
        wrong = decider.stated(about, now=clock.now()).to_bytes()
        await stage.own.publish_acked(subject, wrong, msg_id="wrong")
        assert await stage.grow() == []
        right = announcement.opened(
            stream_id(
                stage.stream, (await stream_states(stage.own, "audit.>"))[stage.stream].created
            )
        )
        said = decider.stated(right, now=clock.now()).to_bytes()
        await stage.own.publish_acked(subject, said, msg_id="right")
        assert len(await stage.grow()) == 2


async def test_a_run_says_that_it_began_and_its_last_number(stage: Stage) -> None:
    decider = Decider(
        "gw-8", stage.region.gateway_kid, stage.region.gateway_sign_key, stage.region.record_keys
    )
    presence = Presence(stage.gateway, Leftovers(decider, AuditTrail(stage.gateway)))
    async with presence.told():
        pass
    await stage.grow()
    own = [leaf.signed.statement for leaf in stage.all()]
    told = sorted((said.seq, said.c_body) for said in own if said.gateway == "gw-8")
    assert told == [(0, announcement.STARTED), (1, announcement.STOPPED)]
    assert decider.settled_below == decider.next_number == 2


async def test_of_two_workers_one_announces_and_the_other_voids_its_number(stage: Stage) -> None:
    decider = Decider(
        "gw-8", stage.region.gateway_kid, stage.region.gateway_sign_key, stage.region.record_keys
    )
    presence = Presence(stage.gateway, Leftovers(decider, AuditTrail(stage.gateway)))
    about = announcement.opened(bytes(16))
    await presence._stand(opened(clock.now().year), decider.stated(about, now=clock.now()))
    await stage.grow()
    said = {leaf.signed.statement.gateway: leaf.signed.statement for leaf in stage.all()}
    assert (said["gw-8"].seq, said["gw-8"].kind) == (0, LeafKind.VOID)


async def test_two_statements_under_one_number_are_a_fault(stage: Stage) -> None:
    decider = Decider(
        "gw-8", stage.region.gateway_kid, stage.region.gateway_sign_key, stage.region.record_keys
    )
    first = decider.stated(announcement.STARTED, now=clock.now())
    await stage.own.publish_acked(void(first.statement), first.to_bytes(), msg_id="first")
    before = len(await stage.grow())
    subject = f"{void(first.statement)}.again"
    await stage.own.publish_acked(subject, first.to_bytes(), msg_id="same")
    assert len(await stage.grow()) == before  # the same once more says nothing new
    other = decider.void(first.statement)
    await stage.own.publish_acked(f"{subject}.2", other.to_bytes(), msg_id="other")
    (fault,) = (await stage.grow())[before:]
    assert fault.signed.statement.kind is LeafKind.FAULT
    assert fault.signed.statement.c_body == sha256(other.to_bytes())


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ({}, LeafKind.GATEWAY),
        ({"not_before": timedelta(hours=-1), "not_after": timedelta(hours=1)}, LeafKind.GATEWAY),
        ({"not_before": timedelta(hours=1)}, LeafKind.FAULT),
        ({"not_after": timedelta(hours=-1)}, LeafKind.FAULT),
        ({"revoked_at": timedelta(hours=-1)}, LeafKind.FAULT),
        ({"revoked_at": timedelta(minutes=1)}, LeafKind.GATEWAY),
    ],
)
async def test_what_a_key_signs_counts_while_it_is_valid(
    stage: Stage, key: dict[str, timedelta], kind: LeafKind
) -> None:
    await stage.grow()
    public = stage.region.gateway_sign_key.public
    known = GatewayKey(public, **{name: clock.now() + away for name, away in key.items()})
    stage.sequencer.gateway_keys = lambda: (known,)
    decider = Decider(
        "gw-8", stage.region.gateway_kid, stage.region.gateway_sign_key, stage.region.record_keys
    )
    said = decider.stated(announcement.STARTED, now=clock.now())
    await stage.own.publish_acked(void(said.statement), said.to_bytes(), msg_id="said")
    before = set(stage.all())
    await stage.grow()
    (leaf,) = set(stage.all()) - before
    assert leaf.signed.statement.kind is kind


async def test_a_stolen_key_dates_nothing_back(stage: Stage) -> None:
    """The stream took it long after the key was revoked, whatever the statement says."""
    await stage.grow()
    hour = timedelta(hours=1)
    known = GatewayKey(stage.region.gateway_sign_key.public, revoked_at=clock.now() - hour)
    stage.sequencer.gateway_keys = lambda: (known,)
    decider = Decider(
        "gw-8", stage.region.gateway_kid, stage.region.gateway_sign_key, stage.region.record_keys
    )
    said = decider.stated(announcement.STARTED, now=clock.now() - 2 * hour)
    await stage.own.publish_acked(void(said.statement), said.to_bytes(), msg_id="said")
    (leaf,) = await stage.grow()
    assert leaf.signed.statement.kind is LeafKind.FAULT


async def test_a_gateway_cannot_speak_as_the_log(stage: Stage) -> None:
    await stage.grow()
    decider = Decider(
        SEQUENCER, stage.region.gateway_kid, stage.region.gateway_sign_key, stage.region.record_keys
    )
    said = decider.stated(announcement.STARTED, now=clock.now())
    await stage.own.publish_acked(void(said.statement), said.to_bytes(), msg_id="said")
    (leaf,) = await stage.grow()
    assert leaf.signed.statement.kind is LeafKind.FAULT
    assert leaf.signed.statement.boot != decider.boot


async def test_a_hole_whose_worker_lost_its_file_is_voided_by_the_log(stage: Stage) -> None:
    """As `Boots` does, but out of the log's own numbers, once the same worker began again."""
    key, kid = stage.region.gateway_sign_key, stage.region.gateway_kid
    records = stage.region.record_keys
    killed, again = (Decider("gw-8", kid, key, records) for _ in range(2))
    said = [killed.stated(announcement.STARTED, now=clock.now()) for _ in range(3)]
    for one in (said[0], said[2], again.stated(announcement.STARTED, now=clock.now())):
        subject = void(one.statement)
        await stage.own.publish_acked(subject, one.to_bytes(), msg_id=subject)
    now = [clock.now()]
    holes = Holes(stage.sequencer.pen, stage.committer.state, lambda: now[0])
    batch = await stage.sequencer._reader().read({}, 100)
    marks = holes.seen(batch.entries)
    assert marks == {"run/gw-8": f"{again.boot:016x}"}
    stage.size = await stage.sequencer.append(0, batch, marks)
    assert await holes.voided(()) == []  # the worker itself has two minutes
    now[0] += timedelta(minutes=2)
    late = Holes(stage.sequencer.pen, stage.committer.state, lambda: now[0])
    late.remember(await stage.committer.state.marks())  # a sequencer that began meanwhile
    for each in (holes, late):
        now[0] += timedelta(minutes=2)
        stage.size = await stage.sequencer.append(stage.size, Batch(await each.voided(())))
    (given_back,) = [
        leaf.signed for leaf in stage.all() if leaf.signed.statement.kind is LeafKind.VOID
    ]
    number = given_back.statement
    assert (number.gateway, number.boot, number.seq) == ("gw-8", killed.boot, 1)
    given_back.verify(stage.sequencer.pen.key.public)
    # The worker's own void of it, later, is no fault; the decision would be one.
    own = killed.void(said[1].statement)
    await stage.own.publish_acked(void(own.statement), own.to_bytes(), msg_id="late")
    before = len(await stage.grow())
    await stage.own.publish_acked(f"{void(own.statement)}.x", said[1].to_bytes(), msg_id="later")
    (fault,) = (await stage.grow())[before:]
    assert fault.signed.statement.kind is LeafKind.FAULT
