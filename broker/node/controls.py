"""Answers to other nodes: kept until the gateway took them, sealed again where it may help.

Without this an alert would be safe at its recipient while its sender waits for a word for ever: a
`delivered` sealed to a key that was replaced meanwhile is refused, and nobody would say it again.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import bindparam, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.admission.codes import retry_of
from broker.logs import get_logger
from broker.node.ids import from_ms, to_ms
from broker.node.present import Present
from broker.node.sealing import Sealer
from broker.store import tables
from broker.store.database import Database
from broker.store.statements import Statement
from keys.errors import KeysError
from schemas.control import ControlMessage, encode_control, parse_control
from schemas.label import Reference
from schemas.vocabulary import Status

AGAIN_AFTER: Final = timedelta(seconds=35)  # longer than a node takes to look at its directory
NO_KEY_AFTER: Final = timedelta(minutes=10)
KEPT: Final = timedelta(days=7)
MAX_REFUSED: Final = 5
LIFTED: Final = frozenset({"member-suspended"})  # what ends without anything that we could do
_AGES: Final = 4  # such an answer goes again once it is older by a quarter
BATCH: Final = 64
_KEPT: Final = Statement(insert(tables.controls))
_DONE: Final = Statement(
    delete(tables.controls).where(tables.controls.c.envelope_id == bindparam("of_envelope"))
)
_log = get_logger()


@dataclass(frozen=True)
class Controls:
    """Answers of one node that are not yet accepted by the hub."""

    present: Present
    database: Database
    sealer: Sealer

    async def say(
        self,
        connection: AsyncConnection,
        message: ControlMessage,
        *,
        to: str,
        ref: Reference,
        status: Status,
    ) -> None:
        """Seal an answer at once if that is possible, and keep it until it is accepted.

        What keeps alerts from being sealed keeps answers as well: one that a wrong clock dates
        into the future is not taken by the hub for as long.
        """
        now = due = self.present.now()
        ident: UUID | None = None
        if not self.present.hindrance():
            try:
                ident = await self.sealer.control(
                    connection, message, to=to, ref=ref, status=status
                )
            except KeysError as error:  # its peer has no key now
                _log.warning("not-confirmed", error_code=error.code, id=str(ref.id))
                due = now + NO_KEY_AFTER
        await _KEPT.run(
            connection,
            envelope_id=None if ident is None else str(ident),
            peer=to,
            ref_id=str(ref.id),
            ref_digest=ref.digest,
            status=str(status),
            message=encode_control(message),
            refused=0,
            kept_ms=to_ms(now),
            due_ms=to_ms(due),
        )

    async def decided(self, connection: AsyncConnection, ident: UUID, code: str) -> None:
        """Forget the answer in envelope `ident`, or seal it again later.

        Args:
            connection: In the transaction that stores the decision.
            ident: The envelope's id.
            code: Why it was refused; empty if it was accepted.
        """
        table, now = tables.controls, self.present.now()
        mine = table.c.envelope_id == str(ident)
        if retry_of(code) == "new-id":
            due_ms = to_ms(now + AGAIN_AFTER)
            values = {"envelope_id": None, "refused": table.c.refused + 1, "due_ms": due_ms}
            await connection.execute(
                update(table).where(mine, table.c.refused < MAX_REFUSED).values(values)
            )
        elif code in LIFTED:
            kept_ms = await connection.scalar(select(table.c.kept_ms).where(mine))
            if kept_ms is not None and kept_ms > to_ms(now - KEPT):
                wait = max(AGAIN_AFTER, (now - from_ms(kept_ms)) / _AGES)
                again = {"envelope_id": None, "due_ms": to_ms(now + wait)}
                await connection.execute(update(table).where(mine).values(again))
        await _DONE.run(connection, of_envelope=str(ident))

    async def seal_due(self) -> int:
        """Seal again what is due; return how many are on their way now."""
        if self.present.hindrance():
            return 0
        async with self.database.read() as connection:
            due = await self.waiting(connection, due_ms=to_ms(self.present.now()))
        return sum([await self._again(number) for number in due])

    async def waiting(self, connection: AsyncConnection, *, due_ms: int | None = None) -> list[int]:
        """Return the first numbers that wait to be sealed, or only those due by `due_ms`."""
        table = tables.controls
        asked = select(table.c.number).where(table.c.envelope_id.is_(None))
        if due_ms is not None:
            asked = asked.where(table.c.due_ms <= due_ms)
        found = await connection.execute(asked.order_by(table.c.number).limit(BATCH))
        return [int(number) for number in found.scalars()]

    async def count(self, connection: AsyncConnection) -> int:
        """Return how many answers the hub has not accepted yet."""
        found = await connection.execute(select(func.count()).select_from(tables.controls))
        return int(found.scalar_one())

    async def _again(self, number: int) -> bool:
        return await self.database.change(lambda connection: self._seal(connection, number))

    async def _seal(self, connection: AsyncConnection, number: int) -> bool:
        table, now = tables.controls, self.present.now()
        row = (
            await connection.execute(select(table).where(table.c.number == number))
        ).one_or_none()
        if row is None or row.envelope_id is not None:
            return False
        values: dict[str, object]
        try:
            ident = await self.sealer.control(
                connection,
                parse_control(row.message),
                to=row.peer,
                ref=Reference(id=UUID(row.ref_id), digest=row.ref_digest),
                status=Status(row.status),
            )
        except KeysError as error:  # its peer has no key now
            _log.warning("not-confirmed", error_code=error.code, id=row.ref_id)
            if to_ms(now - KEPT) > row.kept_ms:
                await connection.execute(delete(table).where(table.c.number == number))
                return False
            values = {"due_ms": to_ms(now + NO_KEY_AFTER)}
        else:
            values = {"envelope_id": str(ident)}
        await connection.execute(update(table).where(table.c.number == number).values(values))
        return "envelope_id" in values
