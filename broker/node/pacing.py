"""How much a node has on its way at one time: little on a thin line, so that the urgent goes first.

What was handed to a socket cannot be overtaken. On a line of 64 kbit/s a batch of 32 is half a
minute, which an alert that comes a moment later would wait; and its answers would be given up and
asked for again. A few at a time keep such a line full all the same.
"""

from typing import Final

from sqlalchemy import Select, case, select

from broker.store.tables import outbox
from broker.transport.link import Link
from schemas.vocabulary import Lane

BATCH: Final = 32
FEW: Final = 4  # about three seconds of a line of 64 kbit/s
QUIET: Final = 4  # on a slow line, what is not mail rests so many times as long as it took
SLOW_STEP_S: Final = 1.0


def together(link: Link) -> int:
    """Return how many messages may be on their way over `link` at one time."""
    return FEW if link.is_slow else BATCH


def rest_s(took_s: float, least_s: float) -> float:
    """Return how long background work that took `took_s` leaves the line to the mail."""
    return least_s if took_s < SLOW_STEP_S else max(least_s, QUIET * took_s)


def next_to_submit(now_ms: int, count: int) -> Select[tuple[int]]:
    """Return the query for the numbers of what is due, urgent alerts before all others."""
    urgent = case((outbox.c.subject.contains(f".{Lane.URGENT}."), 0), else_=1)
    due = select(outbox.c.number).where(outbox.c.next_ms <= now_ms)
    return due.order_by(urgent, outbox.c.number).limit(count)
