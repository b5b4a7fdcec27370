"""What `make fuzz` runs, and for how long."""

import pytest

from tests.fuzz.registry import PARSERS
from tests.fuzz.shares import OUTSIDE, WAYS, WEIGHT, UnknownParserError, chosen, shares

WIRE = [each.name for each in PARSERS if each.wire]
KNOWN = [each.name for each in PARSERS]


def test_a_name_that_no_parser_has_is_refused_with_all_that_there_are() -> None:
    with pytest.raises(UnknownParserError, match="no parser is called typo; there are: ") as at:
        chosen(["note", "typo"], known=KNOWN, usual=WIRE)
    assert "tile-path" in str(at.value).split()


def test_without_a_name_all_of_the_wire_formats_are_run_and_else_those_named() -> None:
    assert chosen([], known=KNOWN, usual=WIRE) == WIRE
    assert chosen(["stix", "note", "note"], known=KNOWN, usual=WIRE) == ["note", "stix"]


def test_what_comes_from_outside_gets_more_of_the_time_and_each_gets_some() -> None:
    found = shares(WIRE, 3000)
    (most,) = {found[name] for name in OUTSIDE}
    (least,) = {found[name] for name in set(WIRE) - OUTSIDE}
    assert WEIGHT - 1 <= most / least <= WEIGHT + 1  # whole seconds
    assert abs(WAYS * sum(found.values()) - 3000) <= WAYS * len(WIRE)
    assert set(shares(WIRE, 1).values()) == {1}


def test_all_that_comes_from_outside_is_guided() -> None:
    assert set(WIRE) >= OUTSIDE
