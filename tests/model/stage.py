"""Three nodes, a gateway, a log and a hub, all real, that a model starts, stops and asks."""

from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import UUID

from broker import clock
from broker.gateway.decide import Decider
from broker.gateway.directory import DirectoryInForce
from broker.ledger.sequencer import Sequencer
from broker.log.audited import parse_audited
from broker.log.leaf import LeafKind, parse_leaf
from broker.log.tiles import bundles_of
from broker.node.node import Node
from broker.transport.link import Link
from keys.primitives.signing import SignKey
from schemas.decision import parse_decision
from schemas.desk import Submission, SubmissionState
from schemas.directory import MemberDocument, Revocation, RevocationReason, VerificationKey
from schemas.label import Sender
from schemas.policy import PolicyDocument
from schemas.receipt import DecisionReceipt
from schemas.vocabulary import Status
from tests.ledger.growing import a_log
from tests.ledger.stages import sequencer_of
from tests.support.envelopes import make
from tests.support.gateway import Source, announce, receipt, running_gateway, submit
from tests.support.hub import BOUND_S, RunningHub, running_hub
from tests.support.nodes import request, running_node, send
from tests.support.region import YEAR, make_region, permissive

MEMBERS = ("SG", "MY", "TH")
GATEWAY = "gateway"


@dataclass
class Stage:
    """All that runs, and the directory that everybody holds."""

    folder: Path
    hub: RunningHub
    own: Link
    sequencer: Sequencer
    size: int
    source: Source
    directory: DirectoryInForce
    decider: Decider
    nodes: dict[str, Node] = field(default_factory=dict)
    stops: dict[str, AsyncExitStack] = field(default_factory=dict)

    # --- outages and restarts ---

    async def start(self, name: str) -> None:
        """Let a node or the gateway run."""
        if name in self.stops:
            return
        stack = AsyncExitStack()
        if name == GATEWAY:
            gateway = running_gateway(self.hub, directory=self.directory, decider=self.decider)
            await stack.enter_async_context(gateway)
        else:
            node = running_node(self.hub, name, self.folder)
            self.nodes[name] = await stack.enter_async_context(node)
        self.stops[name] = stack

    async def stop(self, name: str) -> None:
        """Stop it at once, wherever it is."""
        if name in self.stops:
            await self.stops.pop(name).aclose()

    async def start_all(self) -> None:
        for name in (GATEWAY, *MEMBERS):
            await self.start(name)

    # --- the directory ---

    def publish(
        self,
        code: str,
        *,
        open_for_import: bool,
        suspended: bool,
        document: MemberDocument | None = None,
    ) -> None:
        """Give everybody the next version of the directory."""
        policy = permissive(code)
        if not open_for_import:
            export = tuple(rule for rule in policy.rule if rule.direction == "export")
            policy = PolicyDocument(format=1, member=code, title="takes nothing", rule=export)
        reason = RevocationReason.SUSPENDED
        gone = (Revocation(member=code, at=clock.now(), reason=reason),) if suspended else ()
        view = self.hub.region.changed(
            code,
            policy=policy,
            revocations=gone,
            document=lambda old: document or old,
        )
        self.hub.region = replace(self.hub.region, view=view)
        self.source.current = view
        self.directory.reread()
        for node in self.nodes.values():
            node.present.take(view)

    async def rotate(self, code: str, *, open_for_import: bool, suspended: bool) -> None:
        """Give a member's node another signing key; the old one is superseded from now on."""
        await self.stop(code)
        region, now, new = self.hub.region, clock.now(), SignKey.generate()
        old = region.view.member(code).document
        ended = {"revoked_at": now, "reason": RevocationReason.SUPERSEDED}
        keys = (
            *(each.model_copy(update=ended) for each in old.verification_keys),
            VerificationKey(key=new.public.raw, not_before=now - YEAR / 365, not_after=now + YEAR),
        )
        members = {**region.members, code: replace(region.members[code], sign_key=new)}
        self.hub.region = replace(region, members=members)
        self.publish(
            code,
            open_for_import=open_for_import,
            suspended=suspended,
            document=old.model_copy(update={"verification_keys": keys}),
        )
        await self.start(code)

    # --- alerts ---

    async def send(self, sender: str, to: Iterable[str], *, exercise: bool) -> Submission:
        """Draft, sign and queue at the sender's node."""
        region = self.hub.region
        asked = request(
            region,
            tuple(to),
            status=Status.EXERCISE if exercise else Status.ACTUAL,
            officer_kid=region.members[sender].officer_kid,
        )
        return await send(self.nodes[sender], region, asked)

    async def force(self, sender: str, to: Iterable[str], tail: int) -> tuple[UUID, bool]:
        """Submit past the sender's own node, as one does who ignores all rules; was it refused?"""
        await self.stop(sender)
        made = make(
            replace(self.hub.region, now=clock.now()),
            tuple(to),
            sender=Sender(member=sender, agency="POL"),
            tail=tail,
            counter=1000 + tail,
        )
        async with self.hub.member_link(sender) as link:
            await link.wait_connected(BOUND_S)
            await submit(link, made, sender=sender)
            while True:
                answer = await receipt(link, sender)
                if not isinstance(answer, DecisionReceipt):
                    continue
                decision = parse_decision(answer.decision)
                if decision.header.id == made.label.id:
                    break
        await self.start(sender)
        accepted = any(record.accepted for record in decision.records)
        return made.label.id, bool(decision.header.code) or not accepted

    async def until_over(self, sender: str, submission_id: UUID) -> Submission:
        """The last state, or the one in which a person must look."""
        async for seen in self.nodes[sender].watch(submission_id):
            if seen.state is SubmissionState.NEEDS_ATTENTION:
                return seen
            last = seen
        return last

    # --- the log ---

    async def leaves(self) -> dict[UUID, list[LeafKind]]:
        """What the log says of each envelope, once it has caught up."""
        await self.own.wait_connected(BOUND_S)  # the hub may have been killed just now
        while True:
            grown = await self.sequencer.step(self.size)
            if grown == self.size:
                break
            self.size = grown
        found: dict[UUID, list[LeafKind]] = {}
        stream = f"AUDIT_{clock.now().year}"
        for tile in bundles_of(self.size):
            for raw in self.sequencer.committer.files.read(tile):
                leaf = parse_leaf(raw)
                statement = leaf.signed.statement
                if statement.kind not in {LeafKind.DECISION, LeafKind.EXERCISE}:
                    continue
                stored = await self.own.get(stream, leaf.stream_seq)
                assert stored is not None
                ident = (
                    parse_audited(stored.payload)
                    .open(self.hub.region.record_keys)
                    .decision.header.id
                )
                assert ident is not None
                found.setdefault(ident, []).append(statement.kind)
        return found


@asynccontextmanager
async def opened_stage(folder: Path) -> AsyncIterator[Stage]:
    """A region of three at work; at the end everything stops at once."""
    region = make_region(MEMBERS, now=clock.now())
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub(region, folder / "hub"))
        own = await stack.enter_async_context(hub.hub_link())
        await own.wait_connected(BOUND_S)
        await announce(own, region)  # as a gateway does when it starts: else the log reads nothing
        committer = await stack.enter_async_context(a_log(folder))
        source = Source(region.view)
        stage = Stage(
            folder,
            hub,
            own,
            sequencer_of(own, committer, region),
            (await committer.recover()).size,
            source,
            DirectoryInForce.read(source),
            Decider("gw-1", region.gateway_kid, region.gateway_sign_key, region.record_keys),
        )
        try:
            await stage.start_all()
            yield stage
        finally:
            for name in tuple(stage.stops):
                await stage.stop(name)
