"""A worker is killed before and after each thing that it publishes or acknowledges; one goes on."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio
from typing_extensions import override

from broker import clock
from broker.envelope.decision import encode_delivery, verify_decision
from broker.envelope.submitted import deliver, parse_submitted
from broker.gateway import record
from broker.gateway.boots import GIVES_UP_AFTER_S, Boots
from broker.gateway.decide import Decider
from broker.gateway.directory import DirectoryInForce
from broker.gateway.notices import parse_sealed_notice
from broker.gateway.run import run_worker
from broker.log.audited import parse_audited
from broker.log.leaf import LeafKind, Statement, parse_signed
from broker.transport.credentials import Credentials
from broker.transport.link import Link
from broker.transport.message import Stored
from broker.transport.streamstates import messages_on
from schemas.decision import Decision
from schemas.policy import PolicyDocument
from schemas.receipt import DecisionReceipt, NoticeReceipt, Where, parse_receipt
from schemas.vocabulary import Lane, Status
from tests.gateway.test_boots import Steady
from tests.support.dying import Death, ended
from tests.support.envelopes import Made, make
from tests.support.gateway import Source, nothing_to_try, running_gateway, submit
from tests.support.hub import BOUND_S, MIB, SMALL, RunningHub, running_hub
from tests.support.region import TestRegion, make_region
from tests.support.waiting import must_come

pytestmark = [pytest.mark.hub, pytest.mark.processes, pytest.mark.timeout(280), pytest.mark.slow]
TAKES, FULL, REFUSES, SHUT = "MY", "VN", "TH", "ID"
RECIPIENTS = (TAKES, FULL, REFUSES, SHUT)
PLACES = {TAKES: Where.STORED, FULL: Where.HELD, SHUT: Where.BOUNCED}
# Of a new submission: record, three inboxes, two places at the hub, the notice's record, notice,
# receipt, acknowledgement. One that comes again has the void of its number beside these.
LEAST_STEPS: Final = 2 * (10 + 11) - 4  # it may be new to the last worker, too
MOST_STEPS: Final = 80
COPIES: Final = 6  # one more than the steps of whoever places a held one
SECOND: Final = 1_000_000_000
NEVER_S: Final = 3600  # longer than any test


@dataclass
class Fate(Death):
    """When a worker dies, or is done. Odd steps are before something is said, even ones after.

    Attributes:
        ids: Of the envelopes of which all counts that is said; so does every record.
        reader: Stream and consumer that it acknowledges to.
        acks: With so many it is done.
    """

    ids: Collection[str] = ()
    reader: tuple[str, str] = ("", "")
    acks: int = 1


class DyingLink(Link):
    """Kills its process at a step.

    Attributes:
        done: Set once the server has the last acknowledgement.
    """

    def __init__(self, credentials: Credentials, fate: Fate) -> None:
        super().__init__(credentials)
        self.done = asyncio.Event()
        self._fate, self._said = fate, 0

    @override
    async def _publish(
        self, subject: str, payload: bytes, reply: str, headers: dict[str, str] | None
    ) -> None:
        acks = subject.startswith("$JS.ACK.{}.{}.".format(*self._fate.reader))
        counts = (
            acks or subject.startswith("audit.") or subject.rpartition(".")[2] in self._fate.ids
        )
        if counts:
            self._fate.step()
        await super()._publish(subject, payload, reply, headers)
        if counts:
            await self.settle()
            self._fate.step()
        self._said += acks
        if self._said == self._fate.acks:
            self.done.set()


@dataclass
class Stage:
    """A hub whose recipients can be such that each outcome is there.

    Attributes:
        runs: The folder in which workers write down their runs.
    """

    hub: RunningHub
    runs: Path
    own: Link
    sg: Link

    @property
    def region(self) -> TestRegion:
        return self.hub.region

    def decider(self, name: str) -> Decider:
        region = self.region
        return Decider(name, region.gateway_kid, region.gateway_sign_key, region.record_keys)

    async def change_stream(self, name: str, **changes: object) -> None:
        config = (await self.own.api(f"STREAM.INFO.{name}", {}))["config"]
        await self.own.api(f"STREAM.UPDATE.{name}", {**config, **changes})

    async def hand_out_again_after(self, stream: str, reader: str, seconds: int) -> None:
        name = f"{stream}.{reader}"
        config = (await self.own.api(f"CONSUMER.INFO.{name}", {}))["config"]
        body = {"stream_name": stream, "config": {**config, "ack_wait": seconds * SECOND}}
        await self.own.api(f"CONSUMER.DURABLE.CREATE.{name}", body)

    async def nobody_waits(self, stream: str, reader: str) -> None:
        """Return once the server knows that the last worker is gone: it hands nothing to it."""
        async with must_come(BOUND_S, lambda: f"the end of who read {stream}"):
            while (await self.own.api(f"CONSUMER.INFO.{stream}.{reader}", {}))["num_waiting"]:
                pass  # each look is a request to the server

    async def emptied(self, stream: str) -> None:
        async with must_come(BOUND_S, lambda: f"{stream} is not empty"):
            while (await self.own.api(f"STREAM.INFO.{stream}", {}))["state"]["messages"]:
                pass  # as above

    async def on(self, stream: str, subjects: str) -> list[Stored]:
        return await messages_on(self.own, stream, subjects)

    async def statements(self) -> list[Statement]:
        """Everything stated in the record, in order."""
        year, found = clock.now().year, list[Statement]()
        for each in await self.on(f"AUDIT_{year}", f"audit.{year}.>"):
            if each.subject.startswith(f"audit.{year}.gateway."):
                found.append(parse_signed(each.payload).statement)
            elif ".left." not in each.subject:
                found.append(parse_audited(each.payload).signed.statement)
        return found


@pytest_asyncio.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    nothing = PolicyDocument(format=1, member=REFUSES, title="takes nothing")
    region = make_region(("SG", *RECIPIENTS), now=clock.now(), policies={REFUSES: nothing})
    runs = tmp_path / "runs"
    runs.mkdir(mode=0o700)
    async with AsyncExitStack() as stack:
        sizes = replace(SMALL, inbox=32 * MIB)
        hub = await stack.enter_async_context(running_hub(region, tmp_path / "hub", sizes=sizes))
        own = await stack.enter_async_context(hub.hub_link())
        sg = await stack.enter_async_context(hub.member_link("SG"))
        for link in (own, sg):
            await link.wait_connected(BOUND_S)
        yield Stage(hub, runs, own, sg)


async def worked(stage: Stage, fate: Fate) -> None:
    directory = DirectoryInForce.read(Source(stage.region.view))
    name = f"gw-{fate.at}"
    decider, runs = stage.decider(name), stage.runs / f"{name}.json"
    async with (
        asyncio.timeout(BOUND_S),
        DyingLink(stage.hub.hub_credentials(), fate) as link,
        asyncio.TaskGroup() as group,
    ):
        await link.wait_connected()
        work = run_worker(link, directory, decider, trial=nothing_to_try, runs=runs, silent=True)
        group.create_task(work)
        await link.done.wait()
        os._exit(0)


@pytest.mark.parametrize("status", [Status.ACTUAL, Status.EXERCISE])
async def test_killed_at_any_step_another_carries_on(stage: Stage, status: Status) -> None:
    """The record is there once, each copy and answer once, and all of them agree."""
    submitted: list[Made] = []
    codes: list[int] = []
    lane = make(stage.region, RECIPIENTS, status=status).label.lane
    waits = ("SUBMIT_SG", f"GATEWAY-{lane}")
    await stage.hand_out_again_after(*waits, NEVER_S)
    await shut(stage, lane)
    for step in range(1, MOST_STEPS):
        new = make(stage.region, RECIPIENTS, tail=step, counter=step, status=status)
        await stage.nobody_waits(*waits)
        for again in submitted[-1:]:  # whose sender heard nothing, and hands in the same bytes
            await submit(stage.sg, again, attempt=2)
        await submit(stage.sg, new)
        ids = {str(each.label.id) for each in (*submitted[-1:], new)}
        submitted.append(new)
        fate = Fate(step, ids=ids, reader=waits, acks=len(ids))
        codes.append(await asyncio.to_thread(ended, partial(worked, stage, fate)))
        if not codes[-1]:
            break
    *killed, last = codes
    assert last == 0
    assert set(killed) == {-signal.SIGKILL}
    assert len(killed) >= LEAST_STEPS
    await stage.hand_out_again_after(*waits, 1)
    async with running_gateway(stage.hub, name="gw-other", runs=stage.runs / "gw-other.json"):
        await stage.emptied("SUBMIT_SG")
        await stage.change_stream(f"INBOX_{FULL}_{lane}", max_bytes=4 * MIB)
        await stage.emptied(f"HELD_{FULL}_SG")
    for each in submitted:
        await check_one(stage, each)
    kind = LeafKind.EXERCISE if status is Status.EXERCISE else LeafKind.DECISION
    await check_numbers(stage, {kind: len(submitted)})


async def shut(stage: Stage, lane: Lane) -> None:
    """Take the room of two inboxes and of what the hub keeps for one of them."""
    for name in (f"INBOX_{FULL}_{lane}", f"INBOX_{SHUT}_{lane}", f"HELD_{SHUT}_SG"):
        await stage.change_stream(name, max_bytes=1)
    # No machine is so slow that the server forgets what it took.
    window = NEVER_S * SECOND
    inboxes = (f"INBOX_{member}_{lane}" for member in (TAKES, FULL))
    for name in (*inboxes, f"HELD_{FULL}_SG", "RECEIPT_SG"):
        await stage.change_stream(name, duplicate_window=window)


async def check_one(stage: Stage, made: Made) -> None:
    label, own = made.label, f"*.{made.label.lane}.{made.label.id}"
    decision = await recorded(stage, made)
    assert {each.recipient for each in decision.records if each.accepted} == PLACES.keys()
    for member in RECIPIENTS:
        found = await stage.on(f"INBOX_{member}_{label.lane}", f"deliver.{own}")
        copy = encode_delivery(deliver(parse_submitted(made.sealed.raw), member), decision, member)
        wanted = [copy] if member in (TAKES, FULL) else []
        assert [each.payload for each in found] == wanted, member
        assert await stage.on(f"HELD_{member}_SG", f"held.*.{own}") == []
    told = [
        parse_receipt(each.payload)
        for each in await stage.on("RECEIPT_SG", f"receipt.*.{label.id}")
    ]
    (receipt,) = [each for each in told if isinstance(each, DecisionReceipt)]
    (notice,) = [each for each in told if isinstance(each, NoticeReceipt)]
    assert len(told) == 2
    assert receipt.decision == decision.to_bytes()
    assert dict(receipt.copies) == PLACES
    subject = record.left("SG", label.id, SHUT, decision.salts)
    (left,) = await stage.on(record.stream_of(subject), subject)
    kept = parse_sealed_notice(left.payload).open(subject, stage.region.record_keys)
    assert parse_receipt(kept) == notice


async def recorded(stage: Stage, made: Made) -> Decision:
    """The one decision that stands on an envelope."""
    subject = record.decided("SG", made.label.id)
    (stands,) = await stage.on(record.stream_of(subject), subject)
    decision = parse_audited(stands.payload).open(stage.region.record_keys).decision
    verify_decision(decision, stage.region.view)
    assert decision.header.digest == made.sealed.digest
    return decision


async def check_numbers(stage: Stage, wanted: dict[LeafKind, int]) -> None:
    """Each decision is one leaf; no number is used twice, and who lives gives holes back."""
    said = await stage.statements()
    decided = Counter(each.kind for each in said if each.kind is not LeafKind.VOID)
    assert decided == wanted
    assert holes(said)  # of workers that were killed with a number in their hand
    steady, decider = Steady(), stage.decider("gw-after")
    trail = record.AuditTrail(stage.own)
    boots = Boots(stage.runs / "gw-after.json", stage.own, decider, trail, steady)
    await boots.begin()
    await boots._settle_abandoned()
    for _ in range(2):
        steady.now_s += GIVES_UP_AFTER_S - 1
        await boots._tick()
    await boots._settle_abandoned()
    after = await stage.statements()
    assert not holes(after)
    assert Counter(each.kind for each in after[len(said) :]).keys() == {LeafKind.VOID}
    assert set(Counter((each.boot, each.seq) for each in after).values()) == {1}


def holes(said: list[Statement]) -> set[tuple[int, int]]:
    """Numbers under which nothing stands, with one above them that does."""
    stands = {(each.boot, each.seq) for each in said}
    highest: dict[int, int] = {}
    for boot, seq in stands:
        highest[boot] = max(seq, highest.get(boot, 0))
    return {(boot, seq) for boot, top in highest.items() for seq in range(top)} - stands


async def test_killed_while_it_places_what_was_held_nothing_is_lost_or_overtaken(
    stage: Stage,
) -> None:
    region, waits = stage.region, (f"HELD_{FULL}_SG", "GATEWAY")
    held = [make(region, RECIPIENTS, tail=each, counter=each) for each in range(1, COPIES + 1)]
    lane = held[0].label.lane
    await shut(stage, lane)
    async with running_gateway(stage.hub, name="gw-other"):
        for made in held:  # one after the other: their order is what is looked at
            await submit(stage.sg, made)
            await stage.emptied("SUBMIT_SG")
    await stage.change_stream(f"INBOX_{FULL}_{lane}", max_bytes=4 * MIB)
    await stage.hand_out_again_after(*waits, 1)
    ids, codes = {str(made.label.id) for made in held}, list[int]()
    for step in range(1, COPIES):
        await stage.nobody_waits(*waits)
        fate = Fate(step, ids=ids, reader=waits)
        codes.append(await asyncio.to_thread(ended, partial(worked, stage, fate)))
    assert codes == [-signal.SIGKILL] * 4 + [0]
    async with running_gateway(stage.hub, name="gw-other"):
        await stage.emptied(waits[0])
    for made in held:
        await check_one(stage, made)
    found = await stage.on(f"INBOX_{FULL}_{lane}", "deliver.>")
    assert [each.subject.rpartition(".")[2] for each in found] == [
        str(made.label.id) for made in held
    ]
