"""`kentong node status`: how the node is, what waits in it, what expires; without any token."""

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

import typer

from broker import clock
from broker.cli import board, screen
from broker.cli.admin.node_place import NodePlace
from broker.cli.admin.secret import AsJSON
from broker.cli.board import Block, span
from broker.cli.text import say
from broker.cli.words import alarm_line
from broker.cli.words import clock as clock_text
from broker.monitoring.unix import asked
from broker.node import queues
from broker.node.alarms import all_alarms, expiry_alarms
from broker.node.epochkeys import key_alarms
from broker.node.notices import suspension_alarms
from broker.node.pairs import count_gaps, open_gaps
from broker.settings import home
from keys.directory.client import DirectoryClient
from keys.directory.view import DirectoryView
from keys.errors import KeyFileError
from keys.home import Home
from keys.primitives.certificates import expires_at
from schemas.desk import Alarm, Gap, SubmissionState


def status(watch: board.Watch = False, every: board.Every = 2.0, as_json: AsJSON = False) -> None:
    """Show how the node is: connection, what waits and how long, gaps, expiries, alarms.

    What of the directory must be signed again soon is an alarm too. Ends with 4 if it does not run.
    `kentong status` shows a desk the same by its token.

    Examples: kentong node status, kentong node status --watch
    """
    place = NodePlace(home())
    if watch and not as_json:
        board.watch(lambda: _found(place).blocks(), every)
    found = _found(place)
    if as_json:
        found.print_json()
    else:
        board.show(found.blocks())
        for alarm in found.alarms:
            screen.line(alarm_line(alarm))
    if not found.checks:
        raise typer.Exit(4)


@dataclass(frozen=True)
class _Found:
    """What is known of a node on its own machine.

    Attributes:
        checks: What the running node says of itself; empty if it does not answer.
        left_s: Seconds until each thing expires.
    """

    member: str
    socket: str
    now: datetime
    checks: Mapping[str, bool]
    outbox: tuple[queues.Counts, queues.Counts]
    waiting_since: datetime | None
    inbox: queues.Kept
    quarantined: int
    readers: Sequence[queues.Reader]
    gaps: Sequence[Gap]
    gap_counts: Mapping[str, int]
    alarms: Sequence[Alarm]
    left_s: Mapping[str, float] = field(default_factory=dict)

    @property
    def waits_s(self) -> float:
        if self.waiting_since is None:
            return 0.0
        return (self.now - self.waiting_since).total_seconds()

    def blocks(self) -> Sequence[Block]:
        text = "offers its API" if self.checks else "does not run"
        alive = say("node-alive" if self.checks else "node-dead", text)
        return (
            Block(
                f"{self.member}: {alive}",
                ("", ""),
                tuple(
                    (_check(name), say("yes", "yes") if ok else say("no", "NO"))
                    for name, ok in self.checks.items()
                ),
            ),
            Block(
                say("node-queues", "Submissions and inbox"),
                ("", say("head-actual", "actual"), say("head-exercise", "exercise")),
                (*self._outbox(), *self._inbox()),
            ),
            Block(
                say("node-readers", "Desks that are behind"),
                (
                    say("head-cursor", "cursor"),
                    say("head-behind", "alerts behind"),
                    say("head-moved", "moved last"),
                ),
                tuple(
                    (each.cursor, str(each.behind), clock_text(each.moved_at))
                    for each in self.readers
                ),
            ),
            Block(
                say("node-gap-list", "Gaps: numbered alerts that did not arrive"),
                (
                    say("head-peer", "from"),
                    say("head-number", "number"),
                    say("head-noticed", "noticed"),
                ),
                self._gaps(),
            ),
            Block(
                say("hub-expiries", "Expires"),
                (say("head-what", "what"), say("head-left", "time left")),
                tuple((name, span(left)) for name, left in self.left_s.items()),
            ),
        )

    def _outbox(self) -> tuple[tuple[str, ...], ...]:
        counts = tuple(
            (str(state), *(str(part.get(state, 0)) for part in self.outbox))
            for state in SubmissionState
            if any(part.get(state) for part in self.outbox)
        )
        return (*counts, (say("node-oldest", "oldest waits"), span(self.waits_s), ""))

    def _inbox(self) -> tuple[tuple[str, ...], ...]:
        return (
            (say("node-kept", "inbox"), str(self.inbox.actual), str(self.inbox.exercise)),
            (say("node-quarantine", "quarantined"), str(self.quarantined), ""),
        )

    def _gaps(self) -> tuple[tuple[str, ...], ...]:
        """Return the first gaps of each peer; where there are more, how many in all."""
        listed = Counter(each.peer for each in self.gaps)
        return (
            *(
                (each.peer, f"{each.incarnation}/{each.number}", clock_text(each.noticed_at))
                for each in self.gaps
            ),
            *(
                (peer, say("gaps-in-all", "{count} in all", count=count), "")
                for peer, count in self.gap_counts.items()
                if count > listed[peer]
            ),
        )

    def print_json(self) -> None:
        screen.as_json(
            "node-status",
            ok=bool(self.checks),
            member=self.member,
            socket=self.socket,
            checks=dict(self.checks),
            outbox=self.outbox[0],
            exercise_outbox=self.outbox[1],
            oldest_waits_s=int(self.waits_s),
            inbox=self.inbox.actual,
            exercise_inbox=self.inbox.exercise,
            quarantined=self.quarantined,
            readers=[{"cursor": each.cursor, "behind": each.behind} for each in self.readers],
            gaps=[each.model_dump(mode="json") for each in self.gaps],
            gap_counts=dict(self.gap_counts),
            left_s={name: int(left) for name, left in self.left_s.items()},
            alarms=[alarm.model_dump(mode="json") for alarm in self.alarms],
        )


