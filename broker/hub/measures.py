"""What monitoring may know of a hub: queues, ages, expiries. Members' codes, never content."""

import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from broker.hub.place import HubPlace
from broker.hub.pulse import Pulse
from broker.hub.settings import HubConfig
from broker.monitoring.alarmlines import OF_HUB, AlarmLines
from broker.monitoring.joined import JoinedReports
from broker.monitoring.report import LOG_SEQUENCER
from broker.transport.streamstates import StreamState
from keys.errors import KeyFileError
from keys.primitives.certificates import expires_at

_OF_QUEUE: Final = ["queue", "member", "part"]


class Queue(NamedTuple):
    """What a stream is for.

    Attributes:
        queue: `submit`, `inbox`, `held`, `receipt`, `audit` or `expired`.
        member: Whose it is; empty for the hub's own.
        part: Lane, sender or year; may be empty.
    """

    queue: str
    member: str
    part: str


def queue_of(stream: str) -> Queue:
    """Return what the stream of this name is for."""
    kind, _, rest = stream.partition("_")
    if kind == "AUDIT":
        return Queue("audit", "", rest)
    member, _, part = rest.partition("_")
    return Queue(kind.lower(), member, part)


def age_s(state: StreamState, now: datetime) -> float:
    """Return how long the oldest message of a stream has waited; 0 if it holds none."""
    if not state.oldest:
        return 0.0
    return max(0.0, (now - datetime.fromisoformat(state.oldest)).total_seconds())


@dataclass(frozen=True)
class HubMeasures:
    """Everything that one hub shows, its other processes' counts included.

    Attributes:
        has_log: Whether a log was made in this home; one that the directory names must run as well.
    """

    place: HubPlace
    config: HubConfig
    pulse: Pulse
    has_log: bool = False

    @property
    def reports(self) -> JoinedReports:
        """What the hub's other processes wrote down."""
        return JoinedReports(self.place.reports)

    def families(self, now: datetime) -> Iterator[Metric]:
        """Yield every family of metrics at this moment."""
        yield from self._hub(now)
        yield from _queues(self.pulse, now)
        yield from self._expiries(now)
        yield from AlarmLines(OF_HUB).collect()
        yield from self.reports.families(now, expected=self._expected())

    def _expected(self) -> tuple[str, ...]:
        """Return the processes that must report beside this one, whoever starts them."""
        view = self.pulse.view
        named = view is not None and view.hub.log is not None
        log = (LOG_SEQUENCER,) if self.has_log or named else ()
        return (*log, *(f"gateway-{number}" for number in range(1, self.config.gateways + 1)))

    def _hub(self, now: datetime) -> Iterator[Metric]:
        pulse = self.pulse
        view, looked = pulse.view, pulse.looked_at
        yield _gauge("kentong_hub_connected", "1 while the NATS server answers", pulse.connected)
        yield _gauge(
            "kentong_hub_streams_age_seconds",
            "Seconds since the streams were looked at; each of the queues' numbers is so old",
            (now - looked).total_seconds() if looked else float("nan"),
        )
        members = len(view.members()) if view else 0
        yield _gauge("kentong_hub_members", "Members in the directory", members)
        yield _gauge("kentong_hub_suspended", "Members whose connection is cut", pulse.suspended)
        yield _gauge(
            "kentong_hub_streams_went_back",
            "Streams that lost messages, until the operator has looked into it",
            len(pulse.went_back),
        )
        yield _gauge(
            "kentong_hub_clock_in_doubt",
            "1 while the hub's time cannot be explained, and nothing leaves it by age",
            pulse.clock_in_doubt,
        )
        servers = GaugeMetricFamily(
            "kentong_hub_server_up",
            "1 while a server of the cluster answers with a certificate that is believed",
            labels=["server"],
        )
        for name, seen in pulse.servers.items():
            servers.add_metric([name], float(seen.up))
        yield servers
        yield _gauge(
            "kentong_hub_streams_behind",
            "Streams that not every server of the cluster holds in full",
            sum(state.behind > 0 for state in pulse.streams.values()),
        )
        yield _gauge(
            "kentong_hub_streams_silent",
            "Streams for which no server of the cluster speaks: nothing gets in or out",
            len(pulse.silent),
        )
        yield _gauge(
            "kentong_hub_servers_not_storing",
            "Servers that store no more, as after a full disk, until they are started anew",
            len(pulse.not_storing),
        )
        with suppress(OSError):
            free = shutil.disk_usage(self.place.folder).free
            yield _gauge("kentong_hub_disk_free_bytes", "Free bytes on the hub's disk", free)

    def _expiries(self, now: datetime) -> Iterator[Metric]:
        certificates = GaugeMetricFamily(
            "kentong_hub_certificate_expires_in_seconds",
            "Seconds until a certificate expires: each server's, and their authority's",
            labels=["certificate"],
        )
        files = {"authority": self.place.authority_file}
        if self.config.embedded:
            files["server"] = self.place.server(self.config).certificate
        for name, path in files.items():
            with suppress(OSError, KeyFileError):
                left = expires_at(path.read_bytes()) - now
                certificates.add_metric([name], left.total_seconds())
        for name, seen in self.pulse.servers.items():
            if seen.expires is not None:
                certificates.add_metric([name], (seen.expires - now).total_seconds())
        yield certificates
        if (view := self.pulse.view) is None:
            return
        yield _gauge(
            "kentong_hub_directory_expires_in_seconds",
            "Seconds until the directory is stale, unless the hub signs its timestamp again",
            (view.fresh_until - now).total_seconds(),
        )
        roles = GaugeMetricFamily(
            "kentong_hub_directory_role_expires_in_seconds",
            "Seconds until people must have signed a part of the directory again",
            labels=["role"],
        )
        for role, at in sorted(view.expiries.items()):
            roles.add_metric([role], (at - now).total_seconds())
        yield roles


def _queues(pulse: Pulse, now: datetime) -> Iterator[Metric]:
    messages = GaugeMetricFamily(
        "kentong_hub_queue_messages", "Messages waiting in a queue", labels=_OF_QUEUE
    )
    used = GaugeMetricFamily("kentong_hub_queue_bytes", "Bytes a queue takes", labels=_OF_QUEUE)
    room = GaugeMetricFamily(
        "kentong_hub_queue_limit_bytes", "Bytes a queue may take", labels=_OF_QUEUE
    )
    ages = GaugeMetricFamily(
        "kentong_hub_queue_oldest_age_seconds",
        "Seconds that the oldest message of a queue has waited: how far its reader lags",
        labels=_OF_QUEUE,
    )
    for name, state in sorted(pulse.streams.items()):
        labels = list(queue_of(name))
        messages.add_metric(labels, state.messages)
        used.add_metric(labels, state.size_bytes)
        room.add_metric(labels, state.max_bytes)
        ages.add_metric(labels, age_s(state, now))
    yield from (messages, used, room, ages)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)
