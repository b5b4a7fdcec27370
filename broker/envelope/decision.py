"""Signing and verifying decisions, and the delivery that joins a copy to its decision.

    delivery: [1, delivered envelope bytes, decision showing this recipient's record alone]

Source: schemas/SPEC.md section 8.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from broker.envelope.delivered import Delivered, parse_delivered
from broker.envelope.errors import EnvelopeError, as_envelope_error
from broker.envelope.slots import Entry, hashes_of
from keys.directory.view import DirectoryView
from keys.errors import SignatureError
from keys.primitives.hashing import hmac_sha256, random_bytes, sha256
from keys.primitives.signing import Signing
from schemas import canonical
from schemas.decision import (
    MAX_DECISION_BYTES,
    ROUTE_CONTEXT,
    SALT_BYTES,
    Decision,
    DecisionHeader,
    Opening,
    Salts,
    VerdictRecord,
    parse_decision,
)
from schemas.errors import SchemaError

DECISION_CONTEXT: Final = b"kentong/decision/1\0"
DELIVERY_VERSION: Final = 1
MAX_DELIVERY_BYTES: Final = 512 * 1024 + MAX_DECISION_BYTES + 16


@dataclass(frozen=True)
class Delivery:
    """A copy with the decision that let it through, neither authenticated yet."""

    delivered: Delivered
    delivered_bytes: bytes
    decision: Decision


def commitments(
    entries: tuple[Entry, ...], records: Mapping[bytes, VerdictRecord]
) -> tuple[tuple[bytes, ...], tuple[Opening | None, ...]]:
    """Return one hash for each position, and the openings of those that have a record.

    Args:
        entries: Of the envelope, in order.
        records: By slot hash; positions without one get a random hash.
    """
    random = random_bytes(SALT_BYTES * len(entries))  # for each position its salt, or its hash
    salts = [random[at : at + SALT_BYTES] for at in range(0, len(random), SALT_BYTES)]
    hashes = list(salts)
    openings: list[Opening | None] = [None] * len(salts)
    for position, slot_hash in enumerate(hashes_of(entries)):
        if (record := records.get(slot_hash)) is not None:
            openings[position] = opening = Opening.of(record, salts[position])
            hashes[position] = verdict_hash(opening)
    return tuple(hashes), tuple(openings)


def verdict_hash(opening: Opening) -> bytes:
    """Return the commitment of a header to a record."""
    return hmac_sha256(opening.salt, ROUTE_CONTEXT + opening.record_bytes)


def sign_decision(
    header: DecisionHeader, openings: Sequence[Opening | None], *, kid: bytes, key: Signing
) -> Decision:
    """Return `header` signed by a gateway, with fresh salts."""
    raw = header.to_bytes()
    salts = Salts(random_bytes(SALT_BYTES), random_bytes(SALT_BYTES))
    return Decision(raw, header, kid, key.sign(_signed_bytes(raw, salts)), tuple(openings), salts)


def verify_decision(decision: Decision, view: DirectoryView) -> None:
    """Return if a gateway of this hub signed header and salts, and each record shown is meant.

    Raises:
        EnvelopeError: unknown-key or what else the directory says of the key, bad-signature or
            opening-mismatch.
    """
    with as_envelope_error():
        key = view.gateway_key(decision.kid, at=decision.header.decided_at)
    try:
        key.verify(decision.signature, _signed_bytes(decision.header_bytes, decision.salts))
    except SignatureError as error:
        raise EnvelopeError("bad-signature", "the decision's signature does not verify") from error
    for opening, committed in zip(decision.openings, decision.header.slots, strict=True):
        if opening is not None and verdict_hash(opening) != committed:
            raise EnvelopeError("opening-mismatch", "a verdict is not the one signed")


def encode_delivery(delivered: bytes, decision: Decision, member: str) -> bytes:
    """Return what lands in the inbox of `member`."""
    shown = decision.to_bytes(recipient=member)
    return canonical.pack([DELIVERY_VERSION, delivered, shown])


def parse_delivery(raw: bytes) -> Delivery:
    """Return the copy and the decision in `raw`, nothing of it authenticated.

    Raises:
        EnvelopeError: bad-delivery, bad-decision, or any code of `parse_delivered`.
    """
    delivered, decision = _parts(raw)
    return Delivery(parse_delivered(delivered), delivered, decision)


def decision_in(raw: bytes) -> Decision:
    """Return the decision in a delivery whose copy cannot be read, not authenticated.

    Raises:
        EnvelopeError: bad-delivery or bad-decision.
    """
    return _parts(raw)[1]


def check_accepted(delivery: Delivery, view: DirectoryView, *, member: str) -> datetime:
    """Return when it was decided that `member` gets exactly this copy.

    Raises:
        EnvelopeError: decision-mismatch, not-accepted, or any code of `verify_decision`.
    """
    decision, parts = delivery.decision, delivery.delivered.frame
    verify_decision(decision, view)
    header = decision.header
    if (header.digest, header.id, header.sender, header.status, header.kind) != (
        parts.digest,
        parts.label.id,
        parts.label.sender.member,
        parts.label.status,
        parts.label.kind,
    ):
        raise EnvelopeError("decision-mismatch", "the decision is about another envelope")
    record = decision.record_of(member)
    if record is None or header.code or not record.accepted:
        raise EnvelopeError("not-accepted", "the gateway did not accept this copy")
    slot = delivery.delivered.slot
    if (record.slot, record.recipient, record.pair_seq) != (slot.hash, member, slot.pair_seq):
        raise EnvelopeError("decision-mismatch", "the verdict is about another slot")
    return header.decided_at


def _signed_bytes(header: bytes, salts: Salts) -> bytes:
    """Return the bytes under a gateway's signature.

    The salts are among them, so that no hub gives out others, under which the log would seem to
    lack the decision; hashed, since a signature outlives what erasure destroys.
    """
    return b"".join((DECISION_CONTEXT, sha256(salts.route, salts.body), header))


def _parts(raw: bytes) -> tuple[bytes, Decision]:
    try:
        value = canonical.decode(raw, max_bytes=MAX_DELIVERY_BYTES)
    except SchemaError as error:
        raise EnvelopeError("bad-delivery", str(error)) from error
    match value:
        case [1, bytes(delivered), bytes(decision)] if value[0] is not True:
            pass
        case _:
            raise EnvelopeError("bad-delivery", "not a delivery of a form this software reads")
    try:
        return delivered, parse_decision(decision)
    except SchemaError as error:
        raise EnvelopeError("bad-decision", str(error)) from error
