"""The guided form: eight questions, answered by number, by code or in the officer's words."""

import re
from collections.abc import Sequence
from datetime import date
from typing import Any, Final

from broker.cli.form import AnswerError, Answers, Choice, Question
from broker.cli.requests import header_of
from broker.cli.text import country, language, say
from broker.client import Profile
from schemas.blocks.person import Tri
from schemas.traffickingcodes import ILOIndicator
from schemas.vocabulary import ASEAN, TLP, Precedence, Purpose, Status

_SUBSTANCE: Final = re.compile(
    r"(?P<code>[a-z][a-z0-9-]+)(?: (?P<value>[0-9]+(?:\.[0-9]+)?) ?(?P<unit>[a-z0-9]+))?"
)
_DEFAULT_PURPOSE: Final = Purpose.WARN
ADULTS: Final = "adults"
MINORS: Final = "minors"
DANGER: Final = "danger"


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
                say("help-type", "For more than this form asks: kentong send --template"),
                [
                    Choice("cyber", say("type-cyber", "cyber crime or a scam")),
                    Choice("drugs", say("type-drugs", "drugs on their way")),
                    Choice("trafficking", say("type-trafficking", "trafficking in persons")),
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
            _precedence(in_danger=DANGER in answers.get("subject", "").split(",")),
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
        if answers.get("type") == "trafficking":
            return Question(
                "subject",
                say("ask-signs", "Which signs? Several with commas."),
                say(
                    "help-signs",
                    "At least one sign. Where neither adults nor minors is said, age is unknown"
                    " and the alert is handled as one about children.",
                ),
                _signs(),
                many=True,
                check=_trafficking_signs,
            )
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
    match kind:
        case "drugs":
            body |= _drugs(answers["subject"], today)
        case "trafficking":
            body |= _trafficking(answers["subject"].split(","))
        case _:
            body["title"] = answers["subject"]
    return {
        "status": answers["status"],
        "to": answers["to"].split(","),
        "tlp": answers["tlp"],
        "precedence": answers["precedence"],
        "purposes": answers["purposes"].split(","),
        "alert": {"type": kind, "version": 1, "body": body},
    }


def _precedence(*, in_danger: bool) -> Question:
    """Return the question of urgency; where somebody is in danger, only what wakes people up."""
    urgent = (Precedence.IMMEDIATE, Precedence.FLASH)
    choices = urgent if in_danger else tuple(Precedence)
    return Question(
        "precedence",
        say("ask-precedence", "How urgent?"),
        say("help-precedence", "IMMEDIATE and FLASH wake people up."),
        [Choice(str(each), str(each).upper()) for each in choices],
        default=str(choices[0]),
    )


def _signs() -> list[Choice]:
    """Return the eleven indicators of the ILO, and what decides how the alert is handled."""
    return [
        *(Choice(str(each), str(each).replace("-", " ")) for each in ILOIndicator),
        Choice(ADULTS, say("sign-adults", "all victims are adults")),
        Choice(MINORS, say("sign-minors", "children are among them")),
        Choice(DANGER, say("sign-danger", "somebody is in immediate danger")),
    ]


def _trafficking_signs(text: str) -> str:
    signs = set(text.split(","))
    if {ADULTS, MINORS} <= signs:
        raise AnswerError(say("bad-ages", "Say adults or minors, not both."))
    if not signs - {ADULTS, MINORS, DANGER}:
        raise AnswerError(say("bad-signs", "Name at least one of the signs 1 to 11, too."))
    return text


def _trafficking(signs: Sequence[str]) -> dict[str, Any]:
    minors = Tri.NO if ADULTS in signs else Tri.YES if MINORS in signs else Tri.UNKNOWN
    return {
        "minors_among_victims": str(minors),
        "immediate_danger": DANGER in signs,
        "ilo_indicators": [each for each in signs if each not in (ADULTS, MINORS, DANGER)],
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
