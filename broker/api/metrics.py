"""What a monitoring system may know: counts by closed codes, real and exercise traffic apart."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from broker.monitoring.alarmlines import OF_NODE, AlarmLines
from keys.errors import KeyFileError
from keys.primitives.certificates import expires_at
from schemas.desk import NodeStatus, SubmissionState

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_TRAFFIC: Final = ("actual", "exercise")
_NEVER: Final = float("nan")


class Metrics:
    """The counters of one app. Labels are routes, statuses and states: never what a desk sent."""

    def __init__(self, certificates: Mapping[str, Path] | None = None) -> None:
        """Take the PEM files whose expiry is told, by a name for each."""
        self._certificates = certificates or {}
        self._registry = CollectorRegistry()
        self._registry.register(AlarmLines(OF_NODE))
        self._requests = Counter(
            "kentong_api_requests",
            "Requests answered, by route and status",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self._streams = self._gauge("kentong_api_streams", "Event streams open")
        self._connected = self._gauge("kentong_node_connected", "1 while the hub is connected")
        self._sealing = self._gauge("kentong_node_sealing", "1 while alerts are sealed and sent")
        self._skew = self._gauge("kentong_node_clock_skew_seconds", "Own clock against the hub's")
        self._fresh = self._gauge("kentong_node_directory_fresh", "1 while the directory is fresh")
        self._directory = self._gauge(
            "kentong_node_directory_expires_in_seconds",
            "Seconds until the directory held is stale, unless a newer one comes",
        )
        self._expiry = self._gauge(
            "kentong_node_certificate_expires_in_seconds",
            "Seconds until a certificate expires: of the API's port, of the hub's authority",
            ("certificate",),
        )
        self._quarantined = self._gauge("kentong_node_quarantined", "Deliveries put aside")
        self._gaps = self._gauge("kentong_node_gaps", "Numbered alerts that did not arrive")
        self._peer_gaps = self._gauge(
            "kentong_node_peer_gaps", "Those of each member that lacks any", ("peer",)
        )
        self._alarms = self._gauge("kentong_node_alarms", "Alarms to be looked at")
        self._alarm = self._gauge(
            "kentong_node_alarm", "How often each alarm was raised", ("code",)
        )
        self._outbox = self._gauge(
            "kentong_node_outbox", "Submissions by state", ("traffic", "state")
        )
        self._waiting = self._gauge(
            "kentong_node_oldest_waiting_age_seconds",
            "Seconds that the oldest real submission has waited for its decision; 0 if none does",
        )
        self._inbox = self._gauge("kentong_node_inbox", "Alerts kept", ("traffic",))
        self._log = self._gauge(
            "kentong_node_log_leaves", "Leaves of the log cosigned, copied and proven", ("what",)
        )

    def count(self, method: str, route: str, status: int) -> None:
        """Count one answer. `route` is the path's template, so that its values stay out."""
        self._requests.labels(method, route, str(status)).inc()

    def exposition(self, status: NodeStatus, *, streams: int, now: datetime) -> bytes:
        """Return everything in Prometheus' text format."""
        self._streams.set(streams)
        self._connected.set(status.connected)
        self._sealing.set(not status.sealing)
        self._skew.set(status.clock.skew_s if status.clock.skew_s is not None else _NEVER)
        self._quarantined.set(status.quarantined)
        self._gaps.set(sum(status.gap_counts.values()))
        self._peer_gaps.clear()  # whose all arrived is gone
        for peer, count in status.gap_counts.items():
            self._peer_gaps.labels(peer).set(count)
        self._alarms.set(len(status.alarms))
        self._alarm.clear()  # one that was settled is gone
        for code in {alarm.code for alarm in status.alarms}:
            times = sum(alarm.count for alarm in status.alarms if alarm.code == code)
            self._alarm.labels(code).set(times)
        for traffic, counts in zip(_TRAFFIC, (status.outbox, status.exercise_outbox), strict=True):
            for state in SubmissionState:
                self._outbox.labels(traffic, state).set(counts.get(state, 0))
        for traffic, kept in zip(_TRAFFIC, (status.inbox, status.exercise_inbox), strict=True):
            self._inbox.labels(traffic).set(kept)
        if status.log is not None:
            self._log.labels("cosigned").set(status.log.cosigned_size)
            self._log.labels("copied").set(status.log.copied)
            self._log.labels("proven").set(status.log.proven)
        self._set_times(status, now)
        return generate_latest(self._registry)

    def _set_times(self, status: NodeStatus, now: datetime) -> None:
        directory, since = status.directory, status.waiting_since
        self._fresh.set(directory is not None and directory.fresh)
        until = None if directory is None else directory.fresh_until
        self._directory.set(_NEVER if until is None else (until - now).total_seconds())
        self._waiting.set(0 if since is None else max(0.0, (now - since).total_seconds()))
        for name, path in self._certificates.items():
            with suppress(OSError, KeyFileError):
                left = expires_at(path.read_bytes()) - now
                self._expiry.labels(name).set(left.total_seconds())

    def _gauge(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
        return Gauge(name, text, labels, registry=self._registry)
