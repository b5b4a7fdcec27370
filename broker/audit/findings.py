"""What the checks found, and how the command ends."""

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Final

_SHOWN: Final = 3


class Outcome(StrEnum):
    """Of one check."""

    PASS = "PASS"  # noqa: S105 - a verdict, no password
    FAIL = "FAIL"
    WARN = "WARN"
    SKIP = "SKIP"


class Exit(IntEnum):
    """How `kentong audit verify` ends; the worst wins, in the order below from the top."""

    FORK = 4
    BROKEN = 1
    UNREADABLE = 2
    UNMET = 3
    PASS = 0


UNREADABLE: Final = frozenset({"bad-note", "bad-checkpoint", "bad-hash"})  # it says nothing at all
UNMET: Final = frozenset({"quorum-unmet", "one-algorithm"})  # it holds, but the auditor asked more


@dataclass
class Places:
    """How many places something was found at, and the first of them: memory has a bound."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, place: object) -> None:
        """Count one more."""
        self.count += 1
        if len(self.first) < _SHOWN:
            self.first.append(str(place))

    @property
    def shown(self) -> str:
        """The first of them, to be read by a person."""
        return ", ".join(self.first) + (", ..." if self.count > len(self.first) else "")


@dataclass(frozen=True)
class Finding:
    """One line: a check, how it ended, and numbers.

    Attributes:
        exit: What this finding alone would end with.
    """

    check: str
    outcome: Outcome
    detail: str
    exit: Exit = Exit.PASS


@dataclass
class Findings:
    """All checks run, whatever failed before."""

    lines: list[Finding] = field(default_factory=list)

    def passed(self, check: str, detail: str) -> None:
        """Note a check that held."""
        self.lines.append(Finding(check, Outcome.PASS, detail))

    def failed(self, check: str, detail: str, end: Exit = Exit.BROKEN) -> None:
        """Note a check that did not."""
        self.lines.append(Finding(check, Outcome.FAIL, detail, end))

    def warned(self, check: str, detail: str, end: Exit = Exit.PASS) -> None:
        """Note what a person should look at."""
        self.lines.append(Finding(check, Outcome.WARN, detail, end))

    def skipped(self, check: str, detail: str, end: Exit = Exit.PASS) -> None:
        """Note a check that could not be made, and why."""
        self.lines.append(Finding(check, Outcome.SKIP, detail, end))

    def told(self, check: str, good: str, bad: Places, end: Exit = Exit.BROKEN) -> None:
        """Note a check of many things, and where the first ones are that fail it."""
        if bad.count:
            self.failed(check, f"{bad.count} do not, at {bad.shown}", end)
        else:
            self.passed(check, good)

    @property
    def exit(self) -> Exit:
        """The worst of all."""
        ends = {line.exit for line in self.lines}
        return next(end for end in Exit if end in ends or end is Exit.PASS)
