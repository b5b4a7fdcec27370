"""A source's own marking becomes the alert's, and an import never lowers it."""

import json
from datetime import date
from itertools import permutations

import pytest
import stix2

from broker.importers.header import Header
from broker.importers.marking import Marking, marking_of
from broker.importers.misp import import_misp
from broker.importers.stix import import_stix
from schemas.vocabulary import PAP, TLP

HEADER = Header(
    as_of=date(2026, 11, 24),
    contact={"function": "Duty officer", "phones": ["+6565550100"]},
    legal_basis=({"instrument": "aseanapol"},),
    offences=({"iccs": "iccs:0903"},),
)
TAGS = {
    "amber": (["tlp:amber"], Marking(TLP.AMBER)),
    "old name": (["TLP:WHITE"], Marking(TLP.CLEAR, None, ("white-is-clear",))),
    "strict": (["tlp:amber+strict", "PAP:RED"], Marking(TLP.AMBER_STRICT, PAP.RED)),
    "several": (
        ["tlp:green", "tlp:red", "tlp:clear"],
        Marking(TLP.RED, None, ("strictest-taken",)),
    ),
    "silent": (["type:OSINT", "tlp", "amber"], Marking(None, None, ("unmarked",))),
    "not in TLP 2.0": (["tlp:unclear"], Marking(TLP.AMBER, None, ("tlp-unknown",))),
    "one of them unknown": (
        ["tlp:ex:chr", "tlp:clear"],
        Marking(TLP.AMBER, None, ("strictest-taken", "tlp-unknown")),
    ),
}


@pytest.mark.parametrize("name", TAGS)
def test_tags_amount_to_their_strictest_in_any_order(name: str) -> None:
    tags, wanted = TAGS[name]
    for order in permutations(tags):
        assert marking_of(order) == wanted


def bundle(*objects: dict[str, object]) -> bytes:
    report = {"type": "report", "id": "report--1", "name": "Fictional report"}
    listed = [report, *objects]
    return json.dumps({"type": "bundle", "id": "bundle--1", "objects": listed}).encode()


def marked(reference: str) -> dict[str, object]:
    return {
        "type": "campaign",
        "id": "campaign--1",
        "name": "Lantern",
        "object_marking_refs": [reference],
    }


OURS = "marking-definition--11111111-0000-4000-8000-000000000001"
EXTENSION = "extension-definition--60a3c5c5-0d10-413e-aab3-9e08dde9e88d"
STRICT = {
    "type": "marking-definition",
    "id": OURS,
    "extensions": {EXTENSION: {"extension_type": "property-extension", "tlp_2_0": "amber+strict"}},
}
GRANULAR = {
    "type": "malware",
    "id": "malware--1",
    "name": "M",
    "granular_markings": [{"marking_ref": stix2.TLP_RED.id, "selectors": ["name"]}],
}
BUNDLES = {
    "white": ([marked(stix2.TLP_WHITE.id)], TLP.CLEAR),
    "green": ([marked(stix2.TLP_GREEN.id)], TLP.GREEN),
    "amber": ([marked(stix2.TLP_AMBER.id)], TLP.AMBER),
    "red": ([marked(stix2.TLP_RED.id)], TLP.RED),
    "defined inside": ([marked(OURS), STRICT], TLP.AMBER_STRICT),
    "defined and marking nothing": ([STRICT], None),
    "of a part": ([GRANULAR, marked(stix2.TLP_GREEN.id)], TLP.RED),
    "as a label": ([{"type": "tool", "id": "tool--1", "labels": ["tlp:green"]}], TLP.GREEN),
}


@pytest.mark.parametrize("name", BUNDLES)
def test_a_bundle_is_read_with_its_markings(name: str) -> None:
    objects, wanted = BUNDLES[name]
    assert import_stix(bundle(*objects), HEADER).marking.tlp is wanted


def test_an_events_tags_count_wherever_they_stand() -> None:
    attribute = {"type": "domain", "value": "a.example", "Tag": [{"name": "tlp:red"}]}
    event = {
        "uuid": "11111111-0000-4000-8000-000000000001",
        "info": "Fictional",
        "Tag": [{"name": "tlp:green"}, {"name": "PAP:AMBER"}],
        "Object": [{"name": "site", "uuid": "u", "Attribute": [attribute]}],
    }
    found = import_misp(json.dumps({"Event": event}).encode(), HEADER).marking
    assert (found.tlp, found.pap) == (TLP.RED, PAP.AMBER)
