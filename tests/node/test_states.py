"""What a submission's state becomes when one of its recipients answers."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from broker.node.submissions import with_outcomes
from schemas.desk import RecipientOutcome, RecipientState, Submission, SubmissionState
from schemas.vocabulary import Precedence, Status

NOW = datetime(2026, 11, 24, tzinfo=UTC)
Q, S, D = RecipientState.QUEUED, RecipientState.SUBMITTED, RecipientState.DELIVERED
CASES = [
    # before, the recipients' states, after
    (SubmissionState.QUEUED, (Q, Q), SubmissionState.QUEUED),
    (SubmissionState.QUEUED, (S, Q), SubmissionState.SUBMITTED),
    (SubmissionState.SUBMITTED, (D, Q), SubmissionState.QUEUED),
    (SubmissionState.SUBMITTED, (D, D), SubmissionState.DECIDED),
    # An answer of one must not set the other going, which waits for a person.
    (SubmissionState.NEEDS_ATTENTION, (D, Q), SubmissionState.NEEDS_ATTENTION),
    (SubmissionState.NEEDS_ATTENTION, (S, Q), SubmissionState.NEEDS_ATTENTION),
    (SubmissionState.NEEDS_ATTENTION, (D, D), SubmissionState.DECIDED),
]


def outcome(code: str, state: RecipientState) -> RecipientOutcome:
    return RecipientOutcome(
        recipient=code,
        state=state,
        code="",
        rule="",
        refused_by="",
        changed_at=NOW,
        decided_at=None,
        delivered_at=None,
    )


@pytest.mark.parametrize(("before", "states", "after"), CASES)
def test_the_state_that_follows(
    before: SubmissionState,
    states: tuple[RecipientState, RecipientState],
    after: SubmissionState,
) -> None:
    submission = Submission.model_construct(
        submission_id=UUID(int=1),
        state=before,
        status=Status.ACTUAL,
        precedence=Precedence.ROUTINE,
        recipients=(outcome("MY", RecipientState.QUEUED), outcome("VN", states[1])),
    )
    changed = with_outcomes(submission, {"MY": {"state": states[0]}}, now=NOW)
    assert changed.state is after
    assert [each.state for each in changed.recipients] == list(states)
