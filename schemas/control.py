"""Control messages: what nodes tell each other about an alert. Source: schemas/SPEC.md section 9.

A control travels in an ordinary envelope with a fixed label and no officer. Its content is one of
four small canonical maps. It is never answered by another control.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeAlias
from uuid import UUID

from schemas import canonical
from schemas.errors import SchemaError, UnknownVersionError
from schemas.label import (
    Classification,
    Facts,
    Intent,
    Label,
    Reference,
    Retention,
    Sender,
)
from schemas.moments import milliseconds, moment
from schemas.vocabulary import (
    CONTROL_TYPE,
    TLP,
    JudicialUse,
    Kind,
    Precedence,
    Purpose,
    Status,
)

CONTROL_VERSION: Final = 1
MAX_CONTROL_BYTES: Final = 12 * 1024  # of the message; a pair-state with every range full
MAX_CONTROL_ENVELOPE_BYTES: Final = 16 * 1024  # one recipient, 16 slots, one stanza
MAX_RANGES: Final = 256
MAX_MISSING: Final = 64  # ranges asked for at one time; the rest follows in later states
MAX_CODE_BYTES: Final = 64
CONTROL_LIFE: Final = timedelta(days=35)  # as long as an id may be submitted
CONTROL_RETENTION: Final = timedelta(days=90)
_NIL: Final = UUID(int=0)  # a control is not an alert, so it has no alert's id

Range: TypeAlias = tuple[int, int]
"""First and last number, both included."""
Missing: TypeAlias = tuple[int, int, int]
"""Incarnation of the peer, and first and last of its numbers, both included."""


@dataclass(frozen=True)
class Told:
    """A step that the recipient of an alert took: delivered, opened or purged."""

    kind: Kind
    at: datetime


@dataclass(frozen=True)
class Rejected:
    """The recipient's node could not accept the alert; `code` says why."""

    at: datetime
    code: str


@dataclass(frozen=True)
class PairState:
    """What a sender says of its numbers towards one recipient, so that a gap shows.

    Every number from `since` to `highest` is with the recipient, or in `void`, or in `pending`;
    any other one was lost or withheld.

    Attributes:
        at: The sender's clock.
        incarnation: Of the sender's node: 1, and after each restore from a backup a higher one,
            the time in seconds; numbers start at 1 in each.
        since: Lowest number spoken of; lower ones were settled by earlier states.
        highest: Highest number accepted by the gateway; `since - 1` if there is none yet.
        void: Numbers that the gateway refused or bounced.
        pending: Numbers below `highest` on which no decision stands yet.
        missing: Numbers of the one spoken to that never came here: it is asked to hand the same
            envelopes in again. So a node that was restored from a backup gets its mail back.
    """

    at: datetime
    incarnation: int
    since: int
    highest: int
    void: tuple[Range, ...] = ()
    pending: tuple[Range, ...] = ()
    missing: tuple[Missing, ...] = ()


ControlMessage: TypeAlias = Told | Rejected | PairState


def kind_of(message: ControlMessage) -> Kind:
    """Return the label's kind under which `message` travels."""
    match message:
        case Told(kind=kind):
            return kind
        case Rejected():
            return Kind.REJECTED
        case PairState():
            return Kind.PAIR_STATE


def encode_control(message: ControlMessage) -> bytes:
    """Return the canonical encoding.

    Raises:
        SchemaError: A value is out of its bounds.
    """
    wire: dict[str, canonical.Value] = {
        "v": CONTROL_VERSION,
        "kind": str(kind_of(message)),
        "at": milliseconds(message.at),
    }
    match message:
        case Rejected(code=code):
            wire["code"] = code
        case PairState():
            wire["incarnation"] = message.incarnation
            wire["since"] = message.since
            wire["highest"] = message.highest
            wire["void"] = [list(item) for item in message.void]
            wire["pending"] = [list(item) for item in message.pending]
            wire["missing"] = [list(item) for item in message.missing]
        case Told():
            pass
    raw = canonical.encode(wire)
    parse_control(raw)
    return raw


