"""The subjects that were read, sealed: out of them AUDIT is told again which ids are decided.

AUDIT is the only deduplication. When it is lost, the log must be able to say what stood there; but
its database shall tell a thief of the disk nothing that AUDIT's own disk would not. So what was
read together is sealed together, under a key that lies in the sequencer's key store.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from broker.ledger.errors import LedgerError
from keys.errors import DecryptionError
from keys.primitives.hashing import hmac_sha256, random_bytes
from keys.primitives.signing import SignKey
from keys.primitives.symmetric import NONCE_BYTES, gcm_open, gcm_seal

_CONTEXT: Final = b"kentong/log-subjects/1\0"
_BETWEEN: Final = "\n"  # in no subject
_OWN: Final = frozenset({"gateway", "opened", "log"})  # In a member's place: nothing is decided.


@dataclass(frozen=True)
class SealedSubjects:
    """A row: subjects that were read together.

    Attributes:
        year: Of their stream.
        sealed: A random nonce and what AES-256-GCM makes of them.
    """

    year: int
    sealed: bytes


@dataclass(frozen=True)
class SubjectSealer:
    """Seals subjects under one key."""

    _key: bytes = field(repr=False)

    @classmethod
    def of(cls, key: SignKey) -> "SubjectSealer":
        """Return the sealer of whoever holds the sequencer's signing key."""
        return cls(hmac_sha256(key.seed(), _CONTEXT))

    def seal(self, year: int, subjects: Iterable[str]) -> SealedSubjects | None:
        """Return the row of those that a decision needs; None if there are none."""
        kept = [each for each in subjects if each.split(".", 3)[2] not in _OWN]
        if not kept:
            return None
        nonce = random_bytes(NONCE_BYTES)
        text = _BETWEEN.join(kept).encode()
        return SealedSubjects(year, nonce + gcm_seal(self._key, text, aad=_CONTEXT, nonce=nonce))

    def open(self, row: SealedSubjects) -> list[str]:
        """Return the subjects in a row.

        Raises:
            LedgerError: `subject-damaged`.
        """
        nonce, sealed = row.sealed[:NONCE_BYTES], row.sealed[NONCE_BYTES:]
        try:
            raw = gcm_open(self._key, sealed, aad=_CONTEXT, nonce=nonce)
            return raw.decode().split(_BETWEEN)
        except (ValueError, DecryptionError):
            raise LedgerError("subject-damaged", "a subject in the log's database") from None
