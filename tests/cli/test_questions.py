"""What the guided form asks about trafficking, and what it makes of the answers."""

from datetime import date
from pathlib import Path

import pytest

from broker.cli.form import MAX_QUESTIONS, AnswerError, Draft, Form
from broker.cli.questions import fields_of, questions
from broker.client import Profile
from schemas.blocks.person import Tri
from schemas.trafficking import TraffickingAlert

PROFILE = Profile(url="unix:///none", member="SG", language="en")
CONTACT = {"function": "Duty officer", "phones": ["+6565550100"]}


def at_the_signs(path: Path) -> Form:
    form = Form(questions(PROFILE), Draft(path / "a.json"))
    for typed in ("exercise", "trafficking", "MY"):
        form.answer(typed)
    return form


def alert_of(form: Form) -> TraffickingAlert:
    fields = fields_of(form.answers, PROFILE, today=date(2026, 11, 25), reference="DESK/1")
    body = {**fields["alert"]["body"], "contact": CONTACT}
    body["legal_basis"] = [{"instrument": "aseanapol"}]
    return TraffickingAlert.model_validate(body, strict=False)


@pytest.mark.parametrize(
    ("signs", "minors", "danger"),
    [
        ("2", Tri.UNKNOWN, False),
        ("deception, adults", Tri.NO, False),
        ("2 3 minors danger", Tri.YES, True),
        ("14, 1", Tri.UNKNOWN, True),
    ],
)
def test_signs_say_whose_age_is_known_and_who_is_in_danger(
    tmp_path: Path, signs: str, minors: Tri, *, danger: bool
) -> None:
    form = at_the_signs(tmp_path)
    for typed in (signs, "They are held in a house.", "", "", ""):
        form.answer(typed)
    assert form.current() is None
    assert form.number[1] <= MAX_QUESTIONS
    alert = alert_of(form)
    assert (alert.minors_among_victims, alert.immediate_danger) == (minors, danger)
    assert form.answers["precedence"] == ("immediate" if danger else "routine")


@pytest.mark.parametrize("signs", ["adults", "12, 14", "1, adults, minors", "15", "0"])
def test_signs_that_say_nothing_or_too_much_are_asked_again(tmp_path: Path, signs: str) -> None:
    form = at_the_signs(tmp_path)
    with pytest.raises(AnswerError):
        form.answer(signs)
    assert "subject" not in form.answers


def test_danger_leaves_only_what_wakes_people_up(tmp_path: Path) -> None:
    form = at_the_signs(tmp_path)
    form.answer("1, danger")
    form.answer("They are held in a house.")
    with pytest.raises(AnswerError):
        form.answer("routine")
    form.answer("flash")
    assert form.answers["precedence"] == "flash"
