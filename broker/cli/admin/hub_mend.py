"""`kentong hub mend`: begin small files of the hub anew that the disk changed, and go on safely.

What a damaged file said is not known, and nothing is assumed in its place that somebody could
profit from. The file itself stays, under another name, for whoever looks into it.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

import typer

from broker import clock
from broker.cli import screen
from broker.cli.admin.secret import AsJSON
from broker.cli.text import say
from broker.errors import BrokerError
from broker.gateway.boots import read_runs
from broker.hub.erased import read_erased
from broker.hub.memory import StreamMemory, read_memory, write_memory
from broker.hub.place import HubPlace
from broker.hub.suspensions import read_suspensions
from broker.hub.timekeeping import read_time
from broker.settings import home
from keys.files import read_private, write_private

_MAX_BYTES: Final = 64 * 1024 * 1024  # the most that any of them may have
_DAMAGED: Final = "damaged"


def mend(as_json: AsJSON = False) -> None:
    """Put small files of a stopped hub aside that the disk changed, and begin them anew.

    Find out first why the disk did it. Each file stays beside the new one. What has to be done
    before and after the start is said for each; until then the hub holds rather than guesses.

    Example: [bold]kentong hub mend[/bold]
    """
    place, now = HubPlace(home()), clock.now()
    with place.locked():
        aside = {path: _begun_anew(path, place, now) for path in _damaged(place)}
        in_doubt = _is_damaged(place.clock_file, read_time)
    if not aside and not in_doubt:
        raise BrokerError("nothing-to-mend", "every file is as it was written")
    if as_json:
        names = [str(path.relative_to(place.folder)) for path in aside]
        screen.as_json("hub-mend", begun_anew=names, clock_in_doubt=in_doubt)
    else:
        for line in _next_steps(place, aside, in_doubt=in_doubt):
            screen.line(line)
    if in_doubt:
        raise typer.Exit(1)


def _damaged(place: HubPlace) -> Iterator[Path]:
    """Yield what must be begun anew; never the clock's, which only a person can vouch for."""
    kinds: tuple[tuple[Path, Callable[[Path], object]], ...] = (
        (place.memory_file, read_memory),
        (place.erased_file, read_erased),
        (place.suspensions_file, read_suspensions),
        *((path, read_runs) for path in sorted(place.runs.glob("*.json"))),
    )
    return (path for path, read in kinds if _is_damaged(path, read))


def _is_damaged(path: Path, read: Callable[[Path], object]) -> bool:
    try:
        read(path)
    except BrokerError as error:
        if error.code != _DAMAGED:
            raise
        return True
    return False


def _begun_anew(path: Path, place: HubPlace, now: datetime) -> Path:
    """Return where the damaged file is now; killed before the end, it is still in its place."""
    aside = path.with_name(f"{path.name}.damaged-{now:%Y%m%dT%H%M%SZ}")
    write_private(aside, read_private(path, max_bytes=_MAX_BYTES))
    if path == place.memory_file:
        write_memory(path, StreamMemory(begun_anew=True))
    else:
        path.unlink()
    return aside


def _next_steps(place: HubPlace, aside: dict[Path, Path], *, in_doubt: bool) -> Iterator[str]:
    for path, kept in aside.items():
        yield say(
            "mend-aside",
            "{name} is begun anew; the old one is {kept}.",
            name=path.name,
            kept=kept.name,
        )
    if place.suspensions_file in aside:
        yield say(
            "mend-suspensions",
            "Nobody is suspended now: before the start, kentong hub suspend whom you suspended.",
        )
    if {place.memory_file, place.erased_file} & aside.keys():
        yield say(
            "mend-streams",
            "After the start gateways may hold: kentong log resume --stream-reset, then kentong hub"
            " status --looked-into.",
        )
    if any(path.parent == place.runs for path in aside):
        yield say("mend-runs", "The log gives open numbers back two minutes after the start.")
    if in_doubt:
        yield say(
            "mend-clock",
            "clock.json is damaged: compare the time, then kentong hub status --clock-is-right.",
        )
