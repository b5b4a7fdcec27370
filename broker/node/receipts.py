"""Receipts of the hub: believed, stored, then acknowledged; what they say moves submissions on."""

import asyncio
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.envelope.decision import verify_decision
from broker.envelope.errors import EnvelopeError
from broker.errors import BrokerError
from broker.logs import get_logger
from broker.node import alarms, outcomes, repeats, submissions
from broker.node.changes import Changes
from broker.node.controls import Controls
from broker.node.errors import NodeError
from broker.node.evidence import named_by_gateway
from broker.node.ids import from_ms, to_ms
from broker.node.incoming import MAX_FAULTS
from broker.node.outcomes import MAX_RESEALED
from broker.node.outgoing import IDLE_S
from broker.node.pacing import together
from broker.node.present import Present
from broker.node.proofs import expect
from broker.node.sealing import forget, settle_numbers
from broker.node.uploads import decided_upload
from broker.store import tables
from broker.store.database import Database
from broker.store.errors import DAMAGED_CODE, StoreError
from broker.store.statements import Statement
from broker.transport.link import Link
from broker.transport.message import Message
from keys.errors import KeysError
from keys.primitives.hashing import sha256
from schemas.decision import Decision, DecisionHeader, parse_decision
from schemas.desk import RecipientState, Submission
from schemas.errors import SchemaError
from schemas.receipt import (
    NOTICE_CONTEXT,
    DecisionReceipt,
    Notice,
    NoticeReceipt,
    TemporaryRefusal,
    Where,
    parse_notice,
    parse_receipt,
)

PULL_TIMEOUT_S: Final = 3.0
_ENVELOPE: Final = Statement(
    select(tables.envelopes).where(tables.envelopes.c.id == bindparam("of_id"))
)
_WAITING: Final = Statement(
    select(tables.outbox.c.raw).where(tables.outbox.c.id == bindparam("of_id"))
)
_SENT_TO: Final = Statement(
    select(tables.sent.c.peer).where(tables.sent.c.id == bindparam("of_id"))
)
_UNREADABLE: Final = frozenset({DAMAGED_CODE, "not-found"})  # the latter by a changed id
_log = get_logger()


