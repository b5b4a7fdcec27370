"""Real logs behind real hubs, and real nodes that witness them; a test drives each step."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

from broker import clock
from broker.ledger.commit import Committer, Entry
from broker.ledger.cosigning import Cosigning
from broker.ledger.place import LogKeys
from broker.log.policy import Policy
from broker.log.regional import regional_policy
from broker.node.logwatch import LogWatch
from broker.node.node import Node
from schemas.directory import LogDocument, WitnessSet
from tests.ledger.growing import ORIGIN, a_log, entries
from tests.support.hub import RunningHub, running_hub
from tests.support.nodes import Clock, opened_node
from tests.support.region import TestRegion, make_region

KEYS = LogKeys.of(ORIGIN, bytes(32), bytes(31) + b"x")
NODES = ("SG", "MY", "VN")
WITNESSES = (*NODES, "TH")


@dataclass
class Watched:
    """A log, what collects cosignatures for it, and nodes."""

    committer: Committer
    cosigning: Cosigning
    nodes: dict[str, Node]
    hub: RunningHub
    folder: Path
    served: AsyncExitStack = field(repr=False)  # The log's own link, while it answers.
    at: Clock | None
    stack: AsyncExitStack = field(repr=False)
    size: int = 0

    @property
    def region(self) -> TestRegion:
        return self.hub.region

    def policy(self) -> Policy:
        return self.cosigning.policy()

    def watch(self, code: str) -> LogWatch:
        found = self.nodes[code].log
        assert found is not None
        return found

    async def grow(self, count: int = 1, *, of: Sequence[Entry] = ()) -> None:
        more = of or entries(self.size, count)
        await self.committer.grow(self.size, more, {})
        self.size += len(more)

    async def rounds(self, *codes: str) -> None:
        for code in codes or tuple(self.nodes):
            await self.watch(code).cosigner.round()

    async def steps(self, *codes: str) -> None:
        for code in codes or tuple(self.nodes):
            await self.watch(code).step()

    async def restart_log(self) -> None:
        """The process that collects cosignatures, killed and begun again."""
        self.cosigning = Cosigning(
            self.committer.files, self.cosigning.policy, round_s=0, now=self.cosigning.now
        )
        await self.served.aclose()
        link = await self.served.enter_async_context(self.hub.hub_link())
        await link.wait_connected(20)
        await self.cosigning.serve(link)

    async def open_node(self, code: str, folder: Path) -> Node:
        """The node of a member, with its database and its copy of the log in `folder`."""
        _made(folder)
        _made(folder / code)
        node = await self.stack.enter_async_context(
            opened_node(self.hub, code, folder, now=self.at)
        )
        await node.link.wait_connected()
        return Node(
            node.present,
            node.identity,
            node.database,
            node.link,
            folder / code / "attachments",
            log_folder=folder / code / "log",
        )

    async def alarms(self, code: str) -> list[str]:
        return sorted({alarm.code for alarm in (await self.nodes[code].status()).alarms})


def watched_region() -> TestRegion:
    """A region that names a log and four witnesses, of whom three are a quorum."""
    region = make_region(WITNESSES, now=clock.now())
    ed25519, mldsa44 = KEYS.vkeys
    log = LogDocument(
        origin=ed25519.name, ed25519=ed25519.public, ml_dsa_44=mldsa44.public, sequencer=bytes(32)
    )
    witnesses = WitnessSet(since=region.now - timedelta(days=1), members=WITNESSES)
    view = replace(
        region.view,
        hub=region.view.hub.model_copy(update={"log": log}),
        witness_sets=(witnesses,),
    )
    return replace(region, view=view)


@asynccontextmanager
async def watching(
    folder: Path,
    at: Clock | None = None,
    *,
    region: TestRegion | None = None,
    codes: Sequence[str] = NODES,
) -> AsyncIterator[Watched]:
    """A hub and its log; the nodes of `codes` ask nothing by themselves."""
    region = region or watched_region()
    view = region.view
    _made(folder)
    _made(folder / "log")
    async with AsyncExitStack() as stack:
        committer = await stack.enter_async_context(
            a_log(folder / "log", sign=KEYS.sign, vkeys=KEYS.vkeys)
        )
        hub: RunningHub = await stack.enter_async_context(running_hub(region, folder / "hub"))
        served = await stack.enter_async_context(AsyncExitStack())
        link = await served.enter_async_context(hub.hub_link())
        cosigning = Cosigning(
            committer.files,
            lambda: regional_policy(view, at=clock.now()),
            round_s=0,
            now=at or clock.now,
        )
        await link.wait_connected(20)
        await cosigning.serve(link)
        found = Watched(committer, cosigning, {}, hub, folder, served, at, stack)
        for code in codes:
            found.nodes[code] = await found.open_node(code, folder / "nodes")
        yield found


def _made(folder: Path) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
