"""Submissions in the database: queued, judged again, sealed, numbered, decided.

Every function takes a connection and is part of one change, so that a crash leaves either all of
it or nothing.
"""

import contextlib
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy import Integer, bindparam, desc, func, insert, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.node.errors import NodeError
from broker.node.ids import to_ms
from broker.store import tables
from broker.store.errors import DAMAGED_CODE, StoreError, damaged, store_error
from broker.store.statements import Statement
from schemas.desk import (
    EqualAlert,
    RecipientOutcome,
    RecipientState,
    SendingState,
    Submission,
    SubmissionPage,
    SubmissionState,
)

EQUAL_WITHIN: Final = timedelta(hours=24)
_table: Final = tables.submissions
_ADDED: Final = Statement(insert(_table))
_SAVED: Final = Statement(
    update(_table)
    .where(_table.c.id == bindparam("of_id"))
    .values(
        state=bindparam("state"),
        document=bindparam("document"),
        resealed=func.coalesce(bindparam("resealed", type_=Integer), _table.c.resealed),
    )
)
_OWN: Final = Statement(select(_table.c.document).where(_table.c.id == bindparam("of_id")))
_FOUND: Final = Statement(
    select(_table.c.document)
    .where(
        (_table.c.alert_id == bindparam("of_id"))
        | _table.c.id.in_(
            select(tables.envelopes.c.submission_id).where(
                tables.envelopes.c.id == bindparam("of_id")
            )
        )
    )
    .order_by(desc(_table.c.number))
    .limit(1)
)
_SEALED: Final = Statement(
    select(_table.c.sealed, _table.c.resealed).where(_table.c.id == bindparam("of_id"))
)
_QUEUED: Final = Statement(
    select(_table.c.id)
    .where(_table.c.state == str(SubmissionState.QUEUED))
    .order_by(_table.c.number)
    .limit(bindparam("at_most"))
)
_EQUAL: Final = Statement(
    select(_table.c.id)
    .where(
        _table.c.content_digest == bindparam("of_digest"),
        _table.c.queued_ms > bindparam("since_ms"),
        _table.c.state != str(SubmissionState.CANCELLED),
    )
    .order_by(desc(_table.c.number))
    .limit(5)
)


async def add(
    connection: AsyncConnection,
    submission: Submission,
    *,
    digest: bytes,
    sealed: bytes,
    delete_by: datetime,
) -> None:
    """Keep a new submission; its content, until `delete_by`."""
    await _ADDED.run(
        connection,
        id=str(submission.submission_id),
        alert_id=str(submission.alert_id),
        state=str(submission.state),
        exercise=int(submission.exercise),
        queued_ms=to_ms(submission.queued_at),
        content_digest=digest,
        resealed=0,
        document=submission.model_dump_json(),
        sealed=sealed,
        delete_ms=to_ms(delete_by),
    )


async def save(
    connection: AsyncConnection, submission: Submission, *, resealed: int | None = None
) -> Submission:
    """Keep a changed submission under the next revision and return it.

    Args:
        connection: Of a change.
        submission: As it is now.
        resealed: How often it was sealed again, if that changed.
    """
    changed = submission.model_copy(update={"revision": submission.revision + 1})
    await _SAVED.run(
        connection,
        of_id=str(submission.submission_id),
        state=str(changed.state),
        document=changed.model_dump_json(),
        resealed=resealed,
    )
    return changed


async def find(connection: AsyncConnection, reference: UUID) -> Submission:
    """Return a submission by its id, its alert's id (newest) or its envelope's id.

    Raises:
        NodeError: `not-found`.
        StoreError: `database-damaged`.
    """
    for statement in (_OWN, _FOUND):
        found = await _found(connection, statement, str(reference))
        if found is not None:
            return found
    raise NodeError("not-found", "no submission is known by this id", kind="not-found")


async def sealed_of(connection: AsyncConnection, submission_id: UUID) -> tuple[bytes, int]:
    """Return the sealed draft of a submission, and how often it was sealed again."""
    row = await _SEALED.first(connection, of_id=str(submission_id))
    return row.sealed, row.resealed


