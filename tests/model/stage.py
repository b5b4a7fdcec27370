"""Three or four nodes, a gateway, a log and a hub, all real, that a model starts, stops and asks.

The hub's server is a process and is killed. Nodes, gateway and log live in this one: they are
cancelled wherever they are and say goodbye to nobody, but a process that goes on cannot lose what
only its own memory holds, nor leave a database's lock behind. That is what
`tests/faults/test_kills.py`, `tests/faults/test_crash_points.py` and `tests/chaos` kill real
processes for.
"""

from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from sqlalchemy import select, update

from broker import clock
from broker.errors import BrokerError
from broker.gateway.decide import Decider
from broker.gateway.directory import DirectoryInForce
from broker.gateway.run import run_worker
from broker.ledger.intake import GatewayKey
from broker.log.leaf import LeafKind
from broker.node.node import Node
from broker.store import tables
from broker.transport.link import Link
from broker.transport.message import Message
from keys.directory.view import DirectoryView, MemberView
from keys.epochs import bounds, epoch_of
from keys.kid import kid_of
from keys.primitives.hashing import sha256
from keys.primitives.sealing import OpenKey
from keys.primitives.signing import SignKey
from schemas.decision import Decision, parse_decision
from schemas.desk import Submission, SubmissionState
from schemas.directory import (
    EncryptionKey,
    MemberDocument,
    Officer,
    OfficerRole,
    OfficersDocument,
    Revocation,
    RevocationReason,
    Validity,
    VerificationKey,
)
from schemas.label import DirectoryVersion, Sender
from schemas.policy import PolicyDocument
from schemas.receipt import DecisionReceipt, parse_receipt
from schemas.vocabulary import Status
from tests.model.logged import Logged
from tests.support.background import at_work
from tests.support.envelopes import make
from tests.support.gateway import Source, announce, nothing_to_try, submit
from tests.support.hub import BOUND_S, RunningHub, running_hub
from tests.support.nodes import request, running_node, send
from tests.support.region import YEAR, make_region, permissive

FOUNDERS = ("SG", "MY", "TH")
JOINER = "VN"  # The hub gives it a connection from the start, and the directory a seat later.
GATEWAY, LOG = "gateway", "log"
ValidityT = TypeVar("ValidityT", bound=Validity)
_ALL_DUE = update(tables.controls).where(tables.controls.c.envelope_id.is_(None)).values(due_ms=0)


@dataclass(frozen=True)
class Rules:
    """What holds for a member, whatever else of it changes."""

    takes: bool
    gives: bool
    suspended: bool


