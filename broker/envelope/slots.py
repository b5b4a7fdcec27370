"""Slots: who gets a copy, hidden from the other recipients. Source: schemas/SPEC.md section 4.

A slot is `[recipient, kid, [incarnation, counter], SHA-256(stanza), 32 random bytes]`. Among the
slots stand dummies, each a bare hash, so that neither number nor names of the recipients show.
"""

import re
from dataclasses import dataclass, field
from typing import Final, TypeAlias, cast

from broker.envelope.errors import EnvelopeError
from keys.primitives.hashing import DIGEST_BYTES, sha256
from schemas import canonical
from schemas.label import MEMBER_CODE

SLOT_CONTEXT: Final = b"kentong/slot/1\0"
SLOT_COUNTS: Final = (16, 32)  # the smaller one wherever the recipients fit
MAX_RECIPIENTS: Final = 32
KID_BYTES: Final = 16
SALT_BYTES: Final = 32
_MEMBER: Final = re.compile(MEMBER_CODE)
_SLOT_TYPES: Final = [str, bytes, list, bytes, bytes]
_PAIR_TYPES: Final = [int, int]  # a bool is none
_SlotParts: TypeAlias = tuple[str, bytes, list[int], bytes, bytes]

PairSeq: TypeAlias = tuple[int, int]
"""Incarnation of the sender's node, and its count of messages to this recipient."""


@dataclass(frozen=True)
class Slot:
    """One recipient's place in an envelope.

    Attributes:
        recipient: Member code.
        kid: Of the recipient's encryption key.
        pair_seq: The sender's number for this recipient.
        stanza_digest: SHA-256 of the recipient's stanza.
        salt: 32 random bytes, so that the hash cannot be guessed.
        hash: The slot hash.
    """

    recipient: str
    kid: bytes
    pair_seq: PairSeq
    stanza_digest: bytes
    salt: bytes = field(repr=False)
    hash: bytes = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "hash", sha256(SLOT_CONTEXT, canonical.pack(self.to_wire())))

    def to_wire(self) -> list[canonical.Value]:
        """Return the wire value."""
        return [self.recipient, self.kid, list(self.pair_seq), self.stanza_digest, self.salt]


Entry: TypeAlias = Slot | bytes
"""A slot in clear, or a bare hash: a dummy, or a slot that this reader may not see."""


def hashes_of(entries: tuple[Entry, ...]) -> list[bytes]:
    """Return the slot hashes of `entries`, in their order."""
    return [entry if isinstance(entry, bytes) else entry.hash for entry in entries]


def slots_in(entries: tuple[Entry, ...]) -> tuple[Slot, ...]:
    """Return the slots in clear, in their order."""
    return tuple([entry for entry in entries if isinstance(entry, Slot)])


def to_wire(entries: tuple[Entry, ...]) -> list[canonical.Value]:
    """Return the wire value of a list of entries."""
    return [entry.to_wire() if isinstance(entry, Slot) else entry for entry in entries]


def routing_root(entries: tuple[Entry, ...]) -> bytes:
    """Return SHA-256(count || all slot hashes in order); the count is one byte."""
    return sha256(bytes([len(entries)]), *hashes_of(entries))


def check_name(recipient: str) -> None:
    """Return if a member can have this name: where recipients are disclosed, others read it.

    Raises:
        EnvelopeError: bad-slots.
    """
    if not _MEMBER.fullmatch(recipient):
        raise EnvelopeError("bad-slots", "no member can have the name in a slot")


def count_for(recipients: int) -> int:
    """Return the number of entries among which `recipients` slots hide.

    Raises:
        EnvelopeError: bad-slots: none, or more than fit.
    """
    if not 0 < recipients <= MAX_RECIPIENTS:
        raise EnvelopeError("bad-slots", f"an envelope has 1 to {MAX_RECIPIENTS} recipients")
    return next(count for count in SLOT_COUNTS if recipients <= count)


def parse_entries(wire: canonical.Value) -> tuple[Entry, ...]:
    """Return the entries of a list of 16 or 32, none twice, no recipient twice.

    Raises:
        EnvelopeError: bad-slots or duplicate-recipient.
    """
    if not isinstance(wire, list) or len(wire) not in SLOT_COUNTS:
        raise EnvelopeError("bad-slots", "an envelope has 16 or 32 slots")
    entries = tuple([item if type(item) is bytes else parse_slot(item) for item in wire])
    if {len(entry) for entry in entries if isinstance(entry, bytes)} - {DIGEST_BYTES}:
        raise EnvelopeError("bad-slots", f"a slot hash has {DIGEST_BYTES} bytes")
    if len({*hashes_of(entries)}) != len(entries):
        raise EnvelopeError("bad-slots", "a slot stands twice")
    named = [slot.recipient for slot in slots_in(entries)]
    if len(set(named)) != len(named):
        raise EnvelopeError("duplicate-recipient", "a recipient stands in two slots")
    return entries


def parse_slot(wire: canonical.Value) -> Slot:
    """Return the slot that `wire` holds.

    Raises:
        EnvelopeError: bad-slots.
    """
    # Three of each envelope are read, thrice on its way: a pattern would take four times as long.
    if type(wire) is list and [*map(type, wire)] == _SLOT_TYPES:
        recipient, kid, pair, stanza_digest, salt = cast("_SlotParts", wire)
        if (
            [*map(type, pair)] == _PAIR_TYPES
            and min(pair) >= 0
            and _MEMBER.fullmatch(recipient)
            and len(kid) == KID_BYTES
            and len(stanza_digest) == DIGEST_BYTES
            and len(salt) == SALT_BYTES
        ):
            return Slot(recipient, kid, (pair[0], pair[1]), stanza_digest, salt)
    raise EnvelopeError("bad-slots", "not a slot")
