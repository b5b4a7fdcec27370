"""How much a node keeps and how long it waited: read for desks, monitoring and administrators."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.node.ids import from_ms
from broker.store import tables
from schemas.desk import SubmissionState

Counts = dict[SubmissionState, int]


class Kept(NamedTuple):
    """Alerts in the inbox, real and of exercises, and the newest position."""

    actual: int
    exercise: int
    last_position: int


class Reader(NamedTuple):
    """How far behind one desk's cursor is."""

    cursor: str
    behind: int
    moved_at: datetime


async def submission_counts(connection: AsyncConnection) -> tuple[Counts, Counts]:
    """Return submissions by state: real ones, then those of exercises."""
    table = tables.submissions
    rows = await connection.execute(
        select(table.c.state, table.c.exercise, func.count()).group_by(
            table.c.state, table.c.exercise
        )
    )
    found: tuple[Counts, Counts] = ({}, {})
    for state, exercise, count in rows:
        found[exercise][SubmissionState(state)] = count
    return found


async def waiting_since(connection: AsyncConnection) -> datetime | None:
    """Return when the oldest real submission was queued that still waits for its decision."""
    table = tables.submissions
    waits = table.c.state.in_((str(SubmissionState.QUEUED), str(SubmissionState.SUBMITTED)))
    found = await connection.execute(
        select(func.min(table.c.queued_ms)).where(waits, table.c.exercise == 0)
    )
    oldest_ms = found.scalar_one()
    return None if oldest_ms is None else from_ms(oldest_ms)


async def inbox_counts(connection: AsyncConnection) -> Kept:
    """Return what the inbox holds."""
    table = tables.inbox
    rows = await connection.execute(
        select(table.c.exercise, func.count(), func.max(table.c.position)).group_by(
            table.c.exercise
        )
    )
    found = [0, 0, 0]
    for exercise, count, last in rows:
        found[exercise] = count
        found[2] = max(found[2], last)
    return Kept(*found)


async def quarantined(connection: AsyncConnection) -> int:
    """Return how many deliveries were put aside."""
    found = await connection.execute(select(func.count()).select_from(tables.quarantine))
    return int(found.scalar_one())


async def readers(connection: AsyncConnection) -> Sequence[Reader]:
    """Return every named cursor that is behind the newest alert, the furthest first."""
    last = (await inbox_counts(connection)).last_position
    rows = await connection.execute(select(tables.cursors).where(tables.cursors.c.position < last))
    found = [Reader(row.name, last - row.position, from_ms(row.updated_ms)) for row in rows]
    return sorted(found, key=lambda reader: -reader.behind)
