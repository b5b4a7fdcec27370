"""Deliveries and receipts of a decision that stands. Verdict and delivery are two things.

A copy that the inbox cannot take is held by the hub; a copy that neither can take is returned to
the sender with a signed notice. Message ids are made of the digest, so a worker that repeats the
work of a dead one leaves no second copy inside the server's window, and the recipient's node
leaves none after it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from broker.gateway import record
from broker.gateway.notices import parse_sealed_notice, seal_notice
from broker.log.erasure import is_erasure
from broker.log.rebuilt import is_rebuilt
from broker.log.recordkeys import RecordKeys
from broker.transport.link import Link
from broker.transport.message import (
    EXPIRES_HEADER,
    ID_HEADER,
    SENDER_HEADER,
    UNREAD_AT_MOST,
    Outgoing,
)
from keys.primitives.signing import Signing
from schemas.decision import Decision
from schemas.label import Label
from schemas.receipt import (
    NOTICE_CONTEXT,
    DecisionReceipt,
    Notice,
    NoticeReceipt,
    Receipt,
    TemporaryRefusal,
    Where,
    encode_receipt,
)

PUBLISH_TIMEOUT_S: Final = 5.0


@dataclass(frozen=True)
class Copy:
    """One accepted copy: whose it is, and the bytes for its inbox."""

    recipient: str
    payload: bytes


@dataclass(frozen=True)
class Dispatcher:
    """Carries out what stands; it decides nothing."""

    link: Link
    trail: record.AuditTrail
    kid: bytes
    key: Signing
    records: RecordKeys

    async def deliver(
        self, label: Label, standing: Decision, copies: Sequence[Copy], *, now: datetime
    ) -> tuple[tuple[str, Where], ...]:
        """Put every copy that a standing decision let through where it fits, and say where.

        Raises:
            BrokerError: The outcome of a publish is unknown: do not acknowledge the submission.
        """
        placed = await self._place(label, standing.header.digest, copies, now=now)
        for recipient, where in placed:
            if where is Where.BOUNCED:
                to = (label.sender.member,)
                await self.notify(label, standing, recipient, where, now=now, to=to)
        return placed

    async def _place(
        self, label: Label, digest: bytes, copies: Sequence[Copy], *, now: datetime
    ) -> tuple[tuple[str, Where], ...]:
        """Try every inbox at one time, then the hub's own keeping for those that took nothing."""
        leaves_ms = int(min(label.expires, now + UNREAD_AT_MOST).timestamp() * 1000)
        sender, rest = label.sender.member, f"{label.lane}.{label.id}"
        left, placed = list(copies), dict.fromkeys((c.recipient for c in copies), Where.BOUNCED)
        for prefix, by_sender, where in (
            ("deliver", "", Where.STORED),
            ("held", f"{sender}.", Where.HELD),
        ):
            outgoing = [
                Outgoing(
                    f"{prefix}.{copy.recipient}.{by_sender}{rest}",
                    copy.payload,
                    {
                        EXPIRES_HEADER: str(leaves_ms),
                        SENDER_HEADER: sender,
                        ID_HEADER: f"{digest.hex()}.{copy.recipient}",
                    },
                )
                for copy in left
            ]
            if not outgoing:
                break
            taken = await self.link.publish_all(outgoing, timeout_s=PUBLISH_TIMEOUT_S)
            tried, left = left, []
            for copy, fits in zip(tried, taken, strict=True):
                if fits:
                    placed[copy.recipient] = where
                else:
                    left.append(copy)
        return tuple(placed.items())

    async def notify(
        self,
        label: Label,
        standing: Decision,
        recipient: str,
        where: Where,
        *,
        now: datetime,
        to: Sequence[str],
    ) -> None:
        """Record that a copy left unread, then tell those whom it concerns.

        Raises:
            BrokerError: The record could not be written, or the one that stands not be opened.
        """
        digest = standing.header.digest
        notice = Notice(
            where=where,
            id=label.id,
            digest=digest,
            sender=label.sender.member,
            recipient=recipient,
            at_ms=int(now.timestamp() * 1000),
        ).to_bytes()
        signed = NoticeReceipt(notice, self.kid, self.key.sign(NOTICE_CONTEXT + notice))
        subject = record.left(label.sender.member, label.id, recipient, standing.salts)
        wire = await self._stand(subject, encode_receipt(signed))
        for member in to:
            await self._tell(member, label.id, wire, token=f"{digest.hex()}.{where}.{recipient}")

    async def _stand(self, subject: str, wire: bytes) -> bytes:
        """Return the notice that stands on `subject`; ours, where its record was lost or erased."""
        raw = await self.trail.stand(subject, seal_notice(wire, subject, self.records.current))
        if is_rebuilt(raw) or is_erasure(raw):
            return wire
        return parse_sealed_notice(raw).open(subject, self.records)

    async def receipt(
        self,
        sender: str,
        ident: UUID,
        digest: bytes,
        decision: bytes,
        copies: Sequence[tuple[str, Where]],
    ) -> None:
        """Tell the sender what was decided and where the copies went."""
        wire = encode_receipt(DecisionReceipt(decision, tuple(copies)))
        await self._tell(sender, ident, wire, token=f"{digest.hex()}.receipt")

    async def postpone(self, sender: str, refusal: TemporaryRefusal, *, attempt: str) -> None:
        """Tell the sender to try again; nothing is recorded."""
        receipt: Receipt = refusal
        token = f"{refusal.digest.hex()}.{attempt}.later"
        await self._tell(sender, refusal.id, encode_receipt(receipt), token=token)

    async def _tell(self, member: str, ident: UUID, wire: bytes, *, token: str) -> None:
        await self.link.publish_acked(
            f"receipt.{member}.{ident}", wire, msg_id=token, timeout_s=PUBLISH_TIMEOUT_S
        )
