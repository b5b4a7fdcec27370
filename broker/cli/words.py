"""The officer's words for codes: one place, so that every screen says the same.

Codes without an entry are shown as they are: a raw code is better than a wrong word.
"""

from datetime import UTC, datetime
from typing import Final

from broker.cli.notices import alarm_words
from broker.cli.reasons import REASONS
from broker.cli.text import country, say
from keys.directory.expiry import Expiring
from schemas.desk import (
    Advice,
    Alarm,
    AttachmentSent,
    RecipientOutcome,
    RecipientState,
    SendingState,
    Submission,
    SubmissionState,
)
from schemas.doubts import WORDS
from schemas.vocabulary import Status

QUEUED: Final = "QUEUED"
ACCEPTED: Final = "ACCEPTED"
REFUSED: Final = "REFUSED"
DELIVERED: Final = "DELIVERED"


def status_word(status: Status) -> str:
    """Return ACTUAL, EXERCISE or TEST in the officer's language."""
    match status:
        case Status.ACTUAL:
            return say("status-actual", "ACTUAL")
        case Status.EXERCISE:
            return say("status-exercise", "EXERCISE")
        case Status.TEST:
            return say("status-test", "TEST")


def outcome_word(outcome: RecipientOutcome) -> str:
    """Return one of four words; details follow in `outcome_detail`."""
    match outcome.state:
        case RecipientState.QUEUED | RecipientState.SUBMITTED:
            return say("outcome-queued", QUEUED)
        case RecipientState.REFUSED | RecipientState.BOUNCED | RecipientState.EXPIRED:
            return say("outcome-refused", REFUSED)
        case RecipientState.DELIVERED:
            return say("outcome-delivered", DELIVERED)
        case RecipientState.HELD | RecipientState.STORED:
            return say("outcome-accepted", ACCEPTED)


def outcome_detail(outcome: RecipientOutcome) -> str:  # noqa: PLR0911 - a table of words
    """Return what to know beside the word; empty if nothing."""
    match outcome.state:
        case RecipientState.QUEUED:
            return say("detail-queued", "not sent yet")
        case RecipientState.SUBMITTED:
            return say("detail-submitted", "sent, not decided yet")
        case RecipientState.HELD:
            return say("detail-held", "waiting at the hub: the recipient's inbox is full")
        case RecipientState.STORED:
            return say("detail-stored", "waiting for the recipient's node")
        case RecipientState.DELIVERED if outcome.delivered_at:
            return clock(outcome.delivered_at)
        case RecipientState.BOUNCED:
            return say("detail-bounced", "returned: no room at the hub; send again later")
        case RecipientState.EXPIRED:
            return say("detail-expired", "left unread past its time")
        case RecipientState.REFUSED:
            return outcome.rule or reason(outcome.code)
        case _:
            return ""


def submission_word(submission: Submission) -> str:
    """Return where a submission as a whole is."""
    match submission.state:
        case SubmissionState.QUEUED:
            return say(
                "submission-queued",
                "QUEUED, not sent; rules of {time}",
                time=clock(submission.rules_of),
            )
        case SubmissionState.NEEDS_ATTENTION:
            return say(
                "submission-attention",
                "NEEDS YOUR ATTENTION: {why}",
                why=reason(submission.attention),
            )
        case SubmissionState.SUBMITTED:
            return say("submission-submitted", "SENT, not decided yet")
        case SubmissionState.DECIDED:
            return say("submission-decided", "DECIDED")
        case SubmissionState.CANCELLED:
            return say("submission-cancelled", "CANCELLED")


def attachment_line(sent: AttachmentSent) -> str:
    """Return a line that says how far an attached file is on its way to the hub."""
    why = f" ({reason(sent.code)})" if sent.code else ""
    number = say("sending-attachment", "attachment {number}", number=sent.number)
    return f"{number}: {_sending_word(sent)}{why}"


def _sending_word(sent: AttachmentSent) -> str:
    match sent.state:
        case SendingState.WAITING:
            return say("sending-waiting", "goes after the alert is accepted")
        case SendingState.UPLOADING:
            return say(
                "sending-uploading",
                "{uploaded} of {chunks} parts sent",
                uploaded=sent.uploaded,
                chunks=sent.chunks,
            )
        case SendingState.UPLOADED:
            return say("sending-uploaded", "sent")
        case SendingState.DROPPED:
            return say("sending-dropped", "not sent: nobody was let through")
        case SendingState.REFUSED:
            return say("sending-refused", "NOT SENT")


def clock(moment: datetime) -> str:
    """Return a time as officers in several zones read it: UTC, to the minute, marked Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%MZ")


def clock_word(state: str) -> str:
    """Return how this machine's clock stands against the hub's."""
    match state:
        case "ok":
            return say("ok", "ok")
        case "warn":
            return say("clock-warn", "more than 30 seconds wrong")
        case "skew":
            return say("clock-skew", "WRONG by more than 5 minutes; nothing is sent")
        case _:
            return say("clock-unknown", "not compared yet")


def expiry_line(expiring: Expiring) -> str:
    """Return a line that says what must be signed again, and until when."""
    return say(
        "sign-again",
        "! {role} must be signed again before {time}: kentong directory propose --renew {role}",
        role=expiring.role,
        time=clock(expiring.expires_at),
    )


def advice_line(advice: Advice) -> str:
    """Return what to know before sending, in the officer's language where it has words."""
    if advice.code == "type-not-read":
        return say(
            "advice-type-not-read",
            "the node of {who} does not say that it reads this type",
            who=country(advice.recipient or ""),
        )
    key = f"doubt-{advice.code}"
    if key not in WORDS:
        return advice.text
    text = f"{advice.field}: {say(key, WORDS[key])}"
    more = advice.count - 1
    return f"{text} {say('advice-more', '(and {count} more)', count=more)}" if more else text


def alarm_line(alarm: Alarm) -> str:
    """Return a line for one alarm."""
    parts = (alarm.code, alarm.peer or "", f"x{alarm.count}", alarm.detail)
    line = "! " + " ".join(part for part in parts if part)
    words = alarm_words(alarm.code)
    return f"{line}: {words}" if words else line


def reason(code: str) -> str:
    """Return a sentence for a reason code, or the code itself."""
    text = REASONS.get(f"reason-{code}")
    return say(f"reason-{code}", text) if text else code
