"""Rules inside each type of alert, told as changes to a good one."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from schemas.blocks.person import Person
from schemas.common import Alert, explain
from schemas.walk import parts
from tests.support.alerts import (
    cyber_alert,
    drugs_alert,
    every_alert,
    trafficking_alert,
    trafficking_alert_with_minors,
)

J = dict[str, Any]
Make = Callable[..., Alert]
PLACE = {"kind": "seizure", "country": "CO"}
SUBSTANCE = {"code": "coca-base"}
PRESUMPTIVE = {"strength": "presumptive", "method": "colour-test"}
ADULT = {
    "person": {"role": "victim", "protection": {"minor": "no", "need": "Return"}},
    "age_when_trafficked": 24,
}
WAS_CHILD = {**ADULT, "age_when_trafficked": 15}
CHILD = {"person": {"role": "victim", "protection": {"minor": "yes", "need": "Shelter"}}}
CHILDREN = {"count": 2, "age_band": "9-17"}
ADULTS = {"count": 2, "age_band": "18-20"}
NO_INDICATORS = {"control_methods": [], "ilo_indicators": []}

REFUSED: list[tuple[Make, J, str]] = [
    # the sealed header
    (cyber_alert, {"offences": []}, "general"),
    (
        cyber_alert,
        {"offences": [{"national": {"country": "SG", "law": "CMA"}}]},
        "r13-no-iccs",
    ),
    (
        cyber_alert,
        {
            "certainty": "confirmed",
            "evaluation": {"scheme": "admiralty", "source": "F", "information": "1"},
        },
        "r11-not-confirmable",
    ),
    (
        drugs_alert,
        {
            "certainty": "confirmed",
            "evaluation": {"scheme": "4x4", "source": "X", "information": "1"},
        },
        "r11-not-confirmable",
    ),
    (
        drugs_alert,
        {
            "certainty": "confirmed",
            "evaluation": {"scheme": "3x5x2", "source": "1", "information": "E"},
        },
        "r11-not-confirmable",
    ),
    (cyber_alert, {"certainty": "sure"}, "general"),
    (cyber_alert, {"legal_basis": []}, "general"),
    (cyber_alert, {"language": "tlh-XX-nope"}, "unknown-language"),
    (cyber_alert, {"as_of": "2026"}, "general"),
    (cyber_alert, {"surprise": 1}, "general"),
    # drugs/1
    (drugs_alert, {"substances": []}, "general"),
    (drugs_alert, {"route": []}, "seizure-leg"),
    (
        drugs_alert,
        {"route": [{"seq": n, "role": "seizure", "location": PLACE} for n in (1, 2)]},
        "seizure-leg",
    ),
    (
        drugs_alert,
        {
            "event_kind": "theft",
            "route": [{"seq": n, "role": "seizure", "location": PLACE} for n in (1, 2)],
        },
        "seizure-leg",
    ),
    (
        drugs_alert,
        {"route": [{"seq": 2, "role": "seizure", "location": PLACE}]},
        "route-order",
    ),
    (
        drugs_alert,
        {
            "certainty": "confirmed",
            "substances": [{**SUBSTANCE, "identification": PRESUMPTIVE}],
        },
        "presumptive-only",
    ),
    (
        drugs_alert,
        {"event_kind": "controlled-delivery", "controlled_delivery": False},
        "controlled-delivery-unmarked",
    ),
    (
        drugs_alert,
        {"substances": [{**SUBSTANCE, "schedules": [{"control": "national"}]}]},
        "schedule-without-country",
    ),
    (drugs_alert, {"substances": [{**SUBSTANCE, "cas": "537-46-3"}]}, "general"),
    (drugs_alert, {"substances": [{**SUBSTANCE, "purity": {"percent": "100.1"}}]}, "out-of-range"),
    (
        drugs_alert,
        {"substances": [{**SUBSTANCE, "quantity": {"value": "1", "unit": "stone"}}]},
        "general",
    ),
    (
        drugs_alert,
        {"substances": [{**SUBSTANCE, "quantity": {"value": 1.5, "unit": "g"}}]},
        "general",
    ),
    # trafficking/1
    (
        trafficking_alert,
        {"certainty": "suspected", **NO_INDICATORS},
        "suspected-without-indicator",
    ),
    (trafficking_alert, {"certainty": "confirmed", "acts": []}, "confirmed-without-elements"),
    (trafficking_alert, {"certainty": "confirmed", "means": []}, "confirmed-without-elements"),
    (
        trafficking_alert,
        {"certainty": "confirmed", "purposes": [], "forced_crimes": []},
        "confirmed-without-elements",
    ),
    (trafficking_alert, {"means": ["not-required-minor"]}, "means-not-required"),
    (
        trafficking_alert_with_minors,
        {"certainty": "confirmed", "victim_counts": [CHILDREN, ADULTS]},
        "confirmed-without-elements",
    ),
    (
        trafficking_alert_with_minors,
        {"certainty": "confirmed", "victims": [CHILD, ADULT]},
        "confirmed-without-elements",
    ),
    (trafficking_alert, {"victim_counts": [CHILDREN]}, "minors-not-declared"),
    (trafficking_alert, {"victims": [CHILD]}, "minors-not-declared"),
    (trafficking_alert, {"purposes": ["child-labour"], "forced_crimes": []}, "minors-not-declared"),
    (
        trafficking_alert,
        {"minors_among_victims": "unknown", "victims": [CHILD]},
        "minors-not-declared",
    ),
    (trafficking_alert, {"purposes": ["servitude"]}, "forced-crime-without-purpose"),
    (trafficking_alert, {"victims": [{"person": {"role": "suspect"}}]}, "victim-role"),
    (trafficking_alert, {"victims": [{**ADULT, "status": "actual"}]}, "undecided-status"),
    (
        trafficking_alert,
        {"victims": [{**ADULT, "status": "not-a-victim", "decided_by": "ngo"}]},
        "victim-status",
    ),
    (trafficking_alert, {"victim_counts": [{**ADULTS, "status": "actual"}]}, "undecided-status"),
    (trafficking_alert, {"victim_counts": [{**ADULTS, "count": 0}]}, "general"),
    (trafficking_alert, {"suspects": [ADULT]}, "general"),
    (trafficking_alert, {"suspects": [{"person": ADULT["person"]}]}, "victim-as-suspect"),
    (trafficking_alert, {"purposes": ["illegal-entry"]}, "general"),
    (
        trafficking_alert,
        {
            "victims": [
                {
                    "person": {
                        "role": "victim",
                        "birth": {"edtf": "2010"},
                        "protection": {"minor": "no", "need": "Return"},
                    }
                }
            ]
        },
        "minor-not-declared",
    ),
    # cyber/1
    (cyber_alert, {"observables": [{"type": "md5", "value": "zz" * 16}]}, "observable-form"),
    (cyber_alert, {"observables": [{"type": "sha1", "value": "ab" * 16}]}, "observable-form"),
    (cyber_alert, {"observables": [{"type": "ipv4", "value": "192.0.2.256"}]}, "observable-form"),
    (cyber_alert, {"observables": [{"type": "ipv6", "value": "192.0.2.1"}]}, "observable-form"),
    (cyber_alert, {"observables": [{"type": "ip-range", "value": "192.0.2"}]}, "observable-form"),
    (cyber_alert, {"observables": [{"type": "port", "value": "65536"}]}, "observable-form"),
    (cyber_alert, {"observables": [{"type": "asn", "value": "AS"}]}, "observable-form"),
    (
        cyber_alert,
        {
            "observables": [
                {"type": "domain", "value": "a", "parts": [{"type": "ipv4", "value": "a"}]}
            ]
        },
        "observable-form",
    ),
    (
        cyber_alert,
        {"observables": [{"type": "text", "value": "a\x1b[2Jb"}]},
        "control-character",
    ),
    (
        cyber_alert,
        {
            "indicators": [
                {
                    "pattern": "[a:b = 'c']",
                    "pattern_type": "stix",
                    "valid_from": "2026-02-01T00:00:00Z",
                    "valid_until": "2026-01-31T23:59:59.5Z",
                }
            ]
        },
        "validity-reversed",
    ),
    (cyber_alert, {"indicators": [{"pattern": "x", "pattern_type": "regex"}]}, "general"),
    (cyber_alert, {"techniques": [{"id": "T15"}]}, "general"),
    (cyber_alert, {"vulnerabilities": [{"cve": "CVE-26-1"}]}, "general"),
    (cyber_alert, {"vulnerabilities": [{"cve": "CVE-2026-1234", "cvss": "9.8"}]}, "general"),
    (cyber_alert, {"incident_classes": ["fraud/other"]}, "general"),
    (cyber_alert, {"fraud_kinds": ["pig-butchering"]}, "general"),
]

HELD: list[tuple[Make, J]] = [
    (cyber_alert, {"evaluation": None, "certainty": "confirmed"}),
    (cyber_alert, {"fraud_kinds": ["x-unknown:Rug Pull"], "incident_classes": ["test/test"]}),
    (
        cyber_alert,
        {
            "observables": [
                {
                    "type": "domain",
                    "value": "a.example",
                    "parts": [{"type": "ipv4", "value": "192.0.2.1"}],
                    "source_type": "domain|ip",
                    "category": "Network activity",
                    "comment": {"value": "C&C used in 2019-2020", "lang": "en"},
                    "timestamp": "2019-10-07T14:58:08Z",
                    "tags": ["tlp:amber"],
                    "id": "5d9b5a60-3c6c-4a4a-8a5e-000000000000",
                },
                {"type": "file-name", "value": "in\u202ecod.exe"},
                {"type": "asn", "value": "AS64496"},
                {"type": "port", "value": "8443"},
                {"type": "ip-range", "value": "2001:db8::/32"},
                {"type": "x-unknown:btc", "value": "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"},
            ]
        },
    ),
    (
        cyber_alert,
        {
            "vulnerabilities": [
                {
                    "cve": "CVE-2026-12345",
                    "cvss": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H",
                    "exploited": True,
                }
            ]
        },
    ),
    (drugs_alert, {"event_kind": "price-purity-report", "route": []}),
    (
        drugs_alert,
        {
            "certainty": "confirmed",
            "substances": [
                {**SUBSTANCE, "identification": PRESUMPTIVE},
                {"code": "caffeine", "identification": {"strength": "confirmed"}},
            ],
        },
    ),
    (drugs_alert, {"event_kind": "controlled-delivery", "controlled_delivery": True}),
    (trafficking_alert, {"certainty": "confirmed"}),
    (trafficking_alert, {"certainty": "suspected", "control_methods": []}),
    (trafficking_alert, {"certainty": "reported", **NO_INDICATORS}),
    (trafficking_alert_with_minors, {"certainty": "confirmed"}),
    (trafficking_alert_with_minors, {"certainty": "confirmed", "means": ["not-required-minor"]}),
    (trafficking_alert_with_minors, {"certainty": "confirmed", "victims": [CHILD, WAS_CHILD]}),
    (
        trafficking_alert,
        {"minors_among_victims": "yes", "purposes": ["child-labour"], "forced_crimes": []},
    ),
]


def changed(make: Make, changes: J) -> str:
    return json.dumps({**make().model_dump(mode="json"), **changes})


@pytest.mark.parametrize(("make", "changes", "code"), REFUSED)
def test_what_breaks_a_rule_is_refused_by_its_code(make: Make, changes: J, code: str) -> None:
    with pytest.raises(ValidationError) as caught:
        type(make()).model_validate_json(changed(make, changes))
    assert explain(caught.value, code="general").code == code


@pytest.mark.parametrize(("make", "changes"), HELD)
def test_what_keeps_the_rules_is_held(make: Make, changes: J) -> None:
    model = type(make())
    held = model.model_validate_json(changed(make, changes))
    assert model.model_validate_json(held.model_dump_json()) == held


@pytest.mark.parametrize("alert", every_alert(), ids=lambda alert: alert.TYPE)
def test_every_person_of_an_alert_is_among_its_people(alert: Alert) -> None:
    found = [part for _, part in parts(alert) if isinstance(part, Person)]
    assert found == list(alert.people)
