"""What gateways decide becomes leaves: each once, in whatever order, and what is wrong is said."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import pytest_asyncio
from typing_extensions import override

from broker import clock
from broker.ledger import resuming
from broker.ledger.errors import LedgerError
from broker.ledger.intake import SEQUENCER, GatewayKey
from broker.ledger.sequencer import Cadence
from broker.ledger.state import Beside, LedgerState
from broker.log.announcement import RESUMED_WITHOUT_WITNESSES
from broker.log.audited import parse_audited
from broker.log.checkpoint import parse_checkpoint
from broker.log.commitments import check_opening
from broker.log.leaf import LeafKind
from broker.log.note import parse_note
from broker.transport.streamstates import stream_states
from keys.primitives.hashing import sha256
from keys.primitives.signing import SignKey
from tests.ledger.stages import Stage, a_stage, sequencer_of
from tests.support.gateway import submit
from tests.support.hub import BOUND_S

pytestmark = [pytest.mark.hub, pytest.mark.timeout(60)]


@pytest_asyncio.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with a_stage(tmp_path) as found:
        await found.announce()
        yield found


async def test_an_empty_log_too_asks_the_witnesses_before_it_grows(stage: Stage) -> None:
    """A home put back from a backup made right after `log init` is empty, and has a history."""
    await stage.decide()
    asked: list[int] = []

    async def agreed(size: int) -> None:
        asked.append(size)
        raise LedgerError("witness-ahead", "a witness cosigned more")

    stage.sequencer.agreed = agreed
    with pytest.raises(LedgerError) as caught:
        await stage.sequencer.run()
    assert caught.value.code == "witness-ahead"
    assert asked == [0]
    assert (await stage.committer.signer.state())[0] == 0


async def test_each_decision_becomes_one_leaf(stage: Stage) -> None:
    made = await stage.decide(5)
    leaves = await stage.grow()
    assert len(leaves) == 5
    assert {leaf.signed.statement.kind for leaf in leaves} == {LeafKind.DECISION}
    assert {leaf.signed.statement.seq for leaf in leaves} == set(range(5))
    by_seq = {leaf.stream_seq: leaf for leaf in leaves}
    for number, leaf in by_seq.items():
        stored = await stage.own.get(stage.stream, number)
        assert stored is not None
        audited = parse_audited(stored.payload).open(stage.region.record_keys)
        leaf.signed.verify(stage.region.gateway_sign_key.public)
        check_opening(leaf.signed.statement, audited.decision)
    assert len(by_seq) == len(made)
    assert await stage.grow() == leaves  # nothing new, nothing twice
    await stage.decide(2)
    assert len(await stage.grow()) == 7


async def test_the_same_id_again_voids_its_number(stage: Stage) -> None:
    (made,) = await stage.decide()
    await submit(stage.sg, made, attempt=2)
    while (await stream_states(stage.own, "audit.>"))[stage.stream].last_seq < 3:
        pass  # each look is a request to the server
    kinds = {leaf.signed.statement.seq: leaf.signed.statement.kind for leaf in await stage.grow()}
    assert kinds == {0: LeafKind.DECISION, 1: LeafKind.VOID}


async def test_a_new_sequencer_goes_on_where_the_old_one_died(stage: Stage) -> None:
    await stage.decide(3)
    before = await stage.grow()
    await stage.decide(2)
    stage.sequencer = sequencer_of(stage.own, stage.committer, stage.region)
    stage.size = (await stage.committer.recover()).size
    after = await stage.grow()
    assert after[:3] == before
    assert len(after) == 5


async def test_what_no_gateway_signed_is_a_fault_and_not_dropped(stage: Stage) -> None:
    await stage.grow()
    await stage.decide()
    subject = f"audit.{clock.now().year}.SG.forged"
    await stage.own.publish_acked(subject, b"anything", msg_id="forged")
    stored = await stage.own.get(stage.stream, 2)
    assert stored is not None
    stage.sequencer.gateway_keys = lambda: (GatewayKey(SignKey.generate().public),)
    leaves = [leaf.signed.statement for leaf in await stage.grow()]
    assert {said.kind for said in leaves} == {LeafKind.FAULT}
    assert {said.gateway for said in leaves} == {SEQUENCER}
    assert {said.c_body for said in leaves} == {sha256(b"anything"), sha256(stored.payload)}


async def test_a_message_that_is_gone_leaves_a_gap_that_is_said(stage: Stage) -> None:
    await stage.decide(3)
    await stage.own.api(f"STREAM.MSG.DELETE.{stage.stream}", {"seq": 3})
    kinds = {leaf.stream_seq: leaf.signed.statement.kind for leaf in await stage.grow()}
    assert kinds == {2: LeafKind.DECISION, 3: LeafKind.STREAM, 4: LeafKind.DECISION}


async def test_a_stream_made_anew_stops_it(stage: Stage) -> None:
    await stage.decide(3)
    leaves = await stage.grow()
    config = (await stage.own.api(f"STREAM.INFO.{stage.stream}", {}))["config"]
    await stage.own.api(f"STREAM.DELETE.{stage.stream}", {})
    await stage.own.api(f"STREAM.CREATE.{stage.stream}", config)
    with pytest.raises(LedgerError) as caught:
        await stage.grow()
    assert caught.value.code == "stream-reset"
    assert stage.leaves() == leaves


async def test_a_backlog_is_taken_in_bounded_steps(stage: Stage) -> None:
    subject = f"audit.{clock.now().year}.SG.rubbish"
    for number in range(300):
        await stage.own.publish_acked(f"{subject}.{number}", b"%d" % number, msg_id=f"{number}")
    stage.sequencer.cadence = Cadence(growth_leaves=256)
    await stage.grow()
    assert len(stage.all()) == 256
    assert len(await stage.grow()) == 300
    assert (await stream_states(stage.own, "audit.>"))[stage.stream].last_seq == 301


async def test_it_runs_with_its_own_cadence_and_shows_the_last_checkpoint_at_its_end(
    stage: Stage,
) -> None:
    stage.committer.checkpoint_s = 3600
    stage.sequencer.cadence = Cadence(integrate_leaves=4, integrate_s=0.5)
    await stage.decide()
    running = asyncio.get_running_loop().create_task(stage.sequencer.run())
    await stage.decide(9)
    async with asyncio.timeout(BOUND_S):
        while (await stage.committer.state.locked()).size < 12:  # two announcements
            pass  # each look is a request to the database
    assert in_sight(stage) == 0
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    stage.size = in_sight(stage)
    assert stage.size == 12
    assert len(stage.leaves()) == 10


def in_sight(stage: Stage) -> int:
    raw = stage.committer.files.checkpoint()
    assert raw is not None
    return parse_checkpoint(parse_note(raw).text).size


async def test_a_stream_that_went_back_and_was_filled_again_stops_it(stage: Stage) -> None:
    await stage.decide(3)
    await stage.grow()
    positions = await stage.committer.state.positions()
    (name,) = (name for name in positions if name == stage.stream)
    other = replace(positions[name], tail=sha256(b"another message stood here").hex())
    await stage.committer.state.read_on({name: other})
    await stage.decide()
    with pytest.raises(LedgerError) as caught:
        await stage.grow()
    assert caught.value.code == "stream-reset"


async def test_each_published_directory_has_a_leaf_and_an_older_one_has_none(stage: Stage) -> None:
    first = stage.region.view.version
    published = [first]
    stage.sequencer.directory = lambda: published[-1]
    stage.sequencer.cadence = Cadence(integrate_s=0.05)

    async def logged(count: int) -> list[bytes]:
        async with asyncio.timeout(BOUND_S):
            while True:
                stage.size = in_sight(stage)
                said = [leaf.signed.statement for leaf in stage.leaves()]
                found = [each for each in said if each.kind is LeafKind.DIRECTORY]
                if len(found) >= count:
                    assert {each.gateway for each in found} == {SEQUENCER}
                    return [each.snapshot for each in found]
                await stage.committer.state.locked()

    async with running(stage):
        assert await logged(1) == [first.hash]
        second = first.model_copy(update={"snapshot": first.snapshot + 1, "hash": bytes(32)})
        published.append(second)
        assert await logged(2) == [first.hash, second.hash]
        published.append(first)  # as from a backup
        await stage.decide(1)
        published.append(second.model_copy(update={"hash": b"2" * 32}))  # a second of one number
        assert await logged(3) == [first.hash, second.hash, b"2" * 32]
    async with running(stage):  # what has its leaf gets none at the next start
        await stage.decide(1)
        published.append(second.model_copy(update={"snapshot": second.snapshot + 1}))
        assert len(await logged(4)) == 4


@contextlib.asynccontextmanager
async def running(stage: Stage) -> AsyncIterator[None]:
    task = asyncio.get_running_loop().create_task(stage.sequencer.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def never(_size: int) -> None:
    await asyncio.Event().wait()


async def test_a_log_that_may_not_ask_its_witnesses_goes_on_once_an_operator_lets_it(
    stage: Stage,
) -> None:
    stage.sequencer.agreed = never
    state = stage.committer.state
    async with running(stage):
        await stage.decide(1)
        assert (await state.locked()).size == 0
        await let(stage)
        await grown(stage, 4)  # two announcements, a decision, and that it was let
        stage.size = in_sight(stage)
    said = [leaf.signed.statement for leaf in stage.leaves()]
    (allowed,) = [each for each in said if each.kind is LeafKind.STREAM]
    assert (allowed.gateway, allowed.c_body) == (SEQUENCER, RESUMED_WITHOUT_WITNESSES)
    assert await state.marks() == {}


async def let(stage: Stage) -> None:
    """`kentong log resume --without-witnesses`, as soon as the log waits."""
    async with asyncio.timeout(BOUND_S):
        while not await stage.committer.state.marks():
            pass  # each look is a request to the database
    await resuming.allow_without_witnesses(stage.committer.state)


async def grown(stage: Stage, size: int) -> None:
    async with asyncio.timeout(BOUND_S):
        while in_sight(stage) < size:
            await stage.committer.state.locked()


async def waits(stage: Stage, *, looks: int = 3) -> None:
    """Return if the log saw its permissions so often, and did not grow."""
    before, size = stage.committer.state, in_sight(stage)
    looked = Looked(before.database)
    stage.committer.state = looked
    async with running(stage), asyncio.timeout(BOUND_S):
        for _ in range(looks + 1):
            looked.looked.clear()
            await looked.looked.wait()
        assert in_sight(stage) == size
        assert (await stage.committer.signer.state())[0] == size
    stage.committer.state = before


@dataclass(frozen=True)
class Looked(LedgerState):
    """Says when the log looks for what an operator lets."""

    looked: asyncio.Event = field(default_factory=asyncio.Event)

    @override
    async def marks(self) -> dict[str, str]:
        found = await super().marks()
        self.looked.set()
        return found


async def test_what_an_operator_let_is_over_with_the_start_that_agreed(stage: Stage) -> None:
    """Else it would let the log grow months later, or out of a backup, and nobody is asked."""
    agree, state = asyncio.Event(), stage.committer.state

    async def agreed(_size: int) -> None:
        await agree.wait()

    stage.sequencer.agreed = agreed
    async with running(stage):
        await let(stage)
        left = await state.marks()
        agree.set()
        await grown(stage, 2)
    assert left
    stage.sequencer.agreed = never
    await waits(stage)
    await state.read_on({}, Beside(marks=left))  # out of a backup
    await waits(stage)
    await stage.decide(1)
    async with running(stage):
        await let(stage)
        await grown(stage, 4)


async def test_nothing_is_let_where_nothing_waits(stage: Stage) -> None:
    state = stage.committer.state

    async def fork(_size: int) -> None:
        raise LedgerError("fork", "a witness cosigned another tree")

    stage.sequencer.agreed = fork
    for _ in range(2):
        with pytest.raises(LedgerError) as caught:
            await resuming.allow_without_witnesses(state)
        assert (caught.value.code, caught.value.retry) == ("not-waiting", "later")
        with pytest.raises(LedgerError) as caught:
            await stage.sequencer.run()
        assert caught.value.code == "fork"
    assert await state.marks() == {}


async def test_what_a_witness_showed_counts_whatever_an_operator_lets(stage: Stage) -> None:
    """Leaves that are missing here are on their way, or another tree was just shown."""
    forked, against = asyncio.Event(), asyncio.Event()

    async def fork(_size: int) -> None:
        await forked.wait()
        raise LedgerError("fork", "a witness cosigned another tree")

    def refuted() -> bool:
        against.set()
        return True

    stage.sequencer.agreed, stage.sequencer.refuted = fork, refuted
    task = asyncio.get_running_loop().create_task(stage.sequencer.run())
    await let(stage)
    async with asyncio.timeout(BOUND_S):
        await against.wait()  # the permission was seen
        forked.set()
        with pytest.raises(LedgerError) as caught:
            await task
    assert caught.value.code == "fork"
    assert (await stage.committer.signer.state())[0] == 0
