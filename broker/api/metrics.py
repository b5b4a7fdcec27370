"""What a monitoring system may know: counts by closed codes, real and exercise traffic apart."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from schemas.desk import NodeStatus, SubmissionState

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_TRAFFIC: Final = ("actual", "exercise")


class Metrics:
    """The counters of one app. Labels are routes, statuses and states: never what a desk sent."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
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
        self._quarantined = self._gauge("kentong_node_quarantined", "Deliveries put aside")
        self._gaps = self._gauge("kentong_node_gaps", "Numbered alerts that did not arrive")
        self._alarms = self._gauge("kentong_node_alarms", "Alarms to be looked at")
        self._alarm = self._gauge(
            "kentong_node_alarm", "How often each alarm was raised", ("code",)
        )
        self._outbox = self._gauge(
            "kentong_node_outbox", "Submissions by state", ("traffic", "state")
        )
        self._inbox = self._gauge("kentong_node_inbox", "Alerts kept", ("traffic",))

    def count(self, method: str, route: str, status: int) -> None:
        """Count one answer. `route` is the path's template, so that its values stay out."""
        self._requests.labels(method, route, str(status)).inc()

    def exposition(self, status: NodeStatus, *, streams: int) -> bytes:
        """Return everything in Prometheus' text format."""
        self._streams.set(streams)
        self._connected.set(status.connected)
        self._sealing.set(not status.sealing)
        self._skew.set(status.clock.skew_s if status.clock.skew_s is not None else float("nan"))
        self._fresh.set(status.directory is not None and status.directory.fresh)
        self._quarantined.set(status.quarantined)
        self._gaps.set(len(status.gaps))
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
        return generate_latest(self._registry)

    def _gauge(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
        return Gauge(name, text, labels, registry=self._registry)
