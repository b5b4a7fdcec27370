"""A worker that was killed with a number in its hand: its next run gives the number back."""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from broker import clock
from broker.admission.judge import Arrival
from broker.admission.judgement import NotNow
from broker.errors import BrokerError
from broker.gateway.boots import ABANDONED_AFTER_S, GIVES_UP_AFTER_S, Boots
from broker.gateway.decide import Decider
from broker.gateway.directory import DirectoryInForce
from broker.gateway.dispatch import Dispatcher
from broker.gateway.record import AuditTrail, decided
from broker.gateway.worker import Worker
from broker.ledger.intake import Witnessed
from broker.log.audited import parse_audited
from broker.log.errors import LogError
from broker.log.leaf import LeafKind, Statement, parse_signed
from broker.transport.link import Link
from broker.transport.streamstates import stream_states
from keys.files import make_private_folder, write_private
from keys.primitives.signing import SignKey
from tests.support.envelopes import decide, make
from tests.support.gateway import Source, nothing_to_try, receipt, running_gateway, submit
from tests.support.hub import BOUND_S, RunningHub, running_hub
from tests.support.region import TestRegion, make_region

pytestmark = [pytest.mark.hub, pytest.mark.timeout(60)]


def decider_of(region: TestRegion) -> Decider:
    return Decider("gw-1", region.gateway_kid, region.gateway_sign_key, region.record_keys)


@asynccontextmanager
async def hub_and_links(
    region: TestRegion, folder: Path
) -> AsyncIterator[tuple[RunningHub, Link, Link]]:
    """A hub, a link of one that sends, and one of the hub's own."""
    async with (
        running_hub(region, folder / "hub") as hub,
        hub.member_link("SG") as sg,
        hub.hub_link() as own,
    ):
        for link in (sg, own):
            await link.wait_connected(BOUND_S)
        yield hub, sg, own


async def statements(link: Link) -> list[Statement]:
    """Everything stated in the record, in order."""
    name = f"AUDIT_{clock.now().year}"
    last = (await stream_states(link, "audit.>"))[name].last_seq
    found: list[Statement] = []
    for seq in range(1, last + 1):
        stored = await link.get(name, seq)
        assert stored is not None
        try:
            found.append(parse_audited(stored.payload).signed.statement)
        except LogError:
            found.append(parse_signed(stored.payload).statement)
    return found


async def send(hub: RunningHub, sg: Link, numbers: range) -> None:
    for number in numbers:
        await submit(sg, make(hub.region, ("MY",), tail=number + 1, counter=number + 1))
        await receipt(sg)


@dataclass
class Steady:
    """A clock that cannot be set, which a test moves on."""

    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


async def test_the_next_run_voids_what_the_last_one_left(tmp_path: Path) -> None:
    region = make_region(("SG", "MY"), now=clock.now())
    first, second = decider_of(region), decider_of(region)
    runs = tmp_path / "runs" / "gw-1.json"
    async with hub_and_links(region, tmp_path) as (hub, sg, own):
        async with running_gateway(hub, decider=first, runs=runs):
            await send(hub, sg, range(2))
            first.audited(decide(region, make(region, ("MY",), tail=99).sealed.raw))
            await send(hub, sg, range(2, 4))
            first.audited(decide(region, make(region, ("MY",), tail=98).sealed.raw))
        assert first.settled_below == 2
        before = await statements(own)
        assert [(said.boot, said.seq) for said in before] == [
            (first.boot, seq) for seq in (0, 1, 3, 4)
        ]
        async with running_gateway(hub, decider=second, runs=runs):
            await send(hub, sg, range(4, 5))
            while len(await statements(own)) < 6:
                pass  # each look is a request to the server
        after = await statements(own)
        voids = [said for said in after if said.kind is LeafKind.VOID]
        # Number 5 was taken last, and nothing stands behind it: that is no hole.
        assert [(said.gateway, said.boot, said.seq) for said in voids] == [("gw-1", first.boot, 2)]
        async with running_gateway(hub, decider=decider_of(region), runs=runs):
            await send(hub, sg, range(5, 6))
        assert len(await statements(own)) == 7  # nothing is voided twice


