r"""What a leaf commits to, for whoever was shown the salts: who spoke to whom, and which envelope.

    c_route  Merkle root (RFC 9162 section 2.1.1) over HMAC-SHA256(route salt, context || header)
             and, in their order, the header's own commitments to the record of each slot
    c_body   HMAC-SHA256(body salt, "kentong/body/1\0" || envelope digest)

The sender is shown every record, a recipient its own; the header carries every slot's commitment,
so each of them computes the same root. Without the salts a leaf tells nothing of either.
"""

from typing import Final

from broker.log.errors import LogError
from broker.log.leaf import TIME_STEP_S, LeafKind, Statement
from broker.log.merkle import small_root
from keys.primitives.hashing import hmac_sha256
from schemas.decision import ROUTE_CONTEXT, Decision
from schemas.vocabulary import Status

BODY_CONTEXT: Final = b"kentong/body/1\0"


def route_of(decision: Decision) -> bytes:
    """Return `c_route` of a decision, for all who were shown any part of it."""
    header = hmac_sha256(decision.salts.route, ROUTE_CONTEXT + decision.header_bytes)
    return small_root((header, *decision.header.slots))


def body_of(decision: Decision) -> bytes:
    """Return `c_body` of a decision."""
    return hmac_sha256(decision.salts.body, BODY_CONTEXT + decision.header.digest)


def statement_of(decision: Decision, *, boot: int, seq: int) -> Statement:
    """Return what the gateway states of its decision, not signed yet.

    Args:
        decision: Made by this gateway.
        boot: Of this run of it.
        seq: The number in this boot that the statement takes.
    """
    header = decision.header
    exercise = header.status not in (None, Status.ACTUAL)
    time_s = int(header.decided_at.timestamp())
    return Statement(
        kind=LeafKind.EXERCISE if exercise else LeafKind.DECISION,
        time_s=time_s - time_s % TIME_STEP_S,
        gateway=header.gateway,
        boot=boot,
        seq=seq,
        c_route=route_of(decision),
        c_body=body_of(decision),
        snapshot=header.dir.hash,
    )


def check_opening(statement: Statement, decision: Decision) -> None:
    """Return if `statement` is about `decision`, both as received.

    Raises:
        LogError: `opening-mismatch`.
    """
    if statement != statement_of(decision, boot=statement.boot, seq=statement.seq):
        raise LogError("opening-mismatch", "the leaf does not speak of this decision")
