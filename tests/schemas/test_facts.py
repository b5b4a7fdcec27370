"""Facts are a lower bound derived from what the content holds, never from what it claims."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.blocks.base import Text
from schemas.blocks.identity import Biometric, BiometricKind
from schemas.blocks.person import Person
from schemas.common import Alert
from schemas.doubts import Doubt, doubts
from schemas.facts import derive_facts
from schemas.label import Facts
from tests.support.alerts import (
    adult_victim,
    cyber_alert,
    drugs_alert,
    every_alert,
    minor_victim,
    suspect,
    trafficking_alert,
    trafficking_alert_with_minors,
)

NO_PEOPLE: dict[str, Any] = {
    "persons": (), "phones": (), "accounts": (), "bank_accounts": (), "wallets": (),
}  # fmt: skip
PLAIN_DRUGS = drugs_alert(**NO_PEOPLE)
PLAIN_CYBER = cyber_alert(texts=(), **NO_PEOPLE)


def derived(alert: Alert, **options: bool) -> Facts:
    defaults = {
        "has_original": False,
        "has_attachments": False,
        "reviewed_no_personal_data": False,
    }
    return derive_facts(alert, **{**defaults, **options})


def with_json(alert: Alert, changes: dict[str, Any]) -> Alert:
    return type(alert).model_validate_json(json.dumps({**alert.model_dump(mode="json"), **changes}))


@pytest.mark.parametrize("alert", [PLAIN_DRUGS, PLAIN_CYBER])
def test_an_alert_of_codes_and_things_alone_holds_no_personal_data(alert: Alert) -> None:
    assert derived(alert) == Facts(personal_data=False, victim=False, minor=False, biometrics=False)


@pytest.mark.parametrize(
    "changes",
    [
        {"texts": [{"value": "x", "lang": "en"}]},
        {"h3_text": [{"value": "x", "lang": "en"}]},
        {
            "translations": [
                {"of": "texts.0", "text": {"value": "x", "lang": "en"}, "method": "human"}
            ]
        },
        {"observables": [{"type": "text", "value": "x", "comment": {"value": "x", "lang": "en"}}]},
        {"entities": [{"type": "malware", "description": {"value": "x", "lang": "en"}}]},
    ],
)
def test_free_text_is_personal_until_an_officer_reviewed_it(changes: dict[str, Any]) -> None:
    alert = with_json(PLAIN_CYBER, changes)
    assert derived(alert).personal_data
    assert not derived(alert, reviewed_no_personal_data=True).personal_data


@pytest.mark.parametrize("option", ["has_original", "has_attachments"])
def test_an_original_or_attachment_is_personal_until_an_officer_reviewed_it(option: str) -> None:
    assert derived(PLAIN_CYBER, **{option: True}).personal_data
    assert not derived(
        PLAIN_CYBER, **{option: True, "reviewed_no_personal_data": True}
    ).personal_data


@pytest.mark.parametrize(
    "changes",
    [
        {"persons": [{"role": "unknown"}]},
        {"phones": [{"number": "+6565550100"}]},
        {"accounts": [{"service": "line", "handle": "a"}]},
        {"bank_accounts": [{"country": "TH", "number": "1"}]},
        {"wallets": [{"chain": "xmr", "address": "4" * 95}]},
        {"observables": [{"type": "email", "value": "a@b.example"}]},
        {"observables": [{"type": "handle", "value": "@a"}]},
        {
            "observables": [
                {"type": "text", "value": "a", "parts": [{"type": "phone", "value": "1"}]}
            ]
        },
        {"indicators": [{"pattern": "[email-addr:value = 'a@b']", "pattern_type": "stix"}]},
        {"entities": [{"type": "identity", "identity_class": "individual"}]},
        {"entities": [{"type": "identity", "contact_information": {"value": "a", "lang": "en"}}]},
    ],
)
def test_typed_personal_data_stays_personal_whatever_was_reviewed(changes: dict[str, Any]) -> None:
    alert = with_json(PLAIN_CYBER, changes)
    assert derived(alert, reviewed_no_personal_data=True).personal_data


def test_a_vehicle_is_personal_and_a_vessel_is_not() -> None:
    assert PLAIN_DRUGS.model_dump()["vessels"]
    plate = {"vehicles": [{"plate": {"value": "SXX 1", "country": "SG"}}]}
    assert derived(with_json(PLAIN_DRUGS, plate)).personal_data


def test_trafficking_speaks_of_victims_even_without_a_record_of_one() -> None:
    facts = derived(trafficking_alert(victims=()))
    assert facts.victim
    assert not facts.minor


@pytest.mark.parametrize(
    ("alert", "victim", "minor"),
    [
        (trafficking_alert_with_minors(victims=()), True, True),
        (trafficking_alert_with_minors(victim_counts=()), True, True),
        (with_json(trafficking_alert(), {"minors_among_victims": "unknown"}), True, True),
        (
            with_json(
                trafficking_alert(),
                {
                    "certainty": "reported",
                    "minors_among_victims": "unknown",
                    "control_methods": [],
                    "ilo_indicators": [],
                },
            ),
            True,
            False,
        ),
        (drugs_alert(persons=(adult_victim(),)), True, False),
        (drugs_alert(persons=(minor_victim(),)), True, True),
        (drugs_alert(persons=(suspect(),)), False, False),
    ],
)
def test_victims_and_minors_are_seen_wherever_they_stand(
    alert: Alert, *, victim: bool, minor: bool
) -> None:
    facts = derived(alert)
    assert (facts.victim, facts.minor) == (victim, minor)


def test_a_child_who_is_a_suspect_is_a_minor() -> None:
    child = Person.model_validate_json('{"role": "suspect", "protection": {"minor": "yes"}}')
    assert derived(drugs_alert(persons=(child,))).minor


def test_a_victim_of_unknown_age_is_treated_as_a_minor() -> None:
    somebody = Person.model_validate_json('{"role": "victim", "protection": {"need": "Return"}}')
    assert derived(drugs_alert(persons=(somebody,))).minor


def test_a_reference_to_a_biometric_record_is_biometrics() -> None:
    person = suspect(biometrics=(Biometric(kind=BiometricKind.DNA, reference="LAB 7"),))
    assert derived(drugs_alert(persons=(person,))).biometrics


@pytest.mark.parametrize("alert", every_alert(), ids=lambda alert: alert.TYPE)
@given(options=st.fixed_dictionaries(dict.fromkeys(("original", "attached"), st.booleans())))
def test_carrying_more_never_lowers_a_fact(alert: Alert, options: dict[str, bool]) -> None:
    more = derived(alert, has_original=options["original"], has_attachments=options["attached"])
    assert more.covers(derived(alert))


def test_doubts_name_the_field_and_not_the_value() -> None:
    alert = with_json(drugs_alert(), {"vessels": [{"mmsi": "574000001", "flag": "SG"}]})
    assert doubts(alert) == (Doubt("vessels.0", "mmsi-of-another-flag"),)
    withdrawn = with_json(cyber_alert(), {"techniques": [{"id": "T1107"}]})
    assert doubts(withdrawn) == (Doubt("techniques.0", "attack-technique-withdrawn"),)


def test_good_alerts_raise_no_doubt() -> None:
    assert [doubts(alert) for alert in every_alert()] == [()] * 4


def test_text_with_review_is_the_only_thing_a_review_can_clear() -> None:
    assert derived(
        drugs_alert(texts=(Text(value="x", lang="en"),)), reviewed_no_personal_data=True
    ).personal_data
