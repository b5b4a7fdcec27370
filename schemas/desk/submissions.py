"""What a node knows of an alert on its way."""

from enum import StrEnum
from typing import Literal
from uuid import UUID

from schemas.desk.attachments import AttachmentSent
from schemas.label import MemberCode, Moment, Strict, TypeName
from schemas.vocabulary import Lane, Precedence, Status


class RecipientState(StrEnum):
    """Where one recipient's copy is, as far as the sender's node knows."""

    QUEUED = "queued"  # kept by the node, not sent
    SUBMITTED = "submitted"  # handed to the hub, not decided
    REFUSED = "refused"  # `code` says why, `refused_by` who
    HELD = "held"  # accepted; the recipient's inbox at the hub was full
    STORED = "stored"  # accepted, waiting in the recipient's inbox at the hub
    DELIVERED = "delivered"  # the recipient's node opened and kept it, and said so
    BOUNCED = "bounced"  # accepted, but no room was left anywhere
    EXPIRED = "expired"  # accepted, left unread past its time

    @property
    def accepted(self) -> bool:
        """Whether the gateway let this copy through, whatever became of it."""
        return self in (self.HELD, self.STORED, self.DELIVERED, self.BOUNCED, self.EXPIRED)

    @property
    def decided(self) -> bool:
        """Whether the gateway's verdict, or an earlier refusal, is known."""
        return self not in (self.QUEUED, self.SUBMITTED)

    @property
    def final(self) -> bool:
        """Whether nothing more is expected."""
        return self in (self.REFUSED, self.DELIVERED, self.BOUNCED, self.EXPIRED)


class SubmissionState(StrEnum):
    """Where a submission as a whole is."""

    QUEUED = "queued"
    NEEDS_ATTENTION = "needs-attention"  # the verdict got worse since the officer signed
    SUBMITTED = "submitted"
    DECIDED = "decided"
    CANCELLED = "cancelled"


class RecipientOutcome(Strict):
    """What is known of one recipient's copy.

    Attributes:
        state: See `RecipientState`.
        code: Why refused, bounced or expired, or, while queued, why policy or directory now
            stand against it; else empty.
        rule: The rule that decided, as the gateway signed it.
        refused_by: `node` (own), `gateway`, `recipient` or `desk` (cancelled); else empty.
        changed_at: When this state was learned.
        decided_at: The gateway's signed time.
        delivered_at: When the recipient's node kept it.
    """

    recipient: MemberCode
    state: RecipientState
    code: str = ""
    rule: str = ""
    refused_by: Literal["", "node", "gateway", "recipient", "desk"] = ""
    changed_at: Moment
    decided_at: Moment | None = None
    delivered_at: Moment | None = None


class Submission(Strict):
    """One signed draft on its way.

    Attributes:
        id: The envelope's id once sealed; new at every sealing.
        revision: Grows with every change, so that a watcher can tell old from new.
        waiting_for: Why it is not sent yet (`hub-unreachable`, `directory-expired`,
            `clock-skew`, `quota` ...); empty when nothing holds it.
        attention: Why it waits for a person; empty otherwise.
        rules_of: Time of the directory whose rules were last applied: "rules of <time>".
        retry_at: When the hub asked to come back.
        attachments: Files that follow the alert once it is decided; it never waits for them.
    """

    submission_id: UUID
    alert_id: UUID
    rev: int
    id: UUID | None = None
    state: SubmissionState
    revision: int
    status: Status
    exercise: bool
    type: TypeName
    type_version: int
    lane: Lane
    precedence: Precedence
    officer: str
    recipients: tuple[RecipientOutcome, ...]
    waiting_for: str = ""
    attention: str = ""
    rules_of: Moment
    queued_at: Moment
    retry_at: Moment | None = None
    attachments: tuple[AttachmentSent, ...] = ()

    @property
    def decided(self) -> bool:
        """Whether every recipient's verdict is known."""
        return all(each.state.decided for each in self.recipients)

    @property
    def accepted(self) -> tuple[str, ...]:
        """Codes of the recipients to whom the gateway let a copy through."""
        return tuple(each.recipient for each in self.recipients if each.state.accepted)


class SubmissionPage(Strict):
    """Submissions, newest first; `next` is the `before` of the following page."""

    items: tuple[Submission, ...]
    next: UUID | None = None
