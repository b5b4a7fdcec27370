"""The label: the cleartext, signed header of an envelope, and all that a policy may look at.

Source: schemas/SPEC.md section 3. The wire form is a canonical map of exactly these fields, absent
optional ones left out; identifiers are 16 raw bytes and times are milliseconds since 1970 UTC.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Final, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    model_validator,
)

from schemas import canonical
from schemas.errors import SchemaError, UnknownVersionError
from schemas.vocabulary import (
    CONTROL_TYPE,
    PAP,
    TLP,
    Handling,
    JudicialUse,
    Kind,
    Lane,
    Level,
    Precedence,
    Purpose,
    Status,
)

LABEL_VERSION: Final = 1
MAX_LABEL_BYTES: Final = 4096  # every field at its longest stays below 3 KiB
MAX_MEMBERS: Final = 32  # slots of an envelope
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


class Strict(BaseModel):
    """Base of all data that crosses a border: strict, frozen, closed, silent about its input."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", hide_input_in_errors=True)


def _in_utc_milliseconds(value: datetime) -> datetime:
    if value.tzinfo is UTC and not value.microsecond % 1000 and value >= _EPOCH:
        return value  # as every label has it that was read
    if value.tzinfo is None:
        raise ValueError("a time needs its offset from UTC")
    value = value.astimezone(UTC)
    if not value >= _EPOCH:
        raise ValueError("a time before 1970 cannot be carried")
    return value.replace(microsecond=value.microsecond // 1000 * 1000)


def _distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) != len(values):
        raise ValueError("a code stands twice")
    return tuple(sorted(values))


Moment = Annotated[datetime, AfterValidator(_in_utc_milliseconds)]
"""A point in time, kept in UTC with millisecond precision."""

MEMBER_CODE: Final = r"^[A-Z]{2}$|^[A-Z][A-Z0-9-]{2,15}$"
MemberCode = Annotated[str, Field(pattern=MEMBER_CODE)]
"""ISO 3166-1 alpha-2 code of a state, or the registered name of a partner."""

AgencyCode = Annotated[str, Field(pattern=r"^[A-Z0-9][A-Z0-9-]{0,23}$")]
TypeName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
Digest = Annotated[
    bytes,
    Field(min_length=32, max_length=32),
    PlainSerializer(bytes.hex, return_type=str, when_used="json"),
]


class Sender(Strict):
    """Who sends: the member whose node signs, and the agency behind it."""

    member: MemberCode
    agency: AgencyCode


class DirectoryVersion(Strict):
    """Which directory the sender used, so that a hub showing two is found out."""

    root: Annotated[int, Field(ge=1)]
    snapshot: Annotated[int, Field(ge=1)]
    hash: Digest


class Classification(Strict):
    """A national marking, kept as given: whose scheme, and the level in it."""

    scheme: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9-]{1,15}$")] = "NONE"
    level: Level = Level.NONE


class Retention(Strict):
    """When the need to keep is reviewed, and when the alert is gone everywhere."""

    review_by: Moment
    delete_by: Moment


class Facts(Strict):
    """What the content holds, as a lower bound: an officer may raise, never lower it."""

    personal_data: bool
    victim: bool
    minor: bool
    biometrics: bool

    def covers(self, derived: "Facts") -> bool:
        """Return whether nothing in `derived` is understated here."""
        return all(getattr(self, name) or not getattr(derived, name) for name in Facts.model_fields)


class Reference(Strict):
    """The decision that a message speaks of."""

    id: UUID
    digest: Digest


def lane_of(kind: Kind, status: Status, precedence: Precedence) -> Lane:
    """Return the queue of a message whose label says this."""
    if kind.is_control:
        return Lane.CONTROL
    if status is not Status.ACTUAL:
        return Lane.EXERCISE
    if precedence in (Precedence.FLASH, Precedence.IMMEDIATE):
        return Lane.URGENT
    return Lane.NORMAL


class Intent(Strict):
    """The label without what is only known at sealing: what an officer signs."""

    alert_id: UUID
    rev: Annotated[int, Field(ge=1, le=2**31 - 1)]
    kind: Kind
    type: TypeName
    type_version: Annotated[int, Field(ge=1, le=2**31 - 1)]
    sender: Sender
    status: Status
    precedence: Precedence
    tlp: TLP
    pap: PAP | None = None
    handling: Annotated[tuple[Handling, ...], AfterValidator(_distinct)]
    classification: Classification
    rel_to: (
        Annotated[
            tuple[MemberCode, ...],
            Field(min_length=1, max_length=MAX_MEMBERS),
            AfterValidator(_distinct),
        ]
        | None
    ) = None
    no_third_party: bool
    orcon: bool
    purposes: Annotated[tuple[Purpose, ...], Field(min_length=1), AfterValidator(_distinct)]
    judicial_use: JudicialUse
    expires: Moment
    retention: Retention
    thread: UUID | None = None
    ref: Reference | None = None
    facts: Facts
    disclose_recipients: bool

    @model_validator(mode="after")
    def _control_type_and_kind_agree(self) -> Self:
        if self.kind.is_control != (self.type == CONTROL_TYPE):
            raise ValueError(f"type {CONTROL_TYPE!r} is for control kinds and no other")
        return self

    @property
    def lane(self) -> Lane:
        """The queue this message travels in; the subject must name the same."""
        return lane_of(self.kind, self.status, self.precedence)

    def to_bytes(self) -> bytes:
        """Return the canonical encoding."""
        return canonical.encode(_to_wire(self))

    def intent_bytes(self) -> bytes:
        """Return the canonical encoding of the intent, which the officer signs."""
        return canonical.encode(
            {
                name: _to_wire(getattr(self, name))
                for name in Intent.model_fields
                if getattr(self, name) is not None
            }
        )


