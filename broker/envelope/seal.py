"""Sealing: content in, the submitted form out. Source: schemas/SPEC.md sections 3 to 6.

    submitted: [1, suite, label, commit, slots, stanzas, ciphertext, [kid, signature]]

Stanzas stand in the order of their slots; dummies have none.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from broker.envelope import padding, wire
from broker.envelope.chunks import attachments_key
from broker.envelope.errors import EnvelopeError
from broker.envelope.officer import RANDOM_BYTES
from broker.envelope.signed import COMMIT_CONTEXT, SUITE, signed_bytes, stanza_info
from broker.envelope.slots import SALT_BYTES, Entry, PairSeq, Slot, check_name, count_for, to_wire
from keys.primitives.hashing import DIGEST_BYTES, hmac_sha256, random_bytes, sha256
from keys.primitives.sealing import SealKey
from keys.primitives.signing import Signing
from keys.primitives.symmetric import KEY_BYTES, gcm_seal
from schemas.label import Label


@dataclass(frozen=True)
class Recipient:
    """To whom a copy is sealed.

    Attributes:
        member: Member code.
        pair_seq: The sender's number for this recipient.
        kid: Of `key`.
        key: The recipient's encryption key, from the directory.
        audience_random: Opens the recipient's entry in the officer's audience; 32 random bytes
            in a control, which has no officer.
    """

    member: str
    pair_seq: PairSeq
    kid: bytes
    key: SealKey
    audience_random: bytes = field(repr=False)


@dataclass(frozen=True)
class Sealed:
    """An envelope ready to submit.

    Attributes:
        raw: The submitted form.
        digest: The envelope's digest.
        slot_hashes: The slot hash of each recipient, which its verdict names.
        attachments_key: From which the keys of its attached files are derived.
    """

    raw: bytes = field(repr=False)
    digest: bytes
    slot_hashes: Mapping[str, bytes]
    attachments_key: bytes = field(repr=False)


def seal(
    label: Label,
    content: bytes,
    *,
    recipients: Sequence[Recipient],
    node_kid: bytes,
    node_key: Signing,
) -> Sealed:
    """Return `content` sealed under `label` to every recipient and signed by the node.

    Args:
        label: What the hub will see.
        content: Encoded container (`schemas.content`).
        recipients: 1 to 32, each member once.
        node_kid: Of `node_key`.
        node_key: The sending node's key.

    Raises:
        EnvelopeError: content-too-large or too-large naming the sizes, bad-slots or
            duplicate-recipient.
    """
    if len({each.member for each in recipients}) != len(recipients):
        raise EnvelopeError("duplicate-recipient", "a recipient is named twice")
    count = count_for(len(recipients))
    label_bytes = label.to_bytes()
    key = random_bytes(KEY_BYTES)
    # The key is fresh and seals this one message, so the nonce may be zero.
    ciphertext = gcm_seal(key, padding.pack(content), aad=sha256(label_bytes))
    commit = hmac_sha256(key, COMMIT_CONTEXT)
    placed: list[tuple[Entry, bytes]] = [_place(each, key, label_bytes) for each in recipients]
    placed += [(random_bytes(DIGEST_BYTES), b"") for _ in range(count - len(recipients))]
    secrets.SystemRandom().shuffle(placed)
    entries = tuple(entry for entry, _ in placed)
    signed = signed_bytes(SUITE, node_kid, label_bytes, commit, entries, ciphertext)
    raw = wire.join(
        [
            wire.WIRE_VERSION,
            SUITE,
            label_bytes,
            commit,
            to_wire(entries),
            [stanza for _, stanza in placed if stanza],
        ],
        ciphertext,
        [node_kid, node_key.sign(signed)],
    )
    if len(raw) > wire.MAX_ENVELOPE_BYTES:
        raise EnvelopeError(
            "too-large",
            f"the envelope has {len(raw)} bytes, at most {wire.MAX_ENVELOPE_BYTES} travel",
        )
    hashes = {entry.recipient: entry.hash for entry in entries if isinstance(entry, Slot)}
    return Sealed(raw, sha256(signed), hashes, attachments_key(key))


def _place(recipient: Recipient, key: bytes, label_bytes: bytes) -> tuple[Entry, bytes]:
    check_name(recipient.member)
    if len(recipient.audience_random) != RANDOM_BYTES:
        raise EnvelopeError("bad-slots", f"an audience opening has {RANDOM_BYTES} bytes")
    info = stanza_info(label_bytes, recipient.member, recipient.kid)
    stanza = recipient.key.seal(key + recipient.audience_random, info=info)
    slot = Slot(
        recipient.member,
        recipient.kid,
        recipient.pair_seq,
        sha256(stanza),
        random_bytes(SALT_BYTES),
    )
    return slot, stanza
