"""Whose turn it is among the files of received alerts.

Files of urgent alerts and all others have every second turn, as long as both wait; within either,
who had none for longest is next. So a photograph gets half of the line however many films wait; and
since every sender says itself how urgent its alert is, that is no more than half.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import bindparam, select

from broker.node.errors import NodeError
from broker.node.receiveditem import Kept
from broker.node.vault import Vault
from broker.store.database import Database
from broker.store.statements import Statement
from broker.store.tables import inbox
from schemas.label import lane_of
from schemas.vocabulary import Kind, Lane

Place = tuple[str, int]
_SEALED: Final = Statement(select(inbox.c.sealed).where(inbox.c.id == bindparam("of_id")))


@dataclass
class _Turn:
    """What is known of one file here.

    Attributes:
        last: When it last had its turn; 0 if never.
    """

    urgent: bool
    last: int = 0


@dataclass
class Turns:
    """The turns of one node's files, of one task alone."""

    database: Database
    vault: Vault
    _turns: dict[Place, _Turn] = field(default_factory=dict)
    _count: int = 0
    _was_urgent: bool = False

    async def next(self, rows: Sequence[Any]) -> Any:  # noqa: ANN401 - rows
        """Return which of these files comes now; at least one is due."""
        for row in rows:
            if _place(row) not in self._turns:
                self._turns[_place(row)] = _Turn(await self._is_urgent(row.envelope_id))
        row = min(rows, key=self._order)
        turn = self._turns[_place(row)]
        self._count += 1
        self._was_urgent, turn.last = turn.urgent, self._count
        return row

    def forget(self, place: Place) -> None:
        """Forget a file that is over."""
        self._turns.pop(place, None)

    def _order(self, row: Any) -> tuple[bool, int, Place]:  # noqa: ANN401 - a row
        turn = self._turns[_place(row)]
        return turn.urgent is self._was_urgent, turn.last, _place(row)

    async def _is_urgent(self, ident: str) -> bool:
        """Whether an alert is urgent by its label; what does not open keeps no other waiting."""
        async with self.database.read() as connection:
            sealed = await _SEALED.value(connection, of_id=ident)
        if sealed is None:
            return False
        try:
            item = Kept.model_validate_json(self.vault.open(sealed, name=f"inbox/{ident}")).item
        except NodeError:
            return False
        return lane_of(Kind.ALERT, item.status, item.precedence) is Lane.URGENT


def _place(row: Any) -> Place:  # noqa: ANN401 - a row
    return row.envelope_id, row.number