async def test_what_may_have_been_erased_since_is_left_to_the_log(tmp_path: Path) -> None:
    """A number is missing, and so is a record: whether they belong together only the log knows."""
    region = make_region(("SG", "MY"), now=clock.now())
    first, second = decider_of(region), decider_of(region)
    runs = tmp_path / "runs" / "gw-1.json"
    async with hub_and_links(region, tmp_path) as (hub, sg, own):
        async with running_gateway(hub, decider=first, runs=runs):
            await send(hub, sg, range(1))
            first.audited(decide(region, make(region, ("MY",), tail=99).sealed.raw))
            await send(hub, sg, range(1, 2))
        erasure = Witnessed(SignKey.generate()).state(
            LeafKind.ERASURE, now=clock.now(), ref=bytes(32)
        )
        await AuditTrail(own).stand(f"audit.{clock.now().year}.erased", erasure.to_bytes())
        boots = Boots(runs, own, second, AuditTrail(own))
        await boots.begin()
        (run,) = boots._earlier
        with capture_logs() as said:
            assert await boots._void(run, "gw-1") == 0
        assert [line["count"] for line in said if line["event"] == "numbers-left-to-the-log"] == [1]
        kinds = [each.kind for each in await statements(own)]
        assert kinds == [LeafKind.DECISION, LeafKind.DECISION, LeafKind.ERASURE]


def test_a_number_settles_in_any_order() -> None:
    region = make_region(("SG", "MY"), now=clock.now())
    decider = decider_of(region)
    decision = decide(region, make(region, ("MY",)).sealed.raw)
    taken = [decider.audited(decision).signed.statement for _ in range(3)]
    assert (decider.next_number, decider.settled_below) == (3, 0)
    decider.settled(taken[1])
    assert decider.settled_below == 0
    decider.settled(taken[0])
    assert decider.settled_below == 2
    decider.settled(taken[2])
    assert decider.settled_below == 3


async def test_a_damaged_file_keeps_the_worker_from_running(tmp_path: Path) -> None:
    region = make_region(("SG", "MY"), now=clock.now())
    folder = tmp_path / "runs"
    make_private_folder(folder)
    async with running_hub(region, tmp_path / "hub") as hub, hub.hub_link() as own:
        await own.wait_connected(BOUND_S)
        boots = Boots(folder / "gw-1.json", own, decider_of(region), AuditTrail(own))
        for wrong in (b"", b"[]", json.dumps({"runs": [{"boot": "x"}]}).encode()):
            write_private(folder / "gw-1.json", wrong)
            with pytest.raises(BrokerError) as caught:
                await boots.begin()
            assert caught.value.code == "damaged"


async def test_what_a_worker_left_that_comes_no_more_is_voided_by_another(tmp_path: Path) -> None:
    """The hub runs fewer workers than before: nobody starts the killed one again."""
    region = make_region(("SG", "MY"), now=clock.now())
    killed, other = decider_of(region), decider_of(region)
    folder = tmp_path / "runs"
    async with hub_and_links(region, tmp_path) as (hub, sg, own):
        async with running_gateway(hub, decider=killed, runs=folder / "gw-1.json"):
            await send(hub, sg, range(1))
            killed.audited(decide(region, make(region, ("MY",), tail=99).sealed.raw))
            await send(hub, sg, range(1, 2))
        for name in ("gw-3", "gw-4"):
            shutil.copy2(folder / "gw-1.json", folder / f"{name}.json")
        steady = Steady()
        two = replace(other, gateway="gw-2")
        boots = Boots(folder / "gw-2.json", own, two, AuditTrail(own), steady)
        await boots.begin()
        await boots._settle_abandoned()  # the server may have been away for all of them
        assert all(said.kind is not LeafKind.VOID for said in await statements(own))
        for _ in range(2):
            steady.now_s += GIVES_UP_AFTER_S - 1
            await boots._tick()
            os.utime(folder / "gw-3.json")  # as at each tick of a worker that lives
        long_ago = clock.now().timestamp() - 2 * ABANDONED_AFTER_S
        os.utime(folder / "gw-4.json", (long_ago, long_ago))  # one too, after a jump of the clock
        await boots._settle_abandoned()
        (voided,) = [said for said in await statements(own) if said.kind is LeafKind.VOID]
        assert (voided.gateway, voided.boot, voided.seq) == ("gw-1", killed.boot, 1)
        there = sorted(path.name for path in await asyncio.to_thread(lambda: [*folder.iterdir()]))
        assert there == ["gw-2.json", "gw-3.json", "gw-4.json"]  # who was heard of lately lives