@dataclass(frozen=True)
class Receipts:
    """What the hub says of one node's submissions."""

    present: Present
    database: Database
    controls: Controls
    link: Link
    changes: Changes

    async def read_for_ever(self) -> None:
        """Take receipts from the hub, store what they say, then acknowledge them."""
        member = self.present.member
        while True:
            try:
                await self.link.wait_connected()
                batch = together(self.link)
                messages = await self.link.pull(
                    f"RECEIPT_{member}", member, batch=batch, timeout_s=PULL_TIMEOUT_S
                )
                async with asyncio.TaskGroup() as group:  # one commit for all of them
                    for message in messages:
                        group.create_task(self._take(message))
            except BrokerError as error:
                _log.info("receipts-paused", error_code=error.code)
                await asyncio.sleep(IDLE_S)

    async def _take(self, message: Message) -> None:
        """Take one receipt through; un-acked, it comes again."""
        try:
            await self._take_whole(message)
        except BrokerError as error:
            _log.info("receipt-not-acked", error_code=error.code)

    async def _take_whole(self, message: Message) -> None:
        final = message.attempts > MAX_FAULTS
        try:
            await self.take(message.payload, about=_about(message.subject), final=final)
        except (SchemaError, EnvelopeError, KeysError) as error:
            _log.error("receipt-not-believed", error_code=error.code)
            # A newer directory may name the gateway's key; one that is not proved yet surely may.
            if message.attempts <= MAX_RESEALED or self.present.candidate is not None:
                await message.nak(delay_s=IDLE_S * 5)
                return
        except BrokerError as error:  # the database, most likely: nothing was kept, so come again
            if not final or error.code != DAMAGED_CODE:
                _log.error("receipt-not-kept", error_code=error.code)
                await message.nak(delay_s=IDLE_S * 5)
                return
            # Nothing mends what the disk changed, and the hub says it again when it is asked.
            _log.error("receipt-put-aside", error_code=error.code)
            self.database.met_damage()
        except Exception:  # noqa: BLE001 - the edge of a task: one message must not stop a node
            _log.exception("receipt-failed", attempts=message.attempts)
            if not final:
                await message.nak(delay_s=IDLE_S * 5)
                return
            # Given up: while nothing is decided here, the envelope goes again, and so its receipt.
        await message.ack()

    async def take(self, raw: bytes, *, about: UUID | None = None, final: bool = False) -> None:
        """Believe and store one receipt.

        Args:
            raw: Not trusted.
            about: The envelope it is said to speak of, a hint: the hub may refuse bytes unread,
                and then it can name only their hash.
            final: Whether to do without a submission that the disk changed: what the receipt says
                of its envelope is stored, and the alarm says that a desk will not hear of it.

        Raises:
            SchemaError: Not a receipt of a known form.
            EnvelopeError: Its decision does not verify.
            KeysError: Its notice does not verify.
        """
        match parse_receipt(raw):
            case DecisionReceipt(decision=wire, copies=copies):
                decision = parse_decision(wire)
                verify_decision(decision, self.present.view)
                split, named = "", decision.header.dir
                if not self.present.knows(named):
                    split = self.present.meet(named, named_by_gateway(decision))
                if split and decision.header.code == split:
                    self.present.stop_sealing()
                await alarms.say_split(self.database, self.present)
                await self.database.change(
                    lambda c: self._decided(c, decision, dict(copies), about, final=final)
                )
            case TemporaryRefusal() as refusal:
                await self.database.change(lambda c: self._later(c, refusal, final=final))
            case NoticeReceipt(notice=notice_bytes, kid=kid, signature=signature):
                notice = parse_notice(notice_bytes)
                key = self.present.view.gateway_key(kid, at=from_ms(notice.at_ms))
                key.verify(signature, NOTICE_CONTEXT + notice_bytes)
                await self.database.change(lambda c: self._noticed(c, notice, final=final))
        self.changes.happened()

    async def _decided(
        self,
        connection: AsyncConnection,
        decision: Decision,
        copies: dict[str, Where],
        about: UUID | None,
        *,
        final: bool,
    ) -> None:
        header = decision.header
        if header.sender != self.present.member:
            return
        row = await _ENVELOPE.first(connection, of_id=str(header.id))
        if row is None or row.digest != header.digest:  # refused unread, it names but a hash
            unread = await _refused_unread(connection, about, header)
            row = await _ENVELOPE.first(connection, of_id=str(about)) if unread else None
        if row is None or row.decided:
            if row is not None:
                await self._decided_again(connection, row, decision)
                await self._moved(connection, row.submission_id, copies, final=final)
            return
        ident = UUID(row.id)
        if self.present.view.hub.log is not None:
            raw = b"" if row.submission_id is None else await _waiting_bytes(connection, ident)
            await expect(connection, ident, decision, sent=True, envelope=raw)
        accepted = [record.recipient for record in decision.records if record.accepted]
        sent_to = await _peers_of(connection, ident)
        await settle_numbers(
            connection, ident, accepted, [peer for peer in sent_to if peer not in accepted]
        )
        if accepted:
            logged = self.present.view.hub.log is not None
            await repeats.keep(connection, ident, now=self.present.now(), logged=logged)
        await forget(connection, ident)
        await decided_upload(connection, ident, accepted=bool(accepted))
        if row.submission_id is not None:
            found = await self._submission(connection, UUID(row.submission_id), final=final)
            if found is not None:
                await self._outcomes(connection, found, decision, copies)
        elif not accepted:
            code = header.code or next((record.code for record in decision.records), "")
            await self.controls.decided(connection, ident, code)
        else:
            await self.controls.decided(connection, ident, "")

    async def _decided_again(
        self,
        connection: AsyncConnection,
        row: Any,  # noqa: ANN401 - a row of `envelopes`
        decision: Decision,
    ) -> None:
        """Take the answer to what was handed in again: as a rule, what stands.

        Where the hub lost its record, another one about the same bytes: let the log prove that.
        """
        ident = UUID(row.id)
        accepted = any(record.accepted for record in decision.records)
        if accepted and self.present.view.hub.log is not None:
            raw = b"" if row.submission_id is None else await _waiting_bytes(connection, ident)
            await expect(connection, ident, decision, sent=True, envelope=raw)
        if not accepted:
            await repeats.given_up(connection, ident)
        await repeats.settled(connection, ident)

    async def _outcomes(
        self,
        connection: AsyncConnection,
        submission: Submission,
        decision: Decision,
        copies: dict[str, Where],
    ) -> None:
        _, resealed = await submissions.sealed_of(connection, submission.submission_id)
        moved, counted = outcomes.decided(
            submission, decision, copies, resealed=resealed, present=self.present
        )
        await submissions.save(connection, moved, resealed=resealed + counted)

    async def _moved(
        self,
        connection: AsyncConnection,
        submission_id: str | None,
        copies: dict[str, Where],
        *,
        final: bool,
    ) -> None:
        """A receipt told again: what was held may be stored by now."""
        if submission_id is None:
            return
        submission = await self._submission(connection, UUID(submission_id), final=final)
        if submission is None:
            return
        changes = {
            outcome.recipient: {"state": outcomes.STATES[copies[outcome.recipient]]}
            for outcome in submission.recipients
            if outcome.state is RecipientState.HELD and outcome.recipient in copies
        }
        if changes:
            moved = submissions.with_outcomes(submission, changes, now=self.present.now())
            await submissions.save(connection, moved)

    async def _later(
        self, connection: AsyncConnection, refusal: TemporaryRefusal, *, final: bool
    ) -> None:
        due_ms = to_ms(self.present.now()) + refusal.retry_after_s * 1000
        table = tables.outbox
        changed = await connection.execute(
            update(table)
            .where(table.c.id == str(refusal.id), table.c.digest == refusal.digest)
            .values(next_ms=due_ms)
        )
        if changed.rowcount and (ident := await _undecided_of(connection, refusal.id)):
            submission = await self._submission(connection, ident, final=final)
            if submission is None:
                return
            told = {"waiting_for": refusal.code, "retry_at": from_ms(due_ms)}
            await submissions.save(connection, submission.model_copy(update=told))

    async def _noticed(self, connection: AsyncConnection, notice: Notice, *, final: bool) -> None:
        if notice.sender != self.present.member:
            return
        await settle_numbers(connection, notice.id, [], [notice.recipient])
        ident = await _submission_of(connection, notice.id)
        if ident is None:
            return
        submission = await self._submission(connection, ident, final=final)
        if submission is None:
            return
        changes = {
            outcome.recipient: {"state": outcomes.STATES[notice.where], "code": str(notice.where)}
            for outcome in submission.recipients
            if outcome.recipient == notice.recipient and not outcome.state.final
        }
        moved = submissions.with_outcomes(submission, changes, now=self.present.now())
        await submissions.save(connection, moved)

    async def _submission(
        self, connection: AsyncConnection, ident: UUID, *, final: bool
    ) -> Submission | None:
        """Return a submission; None, and an alarm, if the disk changed it and this is for good.

        Raises:
            StoreError: `database-damaged`, while it may still be read another time.
            NodeError: `not-found`, meanwhile.
        """
        try:
            return await submissions.find(connection, ident)
        except (StoreError, NodeError) as error:
            if not final or error.code not in _UNREADABLE:
                raise
        now = self.present.now()
        await alarms.raise_alarm(connection, DAMAGED_CODE, now=now, ident=str(ident))
        return None


