"""The gateway's verdict on one envelope, as data. Source: schemas/SPEC.md, section on decisions.

    wire    [1, header bytes, [kid, signature], openings, [route salt, body salt]]
    header  what every reader sees, signed with the hash of the salts: one hash per slot position
    opening [salt, record bytes] at the position of its hash, or nil where withheld or a dummy

The salts open the log's commitments to the header and to the envelope. One signature serves the
sender, who gets every opening, and each recipient, who gets its own. Nothing here is
authenticated: `broker.envelope.decision` signs and verifies.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Final, TypeVar
from uuid import UUID

from schemas import canonical
from schemas.errors import SchemaError
from schemas.label import DirectoryVersion
from schemas.moments import milliseconds, moment
from schemas.vocabulary import Kind, Status

DECISION_VERSION: Final = 1
MAX_DECISION_BYTES: Final = 24 * 1024  # 32 openings of at most 600 bytes, and the header
MAX_HEADER_BYTES: Final = 2048
MAX_RECORD_BYTES: Final = 600
MAX_RULE_BYTES: Final = 256  # the name of a rule, in UTF-8
MAX_CODE_BYTES: Final = 64
MAX_NAME_BYTES: Final = 64  # of a gateway instance
SLOT_COUNTS: Final = (16, 32)
SALT_BYTES: Final = 32
ROUTE_CONTEXT: Final = b"kentong/route/1\0"
"""Under which a header commits to a record, and a leaf of the log to the header, by HMAC-SHA256."""
_HASH_BYTES: Final = 32
_KID_BYTES: Final = 16
_ID_BYTES: Final = 16
_SIGNATURE_BYTES: Final = 64
_MAX_MEMBER_CHARS: Final = 16
_Enum = TypeVar("_Enum", bound=StrEnum)


@dataclass(frozen=True)
class VerdictRecord:
    """What was decided for one recipient, and which rule decided.

    Attributes:
        slot: The envelope's slot hash of this recipient.
        recipient: Member code.
        pair_seq: Incarnation and counter of the sender for this recipient.
        accepted: Whether the copy goes out.
        code: Why not, or empty.
        rule: The deciding rule, in words a lawyer finds again in the policy; may be empty.
        policy: SHA-256 of the policy that holds the rule; empty where a fixed rule decided.
    """

    slot: bytes
    recipient: str
    pair_seq: tuple[int, int]
    accepted: bool
    code: str
    rule: str
    policy: bytes

    def to_bytes(self) -> bytes:
        """Return the canonical encoding."""
        return canonical.pack(
            {
                "code": self.code,
                "pair_seq": list(self.pair_seq),
                "policy": self.policy,
                "recipient": self.recipient,
                "rule": self.rule,
                "slot": self.slot,
                "verdict": "accepted" if self.accepted else "refused",
            }
        )


@dataclass(frozen=True)
class DecisionHeader:
    """What the gateway signs.

    Attributes:
        digest: The envelope's digest; of bytes that could not be read, their SHA-256.
        sender: The member whose connection submitted it.
        decided_at: The gateway's clock. Keys of sender and officer are judged as of then.
        gateway: Name of the gateway instance.
        dir: The directory in force at the gateway.
        code: Why all of it was refused, or empty: then the records tell.
        slots: Hash of each position's record, dummies random; empty if no slot was judged.
        id: The envelope's id. `id`, `status` and `kind` are None together, when the bytes could
            not be read.
        status: From the label.
        kind: From the label.
    """

    digest: bytes
    sender: str
    decided_at: datetime
    gateway: str
    dir: DirectoryVersion
    code: str
    slots: tuple[bytes, ...]
    id: UUID | None = None
    status: Status | None = None
    kind: Kind | None = None

    def to_bytes(self) -> bytes:
        """Return the canonical encoding."""
        wire: dict[str, canonical.Value] = {
            "code": self.code,
            "decided_at": milliseconds(self.decided_at),
            "digest": self.digest,
            "dir": {
                "hash": self.dir.hash,
                "root": self.dir.root,
                "snapshot": self.dir.snapshot,
            },
            "gateway": self.gateway,
            "id": None if self.id is None else self.id.bytes,
            "kind": None if self.kind is None else str(self.kind),
            "sender": self.sender,
            "slots": [*self.slots],
            "status": None if self.status is None else str(self.status),
            "v": DECISION_VERSION,
        }
        # Of the fields, three may be absent, and none is nil.
        return canonical.pack({name: item for name, item in wire.items() if item is not None})


@dataclass(frozen=True)
class Opening:
    """One position's record with the salt under which the header commits to it."""

    salt: bytes
    record_bytes: bytes
    record: VerdictRecord

    @classmethod
    def of(cls, record: VerdictRecord, salt: bytes) -> "Opening":
        """Return the opening of `record` under a fresh 32-byte `salt`."""
        return cls(salt, record.to_bytes(), record)


