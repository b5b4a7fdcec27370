"""What the sending node signs, the same for both forms. Source: schemas/SPEC.md section 6."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from broker.envelope.errors import EnvelopeError, as_envelope_error
from broker.envelope.slots import KID_BYTES, Entry, routing_root
from broker.envelope.wire import WIRE_VERSION
from keys.directory.view import DirectoryView
from keys.errors import SignatureError
from keys.primitives.hashing import sha256
from keys.primitives.signing import SIGNATURE_BYTES
from schemas import canonical
from schemas.errors import SchemaError, UnknownVersionError
from schemas.label import Label, parse_label

ENVELOPE_CONTEXT: Final = b"kentong/envelope/1\0"
STANZA_CONTEXT: Final = b"kentong/stanza/1\0"
COMMIT_CONTEXT: Final = b"kentong/commit/1"
SUITE: Final = 1
COMMIT_BYTES: Final = 32


@dataclass(frozen=True)
class Frame:
    """What both forms share. Nothing in it is authenticated until `verify` has returned.

    Attributes:
        label: Parsed from `label_bytes`, the exact bytes received.
        digest: The envelope's digest: SHA-256 of the signed bytes.
        kid: Of the sending node's key.
    """

    suite: int
    label: Label
    label_bytes: bytes
    commit: bytes
    entries: tuple[Entry, ...]
    ciphertext: bytes
    kid: bytes
    signature: bytes
    digest: bytes
    _signed: bytes = field(repr=False)

    def signed_bytes(self) -> bytes:
        """Return the bytes under the node's signature."""
        return self._signed

    def verify(self, view: DirectoryView, *, at: datetime, decided: bool = False) -> None:
        """Return if the sender named in the label signed these bytes with a key that held.

        Args:
            view: The directory.
            at: Time of the decision; before there is one, now.
            decided: Whether `at` is a decision's, and lies in the past.

        Raises:
            EnvelopeError: suite-mismatch, bad-signature, or what the directory says of the key.
        """
        if self.suite != view.suite:
            raise EnvelopeError("suite-mismatch", "the region uses another suite")
        member = self.label.sender.member
        with as_envelope_error():
            if decided:
                key = view.signed_key(member, self.kid, decided_at=at)
            else:
                key = view.verification_key(member, self.kid, at=at)
        try:
            key.verify(self.signature, self._signed)
        except SignatureError as error:
            raise EnvelopeError("bad-signature", "the signature does not verify") from error


def frame(  # noqa: PLR0917 - in the order of the wire
    suite: int,
    label_bytes: bytes,
    commit: bytes,
    entries: tuple[Entry, ...],
    ciphertext: bytes,
    signed: Sequence[canonical.Value],
) -> Frame:
    """Return the frame of parsed parts.

    Raises:
        EnvelopeError: unknown-suite, bad-label, unknown-label-version or bad-envelope.
    """
    if suite != SUITE or isinstance(suite, bool):
        raise EnvelopeError("unknown-suite", "the encryption suite is not known")
    match signed:
        case [bytes(kid), bytes(signature)] if (
            len(kid) == KID_BYTES
            and len(signature) == SIGNATURE_BYTES
            and len(commit) == COMMIT_BYTES
        ):
            pass
        case _:
            raise EnvelopeError("bad-envelope", "commitment, key or signature has a wrong length")
    try:
        label = parse_label(label_bytes)
    except UnknownVersionError as error:
        raise EnvelopeError("unknown-label-version", str(error)) from error
    except SchemaError as error:
        raise EnvelopeError("bad-label", str(error)) from error
    message = signed_bytes(suite, kid, label_bytes, commit, entries, ciphertext)
    return Frame(
        suite,
        label,
        label_bytes,
        commit,
        entries,
        ciphertext,
        kid,
        signature,
        sha256(message),
        message,
    )


def signed_bytes(  # noqa: PLR0917 - in the order of the wire
    suite: int,
    kid: bytes,
    label_bytes: bytes,
    commit: bytes,
    entries: tuple[Entry, ...],
    ciphertext: bytes,
) -> bytes:
    """Return what the sending node signs; its SHA-256 is the envelope's digest."""
    return b"".join(
        (
            ENVELOPE_CONTEXT,
            bytes((WIRE_VERSION, suite, len(kid))),
            kid,
            sha256(label_bytes),
            commit,
            routing_root(entries),
            sha256(ciphertext),
        )
    )


def stanza_info(label_bytes: bytes, recipient: str, kid: bytes) -> bytes:
    """Return HPKE's `info`, which binds a stanza to label, recipient and key."""
    return b"".join((STANZA_CONTEXT, sha256(label_bytes), recipient.encode(), kid))
