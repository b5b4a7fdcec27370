"""What a gateway's decision means for a submission: pure."""

from datetime import timedelta
from typing import Final

from broker.admission.codes import retry_of
from broker.node import submissions
from broker.node.present import Present
from schemas.decision import Decision
from schemas.desk import RecipientOutcome, RecipientState, Submission
from schemas.receipt import Where

MAX_RESEALED: Final = 3  # times that an alert is sealed again before a person must look
SEALING_AGAIN: Final = "sealing-again"
BEHIND: Final = timedelta(seconds=35)  # longer than a node takes to look at its directory again
STATES: Final = {
    Where.STORED: RecipientState.STORED,
    Where.HELD: RecipientState.HELD,
    Where.BOUNCED: RecipientState.BOUNCED,
    Where.EXPIRED: RecipientState.EXPIRED,
}


def decided(
    submission: Submission,
    decision: Decision,
    copies: dict[str, Where],
    *,
    resealed: int,
    present: Present,
) -> tuple[Submission, int]:
    """Return the submission as it is now, and whether (0 or 1) it counts as sealed again.

    Args:
        submission: As it was.
        decision: Verified, of its envelope.
        copies: Where the accepted copies are.
        resealed: How often it was sealed again before.
        present: The node's picture of now.
    """
    again, counted = False, 0
    changes: dict[str, dict[str, object]] = {}
    for outcome in submission.recipients:
        record = decision.record_of(outcome.recipient)
        if outcome.state is not RecipientState.SUBMITTED:
            if record is not None and outcome.decided_at is None and _overtook(outcome):
                changes[outcome.recipient] = {"decided_at": decision.header.decided_at}
            continue
        code = decision.header.code or ("" if record is None else record.code)
        if record is not None and record.accepted and not decision.header.code:
            changes[outcome.recipient] = {
                "state": STATES[copies.get(outcome.recipient, Where.STORED)],
                "rule": record.rule,
                "decided_at": decision.header.decided_at,
            }
        elif retry_of(code) == "new-id" and resealed < MAX_RESEALED:
            changes[outcome.recipient] = {"state": RecipientState.QUEUED}
            # A split is no fault of the alert: it waits for a directory, however long.
            waits = present.candidate or present.hindrance() == "directory-split"
            again, counted = True, int(not waits)
        else:
            changes[outcome.recipient] = {
                "state": RecipientState.REFUSED,
                "code": code,
                "rule": "" if record is None else record.rule,
                "refused_by": "gateway",
                "decided_at": decision.header.decided_at,
            }
    moved = submissions.with_outcomes(submission, changes, now=present.now())
    if again:
        # A gateway with a newer directory would refuse the same keys again: fetch it first.
        behind = present.split_since is not None or present.candidate is not None
        retry_at = present.now() + (BEHIND if behind else timedelta(0))
        moved = moved.model_copy(update={"waiting_for": SEALING_AGAIN, "retry_at": retry_at})
    return moved, counted


def _overtook(outcome: RecipientOutcome) -> bool:
    """Return whether the recipient's own word came before the gateway's receipt."""
    return outcome.state is RecipientState.DELIVERED or outcome.refused_by == "recipient"
