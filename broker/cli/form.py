"""The guided form as a machine without a terminal: questions, answers, back, help, and a file.

An officer answers at most `MAX_QUESTIONS` questions by number, by code, or in their own words.
Every answer is checked when it is given and saved before the next question is asked, so that a
dead battery costs one answer. Nothing here touches the network.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from broker.cli.text import say

MAX_QUESTIONS: Final = 8
MAX_ANSWER_CHARS: Final = 4000  # a page of text; longer belongs into an original document
HELP: Final = "?"
BACK: Final = "<"

Answers = Mapping[str, str]


class AnswerError(ValueError):
    """An answer that cannot be taken; the message says what can."""


@dataclass(frozen=True)
class Choice:
    """One answer that can be given by number or by code."""

    code: str
    words: str


@dataclass(frozen=True)
class Question:
    """One question.

    Attributes:
        name: Key of the answer, and of the saved draft.
        words: The question, in the officer's language.
        help: What `?` shows.
        choices: By number or code; empty for an answer in words.
        many: Whether several choices may be given, with commas or spaces.
        default: Taken for an empty answer; None when an answer must be given.
        check: Returns the answer in its kept form, or raises AnswerError.
    """

    name: str
    words: str
    help: str
    choices: Sequence[Choice] = ()
    many: bool = False
    default: str | None = None
    check: Callable[[str], str] = str

    def read(self, typed: str) -> str:
        """Return the kept form of what was typed.

        Raises:
            AnswerError: It cannot be taken; the message says what can.
        """
        text = " ".join(typed.split())
        if not text:
            if self.default is None:
                raise AnswerError(say("form-empty", "An answer is needed. Type ? for help."))
            return self.default
        if len(text) > MAX_ANSWER_CHARS:
            raise AnswerError(
                say(
                    "form-long",
                    "At most {most} characters; attach a document for more.",
                    most=MAX_ANSWER_CHARS,
                )
            )
        if not self.choices:
            return self.check(text)
        words = text.replace(",", " ").split() if self.many else [text]
        codes = [self._chosen(word) for word in words]
        return self.check(",".join(dict.fromkeys(codes)))

    def _chosen(self, word: str) -> str:
        if word.isdecimal() and 1 <= int(word) <= len(self.choices):
            return self.choices[int(word) - 1].code
        for choice in self.choices:
            if word.casefold() == choice.code.casefold():
                return choice.code
        raise AnswerError(
            say(
                "form-choice",
                "{word} is not in the list. Type a number from 1 to {count}, or a code.",
                word=repr(word[:20]),
                count=len(self.choices),
            )
        )


@dataclass
class Draft:
    """The answers so far, kept in a file of mode 0600 after each one."""

    path: Path
    answers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> "Draft":
        """Return the draft in `path`.

        Raises:
            AnswerError: The file is not a draft.
        """
        try:
            read = json.loads(path.read_text("utf-8"))
            answers = {str(name): str(value) for name, value in read["answers"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise AnswerError(
                say("draft-unreadable", "{path} is not a draft that can be read.", path=path.name)
            ) from error
        return cls(path, answers)

    def save(self) -> None:
        """Write the answers so that a crash leaves the old file or the new one, never half."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = self.path.with_suffix(".new")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            json.dump({"schema": "kentong/draft/1", "answers": self.answers}, out)
            out.flush()
            os.fsync(out.fileno())
        beside.replace(self.path)

    def forget(self) -> None:
        """Remove the file: what it said is now in the node's keeping."""
        self.path.unlink(missing_ok=True)


class Form:
    """Walks the questions. Which ones are asked may depend on the answers given."""

    def __init__(self, questions: Callable[[Answers], Sequence[Question]], draft: Draft) -> None:
        """Take the questions as a function of the answers so far, and the draft to go on with."""
        self._questions = questions
        self._draft = draft

    @property
    def answers(self) -> dict[str, str]:
        """The kept answers."""
        return dict(self._draft.answers)

    @property
    def number(self) -> tuple[int, int]:
        """Which question this is, and of how many."""
        questions = self._questions(self._draft.answers)
        asked = sum(question.name in self._draft.answers for question in questions)
        return min(asked + 1, len(questions)), len(questions)

    def current(self) -> Question | None:
        """Return the first question without an answer, or None at the end."""
        for question in self._questions(self._draft.answers):
            if question.name not in self._draft.answers:
                return question
        return None

    def answer(self, typed: str) -> None:
        """Check, keep and save the answer to the current question; `<` goes back to the last one.

        Raises:
            AnswerError: It cannot be taken; nothing changed.
        """
        question = self.current()
        if question is None:
            return
        if typed.strip() == BACK:
            self._back(question)
        else:
            self._draft.answers[question.name] = question.read(typed)
        self._draft.save()

    def reopen(self, name: str) -> None:
        """Ask the question called `name` once more."""
        self._draft.answers.pop(name, None)
        self._draft.save()

    def _back(self, question: Question) -> None:
        names = [each.name for each in self._questions(self._draft.answers)]
        before = names[: names.index(question.name)]
        if before:
            self._draft.answers.pop(before[-1], None)
