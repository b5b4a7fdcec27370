"""Takes what other nodes say of our mail: arrived, refused, or which numbers they have."""

from typing import Final
from uuid import UUID

from sqlalchemy import bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.node import pairs, repeats, submissions
from broker.node.present import Present
from broker.store import tables
from broker.store.statements import Statement
from schemas.control import ControlMessage, PairState, Rejected, Told
from schemas.desk import RecipientState
from schemas.label import Label, Reference
from schemas.vocabulary import Kind

_OURS: Final = Statement(
    select(tables.envelopes.c.submission_id).where(
        tables.envelopes.c.id == bindparam("of_id"),
        tables.envelopes.c.digest == bindparam("of_digest"),
    )
)


async def hear(
    connection: AsyncConnection, present: Present, label: Label, message: ControlMessage
) -> None:
    """Keep what a control says; what it says of an envelope that we did not send is nothing.

    Args:
        connection: Of a change.
        present: The node's picture of now.
        label: The control's, authenticated.
        message: What it says, of its sender's own copies.
    """
    peer = label.sender.member
    if isinstance(message, PairState):
        now, incarnation = present.now(), message.incarnation
        await pairs.compare(connection, peer, message, now=now)
        await repeats.again(connection, peer, message.missing, incarnation=incarnation, now=now)
        return
    if label.ref is None:
        return
    submission_id = await _known(connection, label.ref)
    if submission_id is None:
        return
    submission = await submissions.find(connection, submission_id)
    change: dict[str, object]
    match message:
        case Told(kind=Kind.DELIVERED, at=at):
            change = {"state": RecipientState.DELIVERED, "delivered_at": at}
        case Rejected(code=code):
            change = {
                "state": RecipientState.REFUSED,
                "code": code,
                "refused_by": "recipient",
            }
        case _:
            return
    if any(each.recipient == peer for each in submission.recipients):
        moved = submissions.with_outcomes(submission, {peer: change}, now=present.now())
        await submissions.save(connection, moved)


async def _known(connection: AsyncConnection, reference: Reference) -> UUID | None:
    value = await _OURS.value(connection, of_id=str(reference.id), of_digest=reference.digest)
    return None if value is None else UUID(value)