def _about(subject: str) -> UUID | None:
    """Return the id at the end of a receipt's subject, a hint."""
    try:
        return UUID(subject.rpartition(".")[2])
    except ValueError:
        return None


async def _refused_unread(
    connection: AsyncConnection, about: UUID | None, header: DecisionHeader
) -> bool:
    """Return whether `header` refuses the very bytes that wait as envelope `about`."""
    if about is None or not header.code:
        return False
    raw = await _WAITING.value(connection, of_id=str(about))
    return raw is not None and sha256(raw) == header.digest


async def _waiting_bytes(connection: AsyncConnection, ident: UUID) -> bytes:
    return await _WAITING.value(connection, of_id=str(ident)) or b""


async def _peers_of(connection: AsyncConnection, ident: UUID) -> list[str]:
    return [row.peer for row in await _SENT_TO.rows(connection, of_id=str(ident))]


async def _undecided_of(connection: AsyncConnection, ident: UUID) -> UUID | None:
    """Return the submission of an envelope that waits for its first decision."""
    table = tables.envelopes
    waits = (table.c.id == str(ident)) & (table.c.decided == 0)
    found = await connection.execute(select(table.c.submission_id).where(waits))
    value = found.scalar_one_or_none()
    return None if value is None else UUID(value)


async def _submission_of(connection: AsyncConnection, ident: UUID) -> UUID | None:
    row = await _ENVELOPE.first(connection, of_id=str(ident))
    return None if row is None or row.submission_id is None else UUID(row.submission_id)
