"""Incoming mail: verified, opened, judged again, stored once; what fails is quarantined and told.

The hub's copy is acknowledged only after the commit. Stored means stored once: by id and digest.
"""

import asyncio
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from pydantic import JsonValue
from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.envelope.decision import (
    Delivery,
    check_accepted,
    decision_in,
    parse_delivery,
    verify_decision,
)
from broker.envelope.delivered import Opened, open_delivered
from broker.envelope.errors import EnvelopeError
from broker.errors import BrokerError
from broker.logs import get_logger
from broker.node import alarms, pairs, repeats, submissions
from broker.node.arrivals import awaited, expect_files
from broker.node.changes import Changes
from broker.node.controls import Controls
from broker.node.evidence import named_by_gateway, named_by_member
from broker.node.ids import to_ms
from broker.node.present import Present
from broker.node.proofs import expect
from broker.node.vault import Vault
from broker.store import tables
from broker.store.database import Database
from broker.transport.link import Link
from broker.transport.message import UNREAD_AT_MOST, Message
from broker.transport.streams import inbox_of
from keys.errors import KeysError
from keys.identity import MemberIdentity
from keys.primitives.hashing import sha256
from schemas.control import ControlMessage, PairState, Rejected, Told
from schemas.desk import (
    DecisionShown,
    DirectoryNamed,
    InboxItem,
    OfficerShown,
    OriginalShown,
    RecipientState,
)
from schemas.desk.fields import Base64
from schemas.directory import OfficerRole
from schemas.label import Label, Reference, Strict
from schemas.vocabulary import Kind, Lane, Status

BATCH: Final = 32
PULL_TIMEOUT_S: Final = 3.0
PAUSE_S: Final = 1.0
RETRIED: Final = frozenset(  # a newer directory or key may come; the hub keeps the copy meanwhile
    {"unknown-key", "unknown-member", "unknown-officer", "no-open-key", "suite-mismatch"}
)
MAX_RETRIES: Final = 5
_log = get_logger()


