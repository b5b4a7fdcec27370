"""The guided form: eight questions, answered by number, by code or in the officer's words."""

import re
from collections.abc import Sequence
from datetime import date
from typing import Any, Final

from broker.cli.form import AnswerError, Answers, Choice, Question
from broker.cli.requests import header_of
from broker.cli.text import country, language, say
from broker.client import Profile
from schemas.vocabulary import ASEAN, TLP, Precedence, Purpose, Status

_SUBSTANCE: Final = re.compile(
    r"(?P<code>[a-z][a-z0-9-]+)(?: (?P<value>[0-9]+(?:\.[0-9]+)?) ?(?P<unit>[a-z0-9]+))?"
)
_DEFAULT_PURPOSE: Final = Purpose.WARN


def questions(profile: Profile) -> "AskedQuestions":
    """Return the questions for an officer of this profile."""
    return AskedQuestions(profile)


class AskedQuestions:
    """Which questions are asked, given the answers so far."""

    def __init__(self, profile: Profile) -> None:
        """Take the profile, which fills the rest."""
        self._profile = profile

    def __call__(self, answers: Answers) -> Sequence[Question]:
        """Return all questions, of which there are never more than eight."""
        return (
            Question(
                "status",
                say("ask-status", "Is this real?"),
                say("help-status", "ACTUAL is real. EXERCISE and TEST are marked everywhere."),
                [Choice(str(each), str(each).upper()) for each in Status],
            ),
            Question(
                "type",
                say("ask-type", "What is it about?"),
                say("help-type", "For trafficking: kentong send --template trafficking"),
                [
                    Choice("cyber", say("type-cyber", "cyber crime or a scam")),
                    Choice("drugs", say("type-drugs", "drugs on their way")),
                ],
            ),
            Question(
                "to",
                say("ask-to", "Who should know? Several with commas."),
                say("help-to", "Policy may allow fewer; you see that before sending."),
                [Choice(code, country(code)) for code in ASEAN if code != self._profile.member],
                many=True,
            ),
            self._subject(answers),
            Question(
                "text",
                say("ask-text", "What happened? In your own words."),
                say("help-text", "Write no names of victims here."),
            ),
            Question(
                "precedence",
                say("ask-precedence", "How urgent?"),
                say("help-precedence", "IMMEDIATE and FLASH wake people up."),
                [Choice(str(each), str(each).upper()) for each in Precedence],
                default=str(Precedence.ROUTINE),
            ),
            Question(
                "tlp",
                say("ask-tlp", "How far may it go? (TLP)"),
                say("help-tlp", "AMBER: the receiving organisation. RED: the named reader only."),
                [Choice(str(each), str(each).upper()) for each in TLP],
                default=str(TLP.AMBER),
            ),
            Question(
                "purposes",
                say("ask-purposes", "What for? Several with commas."),
                say("help-purposes", "The receiver may use it for nothing else."),
                [Choice(str(each), str(each).replace("-", " ")) for each in Purpose],
                many=True,
                default=str(_DEFAULT_PURPOSE),
            ),
        )

    @staticmethod
    def _subject(answers: Answers) -> Question:
        if answers.get("type") == "drugs":
            return Question(
                "subject",
                say("ask-substance", "Which substance, and how much? E.g. heroin 2.5 kg"),
                say("help-substance", "A code such as methamphetamine, then number and unit."),
                check=_substance,
            )
        return Question(
            "subject",
            say("ask-title", "What is it called? One line."),
            say("help-title", "For example: Fake investment platform Paper Lantern"),
        )


def fields_of(answers: Answers, profile: Profile, *, today: date, reference: str) -> dict[str, Any]:
    """Return the request's fields from a finished form."""
    kind, tongue = answers["type"], profile.language or language().split("_")[0]
    body: dict[str, Any] = {
        **header_of(kind, today, reference, tongue),
        "texts": [{"value": answers["text"], "lang": tongue}],
    }
    if kind == "drugs":
        body |= _drugs(answers["subject"], today)
    else:
        body["title"] = answers["subject"]
    return {
        "status": answers["status"],
        "to": answers["to"].split(","),
        "tlp": answers["tlp"],
        "precedence": answers["precedence"],
        "purposes": answers["purposes"].split(","),
        "alert": {"type": kind, "version": 1, "body": body},
    }


def _substance(text: str) -> str:
    if not _SUBSTANCE.fullmatch(text.lower()):
        raise AnswerError(say("bad-substance", "Write for example: methamphetamine 412000 tablet"))
    return text.lower()


def _drugs(subject: str, today: date) -> dict[str, Any]:
    found = _SUBSTANCE.fullmatch(subject)
    if found is None:
        raise AnswerError(say("bad-substance", "Write for example: methamphetamine 412000 tablet"))
    substance: dict[str, Any] = {"code": found["code"]}
    if found["value"]:
        substance["quantity"] = {
            "value": found["value"],
            "unit": found["unit"],
            "weighing": "gross",
            "measured": "estimated",
        }
    return {
        "event_kind": "suspicious-shipment",
        "when": {"edtf": today.isoformat()},
        "substances": [substance],
    }
