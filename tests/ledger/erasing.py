"""A hub with a gateway and a log, whose records are erased."""

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from broker import clock
from broker.errors import BrokerError
from broker.gateway import record
from broker.ledger.commit import Committer
from broker.ledger.erasure import Erased, Eraser
from broker.ledger.intake import Witnessed
from broker.ledger.subjects import SubjectSealer
from broker.log.audited import parse_audited
from broker.log.checkpoint import parse_checkpoint
from broker.log.leaf import Leaf, LeafKind, parse_leaf
from broker.log.note import parse_note
from broker.log.tiles import bundles_of
from broker.transport.link import Link
from schemas.decision import Decision, parse_decision
from schemas.receipt import DecisionReceipt
from tests.ledger.stages import a_stage
from tests.support.envelopes import Made, make
from tests.support.gateway import mail, receipt, submit
from tests.support.hub import BOUND_S, RunningHub
from tests.support.region import TestRegion


@dataclass
class Stage:
    """A hub with a gateway and a log that grows, and what a test did with them."""

    folder: Path
    region: TestRegion
    hub: RunningHub
    sg: Link
    my: Link
    own: Link
    committer: Committer
    pen: Witnessed
    grown: asyncio.Task[None]
    noted: Counter[str] = field(default_factory=Counter)  # Messages to be erased, by stream.

    def make(self, number: int) -> Made:
        return make(self.region, ("MY",), tail=number, counter=number)

    async def decide(self, made: Made, *, attempt: int = 1) -> Decision:
        """Submit it, and take what was told and delivered."""
        await submit(self.sg, made, attempt=attempt)
        told = await receipt(self.sg)
        assert isinstance(told, DecisionReceipt)
        decision = parse_decision(told.decision)
        if not decision.header.code:
            await mail(self.my, "MY")
        return decision

    async def refusal(self, made: Made) -> Decision:
        """The refusal of these bytes under an id that was decided before."""
        subject = record.reused("SG", made.label.id, made.sealed.digest)
        async with asyncio.timeout(BOUND_S):
            while (found := await self.own.get_last(record.stream_of(subject), subject)) is None:
                pass  # each look is a request to the server
        return parse_audited(found.payload).open(self.region.record_keys).decision

    async def marks(self, made: Made, decision: Decision) -> tuple[bytes, ...]:
        """What nobody else has: salts, digest, signature, and what its record holds sealed."""
        subject = record.decided("SG", made.label.id)
        if decision.header.code == "id-reused":
            subject = record.reused("SG", made.label.id, made.sealed.digest)
        found = await self.own.get_last(record.stream_of(subject), subject)
        assert found is not None
        return (*marks_of(decision), parse_audited(found.payload).sealed)

    def eraser(self, link: Link | None = None, within_s: float = 20.0) -> Eraser:
        kept = self.folder / "erasures"
        state, files = self.committer.state, self.committer.files

        def note(stream: str, numbers: Sequence[int]) -> None:
            self.noted[stream] += len(numbers)

        own = link or self.own
        return Eraser(own, files, state, self.pen, kept, logged_within_s=within_s, noting=note)

    async def erase(self, made: Made) -> Erased:
        """Erase it once its leaf is in the log."""
        async with asyncio.timeout(BOUND_S):
            while True:
                try:
                    return await self.eraser().erase("SG", made.label.id, now=clock.now())
                except BrokerError as error:
                    if error.code != "not-logged":
                        raise

    def entries(self) -> list[bytes]:
        note = self.committer.files.checkpoint()  # what is locked may not be in sight yet
        size = 0 if note is None else parse_checkpoint(parse_note(note).text).size
        return [raw for tile in bundles_of(size) for raw in self.committer.files.read(tile)]

    def shows(self, leaf: bytes) -> bool:
        """Whether the log's files have it."""
        return any(entry.startswith(leaf) for entry in self.entries())

    def leaves(self, kind: LeafKind) -> list[Leaf]:
        found = [parse_leaf(raw) for raw in self.entries()]
        return [leaf for leaf in found if leaf.signed.statement.kind is kind]

    async def subjects(self) -> set[str]:
        """What the log's database keeps of the subjects of this year's records."""
        sealer, state = SubjectSealer.of(self.pen.key), self.committer.state
        rows = (await state.subjects(clock.now().year)).values()
        return {subject for row in rows for subject in sealer.open(row)}

    def places(self, *marks: bytes) -> list[str]:
        """Files on the hub's whole disk that hold a mark, as it is or in hexadecimal."""
        forms = [form for mark in marks for form in (mark, mark.hex().encode())]
        found = []
        for folder, _, names in os.walk(self.folder):  # bears what goes away meanwhile
            for path in (Path(folder) / name for name in names):
                with contextlib.suppress(FileNotFoundError):
                    if path.is_file() and any(form in path.read_bytes() for form in forms):
                        found.append(str(path.relative_to(self.folder)))
        return found

    async def gone(self, *marks: bytes) -> None:
        """Return once no file holds a mark: the server takes acknowledgements in its own time."""
        async with asyncio.timeout(BOUND_S):
            while await asyncio.to_thread(self.places, *marks):
                pass


@asynccontextmanager
async def erasing(folder: Path) -> AsyncIterator[Stage]:
    """Run one in `folder`."""
    async with a_stage(folder) as base, base.hub.member_link("MY") as my:
        await my.wait_connected(BOUND_S)
        await base.announce()
        grown = asyncio.get_running_loop().create_task(base.sequencer.run())
        yield Stage(
            folder,
            base.region,
            base.hub,
            base.sg,
            my,
            base.own,
            base.committer,
            base.sequencer.pen,
            grown,
        )
        grown.cancel()
        await asyncio.wait((grown,))


def marks_of(decision: Decision) -> tuple[bytes, ...]:
    """What nobody else has: every salt, the digest, the signed header."""
    shown = [opening for opening in decision.openings if opening is not None]
    salts = (decision.salts.route, decision.salts.body, *(opening.salt for opening in shown))
    return (*salts, decision.header.digest, decision.signature)
