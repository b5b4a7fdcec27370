"""How much a node has on its way at one time: little on a thin line, so that the urgent goes first.

What was handed to a socket cannot be overtaken. On a line of 64 kbit/s a batch of 32 is half a
minute, which an alert that comes a moment later would wait; and its answers would be given up and
asked for again. A few at a time keep such a line full all the same.
"""

from typing import Final

from sqlalchemy import Integer, bindparam, case, select

from broker.store.statements import Statement
from broker.store.tables import outbox
from broker.transport.link import Link
from schemas.vocabulary import Lane

BATCH: Final = 32
FEW: Final = 4  # about three seconds of a line of 64 kbit/s
QUIET: Final = 4  # on a slow line, what is not mail rests so many times as long as it took
SLOW_STEP_S: Final = 1.0
_URGENT_FIRST: Final = case((outbox.c.subject.contains(f".{Lane.URGENT}."), 0), else_=1)
_ORDER: Final = (outbox.c.again, _URGENT_FIRST, outbox.c.number)
_NUMBERS: Final = (
    select(outbox.c.number)
    .where(outbox.c.next_ms <= bindparam("by_ms"))
    .order_by(*_ORDER)
    .limit(bindparam("count", type_=Integer))
)
DUE: Final = Statement(  # not ordered as whole rows: there are envelopes in them
    select(outbox).where(outbox.c.number.in_(_NUMBERS)).order_by(*_ORDER)
)
"""The envelopes to submit at `by_ms`, `count` at most: urgent ones before all others.

What a peer asks to have again comes behind all that is new, or a peer could keep a thin line full.
"""


def together(link: Link) -> int:
    """Return how many messages may be on their way over `link` at one time."""
    return FEW if link.is_slow else BATCH


def rest_s(took_s: float, least_s: float) -> float:
    """Return how long background work that took `took_s` leaves the line to the mail."""
    return least_s if took_s < SLOW_STEP_S else max(least_s, QUIET * took_s)
