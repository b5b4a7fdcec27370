"""The content container and the alert inside: one form each, and no input that surprises."""

import copy
import json
import zlib
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import canonical
from schemas.canonical import Value
from schemas.common import Alert
from schemas.content import (
    MAX_CONTENT_BYTES,
    Content,
    OfficerBlock,
    encode_alert,
    parse_content,
    read_alert,
)
from schemas.errors import SchemaError, UnknownVersionError
from schemas.registry import known, model_for, reads
from tests.support.alerts import ORIGINAL, cyber_alert, every_alert, original_of

OFFICER = OfficerBlock(bytes(16), bytes(64), (bytes(32), bytes([1]) * 32), False)
ALERT_BYTES = encode_alert(cyber_alert())
BLOCK: dict[str, Value] = {
    "kid": bytes(16),
    "signature": bytes(64),
    "audience": [bytes(32)],
    "reviewed_no_personal_data": False,
}

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 2**40)
    | st.floats(allow_nan=False)
    | st.text(max_size=12)
    | st.sampled_from(["x-a", "en", "2026-01-01", "SG", "1.5", "yes"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.mark.parametrize("alert", every_alert(), ids=lambda alert: alert.TYPE)
def test_an_alert_comes_back_from_its_canonical_bytes(alert: Alert) -> None:
    raw = encode_alert(alert)
    assert read_alert(alert.TYPE, alert.VERSION, raw) == alert
    assert encode_alert(read_alert(alert.TYPE, alert.VERSION, raw)) == raw


@pytest.mark.parametrize("alert", every_alert(), ids=lambda alert: alert.TYPE)
def test_an_alert_comes_back_from_the_json_of_a_desk(alert: Alert) -> None:
    text = alert.model_dump_json(exclude_none=True)
    assert type(alert).model_validate_json(text) == alert


@pytest.mark.parametrize(
    "content",
    [
        Content(b""),
        Content(ALERT_BYTES, OFFICER),
        Content(ALERT_BYTES, OFFICER, ORIGINAL),
        Content(ALERT_BYTES, OfficerBlock(bytes(16), bytes(64), (bytes(32),), True), b""),
    ],
)
def test_content_comes_back_from_its_bytes(content: Content) -> None:
    assert parse_content(content.to_bytes()) == content


@given(st.binary(max_size=64))
def test_any_bytes_are_content_or_a_schema_error(raw: bytes) -> None:
    try:
        assert parse_content(raw).to_bytes() == raw
    except SchemaError:
        return


@given(
    st.lists(
        st.integers(0, 2) | st.binary(max_size=4) | st.none() | st.just([]) | st.just(BLOCK),
        min_size=4,
        max_size=7,
    )
)
def test_any_list_is_content_or_a_schema_error(value: list[Value]) -> None:
    raw = canonical.encode(value)
    try:
        assert parse_content(raw).to_bytes() == raw
    except SchemaError:
        return


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ({}, "bad-content"),
        ([], "bad-content"),
        ([1, b"", None, None, []], "bad-content"),
        ([1, b"", None, None, [], None, None], "bad-content"),
        ([1, "", None, None, [], None], "bad-content"),
        ([1, b"", None, "", [], None], "bad-content"),
        ([1, b"", None, None, [b""], None], "bad-content"),
        ([1, b"", None, None, [], b""], "bad-content"),
        ([1, b"", {}, None, [], None], "bad-content"),
        ([1, b"", {**BLOCK, "kid": bytes(15)}, None, [], None], "bad-content"),
        ([1, b"", {**BLOCK, "signature": bytes(63)}, None, [], None], "bad-content"),
        ([1, b"", {**BLOCK, "audience": []}, None, [], None], "bad-content"),
        ([1, b"", {**BLOCK, "audience": [bytes(32)] * 33}, None, [], None], "bad-content"),
        ([1, b"", {**BLOCK, "audience": [bytes(31)]}, None, [], None], "bad-content"),
        ([1, b"", {**BLOCK, "audience": ["a"]}, None, [], None], "bad-content"),
        ([1, b"", {**BLOCK, "reviewed_no_personal_data": 1}, None, [], None], "bad-content"),
        ([1, b"", {**BLOCK, "more": 1}, None, [], None], "bad-content"),
        ([2, b"", None, None, [], None], "unknown-content-version"),
        ([True, b"", None, None, [], None], "unknown-content-version"),
        ([None, b"", None, None, [], None], "unknown-content-version"),
    ],
)
def test_another_form_of_content_is_refused(value: Value, code: str) -> None:
    with pytest.raises(SchemaError) as caught:
        parse_content(canonical.encode(value))
    assert caught.value.code == code


