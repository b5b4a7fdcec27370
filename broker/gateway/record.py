"""The AUDIT stream as write-ahead record and only deduplication.

A decision stands once it is on its subject: the server refuses a second message there. So any
number of workers need no database between them, and a worker that lost the race carries out what
the winner decided.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from broker import clock
from broker.errors import BrokerError
from broker.log.audited import parse_audited
from broker.log.errors import LogError
from broker.log.leaf import Statement, parse_signed
from broker.transport.errors import SequenceConflict
from broker.transport.link import Link
from broker.transport.streams import years_at
from keys.primitives.hashing import hmac_sha256, sha256
from schemas.decision import Salts
from schemas.label import uuid7_time

PUBLISH_TIMEOUT_S: Final = 5.0
ONCE_CONTEXT: Final = b"kentong/once/1\0"
ONCE_BY_CONTEXT: Final = b"kentong/once-by/1\0"
LEFT_CONTEXT: Final = b"kentong/left/1\0"


@dataclass(frozen=True)
class AuditTrail:
    """Where decisions are written before anything is done about them."""

    link: Link

    async def stand(self, subject: str, decision: bytes) -> bytes:
        """Return the decision that stands on `subject`: ours, or the one that was there before.

        Raises:
            BrokerError: The record could not be written or read; nothing may be carried out.
        """
        try:
            await self.link.publish_acked(
                subject,
                decision,
                msg_id=sha256(subject.encode(), b"\0", decision).hex(),
                expect_last_subject_seq=0,
                timeout_s=PUBLISH_TIMEOUT_S,
            )
        except SequenceConflict:
            standing = await self.standing(subject)
            if standing is None:
                raise BrokerError(
                    "audit-unreadable", "a decision stands but cannot be read", retry="later"
                ) from None
            return standing
        return decision

    def keeps(self, subject: str) -> bool:
        """Return whether there can be a record under `subject`: its year's stream is open."""
        return int(subject.split(".", 2)[1]) in years_at(clock.now())

    async def standing(self, subject: str) -> bytes | None:
        """Return what stands on `subject`, read from the stream's leader, or None."""
        stored = await self.link.get_last(stream_of(subject), subject)
        return None if stored is None else stored.payload


def said_in(raw: bytes) -> Statement | None:
    """Return the statement in a message of the record, not verified; None if it has none."""
    try:
        return parse_audited(raw).signed.statement
    except LogError:
        pass
    try:
        return parse_signed(raw).statement
    except LogError:
        return None


def void(statement: Statement) -> str:
    """Return the subject on which a gateway gives back a number that no decision took.

    What it says of itself, and no decision, stands there too.
    """
    year = datetime.fromtimestamp(statement.time_s, tz=UTC).year
    return f"audit.{year}.gateway.{statement.gateway}.{statement.boot}.{statement.seq}"


def opened(year: int) -> str:
    """Return the subject on which one gateway announces the stream of a year."""
    return f"audit.{year}.opened"


def year_of(ident: UUID) -> int:
    """Return the year inside a UUIDv7: the stream on which its decision stands."""
    return uuid7_time(ident).year


def decided(sender: str, ident: UUID) -> str:
    """Return the subject of the decision on envelope `ident` of `sender`."""
    return f"audit.{year_of(ident)}.{sender}.{ident}"


def reused(sender: str, ident: UUID, digest: bytes) -> str:
    """Return the subject of the refusal of other bytes under a decided id."""
    return f"{decided(sender, ident)}.{digest.hex()}"


def malformed(sender: str, raw: bytes, *, year: int) -> str:
    """Return the subject of the refusal of bytes that have no readable id."""
    return f"audit.{year}.{sender}.malformed.{sha256(raw).hex()}"


def once(sender: str, kind: str, ref: UUID, salts: Salts) -> str:
    """Return the subject that only one control of `kind` about `ref` from `sender` can take.

    It names neither `ref` nor kind: whoever has not the salts cannot tell who answered whom.

    Args:
        sender: Of the control, who received what it speaks of.
        kind: Of the control.
        ref: The envelope that it speaks of.
        salts: Of the decision that stands on `ref`.
    """
    return f"audit.{year_of(ref)}.{sender}.once.{_mark(salts, ONCE_CONTEXT, kind, sender)}"


def once_by(digest: bytes, salts: Salts) -> bytes:
    """Return what stands there: which control took it, told to those alone who have the salts."""
    return hmac_sha256(salts.route, ONCE_BY_CONTEXT + digest)


def left(sender: str, ident: UUID, recipient: str, salts: Salts) -> str:
    """Return the subject of the notice that a recipient's copy left the hub unread.

    Args:
        sender: Of the envelope.
        ident: Of the envelope.
        recipient: Who is not named by it.
        salts: Of the decision that stands on `ident`.
    """
    return f"{decided(sender, ident)}.left.{_mark(salts, LEFT_CONTEXT, recipient)}"


def stream_of(subject: str) -> str:
    """Return the AUDIT stream that holds `subject`."""
    return f"AUDIT_{subject.split('.', 2)[1]}"


def _mark(salts: Salts, context: bytes, *words: str) -> str:
    return hmac_sha256(salts.route, context + "\0".join(words).encode()).hex()
