"""Handling rules that need more than one field: the label against its recipients and its content.

R11 (grades of one scheme, none that contradicts `confirmed`), R13 (an ICCS code) and R16 (closed
lists) hold inside the models: what exists obeys them. Here are R1, R3, R4, R8 and the level on the
label, and on content R2's text, the protection of victims, and urgency.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NoReturn

from schemas.blocks.identity import NationalIdentifier
from schemas.common import Alert
from schemas.errors import RuleError
from schemas.facts import derive_facts
from schemas.label import Facts, Intent
from schemas.trafficking import TraffickingAlert
from schemas.vocabulary import MAX_LEVEL, TLP, Handling, Level, Precedence, Status
from schemas.walk import parts

MAX_RETENTION: Final = timedelta(days=5 * 365 + 2)  # INTERPOL's five years, leap days included
MAX_VICTIM_REVIEW: Final = timedelta(days=366)  # victims and minors are reviewed within a year
ACTUAL_ONLY: Final = "actual-only"  # flag of a member that takes part in no exercise
NOT_POLICE: Final = "not-police"  # flag of a partner that is no police service
_OPEN_TLP: Final = (TLP.CLEAR, TLP.GREEN)


@dataclass(frozen=True)
class Recipient:
    """What the rules need to know of a recipient; from the directory, never its own claim.

    Attributes:
        code: Member code.
        partner: An admitted partner and no state.
        flags: Flags of the member in the directory.
        named: Chosen by name and not through a group.
    """

    code: str
    partner: bool = False
    flags: frozenset[str] = frozenset()
    named: bool = True


def check_label(intent: Intent, *, recipients: Sequence[Recipient], created: datetime) -> None:
    """Return if the label obeys R1, R3, R4, R8 and carries no level above RESTRICTED.

    Args:
        intent: A label, or what is known of one before sealing.
        recipients: Everybody the envelope is for.
        created: The label's `created`, or now for an intent not yet sealed.

    Raises:
        RuleError: With the code of the first rule broken.
    """
    _check_level(intent)
    _check_status(intent, recipients)
    _check_tlp(intent, recipients)
    _check_release(intent, recipients)
    _check_retention(intent, created)


def check_content(
    alert: Alert,
    intent: Intent,
    *,
    has_original: bool,
    media_types: Sequence[str] = (),
    recipients: Sequence[Recipient] = (),
) -> None:
    """Return if the sealed content obeys what its label demands, and protects its victims.

    Args:
        alert: Validated.
        intent: The label it travels under.
        has_original: Whether the original document itself is carried.
        media_types: Of the attached files.
        recipients: As far as known; a recipient's node knows only itself.

    Raises:
        RuleError: With the code of the first rule broken.
    """
    if (intent.type, intent.type_version) != (alert.TYPE, alert.VERSION):
        _refuse("type-mismatch", "the label names another type of alert", "type")
    _check_h3(alert, intent)
    _check_urgency(alert, intent)
    _check_original(alert, intent, has_original=has_original)
    _check_attachments(alert, intent, media_types)
    _check_identities(alert, intent, recipients)


def _check_level(intent: Intent) -> None:
    if intent.classification.level.rank > MAX_LEVEL.rank:
        _refuse("level-too-high", "nothing above RESTRICTED is carried", "classification.level")


def _check_status(intent: Intent, recipients: Sequence[Recipient]) -> None:
    if intent.status is not Status.ACTUAL and any(ACTUAL_ONLY in r.flags for r in recipients):
        _refuse("r1-actual-only", "a recipient takes part in no exercise or test", "status")


def _check_tlp(intent: Intent, recipients: Sequence[Recipient]) -> None:
    match intent.tlp:
        case TLP.RED if not all(recipient.named for recipient in recipients):
            _refuse("r3-red-by-name", "TLP RED goes to recipients chosen by name only", "tlp")
        case TLP.AMBER_STRICT if any(recipient.partner for recipient in recipients):
            _refuse("r3-strict-partner", "TLP AMBER+STRICT does not go to a partner", "tlp")
        case TLP.CLEAR if intent.facts.personal_data or intent.facts.victim or intent.facts.minor:
            _refuse("r3-clear-personal", "TLP CLEAR carries no personal data or victim", "tlp")
        case TLP.CLEAR if intent.classification.level is not Level.NONE:
            _refuse("r3-clear-classified", "TLP CLEAR carries no classification", "tlp")
        case _:
            return


def _check_release(intent: Intent, recipients: Sequence[Recipient]) -> None:
    if not recipients:
        _refuse("r4-nobody", "an alert has at least one recipient", "recipients")
    if intent.rel_to is None:
        return
    allowed = {*intent.rel_to, intent.sender.member}
    if any(recipient.code not in allowed for recipient in recipients):
        _refuse("r4-outside-rel-to", "a recipient is not among those released to", "rel_to")


def _check_retention(intent: Intent, created: datetime) -> None:
    kept = intent.retention
    if not created <= kept.review_by <= kept.delete_by:
        _refuse("r8-review", "review_by lies between created and delete_by", "retention")
    if kept.delete_by > created + MAX_RETENTION:
        _refuse("r8-too-long", "delete_by is at most five years away", "retention.delete_by")
    protected = intent.facts.victim or intent.facts.minor
    if protected and kept.review_by > created + MAX_VICTIM_REVIEW:
        _refuse("r8-victim-review", "victims and minors: review within a year", "retention")


def _check_h3(alert: Alert, intent: Intent) -> None:
    if Handling.H3 in intent.handling and not alert.h3_text:
        _refuse("r2-h3-text", "handling code H3 needs its text", "h3_text")
    if alert.controlled_delivery and Handling.H3 not in intent.handling:
        _refuse(
            "controlled-delivery-h3", "a controlled delivery needs handling code H3", "handling"
        )


def _check_urgency(alert: Alert, intent: Intent) -> None:
    urgent = intent.precedence in (Precedence.IMMEDIATE, Precedence.FLASH)
    if isinstance(alert, TraffickingAlert) and alert.immediate_danger and not urgent:
        _refuse("immediate-danger", "immediate danger needs IMMEDIATE or FLASH", "precedence")


def _check_original(alert: Alert, intent: Intent, *, has_original: bool) -> None:
    if not has_original:
        return
    derived = derive_facts(
        alert, has_original=True, has_attachments=False, reviewed_no_personal_data=False
    )
    if derived.minor or intent.facts.minor or derived.victim or intent.facts.victim:
        _refuse("original-with-victim", "no original goes with a victim or a minor", "original")


def _check_attachments(alert: Alert, intent: Intent, media_types: Sequence[str]) -> None:
    if media_types:
        derived = derive_facts(
            alert, has_original=False, has_attachments=True, reviewed_no_personal_data=False
        )
        check_attached(media_types, derived, intent.facts)


def check_attached(media_types: Sequence[str], *facts: Facts) -> None:
    """Return if files may be attached where these facts hold.

    Args:
        media_types: Of the files, as their sender states them.
        facts: Derived from the content, and those of the label.

    Raises:
        RuleError: `image-with-minor` or `attachment-with-victim`.
    """
    minor = any(each.minor for each in facts)
    if minor and any(each.lower().startswith(("image/", "video/")) for each in media_types):
        _refuse("image-with-minor", "no image goes with a minor", "attachments")
    if media_types and (minor or any(each.victim for each in facts)):
        _refuse("attachment-with-victim", "no file goes with a victim or a minor", "attachments")


def _check_identities(alert: Alert, intent: Intent, recipients: Sequence[Recipient]) -> None:
    is_open = intent.tlp in _OPEN_TLP
    if is_open and any(isinstance(part, NationalIdentifier) for _, part in parts(alert)):
        _refuse("identifier-at-open-tlp", "no national number at TLP CLEAR or GREEN", "tlp")
    if not any(person.role.is_victim and person.is_identified for person in alert.people):
        return
    if is_open:
        _refuse("victim-at-open-tlp", "no victim is identified at TLP CLEAR or GREEN", "tlp")
    if any(NOT_POLICE in recipient.flags for recipient in recipients):
        _refuse("victim-to-non-police", "a victim is identified to police only", "recipients")


def _refuse(code: str, message: str, field: str) -> NoReturn:
    raise RuleError(code, message, field=field)
