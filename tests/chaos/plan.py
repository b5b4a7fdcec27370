"""What goes wrong in a run, and when: the same for the same seed.

Time is counted in alerts sent and not in seconds, so that a slow machine meets the same order.
"""

import random  # noqa: TID251 - seeded, so that a run can be repeated
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final


class Fault(StrEnum):
    """What can happen."""

    KILL = "kill"  # kill -9; whoever watches over it starts it again
    CUT = "cut"  # the line to the hub is closed, and refuses
    STALL = "stall"  # the line stays open and passes nothing
    SLOW = "slow"  # the line is late and thin
    LOSS = "loss"  # the line loses a share of the packets
    PARTITION = "partition"  # the line loses all of them, and nobody is told
    FULL = "full"  # no room on the disk, for a node or for a process of the hub
    CLOCK = "clock"  # the node starts again with a clock that is wrong by ten minutes
    JUMP = "jump"  # the clock of a node that runs jumps by ten minutes
    RESTORE = "restore"  # the node's disk is lost, and an older backup is put back
    FLIP = "flip"  # a bit of the node's database flips, and an older backup is put back
    PURGE = "purge"  # an inbox is emptied at the hub while its node is away
    RECORD = "record"  # the stream of decisions is made anew at the hub
    ROUTE = "route"  # a server of a cluster hears nothing of the others, nor they of it
    DISK = "disk"  # a server of a cluster loses its disk, and an empty one takes its place
    HUB_FULL = "hub-full"  # no room for nats-server, for a gateway worker, for the hub itself
    HUB_CLOCK = "hub-clock"  # the hub, its children too, starts again with a wrong clock
    HUB_JUMP = "hub-jump"  # the clock of the running hub, or of one worker alone, jumps


CLOCKS: Final = (Fault.CLOCK, Fault.JUMP)
LOSSES: Final = (Fault.RESTORE, Fault.FLIP, Fault.PURGE, Fault.RECORD)
"""What takes mail away that was there; one is made good before the next begins."""
SERVERS: Final = (Fault.ROUTE, Fault.DISK)
"""What happens to one server of a cluster while the others stand."""
SERVER: Final = "nats-server"
WORKER: Final = "--worker 2"
AT_THE_HUB: Final = (
    (Fault.HUB_FULL, SERVER),
    (Fault.HUB_FULL, "gateway run"),
    (Fault.HUB_FULL, "hub"),
    (Fault.HUB_CLOCK, "hub"),
    (Fault.HUB_JUMP, "hub"),
    (Fault.HUB_JUMP, WORKER),
)
"""Each at least once, where the hub has a server of its own; none while a loss is made good."""
HUB_FAULTS: Final = frozenset(fault for fault, _ in AT_THE_HUB)
LASTING: Final = [
    fault for fault in Fault if fault not in {Fault.KILL, *LOSSES, *SERVERS, *HUB_FAULTS}
]
HUB: Final = ("gateway run", "gateway run", "log run", "log sign", SERVER, "hub")
"""Whom a kill may meet at the hub, as their commands are called; gateways as often as they are."""
NODE: Final = "node"
KINDS: Final = (SERVER, *dict.fromkeys(word for word in HUB if word != SERVER), NODE)
"""Of whom the first kills meet one each, whatever the seed."""
WRITERS: Final = ("log run", "log sign")
"""Who at the hub writes to its disk all the time; each is without room once at least."""
WRONG_S: Final = 600
KILLS_FOR_A_LOSS: Final = 50
KILLS_FOR_A_SERVER: Final = 10


@dataclass(frozen=True, order=True)
class Mishap:
    """One fault, after so many alerts were sent.

    Attributes:
        victim: A member, or the word by which a process of the hub is known.
        seconds: How long it lasts, where it lasts.
        ahead_s: How far a clock is set ahead of the time, or behind it.
        lost_after: Alerts sent between the backup and the loss.
        draw: Seed of what else is drawn: which bit flips.
    """

    after: int
    fault: Fault
    victim: str
    seconds: float = 0.0
    ahead_s: int = 0
    lost_after: int = 0
    draw: int = 0


def mishaps(
    seed: int,
    *,
    alerts: int,
    kills: int,
    nodes: Sequence[str],
    losers: Sequence[str],
    servers: Sequence[str] = (),
) -> list[Mishap]:
    """Return what goes wrong in a run.

    Args:
        seed: Of the run.
        alerts: How many are sent.
        kills: How many of all are kill -9; half as many other faults come on top, and at least
            two of each; and losses and what happens at the hub, at least one of each. The first
            kills meet one of each of `KINDS`.
        nodes: The members that run one.
        losers: Those of them that get mail from nodes alone, which hand it in again.
        servers: Of a cluster, in place of the hub's own.
    """
    order = random.Random(seed)  # noqa: S311 - not for a secret
    hub = (*(word for word in HUB if word != SERVER), *servers) if servers else HUB
    found = [
        Mishap(order.randrange(alerts), Fault.KILL, order.choice((*nodes, *hub)))
        for _ in range(kills)
    ]
    others = LASTING * 2  # at least twice each
    others += order.choices(LASTING, k=max(0, kills // 2 - len(others)))
    busy = alerts * 4 // 5  # what comes later would meet nobody at work
    for fault in others:
        victims = (*nodes, *WRITERS) if fault is Fault.FULL else nodes
        ahead_s = order.choice((WRONG_S, -WRONG_S)) if fault in CLOCKS else 0
        after = order.randrange(busy)
        seconds = order.uniform(0.5, 3.0)
        found.append(Mishap(after, fault, order.choice(victims), seconds, ahead_s))
    losses = list(LOSSES) * max(1, kills // KILLS_FOR_A_LOSS)
    order.shuffle(losses)
    part = busy // len(losses)  # of the run, for each: none begins before the last backup is used
    for number, fault in enumerate(losses):
        after = number * part + order.randrange(part // 2)
        lost_after = order.randrange(part // 4, part // 2)
        loser, draw = order.choice(losers), order.randrange(2**32)
        loser = "hub" if fault is Fault.RECORD else loser
        found.append(Mishap(after, fault, loser, lost_after=lost_after, draw=draw))
    one_of: dict[str, Sequence[str]] = {NODE: nodes}
    if servers:
        one_of[SERVER] = (order.choice(servers),)
        for fault in SERVERS * max(1, kills // KILLS_FOR_A_SERVER):
            after, seconds = order.randrange(busy), order.uniform(0.5, 3.0)
            found.append(Mishap(after, fault, order.choice(servers), seconds))
    # Drawn behind all others, so that what a seed meant before it means still.
    at_the_hub = () if servers else AT_THE_HUB * max(1, kills // KILLS_FOR_A_LOSS)
    for fault, victim in at_the_hub:
        ahead_s = 0 if fault is Fault.HUB_FULL else order.choice((WRONG_S, -WRONG_S))
        found.append(Mishap(order.randrange(busy), fault, victim, ahead_s=ahead_s))
    found += [Mishap(order.randrange(busy), Fault.FULL, writer) for writer in WRITERS]
    for number, kind in zip(range(kills), KINDS, strict=False):
        victim = order.choice(one_of.get(kind, (kind,)))
        found[number] = replace(found[number], victim=victim)
    return sorted(found)


def kind_of(victim: str, *, nodes: Collection[str], servers: Collection[str] = ()) -> str:
    """Which of `KINDS` a victim of a kill is."""
    return NODE if victim in nodes else SERVER if victim in servers else victim
