"""What goes wrong in a run, and when: the same for the same seed.

Time is counted in alerts sent and not in seconds, so that a slow machine meets the same order.
"""

import random  # noqa: TID251 - seeded, so that a run can be repeated
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Fault(StrEnum):
    """What can happen."""

    KILL = "kill"  # kill -9; whoever watches over it starts it again
    CUT = "cut"  # the line to the hub is closed, and refuses
    STALL = "stall"  # the line stays open and passes nothing
    SLOW = "slow"  # the line is late and thin
    FULL = "full"  # no room on the node's disk
    CLOCK = "clock"  # the node starts again with a clock that is wrong by ten minutes


HUB: Final = ("gateway run", "gateway run", "log run", "log sign", "nats-server", "hub")
"""Whom a kill may meet at the hub, as their commands are called; gateways as often as they are."""


@dataclass(frozen=True, order=True)
class Mishap:
    """One fault, after so many alerts were sent.

    Attributes:
        victim: A member, or the word by which a process of the hub is known.
        seconds: How long it lasts, where it lasts.
    """

    after: int
    fault: Fault
    victim: str
    seconds: float


def mishaps(seed: int, *, alerts: int, kills: int, nodes: Sequence[str]) -> list[Mishap]:
    """Return what goes wrong in a run.

    Args:
        seed: Of the run.
        alerts: How many are sent.
        kills: How many of all are kill -9; half as many other faults come on top, and at least
            one of each.
        nodes: The members that run one.
    """
    order = random.Random(seed)  # noqa: S311 - not for a secret
    found = [
        Mishap(order.randrange(alerts), Fault.KILL, order.choice((*nodes, *HUB)), 0.0)
        for _ in range(kills)
    ]
    others = [fault for fault in Fault if fault is not Fault.KILL]
    others += order.choices(others, k=max(0, kills // 2 - len(others)))
    found += [
        Mishap(order.randrange(alerts), fault, order.choice(nodes), order.uniform(0.5, 3.0))
        for fault in others
    ]
    return sorted(found)
