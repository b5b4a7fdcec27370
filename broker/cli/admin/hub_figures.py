"""Reads what a running hub shows to monitoring, for the operator's own screen."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from broker.cli.board import Block, span
from broker.cli.text import say

_AGE: Final = "kentong_hub_queue_oldest_age_seconds"
_MESSAGES: Final = "kentong_hub_queue_messages"
_BYTES: Final = "kentong_hub_queue_bytes"
_LIMIT: Final = "kentong_hub_queue_limit_bytes"
_ORDER: Final = ("submit", "inbox", "held", "receipt", "audit", "expired")
Key = tuple[str, ...]


@dataclass(frozen=True)
class QueueFigures:
    """One queue of one member, all its parts together.

    Attributes:
        lag_s: How long its oldest message has waited.
        full: Its fullest part, from 0 to 1.
    """

    queue: str
    member: str
    messages: int
    lag_s: float
    full: float


class HubFigures:
    """What the hub's metrics say, by name and labels."""

    def __init__(self, exposition: str) -> None:
        """Take the text of `/metrics`."""
        self._samples: dict[str, list[tuple[Mapping[str, str], float]]] = {}
        for family in text_string_to_metric_families(exposition):
            for sample in family.samples:
                found = self._samples.setdefault(sample.name, [])
                found.append((sample.labels, sample.value))

    def one(self, name: str) -> float:
        """Return the only value of a name; not a number if there is none."""
        return next((value for _, value in self._samples.get(name, ())), float("nan"))

    def by(self, name: str, *labels: str) -> dict[Key, float]:
        """Return the values of a name by these labels, the largest where several have the same."""
        found: dict[Key, float] = {}
        for given, value in self._samples.get(name, ()):
            key = tuple(given.get(label, "") for label in labels)
            found[key] = max(found.get(key, value), value)
        return found

    def queues(self) -> tuple[QueueFigures, ...]:
        """Return every queue that holds something, the most urgent kind first."""
        counts: dict[tuple[str, str], int] = {}
        for labels, value in self._samples.get(_MESSAGES, ()):
            queue = labels["queue"], labels["member"]
            counts[queue] = counts.get(queue, 0) + int(value)
        ages, used = self.by(_AGE, "queue", "member"), self.by(_BYTES, "queue", "member", "part")
        room, full = self.by(_LIMIT, "queue", "member", "part"), dict[Key, float]()
        for key, size in used.items():
            if (most := room.get(key, 0)) > 0:
                full[key[:2]] = max(full.get(key[:2], 0.0), size / most)
        return tuple(
            QueueFigures(*key, count, ages.get(key, 0.0), full.get(key, 0.0))
            for key, count in sorted(counts.items(), key=_place)
            if count and key[0] != "audit"
        )

    def blocks(self) -> Iterator[Block]:
        """Yield what the operator sees below the state of the hub."""
        yield Block(
            say("hub-queues", "Waiting"),
            (
                say("head-queue", "queue"),
                say("head-member", "member"),
                say("head-messages", "messages"),
                say("head-lag", "oldest waits"),
                say("head-full", "full"),
            ),
            tuple(
                (each.queue, each.member, str(each.messages), span(each.lag_s), f"{each.full:.0%}")
                for each in self.queues()
            ),
        )
        yield self._log()
        yield Block(
            say("hub-expiries", "Expires"),
            (say("head-what", "what"), say("head-left", "time left")),
            tuple(_expiries(self)),
        )
        if servers := self.by("kentong_hub_server_up", "server"):
            behind = say("servers-behind", "streams that not every server holds in full")
            silent_streams = say("servers-silent", "streams for which no server speaks")
            yield Block(
                say("hub-servers", "Servers"),
                (say("head-server", "server"), say("head-answers", "answers")),
                (
                    *((key[0], _up(value)) for key, value in sorted(servers.items())),
                    (behind, f"{self.one('kentong_hub_streams_behind'):.0f}"),
                    (silent_streams, f"{self.one('kentong_hub_streams_silent'):.0f}"),
                ),
            )
        silent = self.by("kentong_process_report_age_seconds", "process")
        yield Block(
            say("hub-processes", "Processes"),
            (say("head-process", "process"), say("head-heard", "last heard")),
            (
                *((key[0], span(age)) for key, age in sorted(silent.items())),
                *((name, say("process-missing", "NOT YET")) for name in self.missing()),
            ),
        )

    def missing(self) -> tuple[str, ...]:
        """Return the processes that must run and have not reported since the hub began."""
        found = self.by("kentong_process_missing", "process")
        return tuple(sorted(key[0] for key, value in found.items() if value))

    def _log(self) -> Block:
        rows = [
            (say("log-leaves", "leaves"), "kentong_log_size_leaves"),
            (say("log-cosigned", "cosigned by a quorum"), "kentong_log_cosigned_leaves"),
            (say("log-waiting", "decisions that are no leaves yet"), "kentong_log_waiting_records"),
        ]
        shown = tuple(
            (text, f"{value:.0f}") for text, name in rows if (value := self.one(name)) == value
        )
        return Block(say("hub-log", "Log"), ("", ""), shown)


def _up(value: float) -> str:
    return say("server-up", "yes") if value else say("server-away", "NO")


def _place(entry: tuple[tuple[str, str], int]) -> tuple[int, str]:
    queue, member = entry[0]
    return (_ORDER.index(queue) if queue in _ORDER else len(_ORDER)), member


def _expiries(figures: HubFigures) -> Iterator[tuple[str, str]]:
    yield (
        say("expiry-directory", "directory, signed again by the hub"),
        span(figures.one("kentong_hub_directory_expires_in_seconds")),
    )
    certificates = figures.by("kentong_hub_certificate_expires_in_seconds", "certificate")
    for (name,), left_s in sorted(certificates.items()):
        yield say("expiry-certificate", "certificate: {name}", name=name), span(left_s)
    roles = figures.by("kentong_hub_directory_role_expires_in_seconds", "role")
    for (role,), left_s in sorted(roles.items(), key=lambda item: item[1]):
        yield say("expiry-role", "to be signed by people: {role}", role=role), span(left_s)