@dataclass(frozen=True)
class Salts:
    """Open the leaf of the log that speaks of a decision; 32 random bytes each."""

    route: bytes
    body: bytes


@dataclass(frozen=True)
class Decision:
    """A decision as received. Nothing in it is authenticated until it is verified."""

    header_bytes: bytes = field(repr=False)
    header: DecisionHeader
    kid: bytes
    signature: bytes = field(repr=False)
    openings: tuple[Opening | None, ...]
    salts: Salts = field(repr=False)

    @property
    def records(self) -> tuple[VerdictRecord, ...]:
        """The records shown, in the order of their positions."""
        return tuple(opening.record for opening in self.openings if opening is not None)

    def record_of(self, recipient: str) -> VerdictRecord | None:
        """Return the record about `recipient`, or None where it is not shown."""
        return next((item for item in self.records if item.recipient == recipient), None)

    def for_recipient(self, recipient: str) -> "Decision":
        """Return the same decision showing the record about `recipient` alone."""
        return replace(self, openings=self._shown_to(recipient))

    def to_bytes(self, *, recipient: str | None = None) -> bytes:
        """Return the wire form; for a recipient, that of `for_recipient`."""
        shown = self.openings if recipient is None else self._shown_to(recipient)
        openings: list[canonical.Value] = [
            None if opening is None else [opening.salt, opening.record_bytes] for opening in shown
        ]
        signed: list[canonical.Value] = [self.kid, self.signature]
        salts: list[canonical.Value] = [self.salts.route, self.salts.body]
        return canonical.pack([DECISION_VERSION, self.header_bytes, signed, openings, salts])

    def _shown_to(self, recipient: str) -> tuple[Opening | None, ...]:
        return tuple(
            [
                opening if opening is not None and opening.record.recipient == recipient else None
                for opening in self.openings
            ]
        )


def parse_decision(raw: bytes) -> Decision:
    """Return the decision that `raw` encodes; nothing in it is authenticated yet.

    Raises:
        SchemaError: Not a decision of a version and form this software reads.
    """
    match canonical.decode(raw, max_bytes=MAX_DECISION_BYTES):
        case [
            int(v),
            bytes(header_bytes),
            [bytes(kid), bytes(signature)],
            list(items),
            [bytes(route), bytes(body)],
        ] if (
            _all_integers(v)
            and v == DECISION_VERSION
            and len(kid) == _KID_BYTES
            and len(signature) == _SIGNATURE_BYTES
            and len(route) == len(body) == SALT_BYTES
        ):
            header = parse_header(header_bytes)
            salts = Salts(route, body)
        case _:
            raise SchemaError("bad-decision", "not a decision of a form this software reads")
    openings = tuple(_opening(item) for item in items)
    if len(openings) != len(header.slots):
        raise SchemaError("bad-decision", "there is not one opening for each slot")
    decision = Decision(header_bytes, header, kid, signature, openings, salts)
    shown = [record.recipient for record in decision.records]
    if len(set(shown)) != len(shown):
        raise SchemaError("bad-decision", "a recipient stands twice")
    return decision


def parse_header(raw: bytes) -> DecisionHeader:
    """Return the header that `raw` encodes, not yet authenticated.

    Raises:
        SchemaError: Not a header of a version and form this software reads.
    """
    wire = canonical.decode(raw, max_bytes=MAX_HEADER_BYTES)
    if not isinstance(wire, dict):
        raise SchemaError("bad-decision", "a header is a map")
    ident, status, kind = (wire.pop(name, None) for name in ("id", "status", "kind"))
    if len({ident is None, status is None, kind is None}) != 1:
        raise SchemaError("bad-decision", "id, status and kind stand together or not at all")
    header = _header_of(wire)
    if ident is None:
        if not header.code or header.slots:
            raise SchemaError("bad-decision", "bytes without an id can only be refused whole")
        return header
    if not (isinstance(ident, bytes) and len(ident) == _ID_BYTES):
        raise SchemaError("bad-decision", "an id has 16 bytes", field="id")
    return replace(
        header,
        id=UUID(bytes=ident),
        status=_one_of(Status, status, "status"),
        kind=_one_of(Kind, kind, "kind"),
    )


