"""What a screen shows: plain lines of at most 80 columns, and JSON for machines.

Colour only repeats what a word says already, so a screen without colour loses nothing. Text that
came from elsewhere is stripped of control characters: an alert must not drive the terminal.
"""

import contextlib
import json
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDTH: Final = 80
_KEPT: Final = "\n\t"


def clean(text: str) -> str:
    """Return `text` without control and direction-changing characters."""
    return "".join(
        char
        for char in text
        if char in _KEPT
        or unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co"}
        or char in _JOINERS
    )


_JOINERS: Final = "\u200c\u200d"  # Indic, Khmer and Burmese spelling needs them


def line(text: str = "", *, bold: bool = False, err: bool = False) -> None:
    """Print one paragraph, wrapped between words: an id that is copied stays whole."""
    for part in clean(text).split("\n"):
        wrapped = (
            textwrap.fill(part, WIDTH, subsequent_indent="  ", break_on_hyphens=False)
            if part
            else ""
        )
        typer.secho(wrapped, bold=bold and _is_terminal(err=err), err=err)


def noted(text: str) -> None:
    """Print one paragraph for whoever reads the log of a service; a full disk loses no more."""
    with contextlib.suppress(OSError):
        line(text)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table at a terminal, and tab-separated lines in a pipe."""
    if not _is_terminal():
        for row in rows:
            typer.echo("\t".join(clean(cell).replace("\t", " ").replace("\n", " ") for cell in row))
        return
    width = min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns)
    shown = Table(box=None, pad_edge=False, show_edge=False, header_style="bold")
    for title in head:
        shown.add_column(title, overflow="fold")
    for row in rows:
        shown.add_row(*(Text(clean(cell)) for cell in row))
    Console(width=width, highlight=False).print(shown)


def pairs(rows: Iterable[tuple[str, str]]) -> None:
    """Print names and values below each other."""
    kept = [(name, clean(value)) for name, value in rows if value]
    wide = max((len(name) for name, _ in kept), default=0) + 2
    for name, value in kept:
        typer.echo(
            textwrap.fill(
                value,
                WIDTH,
                initial_indent=name.ljust(wide),
                subsequent_indent=" " * wide,
                break_on_hyphens=False,
            )
            if value.strip()
            else name
        )


def as_json(schema: str, *, ok: bool = True, **fields: object) -> None:
    """Print one JSON object that says what it is and whether it went well."""
    typer.echo(
        json.dumps({"schema": f"kentong/{schema}/1", "ok": ok, **fields}, ensure_ascii=False)
    )


def _is_terminal(*, err: bool = False) -> bool:
    return (sys.stderr if err else sys.stdout).isatty()
