"""Judges one submission: a pure function of its bytes, the directory and the time.

The order is the order of trust: size, form and version; whose account and label it is, before
anything is keyed by its id; signature and keys; times; then slots, policy and quota. What fails
before the sender is known to be who its label names is never recorded under that label's id.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from broker.admission import control
from broker.admission.judgement import Judged, Judgement, NotNow, RefusedWhole
from broker.envelope.errors import EnvelopeError
from broker.envelope.slots import Slot
from broker.envelope.submitted import Submitted, parse_submitted
from keys.directory.view import DirectoryView
from keys.errors import DirectoryError
from keys.primitives.hashing import sha256
from schemas.decision import Decision, VerdictRecord
from schemas.directory import MemberKind
from schemas.errors import RuleError
from schemas.label import Label
from schemas.rules import Recipient, check_label

MAX_AHEAD: Final = timedelta(minutes=5)
MAX_AGE: Final = timedelta(days=35)
RETRY_AHEAD_S: Final = 60
RETRY_DIRECTORY_S: Final = 30
RETRY_UNWITNESSED_S: Final = 60  # a round of witnesses takes ten


class Verdict(Protocol):
    """What a policy says of one recipient."""

    @property
    def permitted(self) -> bool:
        """Whether every policy permits and none forbids."""
        ...

    @property
    def code(self) -> str:
        """Why not, or empty."""
        ...

    @property
    def rule(self) -> str:
        """The deciding rule, in words."""
        ...

    @property
    def policy_hash(self) -> bytes:
        """SHA-256 of the policy that holds it."""
        ...


class Evaluator(Protocol):
    """The states' policies, compiled."""

    def evaluate(self, intent: Label, recipients: Sequence[str], /) -> Mapping[str, Verdict]:
        """Return a verdict for each recipient."""
        ...


@dataclass(frozen=True)
class Situation:
    """What holds while judging.

    Attributes:
        view: The directory in force at the gateway.
        policies: Of that directory.
        now: The gateway's clock.
        unwitnessed: Whether what is decided now would stand in a log that no quorum of members
            has witnessed for longer than the hub's operator allows.
    """

    view: DirectoryView
    policies: Evaluator
    now: datetime
    unwitnessed: bool = False


@dataclass(frozen=True)
class Arrival:
    """A submission as the broker handed it over.

    Attributes:
        raw: Not trusted.
        account: The member on whose connection it came; the broker's word, not the sender's.
        lane: From the subject; not trusted.
        id: From the subject; not trusted.
    """

    raw: bytes
    account: str
    lane: str
    id: str


def read(arrival: Arrival, situation: Situation) -> Submitted | RefusedWhole | NotNow:
    """Return the submission, authentic and in time, or why it is not.

    Args:
        arrival: Not trusted.
        situation: What holds now.
    """
    try:
        submitted = parse_submitted(arrival.raw)
    except EnvelopeError as error:
        return RefusedWhole(error.code, sha256(arrival.raw), None)
    label, digest = submitted.frame.label, submitted.frame.digest
    for refused, code in (
        (label.sender.member != arrival.account, "wrong-sender"),
        (str(label.id) != arrival.id, "wrong-subject"),
        (str(label.lane) != arrival.lane, "wrong-lane"),
        (label.created < situation.now - MAX_AGE, "too-old"),
    ):
        if refused:
            return RefusedWhole(code, digest, None)
    if waits := _not_now(label, digest, situation):
        return waits
    code = _not_authentic(submitted, situation)
    return RefusedWhole(code, digest, submitted) if code else submitted


def judge(
    submitted: Submitted, situation: Situation, *, size: int, spoken_of: Decision | None
) -> Judgement:
    """Return the verdict on an authentic submission.

    Args:
        submitted: As `read` returned it.
        situation: The same.
        size: Of the bytes as submitted.
        spoken_of: For a control with a `ref`: the standing decision on it, if any.
    """
    label = submitted.frame.label
    if label.kind.is_control:
        code = control.refusal(submitted, size=size, spoken_of=spoken_of)
        if code:
            return RefusedWhole(code, submitted.frame.digest, submitted)
        records = {
            slot.hash: _fixed(slot, _unreachable(slot, label, situation))
            for slot in submitted.slots
        }
        return Judged(submitted, records)
    try:
        check_label(label, recipients=_recipients(submitted, situation), created=label.created)
    except RuleError as error:
        return RefusedWhole(error.code, submitted.frame.digest, submitted)
    verdicts = situation.policies.evaluate(label, submitted.recipients())
    return Judged(
        submitted,
        {
            slot.hash: _record(slot, _unreachable(slot, label, situation), verdicts)
            for slot in submitted.slots
        },
    )


def _not_now(label: Label, digest: bytes, situation: Situation) -> NotNow | None:
    ours, theirs = situation.view.version, label.dir
    if label.created > situation.now + MAX_AHEAD:
        return NotNow("clock-ahead", RETRY_AHEAD_S, label.id, digest)
    if situation.now >= situation.view.fresh_until:
        return NotNow("directory-stale", RETRY_DIRECTORY_S, label.id, digest)
    if (theirs.root, theirs.snapshot) > (ours.root, ours.snapshot):
        return NotNow("directory-behind", RETRY_DIRECTORY_S, label.id, digest)
    if situation.unwitnessed:
        return NotNow("log-unwitnessed", RETRY_UNWITNESSED_S, label.id, digest)
    return None


def _not_authentic(submitted: Submitted, situation: Situation) -> str:
    label, ours = submitted.frame.label, situation.view.version
    try:
        submitted.frame.verify(situation.view, at=situation.now)
    except EnvelopeError as error:
        return error.code
    same_version = (label.dir.root, label.dir.snapshot) == (ours.root, ours.snapshot)
    if same_version and label.dir.hash != ours.hash:
        return "directory-split"
    return "expired" if label.expires <= situation.now else ""


def _unreachable(slot: Slot, label: Label, situation: Situation) -> str:
    if slot.recipient == label.sender.member:
        return "own-member"
    try:
        situation.view.check_sealed_to(
            slot.recipient, slot.kid, sealed_at=label.created, at=situation.now
        )
    except DirectoryError as error:
        known = error.code in {"unknown-member", "member-suspended", "member-lapsed"}
        return error.code if known else "stale-key"
    return ""


def _recipients(submitted: Submitted, situation: Situation) -> list[Recipient]:
    views = situation.view.member_views
    return [
        Recipient(
            code,
            partner=views[code].kind is MemberKind.PARTNER,
            flags=views[code].flags,
        )
        for code in submitted.recipients()
        if code in views
    ]


def _fixed(slot: Slot, code: str) -> VerdictRecord:
    return VerdictRecord(
        slot.hash, slot.recipient, slot.pair_seq, not code, code, control.FIXED_RULE, b""
    )


def _record(slot: Slot, unreachable: str, verdicts: Mapping[str, Verdict]) -> VerdictRecord:
    found = verdicts.get(slot.recipient)
    if unreachable or found is None:
        code = unreachable or "unknown-member"
        return VerdictRecord(slot.hash, slot.recipient, slot.pair_seq, False, code, "", b"")
    return VerdictRecord(
        slot.hash,
        slot.recipient,
        slot.pair_seq,
        found.permitted,
        "" if found.permitted else found.code,
        found.rule,
        found.policy_hash,
    )
