"""The notice that a copy left unread, as it stands on the AUDIT stream: sealed, for it names both.

wire  [1, name of the record key, 32 random bytes, notice filled up and sealed by AES-256-GCM]
"""

from dataclasses import dataclass, field
from typing import Final

from broker.log.errors import LogError
from broker.log.padding import padded, unpadded
from broker.log.recordkeys import NAME_BYTES, RecordKey, RecordKeys
from keys.errors import DecryptionError
from keys.primitives.hashing import random_bytes
from keys.primitives.symmetric import gcm_open, gcm_seal
from schemas import canonical
from schemas.errors import SchemaError

MAX_BYTES: Final = 8 * 1024  # a notice has some hundred bytes
_VERSION: Final = 1
_SALT_BYTES: Final = 32


@dataclass(frozen=True)
class SealedNotice:
    """A notice's record, not verified."""

    key: bytes
    salt: bytes
    sealed: bytes = field(repr=False)

    def open(self, subject: str, keys: RecordKeys) -> bytes:
        """Return the notice that stands on `subject`, as its readers are told it.

        Raises:
            LogError: `cannot-open`: damaged, or of another subject; what `RecordKeys.get` raises.
        """
        key = keys.get(self.key).of_notice(self.salt, subject)
        try:
            return unpadded(gcm_open(key, self.sealed, aad=b""))
        except DecryptionError as error:
            raise LogError("cannot-open", "the notice does not open on this subject") from error

    def to_bytes(self) -> bytes:
        """Return the wire form."""
        return canonical.pack([_VERSION, self.key, self.salt, self.sealed])


def seal_notice(notice: bytes, subject: str, key: RecordKey) -> bytes:
    """Return what shall stand on `subject`."""
    salt = random_bytes(_SALT_BYTES)
    sealed = gcm_seal(key.of_notice(salt, subject), padded(notice), aad=b"")
    return SealedNotice(key.name, salt, sealed).to_bytes()


def parse_sealed_notice(raw: bytes) -> SealedNotice:
    """Return the record in `raw`, unopened.

    Raises:
        LogError: `bad-notice`.
    """
    try:
        match canonical.decode(raw, max_bytes=MAX_BYTES):
            case [int(version), bytes(key), bytes(salt), bytes(sealed)] if (
                version == _VERSION
                and version is not True
                and len(key) == NAME_BYTES
                and len(salt) == _SALT_BYTES
            ):
                return SealedNotice(key, salt, sealed)
            case _:
                raise LogError("bad-notice", "not a sealed notice")
    except SchemaError as error:
        raise LogError("bad-notice", f"not a sealed notice: {error}") from error
