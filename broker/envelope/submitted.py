"""The submitted form as the gateway reads it, and the copy it makes for each recipient.

    submitted: [1, suite, label, commit, slots, stanzas, ciphertext, [kid, signature]]
    delivered: [1, suite, label, commit, own slot, own stanza, all slot hashes, ciphertext,
                [kid, signature]]

Where the originator discloses the recipients, the slots stand in clear in place of their hashes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from broker.envelope import wire
from broker.envelope.errors import EnvelopeError
from broker.envelope.signed import Frame, frame
from broker.envelope.slots import Entry, PairSeq, Slot, hashes_of, parse_entries, slots_in, to_wire
from keys.primitives.hashing import sha256
from keys.primitives.sealing import OVERHEAD_BYTES
from schemas import canonical

STANZA_BYTES = OVERHEAD_BYTES + 64  # content key and audience opening


@dataclass(frozen=True)
class Submitted:
    """An envelope as submitted. Not authenticated until `frame.verify` has returned."""

    frame: Frame
    stanzas: Mapping[str, bytes] = field(repr=False)
    slots: tuple[Slot, ...] = field(init=False, repr=False, compare=False)
    """Of the recipients, in the order of their positions."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "slots", slots_in(self.frame.entries))

    def recipients(self) -> tuple[str, ...]:
        """Return the recipients, in the order of their slots."""
        return tuple(slot.recipient for slot in self.slots)

    def slot_of(self, member: str) -> Slot:
        """Return the slot of `member`.

        Raises:
            EnvelopeError: wrong-recipient.
        """
        for slot in self.slots:
            if slot.recipient == member:
                return slot
        raise EnvelopeError("wrong-recipient", "no slot is for this member")

    def pair_seq_of(self, member: str) -> PairSeq:
        """Return the sender's number for `member`."""
        return self.slot_of(member).pair_seq


def parse_submitted(raw: bytes) -> Submitted:
    """Return the envelope that `raw` encodes, each slot matching its stanza.

    Args:
        raw: Not trusted; nothing in the result is authenticated yet.

    Raises:
        EnvelopeError: Any code of form, or stanza-mismatch.
    """
    head, ciphertext, signed = wire.split(raw)
    match head:
        case [_, int(suite), bytes(label_bytes), bytes(commit), slots, list(stanzas)]:
            entries = parse_entries(slots)
        case _:
            raise EnvelopeError("bad-envelope", "not a submitted envelope")
    return Submitted(
        frame(suite, label_bytes, commit, entries, ciphertext, signed), _match(entries, stanzas)
    )


def deliver(submitted: Submitted, member: str) -> bytes:
    """Return the copy for `member`: its own slot and stanza, of the others hashes alone.

    Raises:
        EnvelopeError: wrong-recipient.
    """
    parts = submitted.frame
    slot = submitted.slot_of(member)
    shown = parts.label.disclose_recipients
    hashes: list[canonical.Value] = [*hashes_of(parts.entries)]
    return wire.join(
        [
            wire.WIRE_VERSION,
            parts.suite,
            parts.label_bytes,
            parts.commit,
            slot.to_wire(),
            submitted.stanzas[member],
            to_wire(parts.entries) if shown else hashes,
        ],
        parts.ciphertext,
        [parts.kid, parts.signature],
    )


def _match(entries: tuple[Entry, ...], stanzas: list[canonical.Value]) -> dict[str, bytes]:
    slots = slots_in(entries)
    if not slots or len(slots) != len(stanzas):
        raise EnvelopeError("bad-slots", "there is not one stanza for each slot")
    matched: dict[str, bytes] = {}
    for slot, stanza in zip(slots, stanzas, strict=True):
        if not isinstance(stanza, bytes) or len(stanza) != STANZA_BYTES:
            raise EnvelopeError("bad-slots", f"a stanza has {STANZA_BYTES} bytes")
        if sha256(stanza) != slot.stanza_digest:
            raise EnvelopeError("stanza-mismatch", "a stanza is not the one its slot names")
        matched[slot.recipient] = stanza
    return matched