async def test_a_damaged_file_of_another_worker_ends_nobody(tmp_path: Path) -> None:
    """Whose it is cannot begin. The others are still heard, and settle what can be read."""
    region = make_region(("SG", "MY"), now=clock.now())
    folder, steady = tmp_path / "runs", Steady()
    make_private_folder(folder)
    for name, raw in (("gw-1", b"{"), ("gw-3", b'{"runs": []}')):
        write_private(folder / f"{name}.json", raw)
    async with running_hub(region, tmp_path / "hub") as hub, hub.hub_link() as own:
        await own.wait_connected(BOUND_S)
        two = replace(decider_of(region), gateway="gw-2")
        boots = Boots(folder / "gw-2.json", own, two, AuditTrail(own), steady)
        await boots.begin()
        await boots._settle_abandoned()
        for _ in range(2):
            steady.now_s += GIVES_UP_AFTER_S - 1
            await boots._tick()
        steady.now_s += GIVES_UP_AFTER_S - 1
        with capture_logs() as said:
            working = asyncio.get_running_loop().create_task(boots.run())
            async with asyncio.timeout(BOUND_S):
                while (folder / "gw-3.json").exists():  # noqa: ASYNC110 - a file
                    await asyncio.sleep(0.01)
            working.cancel()
            await boots._settle_abandoned()
        assert boots._ticked == steady.now_s
        assert [(each["alarm"], each["gateway"]) for each in said if "alarm" in each] == [
            ("runs-damaged", "gw-1")
        ]
        assert (folder / "gw-1.json").read_bytes() == b"{"
        write_private(folder / "gw-1.json", b'{"runs": []}')  # put right by a person
        await boots._settle_abandoned()
        assert (folder / "gw-1.json").exists()
        steady.now_s += ABANDONED_AFTER_S
        await boots._settle_abandoned()
        assert not (folder / "gw-1.json").exists()


async def test_a_run_that_nobody_heard_of_for_long_uses_no_number_any_more(tmp_path: Path) -> None:
    """By then others may have given back what it had in hand."""
    region = make_region(("SG", "MY"), now=clock.now())
    decider, steady = decider_of(region), Steady()
    async with running_hub(region, tmp_path / "hub") as hub, hub.hub_link() as own:
        await own.wait_connected(BOUND_S)
        trail = AuditTrail(own)
        boots = Boots(tmp_path / "runs" / "gw-1.json", own, decider, trail, steady)
        await boots.begin()
        steady.now_s += GIVES_UP_AFTER_S
        await boots._tick()
        boots.check_heard()
        steady.now_s += GIVES_UP_AFTER_S + 1
        kept = boots.path.read_bytes()
        for work in (boots.run, boots._tick):
            with pytest.raises(BrokerError) as caught:
                await work()
            assert caught.value.code == "run-abandoned"
        assert boots.path.read_bytes() == kept
        assert GIVES_UP_AFTER_S < ABANDONED_AFTER_S
        directory = DirectoryInForce.read(Source(region.view))
        dispatcher = Dispatcher(own, trail, decider.kid, decider.key, decider.records)
        worker = Worker(
            own,
            directory,
            decider,
            trail,
            dispatcher,
            nothing_to_try,
            check_heard=boots.check_heard,
        )
        made = make(region, ("MY",))
        arrival = Arrival(made.sealed.raw, "SG", "normal", str(made.label.id))
        judgement = await worker._judge(arrival, clock.now())
        assert not isinstance(judgement, NotNow)
        with pytest.raises(BrokerError, match="nobody has heard"):
            await worker._decide(arrival, judgement, clock.now())
        assert await own.get_last(f"AUDIT_{clock.now().year}", decided("SG", made.label.id)) is None
