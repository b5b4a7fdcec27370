"""Shows a third party what one envelope says: its recipient gives away that envelope's key.

The key opens this one envelope and nothing else. The third party checks it against the commitment
that the sender signed, so that one ciphertext cannot be shown to say two things, and checks the
officer's signature as the recipient's node did.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from broker.envelope.delivered import Delivered, alert_in, open_content, open_stanza
from broker.envelope.errors import EnvelopeError
from broker.envelope.officer import check_officer
from broker.envelope.signed import COMMIT_CONTEXT, Frame
from keys.directory.entries import OfficerEntry
from keys.directory.view import DirectoryView
from keys.primitives.hashing import equal, hmac_sha256
from keys.primitives.sealing import OpenKey
from keys.primitives.symmetric import KEY_BYTES
from schemas.common import Alert
from schemas.content import Content

RANDOM_BYTES: Final = 32


@dataclass(frozen=True)
class Disclosure:
    """What opens one envelope: its content key, and one recipient's place in the audience."""

    recipient: str
    key: bytes = field(repr=False)
    random: bytes = field(repr=False)


@dataclass(frozen=True)
class Shown:
    """What a disclosed envelope says, every check done.

    Attributes:
        alert: None for a type that this software does not read.
    """

    content: Content = field(repr=False)
    alert: Alert | None = field(repr=False)
    officer: OfficerEntry


def disclose(delivered: Delivered, member: str, open_keys: Mapping[bytes, OpenKey]) -> Disclosure:
    """Return what opens this copy, for whoever is to see what it says.

    Args:
        delivered: As kept by the recipient's node.
        member: The recipient.
        open_keys: Its private encryption keys; those of a month are destroyed after 90 days.

    Raises:
        EnvelopeError: `no-open-key`, `cannot-open`, `wrong-commit` or `wrong-recipient`.
    """
    key, random = open_stanza(delivered, member, open_keys)
    return Disclosure(member, key, random)


def open_disclosed(
    frame: Frame, disclosure: Disclosure, *, view: DirectoryView, at: datetime
) -> Shown:
    """Return what the envelope says.

    Args:
        frame: Of the envelope; its signature was verified.
        disclosure: Not trusted.
        view: The directory.
        at: Time of the decision, as of which keys are judged.

    Raises:
        EnvelopeError: `wrong-commit`, `bad-ciphertext`, `bad-content`, or as `check_officer`.
    """
    if len(disclosure.key) != KEY_BYTES or len(disclosure.random) != RANDOM_BYTES:
        raise EnvelopeError("wrong-commit", "no key of an envelope has that length")
    if not equal(hmac_sha256(disclosure.key, COMMIT_CONTEXT), frame.commit):
        raise EnvelopeError("wrong-commit", "the content key is not the one committed to")
    content = open_content(frame, disclosure.key)
    officer = check_officer(
        content,
        frame.label,
        member=disclosure.recipient,
        random=disclosure.random,
        view=view,
        at=at,
    )
    return Shown(content, alert_in(content, frame.label), officer)
