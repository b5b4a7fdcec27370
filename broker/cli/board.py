"""A view of several tables: printed once, or redrawn at a terminal until somebody stops it."""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Final

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from broker.cli import screen
from broker.cli.text import say

DAY_S: Final = 86_400
HOUR_S: Final = 3_600
MINUTE_S: Final = 60
Watch = Annotated[
    bool, typer.Option("--watch", help="Draw it again until you press Ctrl-C; plain in a pipe.")
]
Every = Annotated[float, typer.Option(help="Seconds between two drawings.", min=0.5, max=3600)]


@dataclass(frozen=True)
class Block:
    """One table with its heading. An empty one is not shown."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def show(blocks: Sequence[Block]) -> None:
    """Print each block: tables at a terminal, tab-separated lines in a pipe."""
    for block in blocks:
        if block.rows:
            screen.line(block.title, bold=True)
            screen.table(block.head, block.rows)


def watch(blocks: Callable[[], Sequence[Block]], every_s: float) -> None:
    """Draw the blocks anew every `every_s` seconds, until interrupted or the pipe is closed."""
    console = Console(highlight=False)
    if not console.is_terminal:
        while True:
            show(blocks())
            screen.line()
            time.sleep(every_s)
    width = min(screen.WIDTH, shutil.get_terminal_size((screen.WIDTH, 24)).columns)
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            live.update(Group(*_drawn(blocks(), width)), refresh=True)
            time.sleep(every_s)


def _drawn(blocks: Sequence[Block], width: int) -> Iterator[Table]:
    for block in blocks:
        if not block.rows:
            continue
        shown = Table(
            title=Text(screen.clean(block.title)),
            title_justify="left",
            title_style="bold",
            box=None,
            pad_edge=False,
            header_style="bold",
            width=width,
        )
        for title in block.head:
            shown.add_column(title, overflow="fold")
        for row in block.rows:
            shown.add_row(*(Text(screen.clean(cell)) for cell in row))
        yield shown


def span(seconds: float) -> str:
    """Return a length of time as a person says it: `3 d 4 h`, `12 min`, `7 s`; `-` for none."""
    if seconds != seconds:  # noqa: PLR0124 - not a number: nothing is known
        return "-"
    if seconds < 0:
        return say("over-since", "OVER for {time}", time=span(-seconds))
    left = int(seconds)
    if left >= DAY_S:
        return f"{left // DAY_S} d {left % DAY_S // HOUR_S} h"
    if left >= HOUR_S:
        return f"{left // HOUR_S} h {left % HOUR_S // MINUTE_S} min"
    if left >= MINUTE_S:
        return f"{left // MINUTE_S} min"
    return f"{left} s"
