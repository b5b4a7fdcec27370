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
