"""Whatever a peer's node tells and the hub answers: taken, or refused by an error of ours.

The peer is hostile and its keys are good, so every signature is right and each kind of control is
heard; the alert that it speaks of is one that this node sealed. The gateway judges the same bytes.
"""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from broker import clock
from broker.admission.judge import Situation, judge
from broker.admission.judgement import Judged
from broker.envelope.officer import make_audience
from broker.envelope.submitted import parse_submitted
from broker.gateway.directory import DirectoryInForce
from broker.node.node import Node
from broker.store.tables import outbox
from schemas.content import Content
from schemas.control import control_intent
from schemas.decision import Decision
from schemas.label import Label, Reference, Sender
from schemas.receipt import DecisionReceipt, Where, encode_receipt
from schemas.vocabulary import Kind, Status
from tests.fuzz.mutations import rebuilt
from tests.fuzz.parser import CORPUS, OURS
from tests.support.envelopes import decide, delivery, seal_content
from tests.support.gateway import Source
from tests.support.labels import uuid7_at
from tests.support.nodes import lonely_node, request, send
from tests.support.region import LONG, TestRegion, make_region

REGION = make_region(("SG", "MY", "VN"), now=clock.now(), fresh=LONG)
SITUATION: Situation = DirectoryInForce.read(Source(REGION.view)).situation(REGION.now)
SAID = tuple(path.read_bytes() for path in sorted((CORPUS / "control").iterdir()))
KINDS = tuple(kind for kind in Kind if kind.is_control)
COPIES = (("MY", Where.STORED), ("VN", Where.HELD))


@dataclass
class Teller:
    """MY's node as a hostile hand runs it, towards a node of SG that sent one alert."""

    runner: asyncio.Runner
    node: Node
    submission: UUID
    decision: Decision
    region: TestRegion = REGION
    sent: int = 1
    taken: set[Kind] = field(default_factory=set)
    passed: set[Kind] = field(default_factory=set)

    def tells(self, kind: Kind, said: bytes, *, known: bool) -> None:
        """Fail unless it is done with at once, and what the node shows can be read."""
        self.sent += 1
        header = self.decision.header
        ref = Reference(id=header.id, digest=header.digest if known else bytes(32))
        intent = control_intent(
            kind,
            sender=Sender(member="MY", agency="PDRM"),
            ref=None if kind is Kind.PAIR_STATE else ref,
            status=Status.ACTUAL,
            now=self.region.now,
        )
        ident = uuid7_at(self.region.now, self.sent)
        label = Label.from_intent(intent, id=ident, directory=self.region.view.version)
        sealed = seal_content(
            self.region, label, Content(said), make_audience(["SG"]), counter=self.sent
        )
        assert self.runner.run(self.node.incoming.take(delivery(self.region, sealed.raw, "SG")))
        judged = judge(
            parse_submitted(sealed.raw),
            SITUATION,
            size=len(sealed.raw),
            spoken_of=self.decision if known else None,
        )
        if isinstance(judged, Judged) and "SG" in judged.accepted:
            self.passed.add(kind)
        before = self.runner.run(self.node.status())
        assert "quarantined-node-fault" not in {alarm.code for alarm in before.alarms}
        self.taken.add(kind)


@pytest.fixture
def teller(tmp_path: Path) -> Iterator[Teller]:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        node = runner.run(stack.enter_async_context(lonely_node(REGION, "SG", tmp_path / "sg.db")))
        try:
            submission, raw = runner.run(sealed_by(node))
            yield Teller(runner, node, submission, decide(REGION, raw))
        finally:
            runner.run(stack.aclose())


async def sealed_by(node: Node) -> tuple[UUID, bytes]:
    """What lies in the outbox once an alert to both was sealed, and of which submission."""
    sent = await send(node, REGION, request(REGION, ("MY", "VN")))
    await node.outgoing.seal_due()
    async with node.database.read() as connection:
        found = (await connection.execute(select(outbox.c.raw))).scalar_one()
    return sent.submission_id, bytes(found)


def test_whatever_a_peer_tells_is_taken_at_once(teller: Teller) -> None:
    @settings(suppress_health_check=list(HealthCheck), deadline=None)
    @given(
        st.sampled_from(KINDS),
        st.sampled_from(SAID).flatmap(lambda said: st.just(said) | rebuilt(said, "canonical")),
        st.booleans(),
    )
    def check(kind: Kind, said: bytes, known: bool) -> None:  # noqa: FBT001 - hypothesis gives it
        teller.tells(kind, said, known=known)

    check()
    assert teller.taken == teller.passed == set(KINDS)
    for said in SAID:  # whatever it told before, one of these is believed
        teller.tells(Kind.DELIVERED, said, known=True)
    shown = teller.runner.run(teller.node.submission(teller.submission))
    assert {each.state.final for each in shown.recipients if each.recipient == "MY"} == {True}


def test_whatever_the_hub_answers_is_taken_or_refused_by_an_error_of_ours(teller: Teller) -> None:
    good = encode_receipt(DecisionReceipt(teller.decision.to_bytes(), COPIES))
    others = tuple(path.read_bytes() for path in sorted((CORPUS / "receipt").iterdir()))

    @settings(suppress_health_check=list(HealthCheck), deadline=None)
    @given(st.sampled_from((good, *others)).flatmap(lambda raw: rebuilt(raw, "canonical")))
    def check(raw: bytes) -> None:
        with suppress(OURS):
            teller.runner.run(teller.node.receipts.take(raw, about=teller.decision.header.id))
        teller.runner.run(teller.node.status())

    check()
    teller.runner.run(teller.node.receipts.take(good))  # and the right one is believed still
