"""What one gateway worker counts: verdicts by code, places, times. Never whose, never what."""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client import Counter as Metric

from schemas.decision import Decision
from schemas.receipt import Where
from schemas.vocabulary import Lane

ACTUAL: Final = "actual"
EXERCISE: Final = "exercise"
UNKNOWN: Final = "unknown"  # refused before its label was read, or asked to come later
# From a healthy worker to one whose disk or server is in trouble.
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Counts:
    """The counters of one worker. Labels are lanes' kinds and codes of closed lists."""

    def __init__(self) -> None:
        self.registry: Final = CollectorRegistry()
        self._envelopes = Metric(
            "kentong_gateway_envelopes",
            "Envelopes carried through, by outcome; again if a worker died in between",
            ("traffic", "outcome", "code"),
            registry=self.registry,
        )
        self._copies = Metric(
            "kentong_gateway_copies",
            "Verdicts on copies, one for each recipient, by code; code none where accepted",
            ("traffic", "verdict", "code"),
            registry=self.registry,
        )
        self._placed = Metric(
            "kentong_gateway_placed",
            "Accepted copies by where they went: stored, held, bounced, expired",
            ("traffic", "where"),
            registry=self.registry,
        )
        self._failures = Metric(
            "kentong_gateway_failures",
            "Submissions not carried through, to come again, by error code",
            ("code",),
            registry=self.registry,
        )
        self._stuck = Metric(
            "kentong_gateway_stuck",
            "Times that a submission was not carried through after many attempts",
            registry=self.registry,
        )
        self._moved = Metric(
            "kentong_gateway_held_moved",
            "Held copies that found their place in an inbox",
            registry=self.registry,
        )
        self._seconds = Histogram(
            "kentong_gateway_carry_seconds",
            "Seconds from taking a submission to acknowledging it",
            buckets=_SECONDS,
            registry=self.registry,
        )

    def decided(self, decision: Decision, *, lane: Lane) -> None:
        """Count a decision that was carried out."""
        traffic, records = _traffic(lane), decision.records
        accepted = sum(record.accepted for record in records)
        outcome = (
            "refused" if not accepted else "accepted" if accepted == len(records) else "partly"
        )
        self._envelopes.labels(traffic, outcome, decision.header.code or "none").inc()
        for code, count in Counter(record.code for record in records).items():
            verdict = "refused" if code else "accepted"
            self._copies.labels(traffic, verdict, code or "none").inc(count)

    def refused_unread(self, code: str) -> None:
        """Count a submission whose label nobody could read."""
        self._envelopes.labels(UNKNOWN, "refused", code or "none").inc()

    def postponed(self, code: str) -> None:
        """Count a temporary refusal."""
        self._envelopes.labels(UNKNOWN, "postponed", code).inc()

    def placed(self, places: Iterable[Where], *, lane: Lane) -> None:
        """Count where the copies of one envelope went."""
        for where, count in Counter(places).items():
            self._placed.labels(_traffic(lane), str(where)).inc(count)

    def failed(self, code: str) -> None:
        """Count a submission that was left un-acked."""
        self._failures.labels(code).inc()

    def stuck(self) -> None:
        """Count that a submission was left un-acked once more, and needs a person."""
        self._stuck.inc()

    def moved(self) -> None:
        """Count a held copy that left for its inbox."""
        self._moved.inc()

    def took(self, seconds: float) -> None:
        """Count how long one submission took."""
        self._seconds.observe(seconds)


def _traffic(lane: Lane) -> str:
    return EXERCISE if lane is Lane.EXERCISE else ACTUAL
