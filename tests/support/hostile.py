"""Envelopes that a hostile member seals by hand: with its own good keys, and none of our checks.

So everything under a signature is there and right, and any value can stand where a form allows it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from broker.envelope import padding, wire
from broker.envelope.decision import commitments, encode_delivery, sign_decision
from broker.envelope.officer import make_audience, officer_signed_bytes
from broker.envelope.signed import COMMIT_CONTEXT, SUITE, signed_bytes, stanza_info
from broker.envelope.slots import PairSeq, Slot
from keys.primitives.hashing import DIGEST_BYTES, hmac_sha256, random_bytes, sha256
from keys.primitives.symmetric import KEY_BYTES, gcm_seal
from schemas import canonical
from schemas.content import Content, OfficerBlock
from schemas.decision import DecisionHeader, VerdictRecord
from schemas.label import Label
from tests.support.region import TestRegion

SLOTS = 16


@dataclass(frozen=True)
class ByHand:
    """An envelope that nobody looked at, and its copy for the first recipient.

    Attributes:
        raw: As submitted.
        copy: As a gateway without our checks would deliver it.
    """

    label: Label
    raw: bytes = field(repr=False)
    copy: bytes = field(repr=False)
    slots: tuple[Slot, ...]
    digest: bytes


def seal_by_hand(
    region: TestRegion,
    label: Label,
    alert: bytes,
    *,
    names: Sequence[str] = ("MY",),
    numbers: Sequence[PairSeq] = ((1, 1),),
    change: Callable[[bytes], bytes] = bytes,
) -> ByHand:
    """An alert that an officer signed for MY, to slots of any names; the first one is MY's own.

    Args:
        region: Whose sender's keys are at hand.
        label: Signed by both.
        alert: Its bytes, whatever they say.
        names: What stands in the slots.
        numbers: What stands in them as the sender's numbers; the last one for all that follow.
        change: Makes of the content, officer's block and audience with it, what is sealed.
    """
    sender = region.members[label.sender.member]
    audience, manifests = make_audience(("MY",)), Content(b"").manifests_bytes
    signed = officer_signed_bytes(label, audience.entries, alert, manifests, sender.officer_kid)
    signature = sender.officer_key.sign(signed)
    block = OfficerBlock(sender.officer_kid, signature, audience.entries)
    key, label_bytes = random_bytes(KEY_BYTES), label.to_bytes()
    kid, to = region.view.encryption_key("MY", at=label.created)
    slots, stanzas = [], []
    for place, name in enumerate(names):
        stanza = to.seal(key + audience.openings["MY"], info=stanza_info(label_bytes, name, kid))
        number = numbers[min(place, len(numbers) - 1)]
        slots.append(Slot(name, kid, number, sha256(stanza), random_bytes(32)))
        stanzas.append(stanza)
    dummies = [random_bytes(DIGEST_BYTES) for _ in range(SLOTS - len(slots))]
    entries = (*slots, *dummies)
    packed = padding.pack(change(Content(alert, block).to_bytes()))
    ciphertext = gcm_seal(key, packed, aad=sha256(label_bytes))
    commit = hmac_sha256(key, COMMIT_CONTEXT)
    message = signed_bytes(SUITE, sender.kid, label_bytes, commit, entries, ciphertext)
    end: list[canonical.Value] = [sender.kid, sender.sign_key.sign(message)]
    shown: list[canonical.Value] = [slot.to_wire() for slot in slots]
    hashes: list[canonical.Value] = [slot.hash for slot in slots]
    start: list[canonical.Value] = [wire.WIRE_VERSION, SUITE, label_bytes, commit]
    theirs = shown if label.disclose_recipients else hashes
    return ByHand(
        label,
        wire.join([*start, [*shown, *dummies], [*stanzas]], ciphertext, end),
        wire.join([*start, shown[0], stanzas[0], [*theirs, *dummies]], ciphertext, end),
        tuple(slots),
        sha256(message),
    )


def let_through(region: TestRegion, made: ByHand) -> bytes:
    """MY's delivery from a gateway that looks at nothing, or did not in its day."""
    slot, label = made.slots[0], made.label
    records = {slot.hash: VerdictRecord(slot.hash, "MY", slot.pair_seq, True, "", "all", b"")}
    dummies = tuple(random_bytes(DIGEST_BYTES) for _ in range(SLOTS - 1))
    hashes, openings = commitments((slot, *dummies), records)
    header = DecisionHeader(
        digest=made.digest,
        sender=label.sender.member,
        decided_at=region.now,
        gateway="gw-test",
        dir=region.view.version,
        code="",
        slots=hashes,
        id=label.id,
        status=label.status,
        kind=label.kind,
    )
    decision = sign_decision(header, openings, kid=region.gateway_kid, key=region.gateway_sign_key)
    return encode_delivery(made.copy, decision, "MY")