def test_content_above_four_mebibytes_is_refused_before_parsing() -> None:
    with pytest.raises(SchemaError) as caught:
        parse_content(bytes(MAX_CONTENT_BYTES + 1))
    assert caught.value.code == "too-large"


def test_an_original_must_be_the_one_the_alert_names() -> None:
    alert = cyber_alert(original=original_of())
    Content(ALERT_BYTES, OFFICER).check_original(alert)
    Content(ALERT_BYTES, OFFICER, ORIGINAL).check_original(alert)
    with pytest.raises(SchemaError) as mismatch:
        Content(ALERT_BYTES, OFFICER, ORIGINAL.swapcase()).check_original(alert)
    with pytest.raises(SchemaError) as unnamed:
        Content(ALERT_BYTES, OFFICER, ORIGINAL).check_original(cyber_alert())
    codes = mismatch.value.code, unnamed.value.code
    assert codes == ("original-mismatch", "original-not-named")


def test_an_unknown_type_or_version_is_told_apart_from_a_bad_alert() -> None:
    for name, version in (("wildlife", 1), ("cyber", 2)):
        with pytest.raises(UnknownVersionError):
            read_alert(name, version, ALERT_BYTES)
    with pytest.raises(SchemaError) as caught:
        read_alert("drugs", 1, ALERT_BYTES)
    assert not isinstance(caught.value, UnknownVersionError)


def test_the_registry_names_every_type_once() -> None:
    assert reads() == {"cyber": [1], "drugs": [1], "trafficking": [1]}
    for name, version in known():
        assert (name, version) == (model_for(name, version).TYPE, model_for(name, version).VERSION)


@pytest.mark.parametrize(
    "change",
    [
        {"title": b"bytes"},
        {"title": " spaced "},
        {"title": "Cafe\u0301"},
        {"informant_risk": None},
        {"surprise": 1},
        {"texts": [{"value": "x\r\n", "lang": "en"}]},
    ],
)
def test_an_alert_in_another_form_than_its_one_is_refused(change: dict[str, Value]) -> None:
    value = cast("dict[str, Value]", canonical.decode(ALERT_BYTES, max_bytes=1 << 20))
    with pytest.raises(SchemaError) as caught:
        read_alert("cyber", 1, canonical.encode({**value, **change}))
    assert "Cafe" not in str(caught.value)


def test_a_default_left_out_is_another_form() -> None:
    value = cast("dict[str, Value]", canonical.decode(ALERT_BYTES, max_bytes=1 << 20))
    del value["informant_risk"]
    with pytest.raises(SchemaError) as caught:
        read_alert("cyber", 1, canonical.encode(value))
    assert caught.value.code == "bad-alert"


@given(st.binary(max_size=64))
@pytest.mark.parametrize("name", ["cyber", "drugs", "trafficking"])
def test_any_bytes_are_an_alert_or_a_schema_error(name: str, raw: bytes) -> None:
    with pytest.raises(SchemaError):
        read_alert(name, 1, raw)


@pytest.mark.parametrize("alert", every_alert(), ids=lambda alert: alert.TYPE)
@given(data=st.data())
def test_any_change_gives_an_alert_or_a_schema_error(alert: Alert, data: st.DataObject) -> None:
    value = copy.deepcopy(alert.model_dump(mode="json", exclude_none=True))
    replace_somewhere(value, data)
    try:
        held = type(alert).model_validate_json(json.dumps(value))
    except ValueError:
        return
    raw = encode_alert(held)
    assert read_alert(alert.TYPE, alert.VERSION, raw) == held


def replace_somewhere(value: dict[str, Any], data: st.DataObject) -> None:
    """Walk down at random and put a random value in place of what is found."""
    here: Any = value
    while True:
        key = data.draw(
            st.sampled_from(sorted(here) if isinstance(here, dict) else range(len(here)))
        )
        inner = here[key]
        if not isinstance(inner, dict | list) or not inner or data.draw(st.booleans()):
            here[key] = data.draw(json_values)
            return
        here = inner


def test_an_alert_of_the_size_of_the_largest_bundle_fits_many_times() -> None:
    one = cyber_alert()
    big = cyber_alert(
        indicators=one.indicators * 330,
        relationships=one.relationships * 1800,
        entities=one.entities * 580,
        observables=one.observables * 320,
    )
    raw = encode_alert(big)
    assert len(raw) < MAX_CONTENT_BYTES
    assert len(zlib.compress(raw)) < 480 * 1024
    assert read_alert("cyber", 1, raw) == big
