"""What is asked of the rows of awaited files, and how they change."""

from typing import Any, Final

from sqlalchemy import bindparam, delete, exists, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.store.statements import Statement
from broker.store.tables import arrivals as table
from schemas.desk import ArrivalState

_TOGETHER: Final = 16  # told of between two windows of chunks
# Asked at each window, and at each alert that is stored, while desks wait to be given it: so both
# are answered by an index, whatever else is here.
_other = table.alias()
_OVER: Final = tuple(each for each in ArrivalState if each is not ArrivalState.ARRIVING)
TO_TELL: Final = Statement(
    select(table.c.envelope_id, table.c.sender)
    .where(
        table.c.told == 0,
        or_(*(table.c.state == str(each) for each in _OVER)),
        table.c.chunks > 0,
        ~exists().where(
            _other.c.envelope_id == table.c.envelope_id,
            _other.c.number >= 0,  # every one is; by both SQLite finds them by their key
            _other.c.state == str(ArrivalState.ARRIVING),
        ),
    )
    .distinct()
)
UNWANTED: Final = Statement(
    select(table)
    .where(
        table.c.told == 0,
        table.c.state == str(ArrivalState.REFUSED),
        table.c.chunks == 0,
        table.c.due_ms <= bindparam("by_ms"),
    )
    .order_by(table.c.due_ms)
    .limit(_TOGETHER)
)


def same(row: Any) -> Any:  # noqa: ANN401 - a row, a condition
    """Return the condition that names the file of a row."""
    return (table.c.envelope_id == row.envelope_id) & (table.c.number == row.number)


def values(which: Any, **columns: Any) -> Any:  # noqa: ANN401 - a condition, values, a change
    """Return the change that gives columns of some files new values."""

    async def change(connection: AsyncConnection) -> None:
        await connection.execute(update(table).where(which).values(**columns))

    return change


def removed(which: Any) -> Any:  # noqa: ANN401 - a condition, a change
    """Return the change that forgets some files."""

    async def change(connection: AsyncConnection) -> None:
        await connection.execute(delete(table).where(which))

    return change
