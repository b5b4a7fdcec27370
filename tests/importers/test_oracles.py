"""What others' readers find in the same documents, we found too: stix2, pymisp, stix2-patterns."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import stix2
from pymisp import MISPEvent

from broker.importers.patterns import BUDGET_CHARS, MAX_CHARS, check_patterns
from broker.importers.report import Imported, leaves
from schemas.cyber import CyberAlert
from schemas.cybercodes import PatternType
from schemas.threat import Indicator
from tests.importers.records import misp_events, stix_bundles
from tests.support.alerts import cyber_alert


def cyber(imported: Imported) -> CyberAlert:
    assert isinstance(imported.alert, CyberAlert)
    return imported.alert


@pytest.mark.records
def test_stix2_finds_no_indicator_or_relationship_that_we_did_not(external: Path) -> None:
    for name, imported in stix_bundles(external):
        raw = json.loads(imported.original)
        version = "2.0" if raw.get("spec_version") == "2.0" else "2.1"
        bundle = stix2.parse(raw, allow_custom=True, version=version)
        theirs: dict[str, Counter[Any]] = {"indicator": Counter(), "relationship": Counter()}
        for each in bundle.objects:
            if each["type"] == "indicator":
                theirs["indicator"][each["id"], each["pattern"]] += 1
            elif each["type"] == "relationship":
                found = each["source_ref"], each["relationship_type"], each["target_ref"]
                theirs["relationship"][found] += 1
        alert = cyber(imported)
        ours = Counter((each.id, each.pattern) for each in alert.indicators)
        assert ours == theirs["indicator"], name
        related = Counter((e.source, str(e.type), e.target) for e in alert.relationships)
        assert related == theirs["relationship"], name


@pytest.mark.records
def test_pymisp_finds_no_attribute_that_we_did_not(external: Path) -> None:
    seen = 0
    for name, imported in misp_events(external):
        event = MISPEvent()
        event.load(imported.original.decode())
        attributes = [*event.attributes]
        for each in event.objects:
            attributes += each.attributes
        seen += len(attributes)
        body = cyber(imported).model_dump(mode="json")
        ours = {" ".join(str(value).split()).casefold() for _, value in leaves(body, "")}
        for attribute in attributes:
            text = str(attribute.value)
            parts = text.split("|") if "|" in attribute.type else [text]
            for part in parts:
                assert " ".join(part.split()).casefold() in ours, (name, attribute.type)
    assert seen > 500


@pytest.mark.records
def test_every_pattern_of_the_published_bundles_can_be_read(external: Path) -> None:
    count = 0
    for name, imported in stix_bundles(external):
        found = check_patterns(imported.alert)
        assert (found.unreadable, found.unchecked) == ((), 0), name
        count += len(cyber(imported).indicators)
    assert count > 300


def alert_with(*patterns: str, kind: PatternType = PatternType.STIX) -> CyberAlert:
    indicators = tuple(
        Indicator(id=f"indicator--{n}", pattern=pattern, pattern_type=kind)
        for n, pattern in enumerate(patterns)
    )
    return cyber_alert(indicators=indicators)


GOOD = "[domain-name:value = 'scam.example']"


@pytest.mark.parametrize(
    "wrong",
    ["", "[", "domain-name:value = 'x'", "[file:name = ]", "[a:b = 1", "(" * 1500, "[" * 3000],
)
def test_a_pattern_that_no_reader_understands_is_told_by_its_place(wrong: str) -> None:
    if not wrong:
        with pytest.raises(ValueError, match="pattern"):
            alert_with(wrong)
        return
    assert check_patterns(alert_with(GOOD, wrong, GOOD)).unreadable == (1,)


def test_what_is_too_long_or_too_much_stays_unchecked_and_is_counted() -> None:
    long = "[a:b = '" + "x" * MAX_CHARS + "']"
    assert check_patterns(alert_with(GOOD, long)).unchecked == 1
    many = ["[a:b = '" + "x" * (MAX_CHARS - 10) + "']"] * (BUDGET_CHARS // MAX_CHARS + 3)
    found = check_patterns(alert_with(*many))
    assert found.unreadable == ()
    assert found.unchecked == 3


def test_another_language_is_not_read_as_stix() -> None:
    rule = alert_with("rule x { condition: true }", kind=PatternType.YARA)
    assert check_patterns(rule).unreadable == ()
