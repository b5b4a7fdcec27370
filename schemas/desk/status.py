"""How a node is, whom it knows, and why it refuses."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from schemas.desk.fields import DirectoryShown
from schemas.desk.submissions import SubmissionState
from schemas.label import MemberCode, Moment, Strict, TypeName


class Gap(Strict):
    """A numbered alert of a peer that neither arrived nor was declared void."""

    peer: MemberCode
    incarnation: int
    number: int
    noticed_at: Moment


class Alarm(Strict):
    """Something a person at this node should look at; never anything from an alert's content.

    Attributes:
        detail: Where evidence is kept, or what is concerned and until when; may be empty.
    """

    code: str
    peer: MemberCode | None = None
    id: UUID | None = None
    count: int
    first_at: Moment
    last_at: Moment
    detail: str = ""


class ClockShown(Strict):
    """This machine's clock against the hub's: `ok`, `warn` (30 s) or `skew` (5 minutes)."""

    skew_s: float | None
    state: Literal["unknown", "ok", "warn", "skew"]


class LogShown(Strict):
    """How the log of decisions stands with this node.

    Attributes:
        cosigned_size: Leaves of the tree that this node cosigned last; 0 for none.
        copied: Leaves in this node's copy.
        proven: Of those, how many stand under a checkpoint that a quorum cosigned.
        root: Of that checkpoint, in hexadecimal; empty before the first.
        witnesses: How many there are in all.
        cosigned_by: Who cosigned that checkpoint.
        witnessed_at: The newest time among them.
        own_proved: Decisions about this node's mail that are proved.
        own_waiting: Those that are not, yet.
        own_overdue: Those that were not in time, so that an alarm was raised. A proof may still
            come; of what the hub lost, none ever will.
        first_size: Leaves of the first tree that this node trusted, unseen; 0 for none, or if that
            was before it was noted.
        first_root: Of that tree, in hexadecimal: compare it with other members'.
    """

    origin: str
    cosigned_size: int
    cosigned_at: Moment | None
    copied: int
    proven: int
    root: str
    witnesses: int
    cosigned_by: tuple[str, ...]
    witnessed_at: Moment | None
    own_proved: int
    own_waiting: int
    own_overdue: int = 0
    first_size: int = 0
    first_root: str = ""


class NodeStatus(Strict):
    """How the node is.

    Attributes:
        sealing: Empty if alerts are being sealed and sent, else the code of what prevents it.
        outbox: Submissions by state; real traffic only.
        inbox: Alerts kept; real traffic only.
        exercise_outbox: The same of exercises and tests.
        last_position: The newest inbox position.
        gaps: Numbered alerts that did not arrive: the first of each peer.
        gap_counts: How many there are of each peer in all; who has none is not named.
        waiting_since: When the oldest real submission was queued that is not decided yet.
        log: The log of decisions; None where the directory names none.
    """

    member: MemberCode
    connected: bool
    sealing: str
    directory: DirectoryShown | None
    clock: ClockShown
    incarnation: int
    outbox: dict[SubmissionState, int]
    exercise_outbox: dict[SubmissionState, int]
    inbox: int
    exercise_inbox: int
    last_position: int
    quarantined: int
    gaps: tuple[Gap, ...]
    alarms: tuple[Alarm, ...]
    log: LogShown | None = None
    waiting_since: Moment | None = None
    gap_counts: dict[MemberCode, int] = Field(default_factory=dict)


class MemberShown(Strict):
    """A member as the directory names it."""

    code: MemberCode
    kind: Literal["state", "partner"]
    name: str
    groups: tuple[str, ...]
    reads: dict[TypeName, tuple[int, ...]]
    suspended: bool


class MembersPage(Strict):
    """The members of the directory, in order of code."""

    directory: DirectoryShown
    members: tuple[MemberShown, ...]


class Problem(Strict):
    """Why a request was refused. Source: RFC 9457.

    Attributes:
        code: Stable, machine-readable; the key of the officer-facing text.
        retry: `never`, `later` or `new-id`.
        field: Dotted path of the offending field, never its value.
    """

    type: str = "about:blank"
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    detail: str
    code: str
    retry: Literal["never", "later", "new-id"]
    field: str = ""
