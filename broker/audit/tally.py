"""Counts of what verified: leaves by month and kind, and what openings show of decisions.

Exercises are counted apart everywhere: nobody may take them for what happened.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Final

from broker.log.leaf import LeafKind
from schemas.decision import Decision
from schemas.vocabulary import Status

UNKNOWN: Final = "?"
_DAY_S: Final = 86_400


class Shown(StrEnum):
    """What an opening shows."""

    MESSAGE = "message"
    VERDICT = "verdict"
    REFUSAL = "refusal"
    SENDER = "sender"
    RECIPIENT = "recipient"


@dataclass
class Tally:
    """What was counted.

    Attributes:
        months: Leaves by month, as 2026-11 in UTC, and kind, a `LeafKind`.
        shown: Of openings: what, its value, whether an exercise. Messages and senders are counted
            once a decision; verdicts, refusals and recipients once a recipient shown, and once
            for a decision that was refused as a whole.
        opened: Decisions that openings show: real ones, and exercises.
        first_s: The earliest time that a leaf states.
        last_s: The latest.
    """

    months: Counter[tuple[str, int]] = field(default_factory=Counter)
    shown: Counter[tuple[Shown, str, bool]] = field(default_factory=Counter)
    opened: Counter[bool] = field(default_factory=Counter)
    first_s: int | None = None
    last_s: int | None = None

    def leaf(self, kind: int, time_s: int) -> None:
        """Count a leaf."""
        self.months[_month(time_s // _DAY_S), kind] += 1
        if self.first_s is None or time_s < self.first_s:
            self.first_s = time_s
        if self.last_s is None or time_s > self.last_s:
            self.last_s = time_s

    def decision(self, decision: Decision) -> None:
        """Count a decision that its leaf speaks of."""
        header = decision.header
        exercise = header.status not in (None, Status.ACTUAL)
        self.opened[exercise] += 1

        def count(what: Shown, value: str) -> None:
            self.shown[what, value, exercise] += 1

        count(Shown.MESSAGE, UNKNOWN if header.kind is None else str(header.kind))
        count(Shown.SENDER, header.sender)
        if header.code:
            count(Shown.VERDICT, "refused")
            count(Shown.REFUSAL, header.code)
        for record in decision.records:
            count(Shown.RECIPIENT, record.recipient)
            if not header.code:
                count(Shown.VERDICT, "accepted" if record.accepted else "refused")
                if record.code:
                    count(Shown.REFUSAL, record.code)

    @property
    def kinds(self) -> dict[str, int]:
        """Leaves by kind."""
        kinds: Counter[str] = Counter()
        for (_, kind), count in self.months.items():
            kinds[LeafKind(kind).name.lower()] += count
        return dict(kinds)


@lru_cache(maxsize=1024)
def _month(day: int) -> str:
    try:
        return datetime.fromtimestamp(day * _DAY_S, tz=UTC).strftime("%Y-%m")
    except (OverflowError, ValueError, OSError):
        return UNKNOWN  # a time that no calendar has