@dataclass
class Stage:
    """All that runs, and the directory that everybody holds.

    Attributes:
        joiner: The part of the directory that is not in it until its member joins.
    """

    folder: Path
    hub: RunningHub
    log: Logged
    source: Source
    directory: DirectoryInForce
    joiner: MemberView
    cut: dict[str, tuple[Revocation, ...]] = field(default_factory=dict)
    officers: int = 0  # That were certified later.
    nodes: dict[str, Node] = field(default_factory=dict)
    stops: dict[str, AsyncExitStack] = field(default_factory=dict)

    @property
    def members(self) -> tuple[str, ...]:
        return tuple(self.hub.region.view.member_views)

    # --- outages and restarts ---

    async def start(self, name: str) -> None:
        """Let a node, the gateway or the log run."""
        if name in self.stops:
            return
        stack = AsyncExitStack()
        if name == GATEWAY:
            await stack.enter_async_context(self._running_gateway())
        elif name == LOG:
            await stack.enter_async_context(self.log.running())
        else:
            node = running_node(self.hub, name, self.folder)
            self.nodes[name] = await stack.enter_async_context(node)
        self.stops[name] = stack

    @asynccontextmanager
    async def _running_gateway(self) -> AsyncIterator[None]:
        """A worker that is started again whenever it ends, as the hub does it."""
        async with at_work(self._keep_gateway()):
            yield

    async def _keep_gateway(self) -> None:
        while True:
            try:
                async with self.hub.hub_link() as link:
                    await link.wait_connected(BOUND_S)
                    region, trial = self.hub.region, nothing_to_try
                    decider = Decider(
                        "gw-1", region.gateway_kid, region.gateway_sign_key, region.record_keys
                    )
                    await run_worker(link, self.directory, decider, trial=trial, silent=True)
            except* BrokerError:  # the server was killed as it began; anything else ends the test
                pass

    async def stop(self, name: str) -> None:
        """Stop it at once, wherever it is."""
        if name in self.stops:
            await self.stops.pop(name).aclose()

    async def start_all(self) -> None:
        for name in (GATEWAY, LOG, *self.members):
            await self.start(name)

    # --- the directory ---

    def publish(
        self,
        code: str,
        rules: Rules,
        *,
        document: MemberDocument | None = None,
        officers: OfficersDocument | None = None,
    ) -> None:
        """Give everybody the next version of the directory."""
        held = {"import": rules.takes, "export": rules.gives}
        kept = tuple(rule for rule in permissive(code).rule if held[rule.direction])
        policy = PolicyDocument(format=1, member=code, title="as drawn", rule=kept)
        reason = RevocationReason.SUSPENDED
        gone = (Revocation(member=code, at=clock.now(), reason=reason),) if rules.suspended else ()
        view = self.hub.region.changed(
            code,
            policy=policy,
            revocations=(*gone, *self.cut.get(code, ())),
            document=lambda old: document or old,
            officers=lambda old: officers or old,
        )
        self._give(view)

    def _give(self, view: DirectoryView) -> None:
        self.hub.region = replace(self.hub.region, view=view)
        self.source.current = view
        self.directory.reread()
        for node in self.nodes.values():
            node.present.take(view)

    def _hold(self, code: str, **keys: object) -> None:
        """Let a member have other private keys."""
        region = self.hub.region
        changed = replace(region.members[code], **keys)  # type: ignore[arg-type]
        self.hub.region = replace(region, members={**region.members, code: changed})

    async def rotate(self, code: str, rules: Rules) -> None:
        """Give a member's node another signing key; the old one is superseded from now on."""
        await self.stop(code)
        now, new = clock.now(), SignKey.generate()
        old = self.hub.region.view.member(code).document
        keys = (*_superseded(old.verification_keys, now), _from_now(new, now))
        self._hold(code, sign_key=new)
        document = old.model_copy(update={"verification_keys": keys})
        self.publish(code, rules, document=document)
        await self.start(code)

    async def begin_epoch(self, code: str, rules: Rules) -> None:
        """Give a member's node another key of this epoch to be sealed to; it keeps the old one."""
        await self.stop(code)
        now, new = clock.now(), OpenKey.generate()
        old, epoch = self.hub.region.view.member(code).document, epoch_of(now)
        first, last = bounds(epoch)
        this = [key for key in old.encryption_keys if key.epoch == epoch]
        others = [key for key in old.encryption_keys if key.epoch != epoch]
        fresh = EncryptionKey(key=new.public.raw, epoch=epoch, not_before=first, not_after=last)
        keys = (*_superseded(this, now), fresh, *others)
        held = self.hub.region.members[code].open_keys
        self._hold(code, open_keys={**held, kid_of(new.public.raw): new})
        document = old.model_copy(update={"encryption_keys": keys})
        self.publish(code, rules, document=document)
        await self.start(code)

    def replace_officer(self, code: str, rules: Rules) -> None:
        """Let another officer sign at a member's desk; the one before left, from now on."""
        now, new = clock.now(), SignKey.generate()
        old = self.hub.region.view.member(code).officers
        leaving = self.hub.region.members[code].officer_key.public.raw
        left = {"revoked_at": now, "reason": RevocationReason.LEFT_SERVICE}
        self.officers += 1
        fresh = Officer(
            id=f"{code}-N{self.officers}",
            key=new.public.raw,
            roles=(OfficerRole.OFFICER,),
            not_before=now - YEAR / 365,
            not_after=now + YEAR,
        )
        listed = (
            each.model_copy(update=left) if each.key == leaving else each for each in old.officers
        )
        self._hold(code, officer_key=new)
        officers = old.model_copy(update={"officers": (*listed, fresh)})
        self.publish(code, rules, officers=officers)

    def cut_key(self, code: str, rules: Rules) -> None:
        """Let two other members suspend the key under which a member's node signs."""
        entry = Revocation(
            member=code,
            kid=self.hub.region.members[code].kid,
            at=clock.now(),
            reason=RevocationReason.SUSPENDED,
        )
        self.cut[code] = (*self.cut.get(code, ()), entry)
        self.publish(code, rules)

    async def rotate_gateway(self) -> None:
        """Give the gateway another signing key; the old one is superseded from now on."""
        await self.stop(GATEWAY)
        region, now, new = self.hub.region, clock.now(), SignKey.generate()
        keys = (*_superseded(region.view.hub.gateway_keys, now), _from_now(new, now))
        document = region.view.hub.model_copy(update={"gateway_keys": keys})
        self.hub.region = replace(region, gateway_sign_key=new)
        self._give(replace(region.view, hub=document, version=_after(region.view, b"gateway")))
        await self.start(GATEWAY)

    async def join(self) -> None:
        """Admit the member that waits to be."""
        view, joiner = self.hub.region.view, self.joiner
        views = {**view.member_views, joiner.code: joiner}
        self._give(replace(view, member_views=views, version=_after(view, b"member")))
        await self.start(joiner.code)

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

    async def force(self, sender: str, to: Iterable[str], tail: int) -> tuple[UUID, set[str]]:
        """Submit past the sender's own node, as one does who ignores all rules.

        Returns:
            The envelope's id, and the codes with which all its copies were refused.
        """
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
            decision = await _decision_on(link, sender, made.label.id)
        await self.start(sender)
        assert not any(record.accepted for record in decision.records)
        whole = decision.header.code
        return made.label.id, {whole or record.code for record in decision.records} or {whole}

    async def until_over(self, sender: str, submission_id: UUID) -> Submission:
        """The last state, or the one in which a person must look."""
        async with AsyncExitStack() as stack:
            for node in self.nodes.values():
                await stack.enter_async_context(at_work(self._hurry_answers(node)))
            async for seen in self.nodes[sender].watch(submission_id):
                last = seen
                if seen.state is SubmissionState.NEEDS_ATTENTION:
                    break
        return last

    @staticmethod
    async def _hurry_answers(node: Node) -> None:
        """Let no answer that was refused wait for its time: a suspension may be over."""
        while True:
            ticket = node.changes.ticket()
            await node.database.change(lambda c: c.execute(_ALL_DUE))
            await ticket.wait()

    # --- the log ---

    async def leaves(self) -> dict[UUID, list[LeafKind]]:
        """What the log says of each envelope, once it was stopped, recovered and caught up."""
        await self.stop(LOG)
        found = await self.log.read(self.hub.region.record_keys)
        await self.start(LOG)
        return found

    async def decided(self) -> tuple[dict[UUID, UUID], set[UUID]]:
        """What the gateway told the nodes that it decided, once it told them all; all run.

        Returns:
            The submission of each alert by its envelope's id, and the ids of all controls that were
            sealed, which may be on their way.
        """
        alerts: dict[UUID, UUID] = {}
        controls: set[UUID] = set()
        for node in self.nodes.values():
            while True:
                ticket = node.changes.ticket()
                async with node.database.read() as connection:
                    rows = (await connection.execute(select(tables.envelopes))).all()
                sealed = [row for row in rows if row.submission_id is not None]
                if all(row.decided for row in sealed):
                    break
                await ticket.wait()  # the recipient's word may come before the gateway's
            controls |= {UUID(row.id) for row in rows if row.submission_id is None}
            alerts |= {UUID(row.id): UUID(row.submission_id) for row in sealed}
        return alerts, controls


