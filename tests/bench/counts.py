"""How much of everything is measured."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Counts:
    """How often each part does what it measures.

    Attributes:
        rounds: Rounds of what is compared, in turn.
        gateway: Alerts in each round through the gateway.
        latency: Alerts of each load.
        cores: Alerts sealed and opened on one core.
        mesh: Alerts of each of eleven members.
        backlog: Alerts that wait for a node, and then for a desk.
        labels: Through a worker whose memory is watched.
        received: By a node whose memory is watched.
        sent: By a node whose memory is watched.
        appended: Leaves that the log takes.
        audited: Leaves that the auditor verifies.
        proven_s: Seconds of decisions whose proofs are waited for.
    """

    name: str
    rounds: int
    gateway: int
    latency: int
    cores: int
    mesh: int
    backlog: int
    labels: int
    received: int
    sent: int
    appended: int
    audited: int
    proven_s: float


REDUCED = Counts(
    "reduced",
    rounds=1,
    gateway=2000,
    latency=200,
    cores=100,
    mesh=3,
    backlog=500,
    labels=1000,
    received=200,
    sent=200,
    appended=10_000,
    audited=20_000,
    proven_s=5.0,
)
FULL = Counts(
    "full",
    rounds=3,
    gateway=8000,
    latency=1000,
    cores=2000,
    mesh=50,
    backlog=10_000,
    labels=1_000_000,
    received=100_000,
    sent=50_000,
    appended=1_000_000,
    audited=1_000_000,
    proven_s=120.0,
)
TINY = Counts(
    "tiny",
    rounds=1,
    gateway=40,
    latency=16,
    cores=5,
    mesh=1,
    backlog=5,
    labels=40,
    received=10,
    sent=10,
    appended=300,
    audited=600,
    proven_s=2.0,
)
"""For the test that keeps the parts from rotting."""
