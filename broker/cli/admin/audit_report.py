"""A report of a verified log as a table, as CSV, and as JSON; `audit_page` makes the HTML page."""

import csv
import io
from enum import StrEnum
from pathlib import Path
from textwrap import fill
from typing import Final

import typer

from broker.audit.findings import Exit
from broker.audit.report import LEAVES, TABLES, Report, Row
from broker.audit.tally import Shown
from broker.audit.verify import Audited
from broker.cli import screen
from broker.cli.admin.audit_output import show_checks
from broker.cli.text import country, phrase, say
from broker.errors import BrokerError

MEMBERS: Final = frozenset({Shown.SENDER, Shown.RECIPIENT})
TITLES: Final = {
    LEAVES: phrase("report-leaves", "Leaves by month and kind"),
    Shown.MESSAGE: phrase("report-messages", "Decisions shown, by kind of message"),
    Shown.VERDICT: phrase("report-verdicts", "Verdicts, one for each recipient shown"),
    Shown.REFUSAL: phrase("report-refusals", "Refusals by code"),
    Shown.SENDER: phrase("report-senders", "Decisions by sender"),
    Shown.RECIPIENT: phrase("report-recipients", "Verdicts by recipient"),
}
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")  # with which a spreadsheet takes text for code


class Format(StrEnum):
    """What a report is written as."""

    TABLE = "table"
    CSV = "csv"
    HTML = "html"


def refuse(audited: Audited, *, as_json: bool) -> typer.Exit:
    """Return the end of a report on what does not verify, having said what does not."""
    end = audited.findings.exit
    if as_json:
        checks = [
            {"check": line.check, "outcome": line.outcome, "detail": line.detail}
            for line in audited.findings.lines
        ]
        screen.as_json("audit-report", ok=False, exit=int(end), checks=checks)
    else:
        show_checks(audited)
        screen.line(say("report-refused", "There is no report on what does not verify."), err=True)
    return typer.Exit(end)


def as_table(report: Report, audited: Audited) -> str:
    """Return the report in lines, one space-aligned table below the other."""
    lines = [fill(screen.clean(line), screen.WIDTH) for line in summary(report, audited)]
    for name in TABLES:
        rows = [[*map(screen.clean, cells(row))] for row in report.table(name)]
        if rows:
            lines += ["", say(*TITLES[name]), *_aligned([[*heads()], *rows])]
    return "\n".join(lines) + "\n"


def as_csv(report: Report) -> str:
    """Return the report for a spreadsheet, each row with its table."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("table", "item", "detail", "real", "exercise"))
    for row in report.rows:
        item = screen.clean(row.item)
        plain = f"'{item}" if item.startswith(_FORMULA) else item
        writer.writerow((row.table, plain, row.detail, row.real, row.exercise))
    return out.getvalue()


def print_json(report: Report, audited: Audited) -> None:
    """Print the report for a program."""
    checkpoint = audited.checkpoint
    screen.as_json(
        "audit-report",
        exit=int(Exit.PASS),
        origin=None if checkpoint is None else checkpoint.origin,
        size=None if checkpoint is None else checkpoint.size,
        root=None if checkpoint is None else checkpoint.root.hex(),
        decisions={"real": report.decisions[0], "exercise": report.decisions[1]},
        opened={"real": report.opened[0], "exercise": report.opened[1]},
        tables={
            name: [
                {
                    "item": row.item,
                    **({"kind": row.detail} if row.detail else {}),
                    "real": row.real,
                    "exercise": row.exercise,
                }
                for row in report.table(name)
            ]
            for name in TABLES
        },
    )


def write_out(text: str, out: Path | None) -> None:
    """Write a report to a new file, or print it.

    Raises:
        BrokerError: `exists` or `bad-file`.
    """
    if out is None:
        typer.echo(text, nl=not text.endswith("\n"))
        return
    try:
        with out.open("x", encoding="utf-8", newline="") as file:
            file.write(text)
    except FileExistsError:
        raise BrokerError("exists", f"{out} exists already") from None
    except OSError as error:
        raise BrokerError("bad-file", f"{out} cannot be written") from error
    screen.line(say("report-written", "The report is in {out}.", out=out))


def summary(report: Report, audited: Audited) -> list[str]:
    """Return what the report is on, and how much of it openings show."""
    checkpoint = audited.checkpoint
    lines = []
    if checkpoint is not None:
        lines.append(
            say(
                "report-on",
                "{origin}: {size} leaves, all verified.",
                origin=checkpoint.origin,
                size=checkpoint.size,
            )
        )
    lines.append(
        say(
            "report-opened",
            "Openings show {opened} of {real} decisions and {drilled} of {exercises} exercises;"
            " verdicts, codes and countries are of these alone.",
            opened=report.opened[0],
            real=report.decisions[0],
            drilled=report.opened[1],
            exercises=report.decisions[1],
        )
    )
    return lines


def heads() -> tuple[str, ...]:
    """Return the heads of a table."""
    return ("", "", say("report-real", "real"), say("report-exercise", "exercise"))


def cells(row: Row) -> tuple[str, ...]:
    """Return a row as text, with a member's name beside its code."""
    named = country(row.item) if row.table in MEMBERS else row.detail
    return (row.item, "" if named == row.item else named, str(row.real), str(row.exercise))


def _aligned(rows: list[list[str]]) -> list[str]:
    """Return rows as lines, numbers to the right."""
    wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            (
                *(cell.ljust(width) for cell, width in zip(row[:2], wide[:2], strict=True)),
                *(cell.rjust(width) for cell, width in zip(row[2:], wide[2:], strict=True)),
            )
        )
        for row in rows
    ]
