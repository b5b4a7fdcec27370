"""A decision as it stands on the AUDIT stream: with the statement that becomes its leaf.

wire  [1, signed statement, decision]
"""

from dataclasses import dataclass
from typing import Final

from broker.log.errors import LogError
from broker.log.leaf import SignedStatement, parse_signed
from schemas import canonical
from schemas.decision import MAX_DECISION_BYTES, Decision, parse_decision
from schemas.errors import SchemaError

AUDITED_VERSION: Final = 1
MAX_AUDITED_BYTES: Final = MAX_DECISION_BYTES + 512


@dataclass(frozen=True)
class Audited:
    """A decision and its statement, neither verified yet.

    Attributes:
        decision_bytes: Exactly as signed and as told to its sender.
    """

    signed: SignedStatement
    decision_bytes: bytes
    decision: Decision

    def to_bytes(self) -> bytes:
        """Return the wire form."""
        return canonical.encode([AUDITED_VERSION, self.signed.to_bytes(), self.decision_bytes])


def parse_audited(raw: bytes) -> Audited:
    """Return what `raw` encodes.

    Raises:
        LogError: `bad-audited`, or what `parse_leaf` raises.
    """
    try:
        match canonical.decode(raw, max_bytes=MAX_AUDITED_BYTES):
            case [int(version), bytes(statement), bytes(decision)] if version == AUDITED_VERSION:
                return Audited(parse_signed(statement), decision, parse_decision(decision))
            case _:
                raise LogError("bad-audited", "not a decision with its statement")
    except SchemaError as error:
        raise LogError("bad-audited", f"not a decision with its statement: {error}") from error
