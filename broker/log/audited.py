r"""A decision as it stands on the AUDIT stream: with the statement that becomes its leaf, sealed.

    wire    [2, signed statement, name of the record key, sealed decision, for auditors or no bytes]
    sealed  AES-256-GCM under the key of this decision (`recordkeys`), over the decision filled up

Whoever has the stream reads the statement, which commits to the decision and names nobody. Since
the key follows from the signed statement, no sealed decision opens beside another one.
"""

from dataclasses import dataclass, field
from typing import Final

from broker.log.errors import LogError
from broker.log.leaf import SignedStatement, parse_signed
from broker.log.opening import (
    MAX_FOR_AUDITORS_BYTES,
    MAX_SEALED_BYTES,
    OpeningSealer,
    SealedOpening,
    kid_in,
)
from broker.log.padding import padded, unpadded
from broker.log.recordkeys import NAME_BYTES, RecordKey, RecordKeys
from keys.errors import DecryptionError
from keys.primitives.sealing import SealKey
from keys.primitives.symmetric import gcm_open, gcm_seal
from schemas import canonical
from schemas.decision import Decision, parse_decision
from schemas.errors import SchemaError

AUDITED_VERSION: Final = 2
MAX_AUDITED_BYTES: Final = MAX_SEALED_BYTES + MAX_FOR_AUDITORS_BYTES + 512


@dataclass(frozen=True)
class SealedRecord:
    """A decision's record as anybody reads it who has the stream; nothing in it is verified yet.

    Attributes:
        key: Name of the record key that opens it.
        for_auditors: What opens it to them; empty while the region has no key of theirs.
    """

    signed: SignedStatement
    key: bytes
    sealed: bytes = field(repr=False)
    for_auditors: bytes = field(default=b"", repr=False)

    @property
    def opening(self) -> SealedOpening | None:
        """What the hub may give to auditors, if there is anything.

        Raises:
            LogError: `bad-opening`.
        """
        if not self.for_auditors:
            return None
        kid = kid_in(self.for_auditors)
        return SealedOpening(self.signed, self.sealed, self.for_auditors, kid)

    def open(self, keys: RecordKeys) -> "Audited":
        """Return the decision that stands.

        Raises:
            LogError: `cannot-open`: damaged, or of another statement; what `RecordKeys.get` raises.
        """
        key = keys.get(self.key).of_decision(self.signed)
        try:
            raw = unpadded(gcm_open(key, self.sealed, aad=b""))
            return Audited(self, raw, parse_decision(raw))
        except DecryptionError as error:
            raise LogError("cannot-open", "the decision does not open beside this one") from error
        except SchemaError as error:
            raise LogError("bad-audited", f"what was sealed is no decision: {error}") from error

    def to_bytes(self) -> bytes:
        """Return the wire form."""
        return canonical.pack(
            [AUDITED_VERSION, self.signed.to_bytes(), self.key, self.sealed, self.for_auditors]
        )


@dataclass(frozen=True)
class Audited:
    """A decision with its record; whoever opened it knows that a gateway of the hub sealed it.

    Attributes:
        decision_bytes: Exactly as signed and as told to its sender.
    """

    record: SealedRecord
    decision_bytes: bytes = field(repr=False)
    decision: Decision

    @property
    def signed(self) -> SignedStatement:
        """What becomes the leaf."""
        return self.record.signed

    def to_bytes(self) -> bytes:
        """Return the wire form, sealed."""
        return self.record.to_bytes()


def seal_audited(
    signed: SignedStatement,
    decision: Decision,
    key: RecordKey,
    openings: OpeningSealer | None = None,
    auditors: tuple[bytes, SealKey] | None = None,
) -> Audited:
    """Return a decision with its record, sealed.

    Args:
        signed: What the gateway states of it; never sealed beside another decision.
        decision: With every salt.
        key: The hub's.
        openings: Of this run of the gateway; needed where there are auditors.
        auditors: Identifier and key of theirs.
    """
    raw = decision.to_bytes()
    own = key.of_decision(signed)
    sealed = gcm_seal(own, padded(raw), aad=b"")
    theirs = b""
    if openings is not None and auditors is not None:
        theirs = openings.seal(signed, own, auditors, at=decision.header.decided_at)
    return Audited(SealedRecord(signed, key.name, sealed, theirs), raw, decision)


def parse_audited(raw: bytes) -> SealedRecord:
    """Return what `raw` encodes, its decision unopened.

    Raises:
        LogError: `bad-audited`, or what `parse_signed` raises.
    """
    try:
        match canonical.decode(raw, max_bytes=MAX_AUDITED_BYTES):
            case [
                int(version),
                bytes(statement),
                bytes(key),
                bytes(sealed),
                bytes(for_auditors),
            ] if version == AUDITED_VERSION and len(key) == NAME_BYTES:
                return SealedRecord(parse_signed(statement), key, sealed, for_auditors)
            case _:
                raise LogError("bad-audited", "not a decision with its statement")
    except SchemaError as error:
        raise LogError("bad-audited", f"not a decision with its statement: {error}") from error


def statement_in(raw: bytes) -> SignedStatement:
    """Return the statement of a decision's record.

    It is what becomes a leaf: the gateway answers for the decision beside it by its signature.

    Raises:
        LogError: As `parse_audited`.
    """
    return parse_audited(raw).signed
