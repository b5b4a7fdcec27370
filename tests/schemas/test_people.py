"""Victims and minors are protected wherever a person stands."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from schemas.blocks.person import Person
from schemas.common import explain
from tests.support.alerts import adult_victim, cyber_alert, drugs_alert, minor_victim, suspect

J = dict[str, Any]
NAMES = [{"full": "Somebody"}]
ADULT = {"minor": "no", "consent": "given", "need": "Return home"}
MINOR = {"minor": "yes", "need": "Shelter"}
UNKNOWN_AGE = {"minor": "unknown", "consent": "given", "need": "Shelter"}
PLACE = [{"kind": "last-seen", "country": "KH"}]

REFUSED: list[tuple[J, str]] = [
    ({"role": "victim"}, "victim-without-need"),
    ({"role": "victim", "protection": {"minor": "no"}}, "victim-without-need"),
    (
        {"role": "victim", "names": NAMES, "protection": {"minor": "no", "need": "Return"}},
        "victim-without-consent",
    ),
    (
        {
            "role": "possible-victim",
            "phones": [{"number": "+6565550100"}],
            "protection": {"minor": "no", "need": "Return", "consent": "not-given"},
        },
        "victim-without-consent",
    ),
    ({"role": "victim", "names": NAMES, "protection": MINOR}, "minor-victim-identified"),
    ({"role": "victim", "names": NAMES, "protection": UNKNOWN_AGE}, "minor-victim-identified"),
    ({"role": "victim", "name_mrz": "A<<B", "protection": MINOR}, "minor-victim-identified"),
    (
        {
            "role": "victim",
            "documents": [{"type": "passport", "number": "X"}],
            "protection": MINOR,
        },
        "minor-victim-identified",
    ),
    (
        {"role": "victim", "description": {"height_cm": 120}, "protection": MINOR},
        "minor-victim-identified",
    ),
    ({"role": "victim", "birth": {"edtf": "2012-05"}, "protection": MINOR}, "minor-victim-birth"),
    ({"role": "victim", "birth": {"place": "Dili"}, "protection": MINOR}, "minor-victim-birth"),
    (
        {"role": "victim", "remarks": {"value": "x", "lang": "en"}, "protection": MINOR},
        "minor-victim-remarks",
    ),
    ({"role": "victim", "locations": PLACE, "protection": MINOR}, "minor-victim-located"),
    ({"role": "victim", "locations": PLACE, "protection": UNKNOWN_AGE}, "minor-victim-located"),
    (
        {
            "role": "suspect",
            "biometrics": [{"kind": "face", "reference": "A"}],
            "protection": {"minor": "yes"},
        },
        "minor-face",
    ),
    (
        {
            "role": "missing",
            "biometrics": [{"kind": "face", "reference": "A"}],
            "protection": {"minor": "yes"},
        },
        "minor-face",
    ),
    (
        {"role": "victim", "offences": [{"iccs": "iccs:0805"}], "protection": ADULT},
        "victim-punished",
    ),
    ({"role": "victim", "offences": [{"iccs": "iccs:08"}], "protection": ADULT}, "victim-punished"),
    (
        {"role": "victim", "offences": [{"iccs": "iccs:080212"}], "protection": ADULT},
        "victim-punished",
    ),
    (
        {
            "role": "possible-victim",
            "offences": [{"national": {"country": "MY", "law": "Immigration Act"}}],
            "protection": MINOR,
        },
        "victim-punished",
    ),
    (
        {"role": "witness", "names": NAMES, "protection": {"do_not_identify": True}},
        "do-not-identify",
    ),
]

HELD: list[J] = [
    {"role": "victim", "names": NAMES, "locations": PLACE, "protection": ADULT},
    {"role": "victim", "sex": "F", "birth": {"edtf": "2012"}, "protection": MINOR},
    {"role": "victim", "birth": {"edtf": "2009/2012"}, "protection": MINOR},
    {"role": "victim", "nationalities": ["XXA"], "languages": ["my"], "protection": UNKNOWN_AGE},
    {"role": "missing", "names": NAMES, "locations": PLACE, "protection": {"minor": "yes"}},
    {"role": "suspect", "offences": [{"iccs": "iccs:0805"}]},
    {"role": "victim", "offences": [{"iccs": "iccs:0601"}], "protection": ADULT},
    {"role": "witness", "sex": "M", "protection": {"do_not_identify": True}},
]


@pytest.mark.parametrize(("given", "code"), REFUSED)
def test_a_person_who_must_be_protected_is_not_shown(given: J, code: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Person.model_validate_json(json.dumps(given))
    assert explain(caught.value, code="general").code == code


@pytest.mark.parametrize("given", HELD)
def test_what_protects_enough_is_held(given: J) -> None:
    assert Person.model_validate_json(json.dumps(given)).role == given["role"]


def test_the_synthetic_people_are_what_they_say() -> None:
    assert adult_victim().is_identified
    assert not adult_victim().may_be_minor
    assert minor_victim().may_be_minor
    assert not minor_victim().is_identified
    assert suspect().is_identified


@pytest.mark.parametrize("birth", [{"edtf": "2010"}, {"edtf": "2008-11-21"}, {"edtf": "2009/2010"}])
@pytest.mark.parametrize("make", [cyber_alert, drugs_alert])
def test_a_birth_that_leaves_no_doubt_must_be_declared_a_minors(make: Any, birth: J) -> None:  # noqa: ANN401 - two factories
    child = Person.model_validate_json(
        json.dumps({"role": "suspect", "birth": birth, "protection": {"minor": "no"}})
    )
    with pytest.raises(ValidationError) as caught:
        make(persons=(child,))
    assert explain(caught.value, code="general").code == "minor-not-declared"


@pytest.mark.parametrize("birth", [{"edtf": "2008-11-20"}, {"edtf": "2008"}, {"edtf": "2008/2012"}])
def test_a_birth_that_leaves_a_doubt_may_be_an_adults(birth: J) -> None:
    person = Person.model_validate_json(json.dumps({"role": "suspect", "birth": birth}))
    assert drugs_alert(persons=(person,)).people == (person,)


def test_an_age_below_eighteen_must_be_declared_a_minors() -> None:
    child = {"role": "suspect", "birth": {"age": {"at_least": 12, "at_most": 17}}}
    with pytest.raises(ValidationError, match="minor"):
        drugs_alert(persons=(Person.model_validate_json(json.dumps(child)),))
