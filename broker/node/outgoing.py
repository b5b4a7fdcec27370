"""Outgoing mail: sealed when it may be, repeated until its receipt is stored.

Two tasks: one seals what is queued, one submits what is sealed; `receipts` reads what the hub says
of it. Each may die at any instant; what it had not committed happens again, under the same ids.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from sqlalchemy import bindparam, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.envelope.errors import EnvelopeError, as_envelope_error
from broker.errors import BrokerError
from broker.logs import get_logger
from broker.node import alarms, submissions
from broker.node.changes import Changes, wait_for_change
from broker.node.drafting import Prepared, judge
from broker.node.errors import NodeError
from broker.node.ids import to_ms
from broker.node.outcomes import SEALING_AGAIN
from broker.node.pacing import BATCH, DUE, together
from broker.node.present import CLOCK_SKEW, Present
from broker.node.retention import give_up
from broker.node.sealing import Sealer
from broker.node.uploads import expect_upload
from broker.node.vault import Vault
from broker.store import tables
from broker.store.database import Change, Database
from broker.store.statements import Statement
from broker.transport.link import Link
from keys.errors import KeysError, TokenError
from schemas.desk import RecipientState, Submission, SubmissionState

REPEAT_S: Final = 20.0  # without a receipt, the same bytes are submitted again
IDLE_S: Final = 1.0
TOKEN_S: Final = 15.0  # before a token that does not sign is tried again
UNREACHABLE: Final = "hub-unreachable"
_TRIED: Final = Statement(
    update(tables.outbox)
    .where(tables.outbox.c.id == bindparam("of_id"))
    .values(attempt=bindparam("attempt"), next_ms=bindparam("next_ms"))
)
_log = get_logger()


@dataclass
class Outgoing:
    """The sending half of a node."""

    present: Present
    database: Database
    vault: Vault
    sealer: Sealer
    link: Link
    changes: Changes
    sealed: Changes = field(default_factory=Changes)  # Wakes the task that submits.
    _at_work: bool = False  # Whether the task that seals runs.

    # --- sealing ---

    async def seal_for_ever(self) -> None:
        """Seal whatever is queued, whenever it may be."""
        self._at_work = True
        while True:
            ticket = self.changes.ticket()
            try:
                if not await self.seal_due(online=True):
                    await wait_for_change(ticket, IDLE_S)
            except TokenError as error:
                await alarms.say_unusable(self.database, error, now=self.present.now())
                await asyncio.sleep(TOKEN_S)
            except (BrokerError, KeysError) as error:
                _log.warning("sealing-paused", error_code=error.code)
                await asyncio.sleep(IDLE_S)

    async def queue(self, ident: UUID, queueing: Change[Submission]) -> Submission:
        """Queue a submission, and seal it in the same commit if it may go now.

        Sealing is a change of its own: should it fail, the alert is queued all the same, and the
        task that seals meets the same fault and deals with it.

        Args:
            ident: Of the submission, if `queueing` makes a new one.
            queueing: Returns what is queued.

        Raises:
            StoreError: Nothing was kept.
            NodeError: As `queueing` raises.
        """
        if not self._at_work or not self.link.connected or self.present.hindrance():
            return await self.database.change(queueing)
        queued, sealed = await asyncio.gather(
            self.database.change(queueing),
            self.database.change(lambda connection: self._seal(connection, ident)),
            return_exceptions=True,
        )
        if not isinstance(sealed, BaseException):
            self.sealed.happened()
        if isinstance(queued, BaseException):
            raise queued
        return queued

    async def seal_due(self, *, online: bool = False) -> int:
        """Seal what is queued and may be sealed; return how many submissions moved on.

        Args:
            online: Whether to wait for the hub: what cannot be handed over now stays QUEUED, can
                be cancelled, and is judged by the rules of the day on which it goes.
        """
        async with self.database.read() as connection:
            waiting, damaged = await submissions.queued(connection, limit=BATCH)
        if damaged:
            self.database.met_damage()
        hindrance = self.present.hindrance()
        if online and not self.link.connected:
            hindrance = hindrance or UNREACHABLE
        if hindrance:
            for submission in waiting:
                await self._hold(submission, hindrance)
            return 0
        due = [submission for submission in waiting if self._is_due(submission)]
        sealing = (self._seal_one(submission) for submission in due)  # one commit for all
        ended = await asyncio.gather(*sealing, return_exceptions=True)
        for submission, error in zip(due, ended, strict=True):
            if isinstance(error, TokenError):
                await self._hold(submission, alarms.UNUSABLE)
        failed = [each for each in ended if each]
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
            await self.database.change(lambda c: self._seal(c, submission.submission_id))
        except (NodeError, EnvelopeError) as error:
            _log.error("not-sealed", id=str(submission.submission_id), error_code=error.code)
            code = error.code
            await self.database.change(lambda c: _stop(c, submission.submission_id, code))

    async def _seal(self, connection: AsyncConnection, ident: UUID) -> None:
        """Judge again with today's rules, then seal; or leave it to a person."""
        submission = await submissions.find(connection, ident)
        if submission.state is not SubmissionState.QUEUED:
            return
        blob, _ = await submissions.sealed_of(connection, submission.submission_id)
        if not blob:  # destroyed while its envelope was under way, which the gateway refused
            await give_up(connection, ident, self.present.now())
            return
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
                    await wait_for_change(ticket, IDLE_S)
            except BrokerError as error:
                _log.info("submitting-paused", error_code=error.code)
                await asyncio.sleep(IDLE_S)

    async def submit_due(self) -> int:
        """Submit what is due; return how many envelopes the hub took."""
        if self.present.hindrance() == CLOCK_SKEW:
            return 0
        async with self.database.read() as connection:
            now_ms = to_ms(self.present.now())
            rows = await DUE.rows(connection, by_ms=now_ms, count=together(self.link))
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
            await _TRIED.run(connection, of_id=ident, attempt=attempt + 1, next_ms=due_ms)

        # Noted while it is sent. If this process dies before the note is on the disk, the next one
        # begins with the same number, which the hub drops, and then goes on to another.
        # Sent first: what is written to the socket does not wait for the note's statements.
        done = await asyncio.gather(
            self.link.publish_acked(subject, raw, msg_id=f"{digest.hex()}.{attempt + 1}"),
            self.database.change(note),
            return_exceptions=True,
        )
        for error in done:
            if isinstance(error, BrokerError):
                _log.info("not-submitted", id=ident, error_code=error.code)
                return False
            if isinstance(error, BaseException):
                raise error
        return True


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
