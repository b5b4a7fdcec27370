r"""A decision with all its salts, sealed to the auditors' key beside its record.

    sealed       [kid, hour key sealed by HPKE, decision sealed by AES-256-GCM]
    HPKE info    "kentong/opening-key/1\0" || kid
    AES key      HMAC-SHA256(hour key, "kentong/opening/1\0" || SHA-256(signed statement)); one use
    file         [1, signed statement, sealed]

The private key is held by a threshold of members and never at the hub. One HPKE sealing serves an
hour of one worker, because one for each record would cost as much as checking its envelope; a
worker that is taken over tells what it is deciding anyway.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from broker.log.commitments import check_opening
from broker.log.errors import LogError
from broker.log.leaf import MAX_LEAF_BYTES, SignedStatement, parse_signed
from keys.errors import DecryptionError
from keys.primitives.hashing import hmac_sha256, random_bytes, sha256
from keys.primitives.sealing import OVERHEAD_BYTES, OpenKey, SealKey
from keys.primitives.symmetric import KEY_BYTES, TAG_BYTES, gcm_open, gcm_seal
from schemas import canonical
from schemas.decision import MAX_DECISION_BYTES, Decision, parse_decision
from schemas.errors import SchemaError

KEY_CONTEXT: Final = b"kentong/opening-key/1\0"
OPENING_CONTEXT: Final = b"kentong/opening/1\0"
OPENING_VERSION: Final = 1
HOUR: Final = timedelta(hours=1)
_KID_BYTES: Final = 16
_SEALED_KEY_BYTES: Final = KEY_BYTES + OVERHEAD_BYTES
MAX_SEALED_BYTES: Final = _KID_BYTES + _SEALED_KEY_BYTES + TAG_BYTES + MAX_DECISION_BYTES + 16
MAX_OPENING_BYTES: Final = MAX_SEALED_BYTES + MAX_LEAF_BYTES + 16


@dataclass(frozen=True)
class _HourKey:
    kid: bytes
    begins: datetime
    key: bytes = field(repr=False)
    sealed: bytes = field(repr=False)


@dataclass
class OpeningSealer:
    """Seals openings in one run of one gateway worker."""

    _hour: _HourKey | None = None  # Owned by the worker's one loop.

    def seal(self, signed: SignedStatement, decision: Decision, to: tuple[bytes, SealKey]) -> bytes:
        """Return the opening of a decision, sealed.

        Args:
            signed: What the gateway states of it; the opening is bound to it.
            decision: With every salt.
            to: Identifier and key of the auditors.
        """
        hour = self._hour_key(to, decision.header.decided_at)
        sealed = gcm_seal(_key_of(hour.key, signed), decision.to_bytes(), aad=b"")
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
        kid: Of the auditors' key to which it was sealed.
    """

    signed: SignedStatement
    sealed: bytes = field(repr=False)
    kid: bytes

    @property
    def name(self) -> str:
        """Name of its file: SHA-256 of the signed statement, in hexadecimal."""
        return sha256(self.signed.to_bytes()).hex()

    def to_bytes(self) -> bytes:
        """Return the file."""
        return canonical.encode([OPENING_VERSION, self.signed.to_bytes(), self.sealed])

    def open(self, key: OpenKey) -> bytes:
        """Return the decision's wire form, of which the leaf speaks.

        Raises:
            LogError: `cannot-open`: another key, or damaged; `bad-opening`; `opening-mismatch`:
                the gateway sealed something else than it stated.
        """
        _, hour_key, sealed = _parts(self.sealed)
        try:
            fresh = key.open(hour_key, info=KEY_CONTEXT + self.kid)
            raw = gcm_open(_key_of(fresh, self.signed), sealed, aad=b"")
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
            case [int(v), bytes(statement), bytes(sealed)] if (
                v == OPENING_VERSION and v is not True
            ):
                return SealedOpening(parse_signed(statement), sealed, _parts(sealed)[0])
            case _:
                raise LogError("bad-opening", "not a sealed opening")
    except SchemaError as error:
        raise LogError("bad-opening", f"not a sealed opening: {error}") from error


def sealed_opening(signed: SignedStatement, sealed: bytes) -> SealedOpening:
    """Return what stands beside a decision in its record, not authenticated.

    Raises:
        LogError: `bad-opening`.
    """
    return SealedOpening(signed, sealed, _parts(sealed)[0])


def _key_of(hour_key: bytes, signed: SignedStatement) -> bytes:
    return hmac_sha256(hour_key, OPENING_CONTEXT + sha256(signed.to_bytes()))


def _parts(sealed: bytes) -> tuple[bytes, bytes, bytes]:
    try:
        match canonical.decode(sealed, max_bytes=MAX_SEALED_BYTES):
            case [bytes(kid), bytes(hour_key), bytes(decision)] if (
                len(kid) == _KID_BYTES and len(hour_key) == _SEALED_KEY_BYTES
            ):
                return kid, hour_key, decision
            case _:
                raise LogError("bad-opening", "not a sealed opening")
    except SchemaError as error:
        raise LogError("bad-opening", f"not a sealed opening: {error}") from error
