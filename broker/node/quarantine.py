"""Puts aside what was refused on arrival, as evidence, and tells its sender if it can be told."""

from dataclasses import dataclass

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.envelope.decision import Delivery, check_accepted, decision_in, verify_decision
from broker.envelope.errors import EnvelopeError
from broker.logs import get_logger
from broker.node import alarms, receiving
from broker.node.arrivedfiles import files_expire, want_none
from broker.node.changes import Changes
from broker.node.controls import Controls
from broker.node.ids import to_ms
from broker.node.present import Present
from broker.store import tables
from broker.store.database import Database
from keys.primitives.hashing import sha256
from schemas.control import Rejected
from schemas.label import Reference
from schemas.vocabulary import Status

_log = get_logger()


@dataclass(frozen=True)
class Spoken:
    """An alert that a control answers."""

    sender: str
    reference: Reference
    status: Status

    @classmethod
    def of(cls, delivery: Delivery) -> "Spoken":
        """Return what there is to answer of a delivery."""
        frame = delivery.delivered.frame
        label = frame.label
        return cls(label.sender.member, Reference(id=label.id, digest=frame.digest), label.status)


@dataclass(frozen=True)
class Quarantine:
    """What one node did not believe."""

    present: Present
    database: Database
    controls: Controls
    answered: Changes  # Wakes the task that submits controls.

    async def put_aside(
        self, raw: bytes, delivery: Delivery | None, code: str, *, answered: bool = True
    ) -> None:
        """Keep what was refused as evidence, and tell its sender if it can be told.

        Args:
            raw: Not trusted.
            delivery: What was read of it.
            code: Why.
            answered: Whether to look in it for whom to tell; else it is kept unread.

        Raises:
            StoreError: The database did not keep it.
        """
        digest = sha256(raw) if delivery is None else delivery.delivered.frame.digest
        decided = self._decided_for_us(raw) if answered else None
        readable = answered and delivery is not None and self._is_decided(delivery)
        whole = delivery if readable else None

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
            if whole is not None:
                await receiving.note(connection, self.present, whole)
            if decided is None:
                return
            reference = decided.reference
            if not await receiving.is_known(connection, reference.id, reference.digest):
                # A damaged copy leaves its number open: whatever arrived was not the alert, which
                # may come again and want its files.
                if whole is not None:
                    await want_none(
                        connection,
                        str(reference.id),
                        decided.sender,
                        expires_ms=to_ms(files_expire(whole)),
                    )
                message = Rejected(self.present.now(), code[:64])
                await self.controls.say(
                    connection,
                    message,
                    to=decided.sender,
                    ref=decided.reference,
                    status=decided.status,
                )

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

    def _decided_for_us(self, raw: bytes) -> Spoken | None:
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
        return Spoken(header.sender, Reference(id=header.id, digest=header.digest), header.status)


def _peer(delivery: Delivery | None, decided: Spoken | None) -> str:
    """Return whose copy this seems to be."""
    if decided is not None:
        return decided.sender
    return "" if delivery is None else delivery.delivered.frame.label.sender.member
