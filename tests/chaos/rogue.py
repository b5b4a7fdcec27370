"""A member whose node ignores every rule: it submits what its own policies and others forbid.

What a node of ours foresees never reaches the gateway. This one's envelopes do, so that the
gateway alone stands between them and whoever may not have them.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from uuid import UUID

from broker import clock
from broker.cli.admin.node_place import NodeConfig, NodePlace
from broker.cli.demo.region import DemoRegion
from broker.hub.place import HubPlace
from broker.node.ids import new_id
from broker.transport.errors import TransportError
from broker.transport.link import Link
from keys.directory.source import PublishedDirectory
from keys.home import Home
from keys.identity import MemberIdentity
from keys.primitives.signing import SignKey
from schemas.decision import Decision, parse_decision
from schemas.label import Sender
from schemas.receipt import DecisionReceipt, Receipt, TemporaryRefusal
from schemas.vocabulary import TLP
from tests.support.alerts import every_alert
from tests.support.envelopes import Made, make
from tests.support.gateway import receipt, submit
from tests.support.hub import BOUND_S
from tests.support.region import TestMember, TestRegion

MEMBER = "BN"
MAY, MAY_NOT = "SG", "TH"  # Thailand takes no warning with personal data
WARNING = next(each for each in every_alert() if each.TYPE == "cyber")


@dataclass
class Rogue:
    """Submits past every node, by its own keys.

    Attributes:
        accepted: What one recipient may have, by alert; the other may not.
        refused: What nobody may have.
    """

    region: DemoRegion
    identity: MemberIdentity
    link: Link
    accepted: set[UUID] = field(default_factory=set)
    refused: set[UUID] = field(default_factory=set)
    _made: dict[UUID, tuple[UUID, Made]] = field(default_factory=dict)  # alert, by envelope's id
    _numbers: Iterator[int] = field(default_factory=count)

    async def submit(self) -> None:
        """Hand the next one in, again and again until the hub has it."""
        number = next(self._numbers)
        secret = number % 2 == 0
        alert_id = new_id(clock.now())
        made = await asyncio.to_thread(self._sealed, number, alert_id, secret=secret)
        self._made[made.label.id] = alert_id, made
        (self.refused if secret else self.accepted).add(alert_id)
        await self._hand_in(made, attempt=1)

    async def _hand_in(self, made: Made, *, attempt: int) -> None:
        while True:
            try:
                return await submit(self.link, made, attempt=attempt, sender=MEMBER)
            except TransportError:
                await asyncio.sleep(0.1)

    async def check_decisions(self) -> None:
        """Read a decision on each, and see that it says what it must."""
        waiting, attempt = dict(self._made), 1
        while waiting:
            match await self._receipt():
                case DecisionReceipt(raw):
                    decision = parse_decision(raw)
                    alert_id, _ = waiting.pop(decision.header.id, (None, None))
                    if alert_id is not None:
                        wanted = {MAY} if alert_id in self.accepted else set()
                        assert _takers(decision) == wanted
                case TemporaryRefusal(id=ident) if ident in waiting:
                    attempt += 1  # the same bytes once more, under a number the server has not seen
                    await self._hand_in(waiting[ident][1], attempt=attempt)
                case _:
                    pass

    async def _receipt(self) -> Receipt:
        while True:
            try:
                return await receipt(self.link, MEMBER)
            except TransportError:  # the server was killed a moment ago
                await self.link.wait_connected(BOUND_S)

    def _sealed(self, number: int, alert_id: UUID, *, secret: bool) -> Made:
        officer = self.region.officer(MEMBER)
        (sign_key,) = self.identity.sign_keys.values()
        assert isinstance(sign_key, SignKey)
        member = TestMember(
            MEMBER, sign_key, {}, b"", officer.sign_key, officer.sign_key, sign_key, sign_key, b""
        )
        view = PublishedDirectory.at(self.region.hub).view()
        region = TestRegion(clock.now(), view, {MEMBER: member}, sign_key, {})
        return make(
            region,
            (MAY, MAY_NOT),
            alert=WARNING,
            counter=1 + number,
            alert_id=alert_id,
            sender=Sender(member=MEMBER, agency="POLICE"),
            tlp=TLP.RED if secret else TLP.AMBER,
        )


def _takers(decision: Decision) -> set[str]:
    return {record.recipient for record in decision.records if record.accepted}


@asynccontextmanager
async def running_rogue(region: DemoRegion) -> AsyncIterator[Rogue]:
    """The member that runs no node of ours, connected to the hub."""
    place = NodePlace(region.home(MEMBER))
    hub = HubPlace(region.hub)
    place.write(
        NodeConfig(member=MEMBER, hub_url=hub.config().public_url), hub.authority_pem().encode()
    )
    identity = MemberIdentity.load(Home(place.home).node_keys, region.passphrase)
    async with Link(place.credentials(place.config(), identity)) as link:
        yield Rogue(region, identity, link)