def _found(place: NodePlace) -> _Found:
    return asyncio.run(_read(place, clock.now()))


async def _read(place: NodePlace, now: datetime) -> _Found:
    config, keys = place.config(), Home(place.home)
    copy = DirectoryClient(keys.node_directory, pinned_root=keys.pinned_root()).load()
    view = copy.view if copy else None
    async with place.database() as database, database.read() as connection:
        raised = (*await suspension_alarms(connection), *await all_alarms(connection))
        gap_counts = await count_gaps(connection, now=now)
        return _Found(
            member=config.member,
            socket=str(place.socket),
            now=now,
            checks=_checks(place),
            outbox=await queues.submission_counts(connection),
            waiting_since=await queues.waiting_since(connection),
            inbox=await queues.inbox_counts(connection),
            quarantined=await queues.quarantined(connection),
            readers=await queues.readers(connection),
            gaps=await open_gaps(connection, gap_counts, now=now),
            gap_counts=gap_counts,
            alarms=(*_expiring(view, config.member, now), *raised),
            left_s=dict(_left(place, view, now)),
        )


def _checks(place: NodePlace) -> Mapping[str, bool]:
    """Return what the node says of itself on its socket."""
    answer = asked(place.socket, "/readyz")
    if answer is None:
        return {}
    try:
        found = json.loads(answer[1])
        return {name: bool(found[name]) for name in ("connected", "directory", "writes")}
    except (ValueError, KeyError, TypeError):
        return {"answers": True}  # too many asked at this moment, most likely


def _check(name: str) -> str:
    return {
        "connected": say("check-connected", "connected to the hub"),
        "directory": say("check-directory", "directory fresh"),
        "writes": say("check-writes", "database takes writes"),
    }.get(name, say("check-answers", "answers"))


def _expiring(view: DirectoryView | None, member: str, now: datetime) -> tuple[Alarm, ...]:
    """Return what must be signed or published soon, as the copy of the directory here has it."""
    if view is None:
        return ()
    return (*expiry_alarms(view, now=now), *key_alarms(view, member, (), now=now))


def _left(
    place: NodePlace, view: DirectoryView | None, now: datetime
) -> Sequence[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    if view is not None:
        found.append(("directory", (view.fresh_until - now).total_seconds()))
        roles = sorted(view.expiries.items(), key=lambda item: item[1])
        found += [(role, (at - now).total_seconds()) for role, at in roles]
    for name, path in place.certificates(place.config()).items():
        with suppress(OSError, KeyFileError):
            left = expires_at(path.read_bytes()) - now
            found.append((f"certificate {name}", left.total_seconds()))
    return found
