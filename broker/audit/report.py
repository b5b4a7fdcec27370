"""What a verified log counts, as rows: by month and kind, and what openings show of decisions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from broker.audit.tally import Shown, Tally
from broker.log.leaf import LeafKind

LEAVES: Final = "leaves"
TABLES: Final = (LEAVES, *(str(each) for each in Shown))


@dataclass(frozen=True)
class Row:
    """One number of what happened, and one of what was only exercised.

    Attributes:
        table: One of `TABLES`.
        item: A month, a verdict, a refusal code, a member, a kind of message. Whoever made the
            opening wrote it: it may hold anything.
        detail: The kind of the leaves of a month; else empty.
    """

    table: str
    item: str
    detail: str
    real: int
    exercise: int


@dataclass(frozen=True)
class Report:
    """All rows, in the order of `TABLES`.

    Attributes:
        decisions: Leaves that are decisions: real ones, exercises.
        opened: How many of these an opening shows.
    """

    rows: tuple[Row, ...]
    decisions: tuple[int, int]
    opened: tuple[int, int]

    def table(self, name: str) -> list[Row]:
        """Return the rows of one table."""
        return [row for row in self.rows if row.table == name]


def report_of(tally: Tally) -> Report:
    """Return the report of what verified; the caller must have refused what did not."""
    rows = _months(tally)
    for table in Shown:
        items = {value for what, value, _ in tally.shown if what is table}
        counted = [
            Row(table, item, "", tally.shown[table, item, False], tally.shown[table, item, True])
            for item in items
        ]
        rows += sorted(counted, key=lambda row: (-row.real, -row.exercise, row.item))
    kinds: Mapping[str, int] = tally.kinds
    return Report(
        tuple(rows),
        (kinds.get("decision", 0), kinds.get("exercise", 0)),
        (tally.opened[False], tally.opened[True]),
    )


def _months(tally: Tally) -> list[Row]:
    """Return one row for each month and kind; a decision and its exercise share theirs."""
    months = tally.months
    cells = {
        (month, LeafKind.DECISION if kind == LeafKind.EXERCISE else LeafKind(kind))
        for month, kind in months
    }
    return [
        Row(
            LEAVES,
            month,
            kind.name.lower(),
            months[month, kind],
            months[month, LeafKind.EXERCISE] if kind is LeafKind.DECISION else 0,
        )
        for month, kind in sorted(cells)
    ]
