"""Rounds through what is due: each has one turn before any has a second.

Only the last place of a round is kept here; the next comes from the database by an index, however
many wait. What is put off comes again in a later round, so each round has an end.
"""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import BigInteger, Integer, String, bindparam
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.store.statements import Statement

BY_MS: Final = bindparam("by_ms", type_=BigInteger)
AFTER_MS: Final = bindparam("after_ms", type_=BigInteger)
AFTER_ID: Final = bindparam("after_id", type_=String)
AFTER_NUMBER: Final = bindparam("after_number", type_=Integer)


@dataclass(frozen=True)
class Round:
    """How far a round is: what was due when it began, after this place.

    Attributes:
        by_ms: When it began.
        due_ms: Since when the last one was due.
        ident: Its envelope.
        number: Its file.
    """

    by_ms: int = -1
    due_ms: int = -1
    ident: str = ""
    number: int = -1


async def next_in(
    connection: AsyncConnection, one: Statement, now: Round, *, by_ms: int, **which: object
) -> tuple[Any, Round]:
    """Return whose turn is next, None if nothing is due, and how far its round then is.

    Args:
        connection: To read from.
        one: Gives the first row due until `BY_MS` behind the place that `AFTER_MS`, `AFTER_ID` and
            `AFTER_NUMBER` name, in that order.
        now: The round that goes on; a new one begins when it is over.
        by_ms: What is due later is left out.
        which: Further values of the statement.
    """
    for each in (now, Round(by_ms)):
        until_ms = min(each.by_ms, by_ms)  # the clock may have been put back
        place = {"after_ms": each.due_ms, "after_id": each.ident, "after_number": each.number}
        row = await one.first(connection, by_ms=until_ms, **place, **which)
        if row is not None:
            number = getattr(row, "number", 0)
            return row, Round(each.by_ms, row.due_ms, row.envelope_id, number)
    return None, Round()
