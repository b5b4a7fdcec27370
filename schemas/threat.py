"""Indicators, observables and the objects around them: an index over a STIX bundle or MISP event.

Sources: STIX 2.0 and 2.1 (OASIS), MISP core format. Identifiers and timestamps are kept as given,
so that the index still points into the original. Every value is inert: never resolved, never run.
"""

import re
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from schemas.blocks.base import (
    MAX_FEW,
    Confidence,
    Count,
    Extension,
    Inert,
    Language,
    Line,
    Text,
    refuse,
)
from schemas.cybercodes import EntityType, IndicatorType, ObservableType, PatternType
from schemas.label import Strict

MAX_PATTERN: Final = 65_536  # a YARA rule; STIX patterns in the test data stay below 500
MAX_NAME: Final = 2048  # indicators are named by whole command lines
_HEX: Final = re.compile(r"[0-9A-Fa-f]+")
_DIGITS: Final = re.compile(r"[0-9]{1,10}")

SourceId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$")]
"""A STIX identifier or a UUID, as the source gives it."""

Timestamp = Annotated[
    str,
    Field(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
        r"(Z|[+-][0-9]{2}:[0-9]{2})$"
    ),
]
"""RFC 3339 as the source gives it, its sub-second digits included."""

ATTACKId = Annotated[str, Field(pattern=r"^T[0-9]{4}(\.[0-9]{3})?$")]
Term = Annotated[Inert, Field(max_length=MAX_NAME)]
Terms = Annotated[tuple[Term, ...], Field(max_length=1024)]  # a report refers to 420 objects


class KillChainPhase(Strict):
    """A phase of a kill chain or tactic of ATT&CK."""

    chain: Line
    phase: Line


class ExternalReference(Strict):
    """A reference to something outside; never fetched."""

    source_name: Line
    external_id: Line | None = None
    url: Term | None = None
    description: Text | None = None


class GranularMarking(Strict):
    """A marking of some fields of an object, as the source gives it."""

    marking: Term
    selectors: Terms


