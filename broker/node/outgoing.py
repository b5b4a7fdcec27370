"""Outgoing mail: sealed when it may be, repeated until its receipt is stored.

Three tasks: one seals what is queued, one submits what is sealed, one reads receipts. Each may die
at any instant; what it had not committed happens again, under the same ids.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.admission.codes import retry_of
from broker.envelope.decision import verify_decision
from broker.envelope.errors import EnvelopeError, as_envelope_error
from broker.errors import BrokerError
from broker.logs import get_logger
from broker.node import alarms, repeats, submissions
from broker.node.changes import Changes
from broker.node.controls import Controls
from broker.node.drafting import Prepared, judge
from broker.node.errors import NodeError
from broker.node.evidence import named_by_gateway
from broker.node.ids import from_ms, to_ms
from broker.node.present import CLOCK_SKEW, Present
from broker.node.proofs import expect
from broker.node.sealing import Sealer, forget, settle_numbers
from broker.node.uploads import decided_upload, expect_upload
from broker.node.vault import Vault
from broker.store import tables
from broker.store.database import Database
from broker.transport.link import Link
from broker.transport.message import Message
from keys.errors import KeysError
from keys.primitives.hashing import sha256
from schemas.decision import Decision, DecisionHeader, parse_decision
from schemas.desk import RecipientOutcome, RecipientState, Submission, SubmissionState
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

REPEAT_S: Final = 20.0  # without a receipt, the same bytes are submitted again
MAX_RESEALED: Final = 3  # times that an alert is sealed again before a person must look
SEALING_AGAIN: Final = "sealing-again"
BEHIND: Final = timedelta(seconds=35)  # longer than a node takes to look at its directory again
BATCH: Final = 32
PULL_TIMEOUT_S: Final = 3.0
IDLE_S: Final = 1.0
UNREACHABLE: Final = "hub-unreachable"
_log = get_logger()


@dataclass
class Outgoing:
    """The sending half of a node."""

    present: Present
    database: Database
    vault: Vault
    sealer: Sealer
    controls: Controls
    link: Link
    changes: Changes
    sealed: Changes = field(default_factory=Changes)  # Wakes the task that submits.

    # --- sealing ---

    async def seal_for_ever(self) -> None:
        """Seal whatever is queued, whenever it may be."""
        while True:
            ticket = self.changes.ticket()
            try:
                if not await self.seal_due(online=True):
                    await _wait(ticket, IDLE_S)
            except (BrokerError, KeysError) as error:
                _log.warning("sealing-paused", error_code=error.code)
                await asyncio.sleep(IDLE_S)

    async def seal_due(self, *, online: bool = False) -> int:
        """Seal what is queued and may be sealed; return how many submissions moved on.

        Args:
            online: Whether to wait for the hub: what cannot be handed over now stays QUEUED, can
                be cancelled, and is judged by the rules of the day on which it goes.
        """
        async with self.database.read() as connection:
            waiting = await submissions.queued(connection, limit=BATCH)
        hindrance = self.present.hindrance()
        if online and not self.link.connected:
            hindrance = hindrance or UNREACHABLE
        if hindrance:
            for submission in waiting:
                await self._hold(submission, hindrance)
            return 0
        due = [submission for submission in waiting if self._is_due(submission)]
        sealing = (self._seal_one(submission) for submission in due)  # one commit for all
        failed = [each for each in await asyncio.gather(*sealing, return_exceptions=True) if each]
        moved = len(due) - len(failed)
        if moved:
            self.sealed.happened()
            self.changes.happened()
        for error in failed:
            raise error
        return moved

    def _is_due(self, submission: Submission) -> bool:
        """Return whether it need not wait: for its time, or for the directory it was told of."""
        caught_up = submission.waiting_for == SEALING_AGAIN and self.present.split_since is None
        retry_at = submission.retry_at
        return retry_at is None or retry_at <= self.present.now() or caught_up

    async def _hold(self, submission: Submission, code: str) -> None:
        if submission.waiting_for == code:
            return

        async def hold(connection: AsyncConnection) -> None:
            now = await submissions.find(connection, submission.submission_id)
            if now.state is SubmissionState.QUEUED:  # it may have been cancelled meanwhile
                held = now.model_copy(update={"waiting_for": code, "retry_at": None})
                await submissions.save(connection, held)

        await self.database.change(hold)
        self.changes.happened()

    async def _seal_one(self, submission: Submission) -> None:
        """Seal one submission; one that cannot be sealed waits for a person, and delays no other.

        Raises:
            StoreError: Nothing was kept.
            KeysError: This node can seal nothing at all.
        """
        try:
            await self.database.change(lambda c: self._seal(c, submission))
        except (NodeError, EnvelopeError) as error:
            _log.error("not-sealed", id=str(submission.submission_id), error_code=error.code)
            code = error.code
            await self.database.change(lambda c: _stop(c, submission.submission_id, code))

    async def _seal(self, connection: AsyncConnection, known: Submission) -> None:
        """Judge again with today's rules, then seal; or leave it to a person."""
        submission = await submissions.find(connection, known.submission_id)
        if submission.state is not SubmissionState.QUEUED:
            return
        blob, _ = await submissions.sealed_of(connection, submission.submission_id)
        prepared = read_prepared(self.vault, blob, submission.submission_id)
        waiting = submissions.waiting_recipients(submission)
        now = self.present.now()
        with as_envelope_error():  # the recipients would refuse it, one by one
            self.present.view.officer(self.present.member, prepared.officer_kid, at=now)
        rules_of = {"rules_of": now, "waiting_for": "", "retry_at": None}
        verdicts = judge(prepared.intent, waiting, self.present)
        worse = [code for code, verdict in verdicts.items() if not verdict.permitted]
        if worse and submission.attention != "proceed":
            why: dict[str, dict[str, object]] = {
                code: {"code": verdicts[code].code, "rule": verdicts[code].rule} for code in worse
            }
            shown = submissions.with_outcomes(submission, why, now=now)
            stopped = {
                **rules_of,
                "state": SubmissionState.NEEDS_ATTENTION,
                "attention": verdicts[worse[0]].code,
            }
            await submissions.save(connection, shown.model_copy(update=stopped))
            _log.info("needs-attention", id=str(submission.submission_id))
            return
        permitted = [code for code in waiting if code not in worse]
        changes: dict[str, dict[str, object]] = {
            code: {
                "state": RecipientState.REFUSED,
                "code": verdicts[code].code,
                "rule": verdicts[code].rule,
                "refused_by": "node",
            }
            for code in worse
        }
        changes |= {
            code: {"state": RecipientState.SUBMITTED, "code": "", "rule": ""} for code in permitted
        }
        update_with: dict[str, object] = {**rules_of, "attention": ""}
        if permitted:
            ident, key = await self.sealer.message(
                connection,
                prepared.intent,
                prepared.content().to_bytes(),
                {code: prepared.openings[code] for code in permitted},
                submission_id=submission.submission_id,
            )
            update_with["id"] = ident
            expires_ms = to_ms(prepared.intent.expires)
            await expect_upload(
                connection, self.vault, submission, ident, key, expires_ms=expires_ms
            )
        moved = submissions.with_outcomes(submission, changes, now=now)
        await submissions.save(connection, moved.model_copy(update=update_with))

    # --- submitting ---

    async def submit_for_ever(self) -> None:
        """Hand sealed envelopes to the hub, again and again until their receipts are here."""
        while True:
            ticket = self.sealed.ticket()
            try:
                await self.link.wait_connected()
                if not await self.submit_due():
                    await _wait(ticket, IDLE_S)
            except BrokerError as error:
                _log.info("submitting-paused", error_code=error.code)
                await asyncio.sleep(IDLE_S)

    async def submit_due(self) -> int:
        """Submit what is due; return how many envelopes the hub took."""
        if self.present.hindrance() == CLOCK_SKEW:
            return 0
        table = tables.outbox
        async with self.database.read() as connection:
            rows = (
                await connection.execute(
                    select(table)
                    .where(table.c.next_ms <= to_ms(self.present.now()))
                    .order_by(table.c.number)
                    .limit(BATCH)
                )
            ).all()
        async with asyncio.TaskGroup() as group:
            handing = [
                group.create_task(
                    self._submit(row.id, row.subject, row.digest, row.attempt, row.raw)
                )
                for row in rows
            ]
        return sum(task.result() for task in handing)

    async def _submit(
        self, ident: str, subject: str, digest: bytes, attempt: int, raw: bytes
    ) -> bool:
        due_ms = to_ms(self.present.now()) + int(REPEAT_S * 1000)

        async def note(connection: AsyncConnection) -> None:
            await connection.execute(
                update(tables.outbox)
                .where(tables.outbox.c.id == ident)
                .values(attempt=attempt + 1, next_ms=due_ms)
            )

        try:
            # Noted before it is sent: a broker-level duplicate id would swallow a repetition.
            await self.database.change(note)
            await self.link.publish_acked(subject, raw, msg_id=f"{digest.hex()}.{attempt + 1}")
        except BrokerError as error:
            _log.info("not-submitted", id=ident, error_code=error.code)
            return False
        return True

    # --- receipts ---

    async def read_receipts_for_ever(self) -> None:
        """Take receipts from the hub, store what they say, then acknowledge them."""
        member = self.present.member
        while True:
            try:
                await self.link.wait_connected()
                messages = await self.link.pull(
                    f"RECEIPT_{member}", member, batch=BATCH, timeout_s=PULL_TIMEOUT_S
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
        try:
            await self.take_receipt(message.payload, about=_about(message.subject))
        except (SchemaError, EnvelopeError, KeysError) as error:
            _log.error("receipt-not-believed", error_code=error.code)
            # A newer directory may name the gateway's key; one that is not proved yet surely may.
            if message.attempts <= MAX_RESEALED or self.present.candidate is not None:
                await message.nak(delay_s=IDLE_S * 5)
                return
        except BrokerError as error:  # the database, most likely: nothing was kept, so come again
            _log.error("receipt-not-kept", error_code=error.code)
            await message.nak(delay_s=IDLE_S * 5)
            return
        await message.ack()

    async def take_receipt(self, raw: bytes, *, about: UUID | None = None) -> None:
        """Believe and store one receipt.

        Args:
            raw: Not trusted.
            about: The envelope it is said to speak of, a hint: the hub may refuse bytes unread,
                and then it can name only their hash.

        Raises:
            SchemaError: Not a receipt of a known form.
            EnvelopeError: Its decision does not verify.
            KeysError: Its notice does not verify.
        """
        match parse_receipt(raw):
            case DecisionReceipt(decision=wire, copies=copies):
                decision = parse_decision(wire)
                verify_decision(decision, self.present.view)
                split = self.present.meet(decision.header.dir, named_by_gateway(decision))
                if split and decision.header.code == split:
                    self.present.stop_sealing()
                await alarms.say_split(self.database, self.present)
                await self.database.change(
                    lambda c: self._decided(c, decision, dict(copies), about)
                )
            case TemporaryRefusal() as refusal:
                await self.database.change(lambda c: self._later(c, refusal))
            case NoticeReceipt(notice=notice_bytes, kid=kid, signature=signature):
                notice = parse_notice(notice_bytes)
                key = self.present.view.gateway_key(kid, at=from_ms(notice.at_ms))
                key.verify(signature, NOTICE_CONTEXT + notice_bytes)
                await self.database.change(lambda c: self._noticed(c, notice))
        self.changes.happened()

    async def _decided(
        self,
        connection: AsyncConnection,
        decision: Decision,
        copies: dict[str, Where],
        about: UUID | None,
    ) -> None:
        header = decision.header
        if header.sender != self.present.member:
            return
        table = tables.envelopes
        row = (
            await connection.execute(select(table).where(table.c.digest == header.digest))
        ).one_or_none()
        if row is None and await _refused_unread(connection, about, header):
            row = (
                await connection.execute(select(table).where(table.c.id == str(about)))
            ).one_or_none()
        if row is None or row.decided:
            if row is not None:
                await repeats.settled(connection, UUID(row.id))
                await self._moved(connection, row.submission_id, copies)
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
            await repeats.keep(connection, ident, now=self.present.now())
        await forget(connection, ident)
        await decided_upload(connection, ident, accepted=bool(accepted))
        if row.submission_id is not None:
            await self._outcomes(connection, UUID(row.submission_id), decision, copies)
        elif not accepted:
            code = header.code or next((record.code for record in decision.records), "")
            await self.controls.decided(connection, ident, code)
        else:
            await self.controls.decided(connection, ident, "")

    async def _outcomes(
        self,
        connection: AsyncConnection,
        submission_id: UUID,
        decision: Decision,
        copies: dict[str, Where],
    ) -> None:
        submission = await submissions.find(connection, submission_id)
        _, resealed = await submissions.sealed_of(connection, submission_id)
        again, counted = False, 0
        changes: dict[str, dict[str, object]] = {}
        for outcome in submission.recipients:
            record = decision.record_of(outcome.recipient)
            if outcome.state is not RecipientState.SUBMITTED:
                if record is not None and outcome.decided_at is None and _overtook(outcome):
                    changes[outcome.recipient] = {"decided_at": decision.header.decided_at}
                continue
            code = decision.header.code or ("" if record is None else record.code)
            if record is not None and record.accepted and not decision.header.code:
                changes[outcome.recipient] = {
                    "state": _STATES[copies.get(outcome.recipient, Where.STORED)],
                    "rule": record.rule,
                    "decided_at": decision.header.decided_at,
                }
            elif retry_of(code) == "new-id" and resealed < MAX_RESEALED:
                changes[outcome.recipient] = {"state": RecipientState.QUEUED}
                # A split is no fault of the alert: it waits for a directory, however long.
                waits = self.present.candidate or self.present.hindrance() == "directory-split"
                again, counted = True, int(not waits)
            else:
                changes[outcome.recipient] = {
                    "state": RecipientState.REFUSED,
                    "code": code,
                    "rule": "" if record is None else record.rule,
                    "refused_by": "gateway",
                    "decided_at": decision.header.decided_at,
                }
        moved = submissions.with_outcomes(submission, changes, now=self.present.now())
        if again:
            # A gateway with a newer directory would refuse the same keys again: fetch it first.
            behind = self.present.split_since is not None or self.present.candidate is not None
            retry_at = self.present.now() + (BEHIND if behind else timedelta(0))
            moved = moved.model_copy(update={"waiting_for": SEALING_AGAIN, "retry_at": retry_at})
        await submissions.save(connection, moved, resealed=resealed + counted)

    async def _moved(
        self, connection: AsyncConnection, submission_id: str | None, copies: dict[str, Where]
    ) -> None:
        """A receipt told again: what was held may be stored by now."""
        if submission_id is None:
            return
        submission = await submissions.find(connection, UUID(submission_id))
        changes = {
            outcome.recipient: {"state": _STATES[copies[outcome.recipient]]}
            for outcome in submission.recipients
            if outcome.state is RecipientState.HELD and outcome.recipient in copies
        }
        if changes:
            moved = submissions.with_outcomes(submission, changes, now=self.present.now())
            await submissions.save(connection, moved)

    async def _later(self, connection: AsyncConnection, refusal: TemporaryRefusal) -> None:
        due_ms = to_ms(self.present.now()) + refusal.retry_after_s * 1000
        table = tables.outbox
        changed = await connection.execute(
            update(table)
            .where(table.c.id == str(refusal.id), table.c.digest == refusal.digest)
            .values(next_ms=due_ms)
        )
        if changed.rowcount and (ident := await _submission_of(connection, refusal.id)):
            submission = await submissions.find(connection, ident)
            told = {"waiting_for": refusal.code, "retry_at": from_ms(due_ms)}
            await submissions.save(connection, submission.model_copy(update=told))

    async def _noticed(self, connection: AsyncConnection, notice: Notice) -> None:
        if notice.sender != self.present.member:
            return
        await settle_numbers(connection, notice.id, [], [notice.recipient])
        ident = await _submission_of(connection, notice.id)
        if ident is None:
            return
        submission = await submissions.find(connection, ident)
        changes = {
            outcome.recipient: {"state": _STATES[notice.where], "code": str(notice.where)}
            for outcome in submission.recipients
            if outcome.recipient == notice.recipient and not outcome.state.final
        }
        moved = submissions.with_outcomes(submission, changes, now=self.present.now())
        await submissions.save(connection, moved)


_STATES: Final = {
    Where.STORED: RecipientState.STORED,
    Where.HELD: RecipientState.HELD,
    Where.BOUNCED: RecipientState.BOUNCED,
    Where.EXPIRED: RecipientState.EXPIRED,
}


def _overtook(outcome: RecipientOutcome) -> bool:
    """Return whether the recipient's own word came before the gateway's receipt."""
    return outcome.state is RecipientState.DELIVERED or outcome.refused_by == "recipient"


def read_prepared(vault: Vault, blob: bytes, submission_id: UUID) -> Prepared:
    """Return the draft kept with a submission.

    Raises:
        NodeError: `storage-damaged`.
    """
    return Prepared.model_validate_json(vault.open(blob, name=f"submission/{submission_id}"))


async def _stop(connection: AsyncConnection, submission_id: UUID, code: str) -> None:
    """Leave a submission that cannot be sealed to a person."""
    submission = await submissions.find(connection, submission_id)
    if submission.state is SubmissionState.QUEUED:
        going = {"state": SubmissionState.NEEDS_ATTENTION, "attention": code}
        await submissions.save(connection, submission.model_copy(update=going))


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
    table = tables.outbox
    found = await connection.execute(select(table.c.raw).where(table.c.id == str(about)))
    raw = found.scalar_one_or_none()
    return raw is not None and sha256(raw) == header.digest


async def _waiting_bytes(connection: AsyncConnection, ident: UUID) -> bytes:
    table = tables.outbox
    found = await connection.execute(select(table.c.raw).where(table.c.id == str(ident)))
    return found.scalar_one_or_none() or b""


async def _peers_of(connection: AsyncConnection, ident: UUID) -> list[str]:
    table = tables.sent
    found = await connection.execute(select(table.c.peer).where(table.c.id == str(ident)))
    return list(found.scalars())


async def _submission_of(connection: AsyncConnection, ident: UUID) -> UUID | None:
    table = tables.envelopes
    found = await connection.execute(select(table.c.submission_id).where(table.c.id == str(ident)))
    value = found.scalar_one_or_none()
    return None if value is None else UUID(value)


async def _wait(ticket: asyncio.Event, limit_s: float) -> None:
    try:
        async with asyncio.timeout(limit_s):
            await ticket.wait()
    except TimeoutError:
        return
