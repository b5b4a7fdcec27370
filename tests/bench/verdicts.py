"""Which goals a run reached: a table made from its numbers, so that no word of it is by hand."""

from collections.abc import Sequence
from typing import Any, Final

GOALS: Final = (  # the goal, and how the rows begin that say whether it is reached
    ("gateway, one worker: at least 0.8 of the bare loop", "a", ("our gateway, one", "our worker")),
    ("gateway, two workers: at least 1.6 of one", "a", ("our gateway, two",)),
    ("send to plaintext, p50: at most 3 of a bare publish and pull", "b", ("send", "p50")),
    ("send to plaintext, p99: at most 5 of it", "b", ("send", "p99")),
    ("a sender's core: at least 0.7 of the primitives", "c", ("sending node",)),
    ("a receiver's core: at least 0.7 of the primitives", "c", ("receiving node",)),
    ("drain: at least 0.7 of the primitives", "e", ("drained", "per second of the node")),
    (
        "memory flat under a million",
        "g",
        ("gateway worker, ", "receiving node, ", "sending node, "),
    ),
    ("log: at least 20,000 checked leaves a second", "h", ("checked leaves",)),
    ("log, each message checked: at least 0.8 of the checks", "h", ("messages into",)),
    ("`audit verify`: at most 1.2 of the bare checks", "h", ("audit verify",)),
    ("gateway with the log on: at least 0.97 of off", "h", ("gateway, log on",)),
)


def verdicts(parts: Sequence[dict[str, Any]]) -> str:
    """A row for each goal: reached or not, and by which ratios; what was not measured says so."""
    lines = ["| goal | reached? |", "|---|---|"]
    for goal, letter, begins in GOALS:
        rows = [
            (row, part["sync_interval"])
            for part in parts
            if part["part"] == letter
            for row in part["rows"]
            if "goal" in row and _is_meant(row["what"], begins)
        ]
        lines.append(f"| {goal} | {_said(rows, _missing(rows, begins))} |")
    return "\n".join(lines)


def _missing(rows: Sequence[tuple[dict[str, Any], str]], begins: tuple[str, ...]) -> list[str]:
    """What the goal speaks of and no row tells of."""
    return [
        each.removesuffix(", ")
        for each in begins
        if begins[0] != "send" and not any(row["what"].startswith(each) for row, _ in rows)
    ]


def _is_meant(what: str, begins: tuple[str, ...]) -> bool:
    if begins[0] == "send":
        return what.startswith("send") and what.endswith(begins[1])
    return what.startswith(begins)


def _said(rows: Sequence[tuple[dict[str, Any], str]], missing: Sequence[str]) -> str:
    if not rows:
        return "not told by this run"
    reached = {row["reached"] for row, _ in rows}
    word = {True: "**yes**", False: "**no**"}[reached.pop()] if len(reached) == 1 else "**in part**"
    if missing and word == "**yes**":
        word = "**yes**, as far as this run tells"
    told: dict[str, list[str]] = {}
    for row, sync in rows:
        name = row["what"].partition(":")[0].removesuffix(", p50").removesuffix(", p99")
        told.setdefault(name, []).append(f"{row['ratio']:.2f}{f' ({sync})' if sync else ''}")
    for name in missing:
        told[name] = ["not told by this run"]
    return f"{word}; " + "; ".join(f"{name}: {', '.join(each)}" for name, each in told.items())