async def page(
    connection: AsyncConnection,
    *,
    states: Collection[SubmissionState],
    before: UUID | None,
    limit: int,
) -> tuple[SubmissionPage, int]:
    """Return submissions, newest first, and how many more of them are damaged."""
    table = tables.submissions
    query = select(table.c.id).order_by(desc(table.c.number)).limit(limit + 1)
    if states:
        query = query.where(table.c.state.in_([str(state) for state in states]))
    if before is not None:
        number = select(table.c.number).where(table.c.id == str(before)).scalar_subquery()
        query = query.where(table.c.number < number)
    ids = (await connection.execute(query)).scalars().all()
    shown = ids[:limit]
    items = tuple(await _readable(connection, shown))
    following = UUID(shown[-1]) if len(ids) > limit else None
    return SubmissionPage(items=items, next=following), len(shown) - len(items)


async def queued(connection: AsyncConnection, *, limit: int) -> tuple[list[Submission], int]:
    """Return the oldest submissions that wait to be sealed, and how many more are damaged."""
    rows = await _QUEUED.rows(connection, at_most=limit)
    found = await _readable(connection, (row.id for row in rows))
    return found, len(rows) - len(found)


async def equal(
    connection: AsyncConnection, digest: bytes, *, now: datetime
) -> tuple[EqualAlert, ...]:
    """Return what was sent within 24 hours with equal content, newest first."""
    since_ms = to_ms(now - EQUAL_WITHIN)
    rows = await _EQUAL.rows(connection, of_digest=digest, since_ms=since_ms)
    known = await _readable(connection, (row.id for row in rows))
    return tuple(
        EqualAlert(
            submission_id=each.submission_id,
            alert_id=each.alert_id,
            queued_at=each.queued_at,
            recipients=tuple(one.recipient for one in each.recipients),
        )
        for each in known
    )


def with_outcomes(
    submission: Submission, changes: Mapping[str, Mapping[str, object]], *, now: datetime
) -> Submission:
    """Return the submission with some recipients' outcomes changed, and the state that follows."""
    outcomes = tuple(
        outcome.model_copy(update={**changes[outcome.recipient], "changed_at": now})
        if outcome.recipient in changes
        else outcome
        for outcome in submission.recipients
    )
    state = _state(outcomes, before=submission.state)
    return submission.model_copy(update={"recipients": outcomes, "state": state})


def given_up(submission: Submission, code: str, *, now: datetime) -> Submission:
    """Return the submission as it is once its content is gone: what was not sealed never will be.

    Args:
        submission: As it was.
        code: Why.
        now: When.
    """
    why: dict[str, dict[str, object]] = {
        recipient: {"state": RecipientState.REFUSED, "code": code, "refused_by": "node"}
        for recipient in waiting_recipients(submission)
    }
    files = tuple(
        each if each.state.final else each.model_copy(update={"state": SendingState.DROPPED})
        for each in submission.attachments
    )
    over: dict[str, object] = {"attachments": files}
    if why:
        over |= {"waiting_for": "", "attention": "", "retry_at": None}
    return with_outcomes(submission, why, now=now).model_copy(update=over)


def waiting_recipients(submission: Submission) -> tuple[str, ...]:
    """Return the recipients whose copies are still to be sealed."""
    return tuple(
        outcome.recipient
        for outcome in submission.recipients
        if outcome.state is RecipientState.QUEUED
    )


async def _readable(connection: AsyncConnection, ids: Iterable[str]) -> list[Submission]:
    """Return those that are as this node wrote them: one that the disk changed holds up no other.

    Each is read by itself: a text that is none any more fails the whole statement that reads it.
    """
    readable = []
    for ident in ids:
        with contextlib.suppress(StoreError):
            found = await _found(connection, _OWN, ident)
            if found is not None:
                readable.append(found)
    return readable


async def _found(
    connection: AsyncConnection, statement: Statement, ident: str
) -> Submission | None:
    """Return what this node wrote, or None if it did not.

    Raises:
        StoreError: `database-damaged`.
    """
    try:
        document = await statement.value(connection, of_id=ident)
        return None if document is None else Submission.model_validate_json(document)
    except ValidationError:
        raise damaged() from None
    except DBAPIError as error:
        if store_error(error).code == DAMAGED_CODE:
            raise damaged() from None
        raise


def _state(outcomes: Iterable[RecipientOutcome], *, before: SubmissionState) -> SubmissionState:
    states = {outcome.state for outcome in outcomes}
    if before is SubmissionState.NEEDS_ATTENTION and RecipientState.QUEUED in states:
        return before  # whatever the others answer, a person still decides about the rest
    if RecipientState.SUBMITTED in states:
        return SubmissionState.SUBMITTED
    if RecipientState.QUEUED in states:
        return SubmissionState.QUEUED
    return SubmissionState.DECIDED