class Kept(Strict):
    """What is sealed in an inbox row.

    Attributes:
        kid: The sender's node key; empty in rows older than this field.
    """

    item: InboxItem
    original: Base64 | None
    kid: Base64 = b""


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
                inbox = inbox_of(self.present.member, lane)
                return await self.link.pull(inbox, str(lane), batch=BATCH, timeout_s=PULL_TIMEOUT_S)
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
        final = message.attempts > MAX_RETRIES
        try:
            taken = await self.take(message.payload, final=final)
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

    async def take(self, raw: bytes, *, final: bool = True) -> bool:
        """Store one delivery, or quarantine it; return whether the hub's copy is done with.

        Args:
            raw: Not trusted.
            final: Whether to quarantine even what a newer directory might let in.

        Raises:
            StoreError: The database did not keep it.
        """
        delivery: Delivery | None = None
        opened: Opened | None = None
        code = ""
        try:
            delivery = parse_delivery(raw)
            opened = self._open(delivery)
        except (EnvelopeError, KeysError) as error:
            code = error.code
        await alarms.say_split(self.database, self.present)
        if delivery is None or opened is None:
            if code in RETRIED and not final:
                return False
            if delivery is not None and self.present.waits_for(delivery.decision.header.dir):
                return False
            await self._quarantine(raw, delivery, code)
            return True
        if opened.control is not None:
            await self._control(delivery, opened, opened.control)
            return True
        try:
            await self._keep(delivery, opened)
        except EnvelopeError as error:
            await self._quarantine(raw, delivery, error.code)
        return True

    def _open(self, delivery: Delivery) -> Opened:
        view, member = self.present.view, self.present.member
        decided_at = check_accepted(delivery, view, member=member)
        named = delivery.decision.header.dir
        self.present.meet(named, named_by_gateway(delivery.decision))
        opened = open_delivered(
            delivery.delivered,
            member=member,
            open_keys=self.identity.open_keys,
            view=view,
            at=decided_at,
        )
        self.present.meet(opened.label.dir, named_by_member(delivery.delivered.frame))
        if not opened.label.kind.is_control:
            verdict = self.present.policies.evaluate(opened.label, [member])[member]
            if not verdict.permitted:
                raise EnvelopeError(verdict.code, verdict.rule)
        return opened

    async def _keep(self, delivery: Delivery, opened: Opened) -> None:
        label, digest = opened.label, delivery.delivered.frame.digest

        async def change(connection: AsyncConnection) -> bool:
            if not await _is_new(connection, label.id, digest, "delivered"):
                return False
            if await _is_taken(connection, label.id):  # by other bytes: of another member, say
                raise EnvelopeError("id-reused", "another alert is here under this id")
            await self._arrived(connection, delivery)
            await self._expect(connection, delivery)
            await self._store(connection, delivery, opened)
            told = Told(Kind.DELIVERED, self.present.now())
            await self._answer(connection, _Spoken.of(delivery), told)
            return True

        if await self.database.change(change):
            _log.info("received", id=str(label.id), sender=label.sender.member, type=label.type)
            self.mail.happened()
            self.answered.happened()

    async def _store(self, connection: AsyncConnection, delivery: Delivery, opened: Opened) -> None:
        label = opened.label
        inserted = await connection.execute(
            insert(tables.inbox).values(
                id=str(label.id),
                digest=delivery.delivered.frame.digest,
                alert_id=str(label.alert_id),
                rev=label.rev,
                type=label.type,
                exercise=int(label.status is not Status.ACTUAL),
                sealed=b"",
            )
        )
        position = int((inserted.inserted_primary_key or (0,))[0])
        kept = Kept(
            item=self._item(position, delivery, opened),
            original=opened.content.original,
            kid=delivery.delivered.frame.kid,
        )
        await expect_files(
            connection,
            self.vault,
            label.id,
            label.sender.member,
            opened.attachments_key,
            opened.content.manifests,
            expires_ms=to_ms(
                min(label.expires, delivery.decision.header.decided_at + UNREAD_AT_MOST)
            ),
        )
        sealed = self.vault.seal(kept.model_dump_json().encode(), name=f"inbox/{label.id}")
        await connection.execute(
            update(tables.inbox).where(tables.inbox.c.position == position).values(sealed=sealed)
        )

    def _item(self, position: int, delivery: Delivery, opened: Opened) -> InboxItem:
        label, header = opened.label, delivery.decision.header
        record = delivery.decision.record_of(self.present.member)
        officer = opened.officer
        if officer is None or record is None:  # `_open` saw both
            raise EnvelopeError("officer-missing", "no officer signed this alert")
        alert: dict[str, JsonValue] | None = (
            None
            if opened.alert is None
            else opened.alert.model_dump(mode="json", exclude_none=True)
        )
        named = None if opened.alert is None else opened.alert.original
        reviewed = opened.content.officer is not None and (
            opened.content.officer.reviewed_no_personal_data
        )
        warnings = [
            code
            for code, shown in (
                ("reviewed-no-personal-data", reviewed),
                ("type-not-read", opened.alert is None),
                ("system-sender", OfficerRole.SYSTEM in officer.roles),
                ("key-revoked-since", self._key_ended(delivery)),
                ("officer-revoked-since", officer.standing.ended_since(at=header.decided_at)),
            )
            if shown
        ]
        return InboxItem(
            position=position,
            id=label.id,
            alert_id=label.alert_id,
            rev=label.rev,
            sender=label.sender.member,
            agency=label.sender.agency,
            type=label.type,
            type_version=label.type_version,
            status=label.status,
            exercise=label.status is not Status.ACTUAL,
            precedence=label.precedence,
            tlp=label.tlp,
            created=label.created,
            expires=label.expires,
            received_at=self.present.now(),
            label=label.model_dump(mode="json", exclude_none=True),
            alert=alert,
            officer=OfficerShown(
                pseudonym=officer.id,
                kid=officer.kid,
                roles=tuple(str(role) for role in officer.roles),
                system=OfficerRole.SYSTEM in officer.roles,
            ),
            decision=DecisionShown(
                gateway=header.gateway,
                kid=delivery.decision.kid,
                decided_at=header.decided_at,
                rule=record.rule,
                policy=record.policy or bytes(32),
                directory=DirectoryNamed(
                    root=header.dir.root, snapshot=header.dir.snapshot, hash=header.dir.hash
                ),
            ),
            recipients=opened.disclosed or None,
            reviewed_no_personal_data=reviewed,
            original=None
            if named is None
            else OriginalShown(
                sha256=bytes.fromhex(named.sha256),
                media_type=named.media_type,
                bytes=named.bytes,
                name=named.name,
                carried=opened.content.original is not None,
            ),
            warnings=tuple(warnings),
            attachments=awaited(opened.content.manifests),
        )

    def _key_ended(self, delivery: Delivery) -> bool:
        """Return whether a key that vouches for this delivery was revoked after the decision."""
        view, frame = self.present.view, delivery.delivered.frame
        standings = (
            view.verification_standing(frame.label.sender.member, frame.kid),
            view.gateway_standing(delivery.decision.kid),
        )
        decided_at = delivery.decision.header.decided_at
        return any(standing.ended_since(at=decided_at) for standing in standings)

    async def _control(self, delivery: Delivery, opened: Opened, message: ControlMessage) -> None:
        label, digest = opened.label, delivery.delivered.frame.digest

        async def change(connection: AsyncConnection) -> None:
            if not await _is_new(connection, label.id, digest, "control"):
                return
            await self._arrived(connection, delivery)
            await self._expect(connection, delivery)
            await self._apply(connection, label, message)

        await self.database.change(change)
        self.changes.happened()

    async def _apply(
        self, connection: AsyncConnection, label: Label, message: ControlMessage
    ) -> None:
        peer = label.sender.member
        if isinstance(message, PairState):
            await pairs.compare(connection, peer, message, now=self.present.now())
            await repeats.again(connection, peer, message.missing)
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
            moved = submissions.with_outcomes(submission, {peer: change}, now=self.present.now())
            await submissions.save(connection, moved)

    async def _arrived(self, connection: AsyncConnection, delivery: Delivery) -> None:
        slot = delivery.delivered.slot
        peer = delivery.delivered.frame.label.sender.member
        await pairs.arrived(connection, peer, slot.pair_seq, now=self.present.now())

    async def _expect(self, connection: AsyncConnection, delivery: Delivery) -> None:
        """Let the log prove what let this copy through."""
        if self.present.view.hub.log is None:
            return
        label = delivery.delivered.frame.label
        envelope = b"" if label.kind.is_control else delivery.delivered_bytes
        await expect(connection, label.id, delivery.decision, sent=False, envelope=envelope)

    async def _quarantine(self, raw: bytes, delivery: Delivery | None, code: str) -> None:
        """Keep what was refused as evidence, and tell its sender if it can be told."""
        digest = sha256(raw) if delivery is None else delivery.delivered.frame.digest
        decided = self._decided_for_us(raw)

        async def change(connection: AsyncConnection) -> None:
            table = tables.quarantine
            known = await connection.execute(select(table.c.number).where(table.c.digest == digest))
            if known.scalar_one_or_none() is not None:
                return
            await connection.execute(
                insert(table).values(
                    digest=digest, code=code, at_ms=to_ms(self.present.now()), raw=raw
                )
            )
            await alarms.raise_alarm(
                connection,
                f"quarantined-{code}"[:64],
                now=self.present.now(),
                peer=_peer(delivery, decided),
            )
            if delivery is not None and self._is_decided(delivery):
                await self._arrived(connection, delivery)
                await self._expect(connection, delivery)
            if decided is not None and not await _is_known(connection, decided):
                # A damaged copy leaves its number open: whatever arrived was not the alert.
                message = Rejected(self.present.now(), code[:64])
                await self._answer(connection, decided, message)

        await self.database.change(change)
        self.answered.happened()
        _log.error("quarantined", code=code, digest=digest.hex())

    def _is_decided(self, delivery: Delivery) -> bool:
        """Return whether the gateway let exactly this copy through: else nobody is answered."""
        try:
            check_accepted(delivery, self.present.view, member=self.present.member)
            delivery.delivered.frame.verify(
                self.present.view, at=delivery.decision.header.decided_at, decided=True
            )
        except EnvelopeError:
            return False
        return True

    def _decided_for_us(self, raw: bytes) -> "_Spoken | None":
        """Return the alert that the gateway let through to us with these bytes, if it did.

        Its copy may be damaged: what the gateway signed tells whom to answer, and about what.
        """
        try:
            decision = decision_in(raw)
            verify_decision(decision, self.present.view)
        except EnvelopeError:
            return None
        header = decision.header
        record = decision.record_of(self.present.member)
        if header.code or record is None or not record.accepted:
            return None
        if header.id is None or header.status is None or header.kind is None:
            return None
        if header.kind.is_control:
            return None
        return _Spoken(header.sender, Reference(id=header.id, digest=header.digest), header.status)

    async def _answer(
        self, connection: AsyncConnection, about: "_Spoken", message: ControlMessage
    ) -> None:
        await self.controls.say(
            connection, message, to=about.sender, ref=about.reference, status=about.status
        )


