"""A decision as it stands on the AUDIT stream: with the statement that becomes its leaf.

wire  [1, signed statement, decision, opening sealed to the auditors, or no bytes]
"""

from dataclasses import dataclass, field
from typing import Final

from broker.log.errors import LogError
from broker.log.leaf import SignedStatement, parse_signed
from broker.log.opening import MAX_SEALED_BYTES, SealedOpening, sealed_opening
from schemas import canonical
from schemas.decision import MAX_DECISION_BYTES, Decision, parse_decision
from schemas.errors import SchemaError

AUDITED_VERSION: Final = 1
MAX_AUDITED_BYTES: Final = MAX_DECISION_BYTES + MAX_SEALED_BYTES + 512


@dataclass(frozen=True)
class Audited:
    """A decision and its statement, neither verified yet.

    Attributes:
        decision_bytes: Exactly as signed and as told to its sender.
        sealed: The opening for auditors; empty while the region has no key of theirs.
    """

    signed: SignedStatement
    decision_bytes: bytes
    decision: Decision
    sealed: bytes = field(default=b"", repr=False)

    @property
    def opening(self) -> SealedOpening | None:
        """What the hub may give to auditors, if there is anything.

        Raises:
            LogError: `bad-opening`.
        """
        return sealed_opening(self.signed, self.sealed) if self.sealed else None

    def to_bytes(self) -> bytes:
        """Return the wire form."""
        return canonical.pack(
            [AUDITED_VERSION, self.signed.to_bytes(), self.decision_bytes, self.sealed]
        )


def parse_audited(raw: bytes) -> Audited:
    """Return what `raw` encodes.

    Raises:
        LogError: `bad-audited`, or what `parse_leaf` raises.
    """
    try:
        match canonical.decode(raw, max_bytes=MAX_AUDITED_BYTES):
            case [int(version), bytes(statement), bytes(decision), bytes(sealed)] if (
                version == AUDITED_VERSION and version is not True
            ):
                signed = parse_signed(statement)
                return Audited(signed, decision, parse_decision(decision), sealed)
            case _:
                raise LogError("bad-audited", "not a decision with its statement")
    except SchemaError as error:
        raise LogError("bad-audited", f"not a decision with its statement: {error}") from error


def statement_in(raw: bytes) -> SignedStatement:
    """Return the statement of a decision's message, the decision itself unread.

    It is what becomes a leaf: the gateway answers for the decision beside it by its signature.

    Raises:
        LogError: As `parse_audited`, but for a decision that cannot be read.
    """
    try:
        match canonical.decode(raw, max_bytes=MAX_AUDITED_BYTES):
            case [int(version), bytes(statement), bytes(_), bytes(_)] if (
                version == AUDITED_VERSION and version is not True
            ):
                return parse_signed(statement)
            case _:
                raise LogError("bad-audited", "not a decision with its statement")
    except SchemaError as error:
        raise LogError("bad-audited", f"not a decision with its statement: {error}") from error
