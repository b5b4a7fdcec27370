"""The guided form: every answer checked, every answer saved."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from broker.cli.form import AnswerError, Answers, Choice, Draft, Form, Question

KINDS = (Choice("cyber", "Cyber"), Choice("drugs", "Drugs"))


def no_digits(text: str) -> str:
    if any(map(str.isdigit, text)):
        raise AnswerError("no digits, please")
    return text


def questions(answers: Answers) -> Sequence[Question]:
    first = Question("kind", "What kind?", "The type of alert.", KINDS)
    place = Question("place", "Where?", "A place.", check=no_digits)
    to = Question(
        "to",
        "To whom?",
        "Countries.",
        (Choice("MY", "Malaysia"), Choice("VN", "Viet Nam")),
        many=True,
    )
    extra = Question("weight", "How much?", "Grams.", default="unknown")
    return (first, extra, place, to) if answers.get("kind") == "drugs" else (first, place, to)


@pytest.fixture
def form(tmp_path: Path) -> Form:
    return Form(questions, Draft(tmp_path / "drafts" / "a.json"))


@pytest.mark.parametrize("typed", ["2", "drugs", "DRUGS", "  drugs "])
def test_a_choice_is_taken_by_number_or_code(form: Form, typed: str) -> None:
    form.answer(typed)
    assert form.answers == {"kind": "drugs"}


@pytest.mark.parametrize("typed", ["", "   ", "0", "3", "-1", "drug", "1 2", "x" * 5000, "²"])
def test_what_is_not_a_choice_is_refused_and_nothing_changes(form: Form, typed: str) -> None:
    with pytest.raises(AnswerError):
        form.answer(typed)
    assert form.answers == {}


def test_a_refused_answer_never_echoes_more_than_a_word_of_it(form: Form) -> None:
    with pytest.raises(AnswerError) as refused:
        form.answer("s3cret" * 40)
    assert len(str(refused.value)) < 120


def test_questions_follow_from_the_answers_before(form: Form) -> None:
    form.answer("drugs")
    assert form.number == (2, 4)
    form.answer("")
    assert form.answers["weight"] == "unknown"
    form.answer("Bedok")
    form.answer("2, MY 2")
    assert form.answers["to"] == "VN,MY"
    assert form.current() is None


def test_back_asks_the_last_question_again(form: Form) -> None:
    form.answer("cyber")
    form.answer("Bedok")
    form.answer("<")
    question = form.current()
    assert question is not None
    assert question.name == "place"
    form.answer("<")
    form.answer("<")
    assert form.number[0] == 1


def test_a_check_of_an_answer_in_words_is_applied(form: Form) -> None:
    form.answer("cyber")
    with pytest.raises(AnswerError, match="no digits"):
        form.answer("B3dok")


def test_every_answer_is_saved_before_the_next_question(tmp_path: Path) -> None:
    path = tmp_path / "drafts" / "a.json"
    Form(questions, Draft(path)).answer("cyber")
    again = Form(questions, Draft.load(path))
    question = again.current()
    assert question is not None
    assert question.name == "place"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("text", ["", "{", "[]", '{"answers": 3}', json.dumps({"a": {}})])
def test_a_file_that_is_no_draft_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(AnswerError):
        Draft.load(tmp_path / "a.json")


def test_a_forgotten_draft_leaves_no_file(tmp_path: Path) -> None:
    draft = Draft(tmp_path / "a.json", {"kind": "cyber"})
    draft.save()
    draft.forget()
    assert list(tmp_path.iterdir()) == []
