"""The officer's signature inside the content, and the hidden audience it covers.

Source: schemas/SPEC.md section 7. The intent is the label without what is only known at sealing, so
an alert that waited, or was sealed again, keeps its signature. The audience lists salted hashes of
the recipients among dummies: each recipient finds its own entry and learns nothing of the others.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from broker.envelope.errors import EnvelopeError, as_envelope_error
from broker.envelope.slots import count_for
from keys.directory.entries import OfficerEntry
from keys.directory.view import DirectoryView
from keys.errors import SignatureError
from keys.primitives.hashing import random_bytes, sha256
from schemas import canonical
from schemas.content import Content
from schemas.directory import OfficerRole
from schemas.label import Intent

AUDIENCE_CONTEXT: Final = b"kentong/audience/1\0"
OFFICER_CONTEXT: Final = b"kentong/officer/1\0"
RANDOM_BYTES: Final = 32
SENDING_ROLES: Final = frozenset({OfficerRole.OFFICER, OfficerRole.SYSTEM})


@dataclass(frozen=True)
class Audience:
    """For whom an alert is signed.

    Attributes:
        entries: 16 or 32 hashes, shuffled; those of nobody are random.
        openings: The random bytes of each recipient's entry, which travel in its stanza.
    """

    entries: tuple[bytes, ...]
    openings: Mapping[str, bytes] = field(repr=False)


def make_audience(recipients: Sequence[str]) -> Audience:
    """Return a fresh audience of `recipients`, padded and shuffled.

    Raises:
        EnvelopeError: bad-slots: none, or too many; duplicate-recipient.
    """
    if len(set(recipients)) != len(recipients):
        raise EnvelopeError("duplicate-recipient", "a recipient is named twice")
    openings = {member: random_bytes(RANDOM_BYTES) for member in recipients}
    entries = [audience_entry(random, member) for member, random in openings.items()]
    entries += [random_bytes(RANDOM_BYTES) for _ in range(count_for(len(entries)) - len(entries))]
    secrets.SystemRandom().shuffle(entries)
    return Audience(tuple(entries), openings)


def audience_entry(random: bytes, member: str) -> bytes:
    """Return the audience's hash of `member` under its 32 random bytes."""
    return sha256(AUDIENCE_CONTEXT, random, member.encode())


def officer_signed_bytes(
    intent: Intent, audience: Sequence[bytes], alert: bytes, manifests: bytes, kid: bytes
) -> bytes:
    """Return what the officer signs.

    Args:
        intent: A label serves as well: only its intent counts.
        audience: The entries in the order of the content.
        alert: The alert's canonical bytes.
        manifests: Canonical encoding of the attachment manifests.
        kid: Of the officer's key.
    """
    return b"".join(
        (
            OFFICER_CONTEXT,
            sha256(intent.intent_bytes()),
            sha256(canonical.encode(list(audience))),
            sha256(alert),
            sha256(manifests),
            kid,
        )
    )


def check_officer(
    content: Content,
    label: Intent,
    *,
    member: str,
    random: bytes,
    view: DirectoryView,
    at: datetime,
) -> OfficerEntry:
    """Return the officer who signed `content` for `member` under exactly this label.

    Args:
        content: Opened, not yet trusted.
        label: Signed by the sender's node.
        member: The recipient who asks.
        random: From the recipient's stanza.
        view: The directory.
        at: Time of the decision.

    Raises:
        EnvelopeError: officer-missing, unknown-officer, officer-not-yet-valid, officer-expired,
            officer-revoked, officer-revoked-since, officer-role, officer-mismatch or
            audience-mismatch.
    """
    block = content.officer
    if block is None:
        raise EnvelopeError("officer-missing", "no officer signed this alert")
    with as_envelope_error():
        entry = view.signed_officer(label.sender.member, block.kid, decided_at=at)
    if not SENDING_ROLES & set(entry.roles):
        raise EnvelopeError("officer-role", "the officer's certificate does not cover sending")
    message = officer_signed_bytes(
        label, block.audience, content.alert_bytes, content.manifests_bytes, block.kid
    )
    try:
        entry.key.verify(block.signature, message)
    except SignatureError as error:
        raise EnvelopeError("officer-mismatch", "the officer did not sign this") from error
    if audience_entry(random, member) not in block.audience:
        raise EnvelopeError("audience-mismatch", "the officer did not sign it for this member")
    return entry
