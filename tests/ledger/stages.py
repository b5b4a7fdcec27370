"""A hub, a gateway and a log: what is decided becomes leaves, a step at a time."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from broker import clock
from broker.ledger.commit import Committer
from broker.ledger.intake import GatewayKey, Witnessed
from broker.ledger.sequencer import Sequencer
from broker.log.leaf import Leaf, LeafKind, parse_leaf
from broker.log.tiles import bundles_of
from broker.transport.link import Link
from keys.primitives.signing import SignKey
from schemas.receipt import DecisionReceipt
from tests.ledger.growing import a_log
from tests.support.envelopes import Made, make
from tests.support.gateway import announce, receipt, running_gateway, submit
from tests.support.hub import BOUND_S, RunningHub, running_hub
from tests.support.region import TestRegion, make_region


@dataclass
class Stage:
    """SG submits, a gateway decides, a sequencer orders."""

    region: TestRegion
    hub: RunningHub
    sg: Link
    own: Link
    gateway: Link
    committer: Committer
    sequencer: Sequencer
    size: int = 0
    sent: int = 0

    @property
    def stream(self) -> str:
        return f"AUDIT_{clock.now().year}"

    async def decide(self, count: int = 1) -> list[Made]:
        """Have alerts decided, one after the other."""
        made = []
        for _ in range(count):
            self.sent += 1
            made.append(make(self.region, ("MY",), tail=self.sent, counter=self.sent))
            await submit(self.sg, made[-1])
            assert isinstance(await receipt(self.sg), DecisionReceipt)
        return made

    async def announce(self) -> None:
        """Have a gateway say which streams are in use: the first message of each."""
        await announce(self.gateway, self.region)

    async def grow(self) -> list[Leaf]:
        """Every leaf, after one step, but the announcements."""
        self.size = await self.sequencer.step(self.size)
        return self.leaves()

    def leaves(self) -> list[Leaf]:
        return [leaf for leaf in self.all() if leaf.signed.statement.kind is not LeafKind.GATEWAY]

    def all(self) -> list[Leaf]:
        files = self.committer.files
        return [parse_leaf(raw) for tile in bundles_of(self.size) for raw in files.read(tile)]


@asynccontextmanager
async def a_stage(tmp_path: Path) -> AsyncIterator[Stage]:
    region = make_region(("SG", "MY"), now=clock.now())
    tmp_path.chmod(0o700)  # noqa: ASYNC240 - once, before anything runs
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub(region, tmp_path / "hub"))
        gateway = await stack.enter_async_context(running_gateway(hub))
        sg = await stack.enter_async_context(hub.member_link("SG"))
        own = await stack.enter_async_context(hub.hub_link())
        for link in (sg, own):
            await link.wait_connected(BOUND_S)
        committer = await stack.enter_async_context(a_log(tmp_path))
        sequencer = sequencer_of(own, committer, region)
        size = (await committer.recover()).size
        yield Stage(region, hub, sg, own, gateway, committer, sequencer, size)


def sequencer_of(own: Link, committer: Committer, region: TestRegion) -> Sequencer:
    keys = (GatewayKey(region.gateway_sign_key.public),)
    return Sequencer(own, committer, lambda: keys, Witnessed(SignKey.generate()))
