"""How much of everything is measured."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Counts:
    """How often each part does what it measures.

    Attributes:
        gateway: Alerts in each round through the gateway.
        rounds: Rounds of what is compared, in turn.
    """

    name: str
    gateway: int
    rounds: int


REDUCED = Counts("reduced", gateway=1200, rounds=2)
FULL = Counts("full", gateway=10_000, rounds=3)
TINY = Counts("tiny", gateway=40, rounds=1)
"""For the test that keeps the parts from rotting."""
