"""What the hub tells a sender about one submission. Source: schemas/SPEC.md, section on receipts.

    decision   [1, "decision", decision bytes, [[recipient, where], ...]]
    temporary  [1, "temporary", id, digest, code, retry_after_s]
    notice     [1, "notice", notice bytes, [kid, signature]]

A decision carries its own signature. What became of a copy (`stored`, `held`, `bounced`) is the
hub's word, to be believed only as far as `delivered` from the recipient confirms it. A temporary
refusal is unsigned: it decides nothing, it only asks to wait. A notice speaks of a copy that was
accepted and left unread, and is signed like a decision.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

from schemas import canonical
from schemas.errors import SchemaError
from schemas.moments import moment

RECEIPT_VERSION: Final = 1
MAX_RECEIPT_BYTES: Final = 32 * 1024  # 32 openings of about 400 bytes, twice over
NOTICE_CONTEXT: Final = b"kentong/notice/1\0"
_ID_BYTES: Final = 16
_DIGEST_BYTES: Final = 32
_SIGNATURE_BYTES: Final = 64
_MAX_RETRY_AFTER_S: Final = 24 * 3600


class Where(StrEnum):
    """What became of one accepted copy at the hub."""

    STORED = "stored"
    HELD = "held"
    BOUNCED = "bounced"
    EXPIRED = "expired"


@dataclass(frozen=True)
class DecisionReceipt:
    """The standing decision, still to be verified, and where each accepted copy went."""

    decision: bytes
    copies: tuple[tuple[str, Where], ...]


@dataclass(frozen=True)
class TemporaryRefusal:
    """Nothing was decided: submit the same bytes again after `retry_after_s` seconds."""

    id: UUID
    digest: bytes
    code: str
    retry_after_s: int


@dataclass(frozen=True)
class NoticeReceipt:
    """A signed notice, still to be verified."""

    notice: bytes
    kid: bytes
    signature: bytes


@dataclass(frozen=True)
class Notice:
    """That one accepted copy left the hub unread.

    Attributes:
        where: `bounced` (no room was left) or `expired`.
        id: The envelope's id.
        digest: The envelope's digest.
        sender: Who sent it.
        recipient: Whose copy it was.
        at_ms: The hub's clock, milliseconds since 1970 UTC.
    """

    where: Where
    id: UUID
    digest: bytes
    sender: str
    recipient: str
    at_ms: int

    def to_bytes(self) -> bytes:
        """Return the canonical encoding, which is what is signed after `NOTICE_CONTEXT`."""
        return canonical.encode(
            {
                "v": RECEIPT_VERSION,
                "where": str(self.where),
                "id": self.id.bytes,
                "digest": self.digest,
                "sender": self.sender,
                "recipient": self.recipient,
                "at": self.at_ms,
            }
        )


Receipt = DecisionReceipt | TemporaryRefusal | NoticeReceipt


def encode_receipt(receipt: Receipt) -> bytes:
    """Return the wire form."""
    match receipt:
        case DecisionReceipt(decision, copies):
            pairs: list[canonical.Value] = [[code, str(where)] for code, where in copies]
            return canonical.pack([RECEIPT_VERSION, "decision", decision, pairs])
        case TemporaryRefusal(id=ident, digest=digest, code=code, retry_after_s=after):
            return canonical.encode(
                [RECEIPT_VERSION, "temporary", ident.bytes, digest, code, after]
            )
        case NoticeReceipt(notice, kid, signature):
            return canonical.encode([RECEIPT_VERSION, "notice", notice, [kid, signature]])


def parse_receipt(raw: bytes) -> Receipt:
    """Return what `raw` says; nothing in it is authenticated yet.

    Raises:
        SchemaError: Not a receipt of a version and form this software reads.
    """
    match canonical.decode(raw, max_bytes=MAX_RECEIPT_BYTES):
        case [bool(), *_]:  # True is 1, but it is not how 1 is written
            raise SchemaError("bad-receipt", "not a receipt of a form this software reads")
        case [1, "decision", bytes(decision), list(copies)]:
            return DecisionReceipt(decision, tuple(_copy(item) for item in copies))
        case [1, "temporary", bytes(ident), bytes(digest), str(code), int(after)] if (
            len(ident) == _ID_BYTES
            and len(digest) == _DIGEST_BYTES
            and 0 <= after <= _MAX_RETRY_AFTER_S
            and not isinstance(after, bool)
        ):
            return TemporaryRefusal(UUID(bytes=ident), digest, code, after)
        case [1, "notice", bytes(notice), [bytes(kid), bytes(signature)]] if (
            len(signature) == _SIGNATURE_BYTES
        ):
            return NoticeReceipt(notice, kid, signature)
        case _:
            raise SchemaError("bad-receipt", "not a receipt of a form this software reads")


def parse_notice(raw: bytes) -> Notice:
    """Return the notice that `raw` encodes; verify its signature before believing it.

    Raises:
        SchemaError: Not a notice of a version and form this software reads.
    """
    match canonical.decode(raw, max_bytes=1024):
        case {
            "v": 1 as version,
            "where": str(where),
            "id": bytes(ident),
            "digest": bytes(digest),
            "sender": str(sender),
            "recipient": str(recipient),
            "at": int(at_ms),
            **rest,
        } if (
            not rest
            and len(ident) == _ID_BYTES
            and len(digest) == _DIGEST_BYTES
            and not isinstance(version, bool)
            and not isinstance(at_ms, bool)
        ):
            moment(at_ms)
            return Notice(_where(where), UUID(bytes=ident), digest, sender, recipient, at_ms)
        case _:
            raise SchemaError("bad-notice", "not a notice of a form this software reads")


def _copy(item: canonical.Value) -> tuple[str, Where]:
    match item:
        case [str(code), str(where)]:
            return code, _where(where)
        case _:
            raise SchemaError("bad-receipt", "a copy is [recipient, where]")


def _where(value: str) -> Where:
    try:
        return Where(value)
    except ValueError:
        raise SchemaError("bad-receipt", "an unknown place of a copy") from None
