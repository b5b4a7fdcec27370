"""A number whose record the server refused is given back while its worker goes on."""

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
from broker.gateway.directory import DirectoryInForce
from broker.gateway.dispatch import Dispatcher
from broker.gateway.leftovers import SETTLED_AFTER_S
from broker.gateway.presence import Presence
from broker.gateway.record import AuditTrail
from broker.gateway.worker import Worker
from broker.ledger.intake import Witnessed
from broker.log.leaf import LeafKind
from broker.transport.errors import Refused
from broker.transport.link import Link
from keys.primitives.signing import SignKey
from tests.gateway.test_boots import Steady, decider_of, statements
from tests.support.envelopes import make
from tests.support.gateway import Source, nothing_to_try
from tests.support.hub import BOUND_S, running_hub
from tests.support.region import TestRegion, make_region

pytestmark = pytest.mark.hub
STREAM = f"AUDIT_{clock.now().year}"
NO_ROOM = 64  # bytes that a message may have: fewer than any record


@dataclass
class Stage:
    region: TestRegion
    own: Link
    worker: Worker
    steady: Steady
    why_not: str = ""

    def check_heard(self) -> None:
        if self.why_not:
            raise BrokerError(self.why_not, "as the test says")

    async def takes(self, most: int) -> None:
        """Let the record take messages of so many bytes; -1: any."""
        config = (await self.own.api(f"STREAM.INFO.{STREAM}", {}))["config"]
        await self.own.api(f"STREAM.UPDATE.{STREAM}", config | {"max_msg_size": most})

    async def decide(self) -> None:
        made = make(self.region, ("MY",))
        arrival = Arrival(made.sealed.raw, "SG", "normal", str(made.label.id))
        judgement = await self.worker._judge(arrival, clock.now())
        assert not isinstance(judgement, NotNow)
        await self.worker._decide(arrival, judgement, clock.now())

    async def refused(self) -> None:
        """Decide while the record takes nothing."""
        await self.takes(NO_ROOM)
        with pytest.raises(Refused):
            await self.decide()
        await self.takes(-1)

    async def later(self, seconds: float = SETTLED_AFTER_S) -> list[tuple[LeafKind, int]]:
        """What stands once so much time has gone by, in the order of its numbers."""
        self.steady.now_s += seconds
        await self.worker.leftovers.settle()
        return sorted(((s.kind, s.seq) for s in await statements(self.own)), key=lambda s: s[1])


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Stage]:
    region = make_region(("SG", "MY"), now=clock.now())
    decider = decider_of(region)
    async with running_hub(region, folder / "hub") as hub, hub.hub_link() as own:
        await own.wait_connected(BOUND_S)
        trail, directory = AuditTrail(own), DirectoryInForce.read(Source(region.view))
        dispatcher = Dispatcher(own, trail, decider.kid, decider.key, decider.records)
        worker = Worker(own, directory, decider, trail, dispatcher, nothing_to_try)
        stage = Stage(region, own, worker, Steady())
        worker.leftovers.steady, worker.leftovers.check_heard = stage.steady, stage.check_heard
        yield stage


async def test_a_refused_record_costs_its_number_and_no_hole_stays(tmp_path: Path) -> None:
    async with opened(tmp_path) as stage:
        await stage.refused()
        await stage.decide()
        decided = [(LeafKind.DECISION, 1)]
        assert stage.worker.decider.settled_below == 0
        assert await stage.later(SETTLED_AFTER_S - 1) == decided  # it may yet be kept
        stage.why_not = "run-abandoned"
        assert await stage.later() == decided  # others may have given it back
        stage.why_not = ""
        assert await stage.later(0) == [(LeafKind.VOID, 0), *decided]
        assert stage.worker.decider.settled_below == 2
        assert await stage.later() == [(LeafKind.VOID, 0), *decided]  # nothing twice


async def test_a_void_that_is_refused_is_said_again(tmp_path: Path) -> None:
    async with opened(tmp_path) as stage:
        await stage.refused()
        await stage.takes(NO_ROOM)
        assert await stage.later() == []
        assert stage.worker.decider.settled_below == 0
        await stage.takes(-1)
        assert await stage.later(0) == [(LeafKind.VOID, 0)]
        assert stage.worker.decider.settled_below == 1


async def test_what_cannot_be_given_back_keeps_no_other_back(tmp_path: Path) -> None:
    async with opened(tmp_path) as stage:
        await stage.refused()
        await stage.refused()
        first = stage.worker.leftovers._left[0]
        missing = replace(first, subject=first.subject.replace("audit.", "audit.1", 1))
        stage.worker.leftovers._left[0] = missing  # of a year without a stream
        assert await stage.later() == [(LeafKind.VOID, 1)]
        assert stage.worker.decider.settled_below == 0


async def test_a_record_that_stands_after_all_is_not_voided(tmp_path: Path) -> None:
    async with opened(tmp_path) as stage:
        await stage.refused()
        (left,) = stage.worker.leftovers._left.values()
        signed = left.statement.sign(stage.worker.decider.key)
        await stage.worker.trail.stand(left.subject, signed.to_bytes())
        assert await stage.later() == [(LeafKind.DECISION, 0)]
        assert stage.worker.decider.settled_below == 1


async def test_a_number_whose_record_may_have_been_erased_is_left_to_the_log(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as stage:
        await stage.refused()
        (left,) = stage.worker.leftovers._left.values()
        pen = Witnessed(SignKey.generate())
        erasure = pen.state(LeafKind.ERASURE, now=clock.now(), ref=bytes(32)).to_bytes()
        await stage.worker.trail.stand(left.subject, erasure)
        with capture_logs() as logs:
            for _ in range(3):
                assert [kind for kind, _ in await stage.later()] == [LeafKind.ERASURE]
        assert [line["seq"] for line in logs if line.get("alarm") == "record-gone"] == [0]
        # Else the next run would void it, and whatever was erased since.
        assert stage.worker.decider.settled_below == 1


async def test_a_worker_that_left_too_many_takes_no_more_until_they_are_given_back(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as stage:
        stage.worker.leftovers.most = 2
        for _ in range(2):
            await stage.refused()
        with pytest.raises(BrokerError) as caught:
            await stage.decide()
        assert (caught.value.code, caught.value.retry) == ("audit-unready", "later")
        assert await stage.later() == [(LeafKind.VOID, 0), (LeafKind.VOID, 1)]
        await stage.decide()
        assert (await stage.later())[-1] == (LeafKind.DECISION, 2)


async def test_what_a_worker_could_not_say_of_itself_is_given_back_too(tmp_path: Path) -> None:
    async with opened(tmp_path) as stage:
        presence = Presence(stage.own, stage.worker.leftovers)
        await stage.takes(NO_ROOM)
        with pytest.raises(Refused):
            await presence.announce()
        await stage.takes(-1)
        await presence.announce()
        # Number 0 announced the year before.
        assert await stage.later() == [(LeafKind.VOID, 1), (LeafKind.GATEWAY, 2)]
        assert stage.worker.decider.settled_below == 3