def _header_of(wire: dict[str, canonical.Value]) -> DecisionHeader:
    match wire:
        case {
            "v": int(version),
            "digest": bytes(digest),
            "sender": str(sender),
            "decided_at": int(decided_at),
            "gateway": str(gateway),
            "dir": {"root": int(root), "snapshot": int(snapshot), "hash": bytes(hash_), **more},
            "code": str(code),
            "slots": list(slots),
            **rest,
        } if (
            not rest
            and not more
            and len(digest) == len(hash_) == _HASH_BYTES
            and 0 < len(sender) <= _MAX_MEMBER_CHARS
            and _fits(gateway, MAX_NAME_BYTES)
            and _fits(code, MAX_CODE_BYTES)
            and _all_integers(version, decided_at, root, snapshot)
            and version == DECISION_VERSION
            and root > 0
            and snapshot > 0
        ):
            return DecisionHeader(
                digest=digest,
                sender=sender,
                decided_at=moment(decided_at),
                gateway=gateway,
                dir=DirectoryVersion(root=root, snapshot=snapshot, hash=hash_),
                code=code,
                slots=_hashes(slots, refused=bool(code)),
            )
        case _:
            raise SchemaError("bad-decision", "not a header of a form this software reads")


def _hashes(items: list[canonical.Value], *, refused: bool) -> tuple[bytes, ...]:
    hashes = tuple(item for item in items if isinstance(item, bytes) and len(item) == _HASH_BYTES)
    whole = not items and refused
    if len(set(hashes)) != len(items) or not (whole or len(items) in SLOT_COUNTS):
        raise SchemaError("bad-decision", "16 or 32 distinct hashes are expected", field="slots")
    return hashes


def _opening(item: canonical.Value) -> Opening | None:
    match item:
        case None:
            return None
        case [bytes(salt), bytes(record)] if len(salt) == SALT_BYTES:
            return Opening(salt, record, parse_record(record))
        case _:
            raise SchemaError("bad-decision", "an opening is [salt, record]")


def parse_record(raw: bytes) -> VerdictRecord:
    """Return the record that `raw` encodes, not yet authenticated.

    Raises:
        SchemaError: Not a record of the form this software reads.
    """
    match canonical.decode(raw, max_bytes=MAX_RECORD_BYTES):
        case {
            "slot": bytes(slot),
            "recipient": str(recipient),
            "pair_seq": [int(incarnation), int(counter)],
            "verdict": "accepted" | "refused" as verdict,
            "code": str(code),
            "rule": str(rule),
            "policy": bytes(policy),
            **rest,
        } if (
            not rest
            and len(slot) == _HASH_BYTES
            and 0 < len(recipient) <= _MAX_MEMBER_CHARS
            and len(policy) in (0, _HASH_BYTES)
            and _fits(code, MAX_CODE_BYTES)
            and _fits(rule, MAX_RULE_BYTES)
            and _all_integers(incarnation, counter)
            and min(incarnation, counter) >= 0
            and (verdict == "accepted") != bool(code)
        ):
            pair_seq = (incarnation, counter)
            accepted = verdict == "accepted"
            return VerdictRecord(slot, recipient, pair_seq, accepted, code, rule, policy)
        case _:
            raise SchemaError("bad-decision", "not a record of a form this software reads")


def _fits(text: str, max_bytes: int) -> bool:
    return len(text.encode("utf-8")) <= max_bytes


def _all_integers(*values: object) -> bool:
    return not any(isinstance(value, bool) for value in values)  # `case int()` lets a bool through


def _one_of(known: type[_Enum], value: canonical.Value, name: str) -> _Enum:
    try:
        return known(str(value))
    except ValueError:
        raise SchemaError("bad-decision", "the code is not known", field=name) from None
