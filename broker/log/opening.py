r"""What opens a record's sealed decision to the auditors, too.

    for auditors  [kid, hour key sealed by HPKE, the decision's key sealed by AES-256-GCM]
    HPKE info     "kentong/opening-key/1\0" || kid
    AES key       HMAC-SHA256(hour key, "kentong/opening/2\0" || SHA-256(signed statement)); one use
    file          [2, signed statement, sealed decision, for auditors]

The private key is held by a threshold of members and never at the hub. One HPKE sealing serves an
hour of one worker, because one for each record would cost as much as checking its envelope; a
worker that is taken over tells what it is deciding anyway. The decision is sealed once, for the
gateways and the auditors together; its key opens this decision and nothing else.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from broker.log.commitments import check_opening
from broker.log.errors import LogError
from broker.log.leaf import MAX_LEAF_BYTES, SignedStatement, parse_signed
from broker.log.padding import padded_size, unpadded
from keys.errors import DecryptionError
from keys.primitives.hashing import hmac_sha256, random_bytes, sha256
from keys.primitives.sealing import OVERHEAD_BYTES, OpenKey, SealKey
from keys.primitives.symmetric import KEY_BYTES, TAG_BYTES, gcm_open, gcm_seal
from schemas import canonical
from schemas.decision import MAX_DECISION_BYTES, parse_decision
from schemas.errors import SchemaError

KEY_CONTEXT: Final = b"kentong/opening-key/1\0"
OPENING_CONTEXT: Final = b"kentong/opening/2\0"
OPENING_VERSION: Final = 2
HOUR: Final = timedelta(hours=1)
_KID_BYTES: Final = 16
_SEALED_HOUR_BYTES: Final = KEY_BYTES + OVERHEAD_BYTES
_SEALED_KEY_BYTES: Final = KEY_BYTES + TAG_BYTES
MAX_FOR_AUDITORS_BYTES: Final = _KID_BYTES + _SEALED_HOUR_BYTES + _SEALED_KEY_BYTES + 16
MAX_SEALED_BYTES: Final = padded_size(MAX_DECISION_BYTES) + TAG_BYTES
MAX_OPENING_BYTES: Final = MAX_SEALED_BYTES + MAX_FOR_AUDITORS_BYTES + MAX_LEAF_BYTES + 16


@dataclass(frozen=True)
class _HourKey:
    kid: bytes
    begins: datetime
    key: bytes = field(repr=False)
    sealed: bytes = field(repr=False)


@dataclass
class OpeningSealer:
    """Seals decisions' keys in one run of one gateway worker."""

    _hour: _HourKey | None = None  # Owned by the worker's one loop.

    def seal(
        self, signed: SignedStatement, key: bytes, to: tuple[bytes, SealKey], *, at: datetime
    ) -> bytes:
        """Return what opens a decision to auditors.

        Args:
            signed: What the gateway states of it; this is bound to it.
            key: Of this decision alone, which opens what stands sealed in its record.
            to: Identifier and key of the auditors.
            at: When it was decided.
        """
        hour = self._hour_key(to, at)
        sealed = gcm_seal(_key_of(hour.key, signed), key, aad=b"")
        return canonical.pack([hour.kid, hour.sealed, sealed])

    def _hour_key(self, to: tuple[bytes, SealKey], at: datetime) -> _HourKey:
        kid, key = to
        hour = self._hour
        # A clock that went back begins a new hour too: nothing here may last longer than one.
        if hour is None or hour.kid != kid or not hour.begins <= at < hour.begins + HOUR:
            fresh = random_bytes(KEY_BYTES)
            hour = _HourKey(kid, at, fresh, key.seal(fresh, info=KEY_CONTEXT + kid))
            self._hour = hour
        return hour


@dataclass(frozen=True)
class SealedOpening:
    """What the hub gives to auditors of one decision; nothing in it is authenticated.

    Attributes:
        sealed: The decision, as its record has it.
        for_auditors: What opens it to them.
        kid: Of the auditors' key to which that was sealed.
    """

    signed: SignedStatement
    sealed: bytes = field(repr=False)
    for_auditors: bytes = field(repr=False)
    kid: bytes

    @property
    def name(self) -> str:
        """Name of its file: SHA-256 of the signed statement, in hexadecimal."""
        return sha256(self.signed.to_bytes()).hex()

    def to_bytes(self) -> bytes:
        """Return the file."""
        return canonical.encode(
            [OPENING_VERSION, self.signed.to_bytes(), self.sealed, self.for_auditors]
        )

    def open(self, key: OpenKey) -> bytes:
        """Return the decision's wire form, of which the leaf speaks.

        Raises:
            LogError: `cannot-open`: another key, or damaged; `bad-opening`; `opening-mismatch`:
                the gateway sealed something else than it stated.
        """
        _, hour_key, sealed_key = _parts(self.for_auditors)
        try:
            fresh = key.open(hour_key, info=KEY_CONTEXT + self.kid)
            own = gcm_open(_key_of(fresh, self.signed), sealed_key, aad=b"")
            raw = unpadded(gcm_open(own, self.sealed, aad=b""))
        except DecryptionError as error:
            raise LogError("cannot-open", "the opening does not open under this key") from error
        try:
            decision = parse_decision(raw)
        except SchemaError as error:
            raise LogError("bad-opening", f"what was sealed is no decision: {error}") from error
        check_opening(self.signed.statement, decision)
        return raw


def parse_opening(raw: bytes) -> SealedOpening:
    """Return the sealed opening in a file, not authenticated.

    Raises:
        LogError: `bad-opening`, or what `parse_signed` raises.
    """
    try:
        match canonical.decode(raw, max_bytes=MAX_OPENING_BYTES):
            case [int(v), bytes(statement), bytes(sealed), bytes(for_auditors)] if (
                v == OPENING_VERSION
            ):
                kid = kid_in(for_auditors)
                return SealedOpening(parse_signed(statement), sealed, for_auditors, kid)
            case _:
                raise LogError("bad-opening", "not a sealed opening")
    except SchemaError as error:
        raise LogError("bad-opening", f"not a sealed opening: {error}") from error


def kid_in(for_auditors: bytes) -> bytes:
    """Return to which auditors' key the part of a record that is theirs was sealed.

    Raises:
        LogError: `bad-opening`.
    """
    return _parts(for_auditors)[0]


def _key_of(hour_key: bytes, signed: SignedStatement) -> bytes:
    return hmac_sha256(hour_key, OPENING_CONTEXT + sha256(signed.to_bytes()))


def _parts(for_auditors: bytes) -> tuple[bytes, bytes, bytes]:
    try:
        match canonical.decode(for_auditors, max_bytes=MAX_FOR_AUDITORS_BYTES):
            case [bytes(kid), bytes(hour_key), bytes(sealed_key)] if (
                len(kid) == _KID_BYTES
                and len(hour_key) == _SEALED_HOUR_BYTES
                and len(sealed_key) == _SEALED_KEY_BYTES
            ):
                return kid, hour_key, sealed_key
            case _:
                raise LogError("bad-opening", "not a sealed opening")
    except SchemaError as error:
        raise LogError("bad-opening", f"not a sealed opening: {error}") from error
