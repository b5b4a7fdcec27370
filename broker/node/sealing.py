"""Sealing and numbering, in the transaction that writes the outbox row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import bindparam, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.envelope.seal import Recipient, Sealed, seal
from broker.node import retention
from broker.node.ids import new_id, to_ms
from broker.node.present import Present
from broker.store.statements import Statement
from broker.store.tables import arrivals, controls, envelopes, meta, outbox, sent, uploads
from keys.errors import KeysError
from keys.identity import MemberIdentity
from keys.primitives.hashing import random_bytes
from schemas.content import Content
from schemas.control import ControlMessage, control_intent, encode_control, kind_of
from schemas.label import Intent, Label, Reference, Sender
from schemas.vocabulary import Status

INCARNATION: Final = "incarnation"
_AGENCY: Final = "NODE"  # of controls, which no agency writes
_INCARNATION: Final = Statement(select(meta.c.value).where(meta.c.name == INCARNATION))
_HIGHEST: Final = Statement(
    select(func.max(sent.c.number)).where(
        sent.c.peer == bindparam("of_peer"), sent.c.incarnation == bindparam("of_incarnation")
    )
)
_NUMBERED: Final = Statement(insert(sent))
_ENVELOPE: Final = Statement(insert(envelopes))
_WAITING: Final = Statement(insert(outbox))
_SETTLED: Final = Statement(
    update(sent)
    .where(sent.c.id == bindparam("of_id"), sent.c.peer == bindparam("of_peer"))
    .values(state=bindparam("state"))
)
_GONE: Final = Statement(delete(outbox).where(outbox.c.id == bindparam("of_id")))
_DECIDED: Final = Statement(
    update(envelopes).where(envelopes.c.id == bindparam("of_id")).values(decided=1)
)


@dataclass(frozen=True)
class Sealer:
    """Seals for one node. Numbers are taken and rows written on the connection given."""

    present: Present
    identity: MemberIdentity

    async def message(
        self,
        connection: AsyncConnection,
        intent: Intent,
        content: bytes,
        openings: Mapping[str, bytes],
        *,
        submission_id: UUID | None,
    ) -> tuple[UUID, bytes]:
        """Seal, number and put one envelope into the outbox.

        Returns:
            Its id, and from what the keys of its attached files are derived.

        Raises:
            DirectoryError: A recipient has no key now.
            EnvelopeError: It does not fit.
            KeyFileError: The directory holds none of this node's keys.
        """
        now, view = self.present.now(), self.present.view
        label = Label.from_intent(intent, id=new_id(now), directory=view.version)
        recipients, incarnation = [], await incarnation_of(connection)
        for member, random in openings.items():
            number = await next_number(connection, incarnation, member, label.id)
            key = view.encryption_key(member, at=now)
            recipients.append(Recipient(member, number, *key, random))
        kid, sign_key = self.identity.signer(view, at=now)
        sealed = seal(label, content, recipients=recipients, node_kid=kid, node_key=sign_key)
        await _put(connection, label, sealed, now=now, submission_id=submission_id)
        await retention.note(connection, label.id, label.retention.delete_by)
        return label.id, sealed.attachments_key

    async def control(
        self,
        connection: AsyncConnection,
        message: ControlMessage,
        *,
        to: str,
        ref: Reference | None,
        status: Status,
    ) -> UUID:
        """Put one control for `to` into the outbox; return its envelope's id.

        Raises:
            DirectoryError: It has no key now; controls are not worth waiting for one.
        """
        # The fixed label counts from `created`, which is the time inside the id.
        now = _to_milliseconds(self.present.now())
        intent = control_intent(
            kind_of(message),
            sender=Sender(member=self.present.member, agency=_AGENCY),
            ref=ref,
            status=status,
            now=now,
        )
        view = self.present.view
        label = Label.from_intent(intent, id=new_id(now), directory=view.version)
        # Keys first: what fails here must leave no number behind.
        kid, sign_key = self.identity.signer(view, at=now)
        key = view.encryption_key(to, at=now)
        incarnation = await incarnation_of(connection)
        number = await next_number(connection, incarnation, to, label.id)
        recipient = Recipient(to, number, *key, random_bytes(32))
        content = Content(encode_control(message)).to_bytes()
        try:
            sealed = seal(label, content, recipients=[recipient], node_kid=kid, node_key=sign_key)
        except KeysError:  # the key's token does not sign: likewise
            await connection.execute(delete(sent).where(sent.c.id == str(label.id)))
            raise
        await _put(connection, label, sealed, now=now, submission_id=None)
        return label.id


async def next_number(
    connection: AsyncConnection, incarnation: int, peer: str, ident: UUID
) -> tuple[int, int]:
    """Return `incarnation` and the next number for `peer` in it, kept as pending."""
    highest = await _HIGHEST.value(connection, of_peer=peer, of_incarnation=incarnation)
    number = int(highest or 0) + 1
    await _NUMBERED.run(
        connection,
        peer=peer,
        incarnation=incarnation,
        number=number,
        id=str(ident),
        state="pending",
    )
    return incarnation, number


async def incarnation_of(connection: AsyncConnection) -> int:
    """Return this node's incarnation; a node restored from a backup starts a new one."""
    return int(await _INCARNATION.value(connection) or 1)


async def settle_numbers(
    connection: AsyncConnection, ident: UUID, accepted: Sequence[str], void: Sequence[str]
) -> None:
    """Note which of an envelope's numbers were accepted, and which are void."""
    for peers, state in ((accepted, "accepted"), (void, "void")):
        for peer in peers:
            await _SETTLED.run(connection, of_id=str(ident), of_peer=peer, state=state)


async def forget(connection: AsyncConnection, ident: UUID) -> None:
    """Take a decided envelope out of the outbox."""
    await _GONE.run(connection, of_id=str(ident))
    await _DECIDED.run(connection, of_id=str(ident))


async def hurry(connection: AsyncConnection) -> None:
    """Let all that waits be tried at once: the clock by which it waits was wrong."""
    await connection.execute(update(outbox).values(next_ms=0))
    await connection.execute(update(controls).values(due_ms=0))
    await connection.execute(update(uploads).values(due_ms=0))
    await connection.execute(update(arrivals).values(due_ms=0))


async def _put(
    connection: AsyncConnection,
    label: Label,
    sealed: Sealed,
    *,
    now: datetime,
    submission_id: UUID | None,
) -> None:
    await _ENVELOPE.run(
        connection,
        id=str(label.id),
        digest=sealed.digest,
        submission_id=None if submission_id is None else str(submission_id),
        decided=0,
    )
    await _WAITING.run(
        connection,
        id=str(label.id),
        subject=f"submit.{label.sender.member}.{label.lane}.{label.id}",
        digest=sealed.digest,
        attempt=0,
        next_ms=to_ms(now),
        raw=sealed.raw,
    )


def _to_milliseconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