@dataclass(frozen=True)
class _Spoken:
    """An alert that a control answers."""

    sender: str
    reference: Reference
    status: Status

    @classmethod
    def of(cls, delivery: Delivery) -> "_Spoken":
        frame = delivery.delivered.frame
        label = frame.label
        return cls(label.sender.member, Reference(id=label.id, digest=frame.digest), label.status)


def _peer(delivery: Delivery | None, decided: _Spoken | None) -> str:
    """Return whose copy this seems to be."""
    if decided is not None:
        return decided.sender
    return "" if delivery is None else delivery.delivered.frame.label.sender.member


async def _is_known(connection: AsyncConnection, about: _Spoken) -> bool:
    """Return whether a good copy was kept before."""
    table = tables.received
    known = await connection.execute(
        select(table.c.outcome).where(
            table.c.id == str(about.reference.id), table.c.digest == about.reference.digest
        )
    )
    return known.scalar_one_or_none() is not None


async def _is_new(connection: AsyncConnection, ident: UUID, digest: bytes, outcome: str) -> bool:
    table = tables.received
    known = await connection.execute(
        select(table.c.outcome).where(table.c.id == str(ident), table.c.digest == digest)
    )
    if known.scalar_one_or_none() is not None:
        return False
    await connection.execute(insert(table).values(id=str(ident), digest=digest, outcome=outcome))
    return True


async def _is_taken(connection: AsyncConnection, ident: UUID) -> bool:
    table = tables.inbox
    found = await connection.execute(select(table.c.position).where(table.c.id == str(ident)))
    return found.first() is not None


async def _known(connection: AsyncConnection, reference: Reference) -> UUID | None:
    table = tables.envelopes
    found = await connection.execute(
        select(table.c.submission_id).where(
            table.c.id == str(reference.id), table.c.digest == reference.digest
        )
    )
    value = found.scalar_one_or_none()
    return None if value is None else UUID(value)


async def forget_drafts(connection: AsyncConnection, now_ms: int) -> None:
    """Erase drafts that nobody signed in time."""
    await connection.execute(delete(tables.drafts).where(tables.drafts.c.expires_ms < now_ms))
