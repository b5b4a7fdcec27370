"""The hub's service for attached files: no chunk without a decision, none to whom it did not go.

A file follows its alert and never precedes it: the hub takes a chunk only from the member whose
envelope a gateway accepted for somebody, and gives it only to those for whom it was. Both are read
from the decision that stands in the AUDIT stream, signature verified; nothing else is believed.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from broker import clock
from broker.admission.quota import Buckets
from broker.envelope.decision import verify_decision
from broker.envelope.errors import EnvelopeError
from broker.errors import BrokerError
from broker.hub.chunkheads import Head
from broker.hub.chunkstore import DAMAGED, ChunkStore
from broker.log.audited import parse_audited
from broker.log.erasure import is_erasure
from broker.log.errors import LogError
from broker.log.rebuilt import is_rebuilt
from broker.log.recordkeys import RecordKeys
from broker.logs import get_logger
from broker.store.errors import StoreError
from broker.transport.attaching import (
    Done,
    Get,
    Opened,
    Put,
    Room,
    data_answer,
    done_answer,
    error_answer,
    kept_answer,
    next_answer,
    read_asked,
    refused,
    room_answer,
)
from broker.transport.errors import Refused
from broker.transport.link import Link
from broker.transport.message import UNREAD_AT_MOST
from broker.transport.services import MISSING, asked_by, asked_file, busy_answer
from keys.directory.view import DirectoryView
from schemas.decision import Decision
from schemas.label import uuid7_time
from schemas.vocabulary import Kind

RATE_PER_S: Final = 200.0  # chunks of one member, about 50 MiB
BURST: Final = 400.0
WAITING_BYTES: Final = 8 * 1024 * 1024  # of one member's requests; beyond it they are dropped
PATIENCE: Final = timedelta(minutes=10)  # then files go without who has no room for them
_NOTHING_IS_OVER: Final = datetime.fromtimestamp(0, tz=UTC)
_log = get_logger()


@dataclass
class AttachmentService:
    """Serves `hub.CC.att.>`; each member by a subscription of its own.

    So one member's flood fills its own queue, and its slow disk is waited for by itself alone.

    Attributes:
        view: The directory in force, for the gateways' keys.
        records: Opens what a decision's record holds sealed.
        clock_is_good: Whether the hub's time is believed: by a wrong clock nothing is over.
    """

    store: ChunkStore
    link: Link
    view: Callable[[], DirectoryView]
    records: RecordKeys
    clock_is_good: Callable[[], bool]
    now: Callable[[], datetime] = clock.now
    buckets: Buckets = field(default_factory=Buckets)  # Of the link's own tasks alone.
    _served: set[str] = field(default_factory=set)

    async def admit(self, members: Sequence[str]) -> None:
        """Serve these members from now on, as well."""
        for member in members:
            if member not in self._served:
                self._served.add(member)
                await self.link.serve(
                    f"hub.{member}.att.>", self._answer, waiting_bytes=WAITING_BYTES
                )

    async def sweep_for_ever(self, every_s: float) -> None:
        """Remove what is over, and what belongs to an erased decision."""
        while True:
            try:
                await self.sweep()
            except BrokerError as error:
                _log.warning("chunks-not-swept", error_code=error.code)
            await asyncio.sleep(every_s)

    async def sweep(self) -> None:
        """Remove what is over now, and what was erased; while the clock is in doubt only that.

        Raises:
            BrokerError: The server did not answer, or the disk did not do it for some, once all
                are tried; call again.
        """
        failed: StoreError | None = None
        if self.clock_is_good():
            try:
                await self.store.expire(self.now())
            except StoreError as error:
                failed = error
        for sender, ident in self.store.open_ids():
            raw = await self._standing(sender, ident)
            try:
                if raw is not None:
                    await self._sweep_one(sender, ident, raw)
            except StoreError as error:
                failed = failed or error
        if failed is not None:
            raise failed

    async def _sweep_one(self, sender: str, ident: UUID, raw: bytes) -> None:
        if is_erasure(raw):
            await self.store.remove(sender, ident)
            _log.info("chunks-erased", sender=sender, id=str(ident))
        elif self.store.is_damaged(sender, ident):
            await self._mend(sender, ident, raw)

    async def _answer(self, subject: str, payload: bytes) -> bytes:
        member, now = asked_by(subject), self.now()
        if self.buckets.take(member, RATE_PER_S, BURST):
            return busy_answer()
        what = asked_file(subject).removeprefix("att.")
        try:
            by = now if self.clock_is_good() else _NOTHING_IS_OVER
            return await self._do(member, what, payload, by)
        except BrokerError as error:
            _log.warning("attachment-refused", member=member, error_code=error.code)
            return error_answer(error.code)

    async def _do(self, member: str, what: str, payload: bytes, now: datetime) -> bytes:
        match read_asked(what, payload):
            case Opened() as opened:
                return await self._opened(member, opened, now)
            case Put(id=ident, number=number, chunk=chunk, data=data):
                await self._mended(member, ident)
                if self.store.head(member, ident, now=now) is None:
                    raise refused("not-open")
                await self.store.keep(member, ident, number, chunk, data)
                return kept_answer()
            case Room():
                return room_answer(self.store.most(self._others(member)))
            case (Get() | Done()) as asked:
                await self._mended(asked.sender, asked.id)
                if not self._may_have(member, asked.sender, asked.id, now):
                    return error_answer(MISSING)
                return await self._given(member, asked)

    async def _given(self, member: str, asked: Get | Done) -> bytes:
        """Answer a recipient to whom a copy went."""
        sender, ident = asked.sender, asked.id
        if isinstance(asked, Get):
            return data_answer(await self.store.chunk(sender, ident, asked.number, asked.chunk))
        if await self.store.done(sender, ident, member):
            _log.info("chunks-taken", sender=sender, id=str(ident))
        return done_answer()

    async def _opened(self, sender: str, opened: Opened, now: datetime) -> bytes:
        """Reserve room, and say where to go on and for whom there is none."""
        head = await self._promised(sender, opened, now)
        patient = now < uuid7_time(opened.id) + PATIENCE
        found = await self.store.open(
            sender, opened.id, head, self._others(sender), patient=patient
        )
        known = self.store.head(sender, opened.id, now=now)
        kept = head.recipients if known is None else known.recipients
        return next_answer(found, [each for each in head.recipients if each not in kept])

    def _others(self, member: str) -> list[str]:
        return [each for each in self.view().members() if each != member]

    def _may_have(self, member: str, sender: str, ident: UUID, now: datetime) -> bool:
        """Return whether the decision accepted a copy for `member`.

        What it may not have is answered like what is not there: nobody learns who writes to whom.
        """
        head = self.store.head(sender, ident, now=now)
        return head is not None and member in head.recipients

    async def _promised(self, sender: str, opened: Opened, now: datetime) -> Head:
        """Return what the standing decision lets the sender hand in.

        Raises:
            BrokerError: `not-decided`, `nobody-accepted`, `decision-lost` or `expired`.
        """
        raw = await self._standing(sender, opened.id)
        if raw is None:
            raise refused("not-decided")
        if is_erasure(raw):
            raise refused("nobody-accepted")
        if is_rebuilt(raw):  # for good: no record comes back, but what was opened by it goes on
            known = self.store.head(sender, opened.id, now=now)
            if known is None:
                raise refused("decision-lost")
            return replace(known, counts=opened.counts, promised=True)
        accepted, decided_at = self._accepted(sender, opened.id, raw)
        expires = min(opened.expires, decided_at + UNREAD_AT_MOST)
        if expires <= now:
            raise refused("expired")
        return Head(accepted, opened.counts, expires)

    def _accepted(self, sender: str, ident: UUID, raw: bytes) -> tuple[tuple[str, ...], datetime]:
        """Return for whom a standing decision let a copy through, and when it was taken.

        Raises:
            BrokerError: `not-decided` or `nobody-accepted`.
        """
        decision = self._verified(raw)
        header = decision.header
        if (header.sender, header.id) != (sender, ident):
            raise refused("not-decided")
        accepted = tuple(each.recipient for each in decision.records if each.accepted)
        if header.code or header.kind is not Kind.ALERT or not accepted:
            raise refused("nobody-accepted")
        return accepted, header.decided_at

    async def _mended(self, sender: str, ident: UUID) -> None:
        """Make a head anew that the disk changed, before somebody asks by it."""
        if self.store.is_damaged(sender, ident):
            raw = await self._standing(sender, ident)
            if raw is not None and not is_erasure(raw):
                await self._mend(sender, ident, raw)

    async def _mend(self, sender: str, ident: UUID, raw: bytes) -> None:
        try:
            accepted, decided_at = self._accepted(sender, ident, raw)
        except BrokerError as error:  # its chunks stay: somebody must look
            _log.error(DAMAGED, id=str(ident), error_code=error.code, alarm=DAMAGED)
            return
        await self.store.mend(sender, ident, Head(accepted, (), decided_at + UNREAD_AT_MOST))

    def _verified(self, raw: bytes) -> Decision:
        try:
            decision = parse_audited(raw).open(self.records).decision
        except LogError as error:
            _log.warning("record-not-opened", error_code=error.code)
            raise refused("not-decided") from error
        try:
            verify_decision(decision, self.view())
        except EnvelopeError as error:
            if error.code != "unknown-key":
                raise
            _log.warning("record-key-unknown", kid=decision.kid.hex())
            raise refused("not-decided") from error  # this directory may be a moment old
        return decision

    async def _standing(self, sender: str, ident: UUID) -> bytes | None:
        """Return the record of the decision, from the stream's leader; None if there is none.

        Raises:
            TransportError: The server did not answer.
        """
        try:
            year = uuid7_time(ident).year
        except ValueError:
            return None
        try:
            stored = await self.link.get_last(f"AUDIT_{year}", f"audit.{year}.{sender}.{ident}")
        except Refused:  # no such year is kept
            return None
        return None if stored is None else stored.payload
