"""What a benchmark found: rows with their goals, as JSON and as a table a person reads."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Goal:
    """How a row stands to what it is measured against.

    Attributes:
        value: The ratio reached.
        wanted: The ratio to reach.
        of: Of what.
        at_most: Whether less is better.
    """

    value: float
    wanted: float
    of: str
    at_most: bool = False

    @property
    def reached(self) -> bool:
        return self.value <= self.wanted if self.at_most else self.value >= self.wanted

    def text(self) -> str:
        sign, mark = "<=" if self.at_most else ">=", "reached" if self.reached else "NOT REACHED"
        return f"{self.value:.2f}x {self.of}; goal {sign} {self.wanted:g}x: {mark}"


@dataclass(frozen=True)
class Row:
    """One number.

    Attributes:
        error: Its standard error, in the same unit.
    """

    what: str
    value: float
    unit: str
    goal: Goal | None = None
    error: float | None = None


@dataclass(frozen=True)
class Part:
    """One part of the benchmark, under one setting of the server.

    Attributes:
        name: Its letter.
        points: For plots: label and value.
    """

    name: str
    title: str
    rows: Sequence[Row]
    notes: Sequence[str] = ()
    points: Sequence[tuple[str, float]] = field(default=(), repr=False)

    def to_json(self, sync: str) -> dict[str, Any]:
        rows = []
        for row in self.rows:
            told: dict[str, Any] = {"what": row.what, "value": row.value, "unit": row.unit}
            if row.error is not None:
                told["error"] = row.error
            if (goal := row.goal) is not None:
                told |= {"ratio": round(goal.value, 3), "of": goal.of, "goal": goal.wanted}
                told |= {"at_most": goal.at_most, "reached": goal.reached}
            rows.append(told)
        points = [[label, value] for label, value in self.points]
        return {
            "part": self.name,
            "title": self.title,
            "sync_interval": sync,
            "rows": rows,
            "notes": list(self.notes),
            "points": points,
        }


def table(parts: Sequence[dict[str, Any]]) -> str:
    """The parts as text, from what stands in the JSON."""
    lines = []
    for part in parts:
        sync = f", sync_interval {part['sync_interval']}" if part["sync_interval"] else ""
        lines += ["", f"({part['part']}) {part['title']}{sync}"]
        for row in part["rows"]:
            told = f"  {row['what']:<58} {number(row['value']):>10} {row['unit']}"
            if "error" in row:
                told += f" +- {number(row['error'])}"
            if "goal" in row:
                goal = Goal(row["ratio"], row["goal"], row["of"], at_most=row["at_most"])
                told = f"{told:<81}  {goal.text()}"  # two spaces, however long
            lines.append(told.rstrip())
        lines += [f"  note: {note}" for note in part["notes"]]
    return "\n".join(lines)


def rate(count: int, seconds: Sequence[float]) -> float:
    """The best rate of several rounds: whatever else the machine does can only slow it."""
    return round(count / min(seconds), 1)


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of `values` lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def number(value: float) -> str:
    """Three digits of it, or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
