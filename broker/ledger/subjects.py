"""The subjects that were read, sealed: out of them AUDIT is told again which ids are decided.

AUDIT is the only deduplication. When it is lost, the log must be able to say what stood there; but
its database shall tell a thief of the disk nothing that AUDIT's own disk would not. So a row holds
a name made with a key, and the subject under the same key, which lies in the sequencer's key store.
"""

from dataclasses import dataclass, field
from typing import Final

from broker.ledger.errors import LedgerError
from keys.errors import DecryptionError
from keys.primitives.hashing import hmac_sha256
from keys.primitives.signing import SignKey
from keys.primitives.symmetric import NONCE_BYTES, gcm_open, gcm_seal

_CONTEXT: Final = b"kentong/log-subjects/1\0"
_OWN: Final = frozenset({"gateway", "opened", "log"})  # In a member's place: nothing is decided.


@dataclass(frozen=True)
class SealedSubject:
    """A row.

    Attributes:
        name: Made of the subject, in hexadecimal.
        year: Of its stream.
        sealed: The subject, in hexadecimal.
    """

    name: str
    year: int
    sealed: str


@dataclass(frozen=True)
class SubjectSealer:
    """Seals subjects under one key."""

    _key: bytes = field(repr=False)

    @classmethod
    def of(cls, key: SignKey) -> "SubjectSealer":
        """Return the sealer of whoever holds the sequencer's signing key."""
        return cls(hmac_sha256(key.seed(), _CONTEXT))

    def seal(self, subject: str) -> SealedSubject | None:
        """Return the row of a subject of AUDIT; None for one that no decision needs."""
        _, year, whose, *_ = subject.split(".", 3)
        if whose in _OWN:
            return None
        name = hmac_sha256(self._key, subject.encode())
        # The nonce is made of the subject: one subject always seals to the same bytes.
        sealed = gcm_seal(self._key, subject.encode(), aad=_CONTEXT, nonce=name[:NONCE_BYTES])
        return SealedSubject(name.hex(), int(year), sealed.hex())

    def open(self, row: SealedSubject) -> str:
        """Return the subject in a row.

        Raises:
            LedgerError: `subject-damaged`.
        """
        try:
            name, sealed = bytes.fromhex(row.name), bytes.fromhex(row.sealed)
            raw = gcm_open(self._key, sealed, aad=_CONTEXT, nonce=name[:NONCE_BYTES])
            return raw.decode()
        except (ValueError, DecryptionError):
            raise LedgerError("subject-damaged", "a subject in the log's database") from None
