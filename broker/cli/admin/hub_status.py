"""`kentong hub status`: whether the hub runs, what waits in it, what expires."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Annotated, Any

import typer

from broker import clock
from broker.cli import board, screen
from broker.cli.admin.hub_figures import HubFigures
from broker.cli.admin.secret import AsJSON
from broker.cli.board import Block
from broker.cli.text import say
from broker.cli.words import clock as clock_text
from broker.hub.memory import read_memory, write_memory
from broker.hub.place import HubPlace
from broker.hub.suspensions import read_suspensions
from broker.hub.timekeeping import believe, is_believed
from broker.monitoring.unix import asked
from broker.settings import home
from keys.directory.source import PublishedDirectory
from keys.errors import KeysError


def status(
    looked_into: Annotated[
        bool, typer.Option("--looked-into", help="You know why messages were lost: end the alarm.")
    ] = False,
    clock_is_right: Annotated[
        bool,
        typer.Option(
            "--clock-is-right", help="You compared this machine's time with another: believe it."
        ),
    ] = False,
    watch: board.Watch = False,
    every: board.Every = 2.0,
    as_json: AsJSON = False,
) -> None:
    """Show whether the hub runs, what waits in its queues and how long, and what expires.

    Ends with 1 if it does not run, its directory is stale, its time is in doubt, a server stores
    no more, or messages were lost.

    Examples: [bold]kentong hub status --json[/bold], [bold]kentong hub status --watch[/bold]
    """
    place = HubPlace(home())
    if looked_into:
        memory = read_memory(place.memory_file)
        write_memory(place.memory_file, memory.looked_into())
    if clock_is_right:
        believe(place.clock_file, clock.reading())
    if watch and not as_json:
        board.watch(lambda: _look(place, clock.now()).blocks(), every)
    found = _look(place, clock.now())
    if as_json:
        found.print_json()
    else:
        board.show(found.blocks())
    if not found.well:
        raise typer.Exit(1)


@dataclass(frozen=True)
class _Found:
    """What is known of a hub without its keys."""

    url: str
    running: bool
    pid: int | None
    members: Sequence[str]
    fresh_until: str
    problem: str
    suspended: Sequence[str]
    went_back: Sequence[str]
    clock_in_doubt: bool
    figures: HubFigures | None

    @property
    def well(self) -> bool:
        wrong = self.problem or self.went_back or self.clock_in_doubt or self.not_storing
        return self.running and not wrong

    @property
    def not_storing(self) -> int:
        """How many servers store no more; 0 if that is not known."""
        return _whole(self.figures, "kentong_hub_servers_not_storing") or 0

    def blocks(self) -> Sequence[Block]:
        up = say("hub-up", "RUNNING") if self.running else say("hub-down", "NOT RUNNING")
        rows = [
            (say("hub-state", "Hub"), up),
            (say("hub-address", "Address"), self.url),
            (say("hub-members", "Members"), ", ".join(self.members)),
            (say("hub-directory", "Directory"), self.problem or self.fresh_until),
            (say("hub-cut", "Suspended"), ", ".join(self.suspended)),
            (say("hub-went-back", "LOST MESSAGES"), ", ".join(self.went_back)),
            (say("hub-clock", "CLOCK"), self._clock),
            (say("hub-not-storing", "DISK"), self._stores),
        ]
        own = Block(clock_text(clock.now()), ("", ""), tuple(row for row in rows if row[1]))
        return (own, *(self.figures.blocks() if self.figures else ()))

    @property
    def _clock(self) -> str:
        if not self.clock_in_doubt:
            return ""
        return say("hub-clock-in-doubt", "in doubt: nothing leaves by age until it is explained")

    @property
    def _stores(self) -> str:
        if not self.not_storing:
            return ""
        return say("hub-stores-no-more", "a server stores no more: make room on its disk")

    def print_json(self) -> None:
        figures = self.figures
        screen.as_json(
            "hub-status",
            ok=self.well,
            running=self.running,
            pid=self.pid,
            url=self.url,
            members=list(self.members),
            suspended=list(self.suspended),
            went_back=list(self.went_back),
            clock_in_doubt=self.clock_in_doubt,
            directory_problem=self.problem,
            directory_fresh_until=self.fresh_until,
            queues=[asdict(each) for each in figures.queues()] if figures else [],
            processes_silent_s=_named(figures, "kentong_process_report_age_seconds", "process"),
            processes_missing=list(figures.missing()) if figures else [],
            certificates_left_s=_named(
                figures, "kentong_hub_certificate_expires_in_seconds", "certificate"
            ),
            servers_up=_named(figures, "kentong_hub_server_up", "server"),
            servers_not_storing=_whole(figures, "kentong_hub_servers_not_storing"),
            streams_behind=_whole(figures, "kentong_hub_streams_behind"),
            directory_roles_left_s=_named(
                figures, "kentong_hub_directory_role_expires_in_seconds", "role"
            ),
            log_leaves=_whole(figures, "kentong_log_size_leaves"),
            log_cosigned=_whole(figures, "kentong_log_cosigned_leaves"),
            log_waiting=_whole(figures, "kentong_log_waiting_records"),
        )


def _look(place: HubPlace, now: datetime) -> _Found:
    config, running = place.config(), place.is_running()
    members: Sequence[str] = ()
    fresh_until = problem = ""
    try:
        view = PublishedDirectory.at(place.home).view()
        members, fresh_until = view.members(), clock_text(view.fresh_until)
        view.check_fresh(now)
    except KeysError as error:
        problem = error.code
    return _Found(
        url=config.public_url,
        running=running,
        pid=_state(place).get("pid") if running else None,
        members=members,
        fresh_until=fresh_until,
        problem=problem,
        suspended=sorted(read_suspensions(place.suspensions_file).in_force(now)),
        went_back=read_memory(place.memory_file).went_back,
        clock_in_doubt=running and not is_believed(place.clock_file, clock.reading()),
        figures=_figures(place) if running else None,
    )


def _figures(place: HubPlace) -> HubFigures | None:
    answer = asked(place.metrics_socket, "/metrics")
    return None if answer is None else HubFigures(answer[1].decode("utf-8", errors="replace"))


def _named(figures: HubFigures | None, name: str, label: str) -> dict[str, int]:
    if figures is None:
        return {}
    return {key[0]: int(value) for key, value in figures.by(name, label).items()}


def _whole(figures: HubFigures | None, name: str) -> int | None:
    value = figures.one(name) if figures else float("nan")
    return int(value) if value == value else None  # noqa: PLR0124 - not a number: unknown


def _state(place: HubPlace) -> dict[str, Any]:
    try:
        found = json.loads(place.state_file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
