"""One gateway worker: pulls submissions, judges, records, delivers, tells, and only then acks.

Any number of workers share the durable consumers. A worker may die between any two steps: the
submission comes again, finds the standing decision, and is carried out anew under the same ids.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from broker import clock
from broker.admission.judge import Arrival, judge, read
from broker.admission.judgement import Judged, NotNow, RefusedWhole
from broker.envelope.decision import encode_delivery
from broker.envelope.submitted import Submitted, deliver
from broker.errors import BrokerError
from broker.gateway import record
from broker.gateway.counts import Counts
from broker.gateway.decide import Decider
from broker.gateway.directory import DirectoryInForce
from broker.gateway.dispatch import Copy, Dispatcher
from broker.gateway.lane import run_lane
from broker.gateway.leftovers import Leftovers
from broker.gateway.pace import Pace
from broker.log.audited import Audited, parse_audited
from broker.log.erasure import is_erasure
from broker.log.errors import LogError
from broker.log.rebuilt import is_rebuilt
from broker.logs import get_logger
from broker.transport.errors import TransportError
from broker.transport.link import Link
from broker.transport.message import Message
from keys.errors import TokenError
from keys.primitives.hashing import sha256
from schemas.decision import Decision
from schemas.receipt import TemporaryRefusal
from schemas.vocabulary import Lane

TRUSTED_ATTEMPTS: Final = 3  # a submission that came more often is tried in a child first
STUCK_ATTEMPTS: Final = 10  # one that came more often needs a person, whatever hinders it
HELD_S: Final = 30  # an operator has to look into it first
PAUSE_S: Final = 1.0  # after an error, before a record is written again
_SUBJECT_PARTS: Final = 4
_log = get_logger()

Trial = Callable[[Arrival], Awaitable[bool]]
"""Whether a child process survives judging this submission."""


@dataclass
class Worker:
    """Judges and routes what members submit.

    Attributes:
        trial: Used for what has failed several times before.
        pace: This worker's part of what a member may submit.
        may_judge: Whether the record of decisions is what it was; else everything is postponed.
        check_heard: As `Boots.check_heard`; asked before a number is used.
    """

    link: Link
    directory: DirectoryInForce
    decider: Decider
    trail: record.AuditTrail
    dispatcher: Dispatcher
    trial: Trial
    pace: Pace = field(default_factory=Pace)
    may_judge: Callable[[], bool] = lambda: True
    counts: Counts = field(default_factory=Counts)
    check_heard: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        """Mind the numbers of what fails."""
        self.leftovers = Leftovers(self.decider, self.trail, self.check_heard)

    async def run_lane(self, member: str, lane: Lane) -> None:
        """Serve one lane of one member for ever."""
        await run_lane(self.link, member, lane, self._serve)

    async def _serve(self, message: Message, member: str) -> None:
        """Carry one submission through; un-acked, it comes again."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            await self.serve(message, member)
            self.counts.took(loop.time() - began)
        except TokenError:  # a worker that cannot sign ends, and says why; the hub starts it again
            raise
        except BrokerError as error:
            self.counts.failed(error.code)
            _log.warning("submission-not-carried", member=member, error_code=error.code)
            self._say_if_stuck(message, member)
        except Exception:  # noqa: BLE001 - the edge of a task: one message must not stop a lane
            self.counts.failed("fault")
            _log.exception("submission-failed", member=member, attempts=message.attempts)
            self._say_if_stuck(message, member)

    def _say_if_stuck(self, message: Message, member: str) -> None:
        if message.attempts > STUCK_ATTEMPTS:
            self.counts.stuck()
            _log.error(
                "submission-stuck",
                member=member,
                attempts=message.attempts,
                alarm="submission-stuck",
            )

    async def serve(self, message: Message, member: str) -> None:
        """Judge one submission, record the decision, carry it out, acknowledge.

        Raises:
            BrokerError: A step's outcome is unknown; nothing was acknowledged.
        """
        parts = message.subject.split(".", _SUBJECT_PARTS - 1)
        lane, ident = (parts[2], parts[3]) if len(parts) == _SUBJECT_PARTS else ("", "")
        arrival = Arrival(message.payload, member, lane, ident)
        now = clock.now()
        if not self.may_judge():
            await self._hold(message, arrival, now)
            return
        if message.attempts > TRUSTED_ATTEMPTS and not await self.trial(arrival):
            if await self._is_decided(arrival):
                raise BrokerError("not-carried-out", "a child cannot carry out what was decided")
            judgement: Judged | RefusedWhole | NotNow = RefusedWhole(
                "unprocessable", sha256(arrival.raw), None
            )
        else:
            judgement = await self._judge(arrival, now)
        if isinstance(judgement, NotNow):
            await self._postpone(member, judgement, attempt=message.stream_seq)
        else:
            await self._decide(arrival, judgement, now)
        await message.ack()

    async def _is_decided(self, arrival: Arrival) -> bool:
        """Return whether something was decided under this id: no second verdict stands beside it.

        Raises:
            BrokerError: The record cannot be read.
        """
        try:
            subject = record.decided(arrival.account, UUID(arrival.id))
        except ValueError:
            return False
        return self.trail.keeps(subject) and await self.trail.standing(subject) is not None

    async def _hold(self, message: Message, arrival: Arrival, now: datetime) -> None:
        """Have it submitted again later; what has no id, or failed before, comes again by itself.

        Raises:
            BrokerError: `audit-unready`: it is not acknowledged.
        """
        if message.attempts <= TRUSTED_ATTEMPTS:
            found = read(arrival, self.directory.situation(now))
            if isinstance(found, Submitted):
                label, digest = found.frame.label, found.frame.digest
                held = NotNow("audit-unready", HELD_S, label.id, digest)
                await self._postpone(arrival.account, held, attempt=message.stream_seq)
                await message.ack()
                return
        raise BrokerError("audit-unready", "the record of decisions was lost", retry="later")

    async def _judge(self, arrival: Arrival, now: datetime) -> Judged | RefusedWhole | NotNow:
        situation = self.directory.situation(now)
        found = read(arrival, situation)
        if not isinstance(found, Submitted):
            return found
        if over := self.pace.over(found, self.directory.view.member_views):
            return over
        spoken_of = await self._spoken_of(found)
        judgement = judge(found, situation, size=len(arrival.raw), spoken_of=spoken_of)
        # Only what goes out takes the one place: who was refused for a key may say it again.
        passes = isinstance(judgement, Judged) and any(
            verdict.accepted for verdict in judgement.records.values()
        )
        if passes and not await self._is_first(found, spoken_of):
            return RefusedWhole("control-repeated", found.frame.digest, found)
        return judgement

    async def _spoken_of(self, submitted: Submitted) -> Decision | None:
        """Return the standing decision that a control is about, which its recipient caused."""
        label = submitted.frame.label
        if not label.kind.is_control or label.ref is None or len(submitted.slots) != 1:
            return None
        ident: UUID = label.ref.id
        try:
            subject = record.decided(submitted.recipients()[0], ident)
        except ValueError:  # an id that carries no time this software can name
            return None
        if not self.trail.keeps(subject):
            return None
        raw = await self.trail.standing(subject)
        standing = None if raw is None else self._opened(raw)
        return None if standing is None else standing.decision

    async def _is_first(self, submitted: Submitted, spoken_of: Decision | None) -> bool:
        """Return whether no other control of this kind spoke of the same decision."""
        label = submitted.frame.label
        if label.ref is None or spoken_of is None:
            return True
        salts = spoken_of.salts
        subject = record.once(label.sender.member, str(label.kind), label.ref.id, salts)
        taken = record.once_by(submitted.frame.digest, salts)
        return await self.trail.stand(subject, taken) == taken

    async def _postpone(self, member: str, judgement: NotNow, *, attempt: int) -> None:
        refusal = TemporaryRefusal(
            judgement.id, judgement.digest, judgement.code, judgement.retry_after_s
        )
        await self.dispatcher.postpone(member, refusal, attempt=str(attempt))
        self.counts.postponed(judgement.code)
        _log.info("postponed", member=member, id=str(judgement.id), code=judgement.code)

    async def _decide(
        self, arrival: Arrival, judgement: Judged | RefusedWhole, now: datetime
    ) -> None:
        sender = arrival.account
        directory = self.directory.view.version
        decision = self.decider.sign(judgement, sender=sender, directory=directory, now=now)
        if judgement.submitted is None:
            subject = record.malformed(sender, arrival.raw, year=now.year)
            standing = await self._stand(subject, decision)
            if standing is None:
                _told_before(sender)
            else:
                await self._tell_unread(arrival, judgement, standing)
            return
        await self._carry_out(arrival, judgement.submitted, decision, now)

    async def _tell_unread(
        self, arrival: Arrival, judgement: Judged | RefusedWhole, standing: Audited
    ) -> None:
        """Tell what was refused without reading an id: under the subject's, if that is one."""
        try:
            ident = UUID(arrival.id)
        except ValueError:
            ident = UUID(int=0)
        digest = standing.decision.header.digest
        await self.dispatcher.receipt(arrival.account, ident, digest, standing.decision_bytes, ())
        code = judgement.code if isinstance(judgement, RefusedWhole) else ""
        self.counts.refused_unread(code)
        _log.info("refused", member=arrival.account, code=code, digest=digest.hex())

    async def _carry_out(
        self, arrival: Arrival, submitted: Submitted, decision: Decision, now: datetime
    ) -> None:
        """Record the decision, or find the one that stands, and carry that out."""
        label, digest = submitted.frame.label, submitted.frame.digest
        sender = arrival.account
        found = await self._stand(record.decided(sender, label.id), decision)
        if found is None or found.decision.header.digest != digest:
            reused = self.decider.sign(
                RefusedWhole("id-reused", digest, submitted),
                sender=sender,
                directory=self.directory.view.version,
                now=now,
            )
            subject = record.reused(sender, label.id, digest)
            found = await self._stand(subject, reused)
            if found is None:
                _told_before(sender)
                return
        standing = found.decision
        copies = [
            Copy(
                accepted.recipient,
                encode_delivery(
                    deliver(submitted, accepted.recipient), standing, accepted.recipient
                ),
            )
            for accepted in standing.records
            if accepted.accepted
        ]
        placed = await self.dispatcher.deliver(label, standing, copies, now=now)
        await self.dispatcher.receipt(sender, label.id, digest, found.decision_bytes, placed)
        self.counts.decided(standing, lane=label.lane)
        self.counts.placed((where for _, where in placed), lane=label.lane)
        _log.info(
            "decided",
            member=sender,
            id=str(label.id),
            lane=str(label.lane),
            code=standing.header.code or None,
            delivered=len(copies),
            refused=len(standing.records) - len(copies),
        )

    async def _stand(self, subject: str, decision: Decision) -> Audited | None:
        """Return what stands on `subject`, or None where it was erased.

        A number that another record made needless is void.

        Raises:
            BrokerError: As `Leftovers.check_room`.
        """
        self.leftovers.check_room()
        mine = self.decider.audited(decision, auditors=self.directory.view.auditors)
        raw = mine.to_bytes()
        with self.leftovers.minding(subject, mine.signed.statement):
            standing = await self._stand_for_sure(subject, raw)
            if standing != raw:
                given_up = mine.signed.statement
                void = self.decider.void(given_up).to_bytes()
                await self._stand_for_sure(record.void(given_up), void)
        return mine if standing == raw else self._opened(standing)

    def _opened(self, raw: bytes) -> Audited | None:
        """Return the decision in a record; None if it was erased or lost: its id stays decided.

        Raises:
            BrokerError: `record-key-unknown`: the operator must put it back, or give it up;
                `audit-damaged`.
        """
        try:
            standing = parse_audited(raw)
        except LogError as error:
            if is_erasure(raw) or is_rebuilt(raw):
                return None
            raise _damaged() from error
        try:
            return standing.open(self.decider.records)
        except LogError as error:
            if error.code == "record-key-lost":
                return None
            if error.code != "record-key-unknown":
                raise _damaged() from error
            kid = standing.key.hex()
            _log.error("record-not-opened", kid=kid, error_code=error.code, alarm=error.code)
            raise

    async def _stand_for_sure(self, subject: str, raw: bytes) -> bytes:
        """Return what stands; the same bytes again are the one way to know what became of them.

        Raises:
            BrokerError: `run-abandoned`, or the server refused.
        """
        while True:
            self.check_heard()
            try:
                return await self.trail.stand(subject, raw)
            except TransportError as error:
                if error.retry != "later":
                    raise
                _log.warning("record-again", error_code=error.code)
                await self.link.wait_connected()
                await asyncio.sleep(PAUSE_S)


def _told_before(member: str) -> None:
    """Note that a refusal, whose record is gone since, is not made a second time."""
    _log.warning("refused-before", member=member)


def _damaged() -> BrokerError:
    return BrokerError("audit-damaged", "a standing decision cannot be read")