def parse_control(raw: bytes) -> ControlMessage:
    """Return the message that `raw` encodes.

    Raises:
        UnknownVersionError: A version this software does not read.
        SchemaError: Not a control message of that version.
    """
    wire = canonical.decode(raw, max_bytes=MAX_CONTROL_BYTES)
    if not isinstance(wire, dict):
        raise SchemaError("bad-control", "a control message is a map")
    version = wire.pop("v", None)
    if version != CONTROL_VERSION or isinstance(version, bool):
        raise UnknownVersionError("unknown-control-version", "the version is not known")
    match wire:
        case {"kind": "delivered" | "opened" | "purged" as kind, "at": int(at), **rest} if (
            not rest and _are_integers(at)
        ):
            return Told(Kind(kind), moment(at))
        case {"kind": "rejected", "at": int(at), "code": str(code), **rest} if (
            not rest and _are_integers(at) and 0 < len(code.encode("utf-8")) <= MAX_CODE_BYTES
        ):
            return Rejected(moment(at), code)
        case {
            "kind": "pair-state",
            "at": int(at),
            "incarnation": int(incarnation),
            "since": int(since),
            "highest": int(highest),
            "void": list(void),
            "pending": list(pending),
            "missing": list(missing),
            **rest,
        } if (
            not rest
            and _are_integers(at, incarnation, since, highest)
            and incarnation >= 0
            and since >= 1
            and highest >= since - 1
        ):
            return PairState(
                moment(at),
                incarnation,
                since,
                highest,
                _ranges(void, since=since, highest=highest),
                _ranges(pending, since=since, highest=highest),
                _missing(missing),
            )
        case _:
            raise SchemaError("bad-control", "not a control message of a form this software reads")


def control_intent(
    kind: Kind, *, sender: Sender, ref: Reference | None, status: Status, now: datetime
) -> Intent:
    """Return the fixed label of a control: nothing in it is anyone's choice.

    Args:
        kind: A control kind.
        sender: Whose node speaks.
        ref: The decision spoken of; None for a pair-state and for no other kind.
        status: Of the message spoken of, so that exercise traffic stays marked.
        now: When it is sealed, to the millisecond of the label's `created`.

    Raises:
        SchemaError: Not a control kind, or `ref` missing or out of place.
    """
    if not kind.is_control:
        raise SchemaError("bad-control", "an alert is not a control", field="kind")
    if (ref is None) != (kind is Kind.PAIR_STATE):
        raise SchemaError("bad-control", "a pair-state has no ref, every other control has one")
    until = now + CONTROL_RETENTION
    return Intent(
        alert_id=_NIL,
        rev=1,
        kind=kind,
        type=CONTROL_TYPE,
        type_version=CONTROL_VERSION,
        sender=sender,
        status=status,
        precedence=Precedence.ROUTINE,
        tlp=TLP.AMBER,
        handling=(),
        classification=Classification(),
        no_third_party=True,
        orcon=False,
        purposes=(Purpose.INVESTIGATION_HISTORY,),
        judicial_use=JudicialUse.WITH_CONSENT,
        expires=now + CONTROL_LIFE,
        retention=Retention(review_by=until, delete_by=until),
        ref=ref,
        facts=Facts(personal_data=False, victim=False, minor=False, biometrics=False),
        disclose_recipients=False,
    )


def check_control_label(label: Label) -> None:
    """Return if a control's `label` is the fixed one for its kind.

    Raises:
        SchemaError: Any field differs from what `control_intent` gives.
    """
    intent = control_intent(
        label.kind, sender=label.sender, ref=label.ref, status=label.status, now=label.created
    )
    if label.intent_bytes() != intent.intent_bytes():
        raise SchemaError("bad-control", "a control's label is not the fixed one")


def _ranges(items: list[canonical.Value], *, since: int, highest: int) -> tuple[Range, ...]:
    """Ascending, apart by at least one number, inside [since, highest]: one set, one form."""
    if len(items) > MAX_RANGES:
        raise SchemaError("bad-control", f"more than {MAX_RANGES} ranges")
    found: list[Range] = []
    floor = since
    for item in items:
        match item:
            case [int(first), int(last)] if (
                _are_integers(first, last) and floor <= first <= last <= highest
            ):
                found.append((first, last))
                floor = last + 2
            case _:
                raise SchemaError("bad-control", "ranges ascend and do not touch")
    return tuple(found)


def _missing(items: list[canonical.Value]) -> tuple[Missing, ...]:
    """Ascending by incarnation and number, apart by at least one number: one set, one form."""
    if len(items) > MAX_MISSING:
        raise SchemaError("bad-control", f"more than {MAX_MISSING} ranges are missing")
    found: list[Missing] = []
    floor = (0, 1)
    for item in items:
        match item:
            case [int(incarnation), int(first), int(last)] if (
                _are_integers(incarnation, first, last)
                and floor <= (incarnation, first)
                and 1 <= first <= last
            ):
                found.append((incarnation, first, last))
                floor = (incarnation, last + 2)
            case _:
                raise SchemaError("bad-control", "what is missing ascends and does not touch")
    return tuple(found)


def _are_integers(*values: object) -> bool:
    return not any(isinstance(value, bool) for value in values)  # `case int()` lets a bool through
