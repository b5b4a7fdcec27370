"""Whose turn it is among the files of received alerts.

Files of urgent alerts and all others have every second turn, as long as both wait; within either,
the sender that had none for longest is next, with its files in rounds. So a photograph gets half of
the line however many films wait; since every sender says itself how urgent its alert is, that is no
more than half; and whoever sends a thousand files divides its own turns, and nobody else's.
"""

from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, bindparam, case, exists, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.node.rounds import AFTER_ID, AFTER_MS, AFTER_NUMBER, BY_MS, Round, next_in
from broker.store.statements import Statement
from broker.store.tables import arrivals as table
from schemas.desk import ArrivalState

_arriving = table.c.state == str(ArrivalState.ARRIVING)
_Line = tuple[bool, str]  # Whether of urgent alerts, and of whom.


def _senders() -> Select[Any]:
    """Every sender of files on their way, and whether any of its urgent, of its others are due.

    Each is found from the one before it, by the index: no more rows are read than there are.
    """
    least = select(func.min(table.c.sender).label("sender")).where(_arriving)
    found = least.cte("found", recursive=True)
    after = least.where(table.c.sender > found.c.sender).correlate(found).scalar_subquery()
    found = found.union_all(select(after).where(found.c.sender.is_not(None)))

    def has_due(urgent: int) -> ColumnElement[int]:
        mine = (table.c.sender == found.c.sender) & (table.c.urgent == urgent)
        due = exists().where(_arriving, mine, table.c.due_ms <= BY_MS).correlate(found)
        return case((due, 1), else_=0)

    return select(found.c.sender, has_due(1).label("urgent"), has_due(0).label("other")).where(
        found.c.sender.is_not(None)
    )


_SENDERS: Final = Statement(_senders())
_place = tuple_(table.c.due_ms, table.c.envelope_id, table.c.number)
_NEXT: Final = Statement(
    select(table)
    .where(
        _arriving,
        table.c.sender == bindparam("of_sender"),
        table.c.urgent == bindparam("of_urgent"),
        table.c.due_ms <= BY_MS,
        _place > tuple_(AFTER_MS, AFTER_ID, AFTER_NUMBER),
    )
    .order_by(table.c.due_ms, table.c.envelope_id, table.c.number)
    .limit(1)
)


@dataclass
class _Turn:
    """A sender's turns in one half of the line.

    Attributes:
        last: When it last had one; 0 if never.
    """

    last: int = 0
    round: Round = field(default_factory=Round)


@dataclass
class Turns:
    """The turns of one node's files, of one task alone. What it keeps is bounded by the senders."""

    _lines: dict[_Line, _Turn] = field(default_factory=dict)
    _count: int = 0
    _was_urgent: bool = False

    async def next(self, connection: AsyncConnection, *, by_ms: int) -> Any:  # noqa: ANN401 - a row
        """Return the file that comes now, or None if none is due.

        Args:
            connection: To read from.
            by_ms: What is due later is left out.
        """
        found = await _SENDERS.rows(connection, by_ms=by_ms)
        waiting = [(True, row.sender) for row in found if row.urgent]
        waiting += [(False, row.sender) for row in found if row.other]
        if not waiting:
            return None
        line = min(waiting, key=self._order)
        turn = self._lines.setdefault(line, _Turn())
        self._count += 1
        self._was_urgent, turn.last = line[0], self._count
        which = {"of_urgent": int(line[0]), "of_sender": line[1]}
        row, turn.round = await next_in(connection, _NEXT, turn.round, by_ms=by_ms, **which)
        return row

    def _order(self, line: _Line) -> tuple[bool, int, str]:
        turn = self._lines.get(line)
        return line[0] is self._was_urgent, 0 if turn is None else turn.last, line[1]