class Label(Intent):
    """All that the hub sees of a message. Parsing it authenticates nothing."""

    v: Annotated[int, Field(ge=LABEL_VERSION, le=LABEL_VERSION)] = LABEL_VERSION
    id: UUID
    created: Moment
    dir: DirectoryVersion

    @model_validator(mode="after")
    def _id_carries_the_time_of_creation(self) -> Self:
        if self.id.version != 7:  # noqa: PLR2004 - RFC 9562 section 5.7
            raise ValueError("id is not a UUIDv7")
        if uuid7_time(self.id) != self.created:
            raise ValueError("id and created disagree about the time")
        return self

    @classmethod
    def from_intent(
        cls,
        intent: Intent,
        *,
        id: UUID,  # noqa: A002 - the wire name
        directory: DirectoryVersion,
    ) -> "Label":
        """Return the label sealed under `id` for what an officer intended."""
        fields = {name: getattr(intent, name) for name in Intent.model_fields}
        return cls(**fields, v=LABEL_VERSION, id=id, created=uuid7_time(id), dir=directory)


def parse_label(raw: bytes) -> Label:
    """Return the label that `raw` encodes. `raw` is not yet authenticated.

    Raises:
        UnknownVersionError: A label version this software does not read.
        SchemaError: Not canonical, a missing or unknown field, or an unknown code.
    """
    wire = canonical.decode(raw, max_bytes=MAX_LABEL_BYTES)
    if not isinstance(wire, dict):
        raise SchemaError("bad-label", "a label is a map")
    version = wire.get("v")
    if version != LABEL_VERSION or isinstance(version, bool):
        raise UnknownVersionError("unknown-label-version", "the label's version is not known")
    try:
        label = Label.model_validate(_from_wire(wire))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SchemaError("bad-label", first["msg"], field=where) from None
    _check_one_form(label, wire)
    return label


def uuid7_time(value: UUID) -> datetime:
    """Return the time inside a UUIDv7 (RFC 9562 section 5.7).

    Raises:
        ValueError: Its 48 bits name a time after the year 9999.
    """
    try:
        return _EPOCH + (value.int >> 80) * _MILLISECOND
    except OverflowError:
        raise ValueError("the id names a time after the year 9999") from None


def _to_wire(value: object) -> canonical.Value:
    if isinstance(value, str):  # most fields are codes, so they are asked for first
        return str(value)
    if isinstance(value, BaseModel):
        # Its fields and nothing else; asking the class for their names takes longer.
        return {name: _to_wire(item) for name, item in vars(value).items() if item is not None}
    if isinstance(value, bool | int | bytes):
        return value
    if isinstance(value, tuple):
        return [_to_wire(item) for item in value]
    if isinstance(value, UUID):
        return value.bytes
    if isinstance(value, datetime):
        return (value - _EPOCH) // _MILLISECOND
    raise TypeError(type(value).__name__)


def _check_one_form(label: Label, wire: dict[str, canonical.Value]) -> None:
    """Return if the map, whose encoding is canonical, is the one that `label` is written as.

    That leaves a list out of order, an optional field sent as nil, and a default left out.
    """
    whole = (
        None not in wire.values()
        and label.classification.model_fields_set == Classification.model_fields.keys()
        and all(
            name not in wire or list(getattr(label, name)) == wire[name]
            for name in ("handling", "purposes", "rel_to")
        )
    )
    if not whole:
        raise SchemaError("bad-label", "the label is not in its one canonical form")


def _by_code(codes: type[StrEnum]) -> Callable[[str], StrEnum]:
    return {str(code): code for code in codes}.__getitem__


def _all_by_code(codes: type[StrEnum]) -> Callable[[list[canonical.Value]], tuple[StrEnum, ...]]:
    one = _by_code(codes)
    return lambda items: tuple([one(item) for item in items])  # type: ignore[arg-type] # or KeyError


def _uuid_of(raw: bytes) -> UUID:
    return UUID(bytes=raw)


def _moment_of(wire: int) -> datetime:
    return _EPOCH + wire * _MILLISECOND


# By the name of a field: the wire type that is read, and how. Asked for every field of every label.
_READERS: Final[dict[str, tuple[type, Callable[[Any], object]]]] = {
    **dict.fromkeys(("id", "alert_id", "thread"), (bytes, _uuid_of)),
    **dict.fromkeys(("created", "expires", "review_by", "delete_by"), (int, _moment_of)),
    "kind": (str, _by_code(Kind)),
    "status": (str, _by_code(Status)),
    "precedence": (str, _by_code(Precedence)),
    "tlp": (str, _by_code(TLP)),
    "pap": (str, _by_code(PAP)),
    "judicial_use": (str, _by_code(JudicialUse)),
    "level": (str, _by_code(Level)),
    "handling": (list, _all_by_code(Handling)),
    "purposes": (list, _all_by_code(Purpose)),
    "rel_to": (list, tuple),
}


def _from_wire(wire: dict[str, canonical.Value]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in wire.items():
        reader = _READERS.get(name)
        if type(value) is dict:
            found[name] = _from_wire(value)
        elif reader is None or type(value) is not reader[0]:
            found[name] = value  # what it must be is checked with the whole label
        else:
            try:
                found[name] = reader[1](value)
            except (KeyError, TypeError, ValueError, OverflowError):
                raise SchemaError(
                    "bad-label", "the value or code is not known", field=name
                ) from None
    return found