async def _decision_on(link: Link, sender: str, ident: UUID) -> Decision:
    """The gateway's answer about one envelope; all else stays for the sender's node."""
    others: list[Message] = []
    while True:
        for message in await link.pull(f"RECEIPT_{sender}", sender, batch=1, timeout_s=BOUND_S):
            answer = parse_receipt(message.payload)
            if isinstance(answer, DecisionReceipt):
                decision = parse_decision(answer.decision)
                if decision.header.id == ident:
                    await message.ack()
                    for other in others:
                        await other.nak(delay_s=0)
                    return decision
            others.append(message)


def _after(view: DirectoryView, what: bytes) -> DirectoryVersion:
    """The version in which `what` was changed."""
    old = view.version
    return DirectoryVersion(root=old.root, snapshot=old.snapshot + 1, hash=sha256(old.hash, what))


def _superseded(keys: Iterable[ValidityT], now: datetime) -> tuple[ValidityT, ...]:
    ended = {"revoked_at": now, "reason": RevocationReason.SUPERSEDED}
    return tuple(each if each.revoked_at else each.model_copy(update=ended) for each in keys)


def _from_now(key: SignKey, now: datetime) -> VerificationKey:
    return VerificationKey(key=key.public.raw, not_before=now - YEAR / 365, not_after=now + YEAR)


@asynccontextmanager
async def opened_stage(folder: Path) -> AsyncIterator[Stage]:
    """A region of three at work, and one that may join; at the end everything stops at once."""
    whole = make_region((*FOUNDERS, JOINER), now=clock.now())
    views = dict(whole.view.member_views)
    joiner = views.pop(JOINER)
    region = replace(whole, view=replace(whole.view, member_views=views))
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub(whole, folder / "hub"))
        hub.region = region
        own = await stack.enter_async_context(hub.hub_link())
        await own.wait_connected(BOUND_S)
        await announce(own, region)  # as a gateway does when it starts: else the log reads nothing
        source = Source(region.view)

        def keys() -> Iterator[GatewayKey]:
            return map(GatewayKey.of, source.view().hub.gateway_keys)

        stage = Stage(
            folder,
            hub,
            Logged(folder, hub, own, keys),
            source,
            DirectoryInForce.read(source),
            joiner,
        )
        try:
            await stage.start_all()
            yield stage
        finally:
            for name in tuple(stage.stops):
                await stage.stop(name)
