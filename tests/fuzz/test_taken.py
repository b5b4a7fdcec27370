"""Whatever a member seals: a node takes it or sets it aside, once, and its inbox can be read.

The sender is hostile and its keys are good, so every signature and seal is right, and what the
parsers let through reaches all that is done with it behind them.
"""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from broker import clock
from broker.admission.judge import Arrival, Situation, judge, read
from broker.admission.judgement import Judged
from broker.envelope.submitted import Submitted
from broker.gateway.directory import DirectoryInForce
from broker.node.node import Node
from schemas import canonical
from schemas.content import encode_alert
from schemas.errors import SchemaError
from schemas.label import Label, parse_label
from tests.fuzz.mutations import rebuilt
from tests.support.alerts import every_alert
from tests.support.envelopes import delivery, label_for
from tests.support.gateway import Source
from tests.support.hostile import ByHand, let_through, seal_by_hand
from tests.support.labels import uuid7_at
from tests.support.nodes import lonely_node
from tests.support.region import LONG, TestRegion, make_region

MEMBERS = ("SG", "MY", "VN")
ALERTS = tuple(every_alert())
REGION = make_region(MEMBERS, now=clock.now(), fresh=LONG)
SITUATION: Situation = DirectoryInForce.read(Source(REGION.view)).situation(REGION.now)
SAID = encode_alert(ALERTS[0])
DISCLOSED = label_for(REGION, ALERTS[0], disclose_recipients=True).to_bytes()
numbers = st.integers(0, 3) | st.integers(0, canonical.MAX_INT)
names = st.sampled_from(["VN", "TH", "INTERPOL", "x1", "", "V\0", "VN\n"]) | st.text(max_size=17)


@dataclass
class Recipient:
    """A node that one test after the other sends to, with a loop to run it."""

    runner: asyncio.Runner
    node: Node
    region: TestRegion = REGION
    sent: int = 0
    last: int = 0  # Position of the newest item that was read.
    kept: set[bool] = field(default_factory=set)

    def next_id(self) -> UUID:
        self.sent += 1
        return uuid7_at(self.region.now, self.sent)

    def takes(self, made: ByHand) -> None:
        """Fail unless it is done with at the first attempt, and all that is here can be read."""
        raw = delivered(self.region, made)
        assert self.runner.run(self.node.incoming.take(raw))
        page = self.runner.run(self.node.inbox(since=self.last))
        self.last = page.last
        status = self.runner.run(self.node.status())
        assert "quarantined-node-fault" not in {alarm.code for alarm in status.alarms}
        self.kept.add([item.id for item in page.items] == [made.label.id])


@pytest.fixture
def recipient(tmp_path: Path) -> Iterator[Recipient]:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        opening = stack.enter_async_context(lonely_node(REGION, "MY", tmp_path / "my.db"))
        try:
            yield Recipient(runner, runner.run(opening))
        finally:
            runner.run(stack.aclose())


def delivered(region: TestRegion, made: ByHand) -> bytes:
    """MY's copy as our gateway lets it through; if it does not, as one that looks at nothing."""
    label = made.label
    arrival = Arrival(made.raw, label.sender.member, str(label.lane), str(label.id))
    found = read(arrival, SITUATION)
    if isinstance(found, Submitted):
        judged = judge(found, SITUATION, size=len(made.raw), spoken_of=None)
        if isinstance(judged, Judged) and "MY" in judged.accepted:
            return delivery(region, made.raw, "MY")
    return let_through(region, made)


@st.composite
def letters(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A label and an alert, of which one is perhaps another than it was."""
    alert = draw(st.sampled_from(ALERTS))
    label = label_for(REGION, alert, disclose_recipients=draw(st.booleans())).to_bytes()
    said = encode_alert(alert)
    match draw(st.integers(0, 2)):
        case 0:
            return draw(rebuilt(label, "canonical")), said
        case 1:
            return label, draw(rebuilt(said, "canonical"))
        case _:
            return label, said


def test_whatever_is_sealed_is_taken_or_set_aside_at_once(recipient: Recipient) -> None:
    @settings(suppress_health_check=list(HealthCheck), deadline=None)
    @given(
        letters(),
        st.lists(names, max_size=4, unique=True),
        st.tuples(numbers, numbers),
        st.none() | st.data(),
    )
    @example((DISCLOSED, SAID), ["x1"], (1, 1), None)
    @example((DISCLOSED, SAID), [], (canonical.MAX_INT, canonical.MAX_INT), None)
    def check(
        letter: tuple[bytes, bytes],
        others: list[str],
        number: tuple[int, int],
        data: st.DataObject | None,
    ) -> None:
        label_bytes, alert = letter

        def change(content: bytes) -> bytes:
            """Another officer's block, audience, manifest or original than was signed."""
            return content if data is None else data.draw(rebuilt(content, "canonical"))

        try:
            label: Label = parse_label(label_bytes)
            label = Label.from_intent(label, id=recipient.next_id(), directory=REGION.view.version)
        except SchemaError:
            return
        if label.sender.member not in MEMBERS:
            return
        slots = ("MY", *[name for name in others if name != "MY"])
        made = seal_by_hand(
            REGION, label, alert, names=slots, numbers=(number, (1, 1)), change=change
        )
        recipient.takes(made)

    check()
    assert recipient.kept == {True, False}
