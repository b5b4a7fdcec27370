"""How far a file is: a bar at a terminal, plain lines in a pipe. On standard error, beside answers.

A name comes from elsewhere and is cleaned; in a pipe there is a line for every tenth, no more.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from broker.cli import screen
from broker.cli.text import say

Tell = Callable[[int, int], None]
"""Takes how much is done, and how much there is."""
_STEPS: Final = 10
_MIB: Final = 1024 * 1024


@contextmanager
def shown(name: str, *, quiet: bool = False, counted: bool = False) -> Iterator[Tell]:
    """Give what takes how much is done and of how much, and shows it under `name`.

    Args:
        name: Of the file.
        quiet: Show nothing: a program reads.
        counted: Things are counted instead of bytes.
    """
    if quiet:
        yield lambda _done, _whole: None
    elif sys.stderr.isatty():
        with _bar(counted=counted) as bar:
            task = bar.add_task(screen.clean(name), total=None)
            yield lambda done, whole: bar.update(task, completed=done, total=whole)
    else:
        yield _lines(name, str if counted else size)


def size(count: int) -> str:
    """Return a number of bytes as people read it."""
    return f"{count / _MIB:.1f} MiB" if count >= _MIB else f"{count} B"


def _bar(*, counted: bool) -> Progress:
    columns: tuple[ProgressColumn, ...] = (DownloadColumn(binary_units=True), TransferSpeedColumn())
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        *((MofNCompleteColumn(),) if counted else columns),
        TimeRemainingColumn(),
        console=Console(stderr=True, width=screen.WIDTH, highlight=False),
    )


def _lines(name: str, written: Callable[[int], str]) -> Tell:
    said = -1

    def tell(done: int, whole: int) -> None:
        nonlocal said
        step = done * _STEPS // max(1, whole)
        if step > said:
            said = step
            text = say(
                "progress",
                "{name}: {done} of {whole}",
                name=name,
                done=written(done),
                whole=written(whole),
            )
            screen.line(text, err=True)

    return tell