class Property(Strict):
    """A field of the source that has no place of its own here (`x_mitre_platforms`)."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,127}$")]
    values: Annotated[tuple[Inert, ...], Field(min_length=1, max_length=256)]


class Indexed(Strict):
    """What every object of a source may carry."""

    id: SourceId | None = None
    created: Timestamp | None = None
    modified: Timestamp | None = None
    created_by: SourceId | None = None
    lang: Language | None = None
    revoked: bool | None = None
    confidence: Confidence | None = None
    labels: Annotated[tuple[Line, ...], Field(max_length=MAX_FEW)] = ()
    markings: Annotated[tuple[Term, ...], Field(max_length=MAX_FEW)] = ()
    granular_markings: Annotated[tuple[GranularMarking, ...], Field(max_length=256)] = ()
    references: Annotated[tuple[ExternalReference, ...], Field(max_length=256)] = ()
    properties: Annotated[tuple[Property, ...], Field(max_length=256)] = ()


class Indicator(Indexed):
    """A detection pattern. Untrusted grammar: parse it with a bound on length and time."""

    name: Term | None = None
    description: Text | None = None
    pattern: Annotated[Inert, Field(max_length=MAX_PATTERN)]
    pattern_type: PatternType | Extension
    pattern_version: Line | None = None
    indicator_types: Annotated[
        tuple[IndicatorType | Extension, ...], Field(max_length=MAX_FEW)
    ] = ()
    valid_from: Timestamp | None = None
    valid_until: Timestamp | None = None
    kill_chain_phases: Annotated[tuple[KillChainPhase, ...], Field(max_length=MAX_FEW)] = ()
    to_ids: bool = False

    @model_validator(mode="after")
    def _valid_from_before_until(self) -> Self:
        start, end = (self.valid_from or "").removesuffix("Z"), self.valid_until or "-"
        if end.endswith("Z") and start > end.removesuffix("Z"):
            refuse("validity-reversed", "valid_until lies before valid_from")
        return self


class Part(Strict):
    """A further part of a compound observable (`domain|ip`, `filename|sha1`, `ip-dst|port`)."""

    type: ObservableType | Extension
    value: Inert

    @model_validator(mode="after")
    def _value_has_the_form_of_its_type(self) -> Self:
        if isinstance(self.type, ObservableType):
            check_observable(self.type, self.value)
        return self


class Observable(Part):
    """Something seen: its value, and what the source says of it.

    Attributes:
        parts: Further parts of a compound value.
        id: The source's identifier.
        source_type: Type as the source names it (`ip-dst|port`).
        category: Category as the source names it (`Payload delivery`).
        comment: The source's comment.
        to_ids: Whether the source holds it fit for automatic detection.
        group: Identifier of the `ObservableGroup` it belongs to, and its `relation` in it.
    """

    parts: Annotated[tuple[Part, ...], Field(max_length=8)] = ()
    id: SourceId | None = None
    source_type: Line | None = None
    category: Line | None = None
    comment: Text | None = None
    to_ids: bool = False
    timestamp: Timestamp | None = None
    first_seen: Timestamp | None = None
    last_seen: Timestamp | None = None
    tags: Annotated[tuple[Line, ...], Field(max_length=256)] = ()
    group: SourceId | None = None
    relation: Line | None = None
    confidence: Confidence | None = None
    distribution: Line | None = None
    properties: Annotated[tuple[Property, ...], Field(max_length=256)] = ()


class GroupReference(Strict):
    """From one group of observables to another object of the source."""

    target: SourceId
    relationship: Line
    comment: Text | None = None
    id: SourceId | None = None
    timestamp: Timestamp | None = None


class ObservableGroup(Strict):
    """Observables that belong together (a MISP object, a STIX observed-data)."""

    id: SourceId
    name: Line
    category: Line | None = None
    description: Text | None = None
    template: SourceId | None = None
    template_version: Line | None = None
    comment: Text | None = None
    timestamp: Timestamp | None = None
    first_seen: Timestamp | None = None
    last_seen: Timestamp | None = None
    number_observed: Count | None = None
    distribution: Line | None = None
    references: Annotated[tuple[GroupReference, ...], Field(max_length=256)] = ()
    properties: Annotated[tuple[Property, ...], Field(max_length=256)] = ()


class Entity(Indexed):
    """A malware, tool, actor, campaign, identity or report, as an indexed reference.

    Attributes:
        types: The source's types of it (`malware_types`, `threat_actor_types`).
        object_refs: What a report or grouping holds.
    """

    type: EntityType | Extension
    name: Term | None = None
    description: Text | None = None
    types: Terms = ()
    aliases: Terms = ()
    identity_class: Line | None = None
    contact_information: Text | None = None
    sectors: Terms = ()
    countries: Terms = ()
    roles: Terms = ()
    goals: Terms = ()
    objective: Term | None = None
    sophistication: Line | None = None
    resource_level: Line | None = None
    primary_motivation: Line | None = None
    secondary_motivations: Terms = ()
    is_family: bool | None = None
    first_seen: Timestamp | None = None
    last_seen: Timestamp | None = None
    published: Timestamp | None = None
    kill_chain_phases: Annotated[tuple[KillChainPhase, ...], Field(max_length=256)] = ()
    object_refs: Annotated[tuple[SourceId, ...], Field(max_length=8192)] = ()


class Relationship(Indexed):
    """A typed arrow between two objects of the source."""

    type: Line
    source: SourceId
    target: SourceId
    description: Text | None = None
    start: Timestamp | None = None
    stop: Timestamp | None = None


class Sighting(Indexed):
    """That something was seen, how often and where."""

    of: SourceId
    count: Count | None = None
    first_seen: Timestamp | None = None
    last_seen: Timestamp | None = None
    where: Annotated[tuple[SourceId, ...], Field(max_length=256)] = ()
    observed: Annotated[tuple[SourceId, ...], Field(max_length=256)] = ()
    description: Text | None = None


def check_observable(kind: ObservableType, value: str) -> None:
    """Return if `value` has the form of its kind; domains and URLs are kept however odd."""
    try:
        _FORMS.get(kind, str)(value)
    except ValueError:
        refuse("observable-form", "the value has not the form of its kind")


def _hexadecimal(digits: int) -> Callable[[str], object]:
    def check(value: str) -> None:
        if len(value) != digits or not _HEX.fullmatch(value):
            raise ValueError("length or alphabet")

    return check


def _number(largest: int) -> Callable[[str], object]:
    def check(value: str) -> None:
        digits = value.upper().removeprefix("AS")
        if not _DIGITS.fullmatch(digits) or int(digits) > largest:
            raise ValueError("not a number of its kind")

    return check


_FORMS: Final[dict[ObservableType, Callable[[str], object]]] = {
    ObservableType.IPV4: IPv4Address,
    ObservableType.IPV6: IPv6Address,
    ObservableType.IP_RANGE: lambda value: ip_network(value, strict=False),
    ObservableType.PORT: _number(65_535),
    ObservableType.ASN: _number(2**32 - 1),
    ObservableType.MD5: _hexadecimal(32),
    ObservableType.IMPHASH: _hexadecimal(32),
    ObservableType.SHA1: _hexadecimal(40),
    ObservableType.SHA224: _hexadecimal(56),
    ObservableType.SHA256: _hexadecimal(64),
    ObservableType.SHA384: _hexadecimal(96),
    ObservableType.SHA512: _hexadecimal(128),
}
