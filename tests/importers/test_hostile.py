"""Sources that are none: a clear code, nothing made, nothing of the input in the message."""

import json
from contextlib import suppress
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.importers.header import Header
from broker.importers.misp import import_misp
from broker.importers.report import MAX_BYTES, ImportRefusedError
from broker.importers.stix import import_stix
from broker.importers.table import import_row, read_map, read_rows

HEADER = Header(
    as_of=date(2026, 11, 24),
    contact={"function": "Duty officer", "phones": ["+6565550100"]},
    legal_basis=({"instrument": "aseanapol"},),
    offences=({"iccs": "iccs:0903"},),
)
HIDDEN = "zz-nobody-may-see-this"
BAD = {
    "no json": (b"\xff\xfe", "not-json"),
    "too large": (b" " * (MAX_BYTES + 1), "too-large"),
    "too deep": (b"[" * 60 + b"]" * 60, "too-deep"),
    "no bundle": (b'{"type": "indicator"}', "not-stix"),
    "objects are none": (b'{"type": "bundle", "objects": [1]}', "not-stix"),
    "an indicator without a pattern": (
        json.dumps(
            {
                "type": "bundle",
                "id": "bundle--1",
                "objects": [{"type": "indicator", "name": HIDDEN}],
            }
        ).encode(),
        "not-valid",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_bundle_is_refused(name: str) -> None:
    raw, code = BAD[name]
    with pytest.raises(ImportRefusedError) as caught:
        import_stix(raw, HEADER)
    assert caught.value.code == code
    assert HIDDEN not in str(caught.value)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["type", "objects", "id", "Event", "uuid", "Attribute", "name"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=20,
    )
)
def test_no_json_makes_an_importer_fail_in_another_way(value: object) -> None:
    raw = json.dumps(value).encode()
    for importer in (import_stix, import_misp):
        with suppress(ImportRefusedError):
            assert importer(raw, HEADER).original == raw


INDICATOR = {"type": "indicator", "id": "indicator--1", "name": "n", "pattern": "p"}
ODD_STIX = {
    "types that are no list": {"indicator_types": 7},
    "phases that are text": {"kill_chain_phases": ["x"]},
    "references that are numbers": {"external_references": [1]},
    "markings that are null": {"granular_markings": None},
    "an observable without an id": {"type": "url", "value": "https://example.com"},
    "an entity of odd types": {"type": "malware", "malware_types": 1},
    "a technique of odd references": {"type": "attack-pattern", "external_references": [None]},
}


@pytest.mark.parametrize("name", ODD_STIX)
def test_an_odd_object_does_not_make_the_import_fail_in_another_way(name: str) -> None:
    odd = {**INDICATOR, **ODD_STIX[name]}
    if odd["type"] == "url":
        del odd["id"]
    raw = json.dumps({"type": "bundle", "id": "bundle--1", "objects": [odd]}).encode()
    with suppress(ImportRefusedError):
        assert import_stix(raw, HEADER).original == raw


@pytest.mark.parametrize("time", ["9" * 30, "9" * 5000, "\u0661\u0662", 10**18])
def test_a_time_that_no_calendar_has_is_left_out(time: object) -> None:
    raw = json.dumps({"Event": {"uuid": "u-1", "info": "x", "timestamp": time}}).encode()
    with suppress(ImportRefusedError):
        assert import_misp(raw, HEADER).original == raw


def test_a_lone_surrogate_is_no_text() -> None:
    for reader in (read_rows, lambda raw: import_misp(raw, HEADER)):
        with pytest.raises(ImportRefusedError) as caught:
            reader(b'[{"a": "\\ud800"}]')
        assert caught.value.code == "not-json"


MAP = read_map(
    b"""
type = "drugs"
[[field]]
to = "event_kind"
column = "kind"
codes = { S = "seized" }
"""
)


def test_a_code_that_the_map_does_not_know_is_an_error_and_no_guess() -> None:
    for cell, code in ((HIDDEN, "unknown-code"), ("", "missing-cell"), ("S", "not-valid")):
        with pytest.raises(ImportRefusedError) as caught:
            import_row({"kind": cell}, MAP, HEADER, number=1)
        assert caught.value.code == code
        assert HIDDEN not in str(caught.value)


@pytest.mark.parametrize("raw", [b"[1]", b"\xff\xff", b'a,b\n"x'])
def test_what_is_no_table_is_refused(raw: bytes) -> None:
    with pytest.raises(ImportRefusedError):
        read_rows(raw)


@pytest.mark.parametrize("raw", [b"x", b"type = 1", b'type = "drugs"\nfield = []', b"\xff"])
def test_what_is_no_map_is_refused(raw: bytes) -> None:
    with pytest.raises(ImportRefusedError) as caught:
        read_map(raw)
    assert caught.value.code == "bad-map"


def test_a_wide_head_over_short_rows_stays_as_small_as_the_file() -> None:
    rows = read_rows(b"a" + b",x" * 20_000 + b"\n" + b"1\n" * 20_000)
    assert sum(map(len, rows)) == 20_000


def test_a_row_longer_than_its_head_is_no_row() -> None:
    assert read_rows(b"a,b\n1,2,,\n") == [{"a": "1", "b": "2"}]
    with pytest.raises(ImportRefusedError):
        read_rows(b"a,b\n1,2,3\n")


@pytest.mark.parametrize("path", ["certainty.x", "offences.x", "language.0", "as_of.a.0"])
def test_a_path_through_a_value_is_refused(path: str) -> None:
    columns = read_map(f'type = "drugs"\n[[field]]\nto = "{path}"\nvalue = 1\n'.encode())
    with pytest.raises(ImportRefusedError) as caught:
        import_row({}, columns, HEADER, number=1)
    assert caught.value.code == "bad-map"


def test_a_fixed_value_is_the_same_in_every_row_whatever_was_put_in_it() -> None:
    columns = read_map(
        b"""
type = "drugs"
[[field]]
to = "extra"
value = {}
[[field]]
to = "extra.name"
column = "name"
"""
    )
    with suppress(ImportRefusedError):
        import_row({"name": "the first row's"}, columns, HEADER, number=1)
    assert columns.field[0].value == {}


@pytest.mark.parametrize("raw", [b"a = " + b"[" * 2000, b"a = " + b"9" * 5000, b" " * 2**20])
def test_a_map_that_nobody_would_write_is_refused(raw: bytes) -> None:
    with pytest.raises(ImportRefusedError) as caught:
        read_map(raw)
    assert caught.value.code == "bad-map"
