"""Incoming mail: verified, opened, judged again, stored once; what fails is quarantined and told.

The hub's copy is acknowledged only after the commit. Stored means stored once: by id and digest.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.envelope.decision import (
    Delivery,
    check_accepted,
    parse_delivery,
)
from broker.envelope.delivered import Opened, open_delivered
from broker.envelope.errors import EnvelopeError
from broker.errors import BrokerError
from broker.logs import get_logger
from broker.node import alarms, folding, receiving, retention
from broker.node.arrivedfiles import expect_files, files_expire, want_none
from broker.node.changes import Changes
from broker.node.controls import Controls
from broker.node.evidence import named_by_gateway, named_by_member
from broker.node.held import NEEDS_PROOF, hold
from broker.node.ids import to_ms
from broker.node.pacing import together
from broker.node.peerwords import hear
from broker.node.present import Present
from broker.node.quarantine import Quarantine, Spoken
from broker.node.receiveditem import kept_of
from broker.node.vault import Vault
from broker.store import tables
from broker.store.database import Database
from broker.store.statements import Statement
from broker.transport.link import Link
from broker.transport.message import Message
from broker.transport.streams import inbox_of
from keys.directory.view import DirectoryView
from keys.errors import KeysError
from keys.identity import MemberIdentity
from schemas.control import ControlMessage, Told
from schemas.vocabulary import Kind, Lane, Status

PULL_TIMEOUT_S: Final = 3.0
PAUSE_S: Final = 1.0
POLICY: Final = "policy-"  # begins the code of what a policy forbids
RETRIED: Final = frozenset(  # a newer directory or key may come; the hub keeps the copy meanwhile
    {"unknown-key", "unknown-member", "unknown-officer", "no-open-key", "suite-mismatch"}
)
MAX_RETRIES: Final = 5
MAX_FAULTS: Final = 20  # in two minutes a fault of this machine has passed, or never will
FAULT: Final = "node-fault"
_KEPT: Final = Statement(insert(tables.inbox))
_log = get_logger()


@contextmanager
def _the_same_each_time() -> Iterator[None]:
    """Refuse for good what nobody foresaw where no machine has a part, but a sender's bytes alone.

    Tried again it would fail again, and meanwhile hold a place in the lane of everybody's mail.
    """
    try:
        yield
    except (ValueError, OverflowError) as error:  # pydantic's refusals are ValueErrors
        _log.exception("mail-not-understood")
        raise EnvelopeError(FAULT, "this node cannot handle it") from error


@dataclass
class Incoming:
    """The receiving half of a node."""

    present: Present
    identity: MemberIdentity
    database: Database
    vault: Vault
    controls: Controls
    link: Link
    changes: Changes
    mail: Changes
    answered: Changes  # Wakes the task that submits controls.
    holds: bool = False  # Whether a task asks the log about mail under keys stolen since.

    def __post_init__(self) -> None:
        """Make the place for what is refused."""
        self._quarantine = Quarantine(self.present, self.database, self.controls, self.answered)

    async def read_lane_for_ever(self, lane: Lane) -> None:
        """Take one lane's mail, most urgent lanes in tasks of their own.

        A batch is stored by one commit, and the next is pulled meanwhile.
        """
        batch: list[Message] = []
        while True:
            async with asyncio.TaskGroup() as group:
                pulling = group.create_task(self._pull(lane))
                for message in batch:
                    group.create_task(self._take(message))
            batch = pulling.result()

    async def _pull(self, lane: Lane) -> list[Message]:
        """Return what there is, or none after a while."""
        try:
            await self.link.wait_connected()
            if self.present.has_directory:
                inbox, count = inbox_of(self.present.member, lane), together(self.link)
                return await self.link.pull(inbox, str(lane), batch=count, timeout_s=PULL_TIMEOUT_S)
        except BrokerError as error:
            _log.info("lane-paused", lane=str(lane), error_code=error.code)
        await asyncio.sleep(PAUSE_S)
        return []

    async def _take(self, message: Message) -> None:
        """Take one delivery through; un-acked, it comes again."""
        try:
            await self._take_whole(message)
        except BrokerError as error:
            _log.info("mail-not-acked", error_code=error.code)

    async def _take_whole(self, message: Message) -> None:
        try:
            taken = await self._take_or_give_up(message)
        except BrokerError as error:  # the database, most likely: nothing was kept, so come again
            _log.error("mail-not-kept", error_code=error.code)
            await message.nak(delay_s=PAUSE_S * 5)
            return
        except Exception:  # noqa: BLE001 - the edge of a task: one message must not stop a node
            _log.exception("mail-failed", attempts=message.attempts)
            await message.nak(delay_s=PAUSE_S * 5)
            return
        if taken:
            await message.ack()
        else:
            await message.nak(delay_s=PAUSE_S * 5)

    async def _take_or_give_up(self, message: Message) -> bool:
        """Take one delivery; quarantine what fails each time in a way that nobody foresaw.

        Raises:
            StoreError: The database did not keep it.
        """
        final, raw = message.attempts > MAX_RETRIES, message.payload
        try:
            return await self.take(raw, final=final)
        except BrokerError:
            raise
        except Exception:
            if message.attempts <= MAX_FAULTS:
                raise
            _log.exception("mail-given-up", attempts=message.attempts)
        try:
            await self._quarantine.put_aside(raw, None, FAULT)
        except BrokerError:
            raise
        except Exception:  # noqa: BLE001 - to read whom to answer may be what fails
            await self._quarantine.put_aside(raw, None, FAULT, answered=False)
        return True

    async def take(
        self, raw: bytes, *, final: bool = True, view: DirectoryView | None = None
    ) -> bool:
        """Store one delivery, or quarantine it; return whether the hub's copy is done with.

        Args:
            raw: Not trusted.
            final: Whether to quarantine even what a newer directory might let in.
            view: What the log proved of it, in place of the directory: the last word on it.

        Raises:
            StoreError: The database did not keep it.
        """
        delivery: Delivery | None = None
        opened: Opened | None = None
        code, kept = "", b""
        try:
            with _the_same_each_time():
                delivery = parse_delivery(raw)
                opened = self.open(delivery, view or self.present.view)
                if opened.control is None:
                    kept = kept_of(self.present, delivery, opened).model_dump_json().encode()
        except (EnvelopeError, KeysError) as error:
            code = error.code
        await alarms.say_split(self.database, self.present)
        if delivery is None or opened is None or code:
            return await self._not_kept(raw, delivery, code, final=final, proved=view is not None)
        if opened.control is not None:
            await self._control(delivery, opened, opened.control)
            return True
        try:
            await self._keep(delivery, opened, kept)
        except EnvelopeError as error:
            await self._quarantine.put_aside(raw, delivery, error.code)
        return True

    async def _not_kept(
        self, raw: bytes, delivery: Delivery | None, code: str, *, final: bool, proved: bool
    ) -> bool:
        """Let what failed wait, hold it, or set it aside; return whether it is done with."""
        if delivery is not None and await self._came_before(delivery, code):
            return True
        if code in RETRIED and not final:
            return False
        if delivery is not None and self.present.waits_for(delivery.decision.header.dir):
            return False
        if delivery is not None and not proved and self._may_be_proved(code):
            now = self.present.now()
            await self.database.change(lambda c: hold(c, delivery, raw, now=now))
            return True
        await self._quarantine.put_aside(raw, delivery, code)
        return True

    async def _came_before(self, delivery: Delivery, code: str) -> bool:
        """Return whether it is a copy of what is here, which policies forbid by now.

        They are asked last: so the hub did decide that this copy be delivered, as it was then.
        """
        ident, digest = delivery.decision.header.id, delivery.delivered.frame.digest
        if ident is None or not code.startswith(POLICY):
            return False
        async with self.database.read() as connection:
            return await receiving.is_known(connection, ident, digest)

    def _may_be_proved(self, code: str) -> bool:
        """Return whether the log can tell that it was decided before its key was stolen."""
        return self.holds and code in NEEDS_PROOF and self.present.view.hub.log is not None

    @_the_same_each_time()
    def open(self, delivery: Delivery, view: DirectoryView) -> Opened:
        """Return what a delivery says, every check done and nothing kept.

        Args:
            delivery: As parsed.
            view: The directory, or what the log proved of it for this delivery.

        Raises:
            EnvelopeError: Any code that can be.
        """
        member = self.present.member
        decided_at = check_accepted(delivery, view, member=member)
        named = delivery.decision.header.dir
        if not self.present.knows(named):
            self.present.meet(named, named_by_gateway(delivery.decision))
        opened = open_delivered(
            delivery.delivered,
            member=member,
            open_keys=self.identity.open_keys,
            view=view,
            at=decided_at,
        )
        if not self.present.knows(opened.label.dir):
            self.present.meet(opened.label.dir, named_by_member(delivery.delivered.frame))
        if not opened.label.kind.is_control:
            verdict = self.present.policies.evaluate(opened.label, [member])[member]
            if not verdict.permitted:
                raise EnvelopeError(verdict.code, verdict.rule)
        return opened

    async def _keep(self, delivery: Delivery, opened: Opened, kept: bytes) -> None:
        label, digest = opened.label, delivery.delivered.frame.digest
        name = folding.said(opened)

        async def change(connection: AsyncConnection) -> str | None:
            """Return under which id it is in the inbox now; None if these bytes came before."""
            if await receiving.is_known(connection, label.id, digest):
                # It may have been decided anew, by a hub that lost its record.
                await receiving.expect_proof(connection, self.present, delivery)
                return None
            if await receiving.is_taken(connection, label.id):  # by other bytes, perhaps of another
                raise EnvelopeError("id-reused", "another alert is here under this id")
            item = await folding.find(connection, name)
            await folding.note(connection, label.id, digest, name, item)
            await receiving.note(connection, self.present, delivery)
            if item is None:
                await self._store(connection, delivery, kept)
            await retention.note(connection, label.id, label.retention.delete_by)
            await self._expect_files(connection, delivery, opened)
            told = Told(Kind.DELIVERED, self.present.now())
            about = Spoken.of(delivery)
            await self.controls.say(
                connection, told, to=about.sender, ref=about.reference, status=about.status
            )
            return item or str(label.id)

        kept_as = await self.database.change(change)
        if kept_as is None:
            return
        if kept_as == str(label.id):
            _log.info("received", id=str(label.id), sender=label.sender.member, type=label.type)
        else:
            _log.info("folded", id=str(label.id), item=kept_as, sender=label.sender.member)
        self.mail.happened()
        self.answered.happened()

    async def _store(self, connection: AsyncConnection, delivery: Delivery, kept: bytes) -> None:
        label = delivery.delivered.frame.label
        await _KEPT.run(
            connection,
            id=str(label.id),
            digest=delivery.delivered.frame.digest,
            alert_id=str(label.alert_id),
            rev=label.rev,
            type=label.type,
            exercise=int(label.status is not Status.ACTUAL),
            sealed=self.vault.seal(kept, name=f"inbox/{label.id}"),
        )

    async def _expect_files(
        self, connection: AsyncConnection, delivery: Delivery, opened: Opened
    ) -> None:
        """Await an alert's files; those of a folded one too, unless its item has them or is gone.

        Its sender hands them in under the id that the hub accepted at last.
        """
        manifests, label = opened.content.manifests, opened.label
        if not manifests:
            return
        expires_ms = to_ms(files_expire(delivery))
        if await folding.lacks_files(connection, label.id, len(manifests)):
            await expect_files(
                connection,
                self.vault,
                label.id,
                label.sender.member,
                opened.attachments_key,
                manifests,
                expires_ms=expires_ms,
                urgent=label.lane is Lane.URGENT,
            )
        else:
            await want_none(connection, str(label.id), label.sender.member, expires_ms=expires_ms)

    async def _control(self, delivery: Delivery, opened: Opened, message: ControlMessage) -> None:
        label, digest = opened.label, delivery.delivered.frame.digest

        async def change(connection: AsyncConnection) -> None:
            if not await receiving.is_new(connection, label.id, digest, "control"):
                await receiving.expect_proof(connection, self.present, delivery)
                return
            await receiving.note(connection, self.present, delivery)
            await hear(connection, self.present, label, message)

        await self.database.change(change)
        self.changes.happened()
