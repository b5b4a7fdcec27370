"""The label: every field survives, any bytes give a label or our error, one form only."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any, cast
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas import canonical
from schemas.canonical import Value
from schemas.errors import SchemaError, UnknownVersionError
from schemas.label import (
    Classification,
    DirectoryVersion,
    Facts,
    Intent,
    Label,
    Reference,
    Retention,
    Sender,
    parse_label,
)
from schemas.vocabulary import (
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
from tests.support.labels import DIRECTORY, NOW, intent, label, uuid7_at

FULL: dict[str, Any] = {
    "pap": PAP.RED,
    "handling": (Handling.H3, Handling.H0),
    "rel_to": ("VN", "MY"),
    "purposes": (Purpose.WARN, Purpose.FORENSIC),
    "thread": UUID(int=9),
    "ref": Reference(id=UUID(int=3), digest=bytes(32)),
    "no_third_party": True,
    "orcon": True,
    "disclose_recipients": True,
}
WIRE = cast("dict[str, Value]", canonical.decode(label(**FULL).to_bytes(), max_bytes=4096))

moments = st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone
codes = st.from_regex(r"\A[A-Z]{2}\Z") | st.sampled_from(["INTERPOL", "AMERIPOL-2"])
uuids = st.uuids()
facts = st.builds(Facts, **dict.fromkeys(Facts.model_fields, st.booleans()))
alert_kinds = st.just(Kind.ALERT)
intents = st.builds(
    Intent,
    alert_id=uuids,
    rev=st.integers(1, 2**31 - 1),
    kind=alert_kinds,
    type=st.from_regex(r"\A[a-z][a-z0-9-]{0,31}\Z").filter(lambda name: name != "control"),
    type_version=st.integers(1, 2**31 - 1),
    sender=st.builds(Sender, member=codes, agency=st.from_regex(r"\A[A-Z0-9][A-Z0-9-]{0,23}\Z")),
    status=st.sampled_from(Status),
    precedence=st.sampled_from(Precedence),
    tlp=st.sampled_from(TLP),
    pap=st.none() | st.sampled_from(PAP),
    handling=st.lists(st.sampled_from(Handling), unique=True).map(tuple),
    classification=st.builds(
        Classification,
        scheme=st.from_regex(r"\A[A-Z][A-Z0-9-]{1,15}\Z"),
        level=st.sampled_from(Level),
    ),
    rel_to=st.none() | st.lists(codes, min_size=1, max_size=32, unique=True).map(tuple),
    no_third_party=st.booleans(),
    orcon=st.booleans(),
    purposes=st.lists(st.sampled_from(Purpose), min_size=1, unique=True).map(tuple),
    judicial_use=st.sampled_from(JudicialUse),
    expires=moments,
    retention=st.builds(Retention, review_by=moments, delete_by=moments),
    thread=st.none() | uuids,
    ref=st.none() | st.builds(Reference, id=uuids, digest=st.binary(min_size=32, max_size=32)),
    facts=facts,
    disclose_recipients=st.booleans(),
)
directories = st.builds(
    DirectoryVersion,
    root=st.integers(1, 2**63 - 1),
    snapshot=st.integers(1, 2**63 - 1),
    hash=st.binary(min_size=32, max_size=32),
)


@given(intents, moments, directories)
def test_every_field_of_a_label_survives(
    what: Intent, when: datetime, directory: DirectoryVersion
) -> None:
    sealed = Label.from_intent(what, id=uuid7_at(when), directory=directory)
    raw = sealed.to_bytes()
    assert len(raw) <= 4096
    assert parse_label(raw) == sealed
    assert parse_label(raw).intent_bytes() == what.to_bytes()


def test_the_wire_form_has_exactly_the_fields_of_the_design() -> None:
    assert set(WIRE) == {
        "v", "id", "alert_id", "rev", "kind", "type", "type_version", "sender", "dir", "status",
        "precedence", "tlp", "pap", "handling", "classification", "rel_to", "no_third_party",
        "orcon", "purposes", "judicial_use", "created", "expires", "retention", "thread", "ref",
        "facts", "disclose_recipients",
    }  # fmt: skip


def test_the_intent_leaves_out_what_only_sealing_knows_and_nothing_else() -> None:
    inner = cast("dict[str, Value]", canonical.decode(label(**FULL).intent_bytes(), max_bytes=4096))
    assert set(WIRE) - set(inner) == {"v", "id", "created", "dir"}


def test_sealing_again_keeps_the_intent() -> None:
    again = Label.from_intent(intent(), id=uuid7_at(NOW + timedelta(days=9)), directory=DIRECTORY)
    assert again.intent_bytes() == label().intent_bytes()
    assert again.to_bytes() != label().to_bytes()


@given(st.binary(max_size=80))
def test_any_bytes_are_a_label_or_a_schema_error(raw: bytes) -> None:
    with pytest.raises(SchemaError):
        parse_label(raw)


leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
    | st.binary(max_size=33)
)
wire_values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(sorted(WIRE)), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.sampled_from(sorted(WIRE)), wire_values)
def test_any_value_of_any_field_is_a_label_or_a_schema_error(name: str, value: Value) -> None:
    raw = canonical.encode({**WIRE, name: value})
    try:
        assert parse_label(raw).to_bytes() == raw
    except SchemaError:
        return


@given(st.integers(0, 2**128 - 1))
def test_any_sixteen_bytes_are_an_id_of_its_time_or_a_schema_error(number: int) -> None:
    raw = canonical.encode({**WIRE, "id": number.to_bytes(16, "big")})
    with pytest.raises(SchemaError):
        parse_label(raw)


def test_an_id_after_the_year_9999_is_refused() -> None:
    late = ((2**48 - 1) << 80 | 7 << 76 | 2 << 62).to_bytes(16, "big")
    with pytest.raises(SchemaError):
        parse_label(canonical.encode({**WIRE, "id": late}))


@pytest.mark.parametrize("name", sorted(set(WIRE) - {"pap", "rel_to", "thread", "ref"}))
def test_a_missing_field_is_refused(name: str) -> None:
    with pytest.raises(SchemaError):
        parse_label(canonical.encode({k: v for k, v in WIRE.items() if k != name}))


@pytest.mark.parametrize("name", ["pap", "rel_to", "thread", "ref"])
def test_an_absent_option_is_left_out_and_never_nil(name: str) -> None:
    parse_label(canonical.encode({k: v for k, v in WIRE.items() if k != name}))
    with pytest.raises(SchemaError):
        parse_label(canonical.encode({**WIRE, name: None}))


@pytest.mark.parametrize(
    "change",
    [
        {"surprise": 1},
        {"handling": ["h3", "h0"]},  # out of order
        {"handling": ["h0", "h0"]},
        {"handling": ["h4"]},
        {"handling": "h0"},
        {"rel_to": []},
        {"rel_to": ["my"]},
        {"rel_to": ["VN", "MY"]},
        {"purposes": []},
        {"purposes": ["curiosity"]},
        {"status": "draft"},
        {"tlp": "white"},
        {"tlp": "AMBER"},
        {"precedence": 3},
        {"kind": "delivered"},
        {"type": "control"},
        {"type": "Cyber"},
        {"type_version": 0},
        {"type_version": True},
        {"rev": 2**31},
        {"sender": {"member": "SG"}},
        {"sender": {"member": "SG", "agency": "SPF", "unit": "x"}},
        {"facts": {"personal_data": 1, "victim": False, "minor": False, "biometrics": False}},
        {"classification": {"scheme": "SG", "level": "cosmic"}},
        {"classification": {"scheme": "SG"}},  # a default is written out
        {"classification": {"level": "none"}},
        {"classification": {}},
        {"created": 0},
        {"created": -1},
        {"expires": 2**63 - 1},
        {"expires": "2026-01-01"},
        {"alert_id": bytes(15)},
        {"alert_id": "0"},
        {"id": UUID(int=4 << 76).bytes},
        {"dir": {"root": 0, "snapshot": 1, "hash": bytes(32)}},
        {"dir": {"root": 1, "snapshot": 1, "hash": bytes(31)}},
        {"ref": {"id": bytes(16), "digest": bytes(33)}},
    ],
)
def test_what_no_list_or_form_admits_is_refused(change: dict[str, Value]) -> None:
    with pytest.raises(SchemaError) as caught:
        parse_label(canonical.encode({**WIRE, **change}))
    assert not isinstance(caught.value, UnknownVersionError)


@pytest.mark.parametrize("version", [0, 2, True, None, "1", b""])
def test_another_version_is_told_apart_from_a_bad_label(version: Value) -> None:
    with pytest.raises(UnknownVersionError):
        parse_label(canonical.encode({**WIRE, "v": version}))


def test_a_label_longer_than_its_bound_is_refused_before_parsing() -> None:
    with pytest.raises(SchemaError) as caught:
        parse_label(bytes(4097))
    assert caught.value.code == "too-large"


def test_a_refused_label_does_not_repeat_what_it_held() -> None:
    with pytest.raises(SchemaError) as caught:
        parse_label(canonical.encode({**WIRE, "sender": {"member": "swordfish", "agency": "A"}}))
    assert "swordfish" not in str(caught.value)
    assert caught.value.field == "sender.member"


def test_a_time_needs_its_zone_and_is_kept_in_utc_milliseconds() -> None:
    singapore = timezone(timedelta(hours=8))
    moved = intent(expires=datetime(2026, 12, 1, 8, 0, 0, 123999, tzinfo=singapore))
    assert moved.expires == datetime(2026, 12, 1, 0, 0, 0, 123000, tzinfo=UTC)
    with pytest.raises(ValidationError):
        intent(expires=datetime(2026, 12, 1))  # noqa: DTZ001 - the point of the test
    with pytest.raises(ValidationError):
        intent(expires=datetime(1969, 12, 31, tzinfo=UTC))


@pytest.mark.parametrize(
    ("changes", "lane"),
    [
        ({}, Lane.NORMAL),
        ({"precedence": Precedence.ROUTINE}, Lane.NORMAL),
        ({"precedence": Precedence.IMMEDIATE}, Lane.URGENT),
        ({"precedence": Precedence.FLASH}, Lane.URGENT),
        ({"precedence": Precedence.FLASH, "status": Status.EXERCISE}, Lane.EXERCISE),
        ({"status": Status.TEST}, Lane.EXERCISE),
        ({"kind": Kind.DELIVERED, "type": "control"}, Lane.CONTROL),
        ({"kind": Kind.OPENED, "type": "control", "status": Status.TEST}, Lane.CONTROL),
    ],
)
def test_the_lane_follows_from_kind_status_and_precedence(
    changes: dict[str, Any], lane: Lane
) -> None:
    assert intent(**changes).lane is lane


def test_the_codes_of_every_list_are_in_their_order() -> None:
    assert [level.rank for level in Level] == list(range(6))
    assert [tlp.rank for tlp in TLP] == list(range(5))
    assert [kind for kind in Kind if not kind.is_control] == [Kind.ALERT]
    assert Purpose("missing") in Purpose
    assert JudicialUse("with-consent")
    assert Sender(member="INTERPOL", agency="IPSG").member == "INTERPOL"


@given(facts, facts)
def test_facts_cover_what_they_do_not_understate(one: Facts, other: Facts) -> None:
    both = Facts(
        **{name: getattr(one, name) or getattr(other, name) for name in Facts.model_fields}
    )
    assert both.covers(one)
    assert both.covers(other)
    assert one.covers(other) == (both == one)
