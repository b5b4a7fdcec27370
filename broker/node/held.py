"""Mail under a key that was stolen since: kept unopened until the log shows when it was decided.

Whoever stole a key can put any time under it, so the envelope's own word counts for nothing. The
log's word counts where a quorum of witnesses had cosigned a tree with the decision's leaf before
the key was revoked. What is proved so is opened, with its warning; anything else is set aside,
and its sender told.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.envelope.decision import Delivery, parse_delivery
from broker.envelope.delivered import Opened
from broker.envelope.errors import EnvelopeError
from broker.errors import BrokerError
from broker.log.commitments import route_of
from broker.logs import get_logger
from broker.node import alarms
from broker.node.ids import to_ms
from broker.node.logreading import LogReading
from broker.node.logstate import Copied, copied_of
from broker.node.present import Present
from broker.node.timeproof import TimeProof
from broker.store.database import Database, StoreError
from broker.store.tables import held, leaves
from broker.store.tilefiles import TileFiles
from broker.transport.link import Link
from broker.transport.services import HubServices
from keys.directory.proving import proved
from keys.directory.view import DirectoryView
from keys.errors import KeysError

NEEDS_PROOF: Final = frozenset({"key-revoked-since", "officer-revoked-since"})
WAITS: Final = "mail-awaits-log"
SAID_AFTER: Final = timedelta(minutes=5)  # as long as any proof may take
_AT_ONCE: Final = 32
_log = get_logger()


class Taking(Protocol):
    """The receiving half of a node, as far as it is needed here."""

    async def take(self, raw: bytes, *, view: DirectoryView | None = None) -> bool:
        """Store one delivery, or quarantine it."""

    def open(self, delivery: Delivery, view: DirectoryView) -> Opened:
        """Return what a delivery says, nothing kept."""


async def hold(
    connection: AsyncConnection, delivery: Delivery, raw: bytes, *, now: datetime
) -> None:
    """Keep a delivery until the log's word on it is here; the same one again changes nothing."""
    digest = delivery.delivered.frame.digest
    known = select(held.c.number).where(held.c.digest == digest)
    if (await connection.execute(known)).first() is None:
        ident = str(delivery.delivered.frame.label.id)
        await connection.execute(
            insert(held).values(id=ident, digest=digest, since_ms=to_ms(now), said=0, raw=raw)
        )
        _log.warning("mail-held", id=ident)


@dataclass
class HeldMail:
    """Opens what the log proves, and sets the rest aside.

    Attributes:
        files: The copy of the log.
        waiting: How many deliveries are held.
    """

    present: Present
    database: Database
    link: Link
    files: TileFiles
    incoming: Taking
    waiting: int = 0
    _after: int = 0  # The number up to which this round has come.

    async def settle(self) -> None:
        """Look again at what is held, some of it each time.

        Raises:
            StoreError: The database or the copy cannot be used.
        """
        if not self.present.has_directory or (log := self.present.view.hub.log) is None:
            return
        async with self.database.read() as connection:
            rows = (
                await connection.execute(
                    select(held).where(held.c.number > self._after).limit(_AT_ONCE)
                )
            ).all()
            copied = await copied_of(connection, log.origin)
            counted = await connection.execute(select(func.count()).select_from(held))
        self.waiting = int(counted.scalar_one())
        self._after = rows[-1].number if len(rows) == _AT_ONCE else 0
        for row in rows:
            try:
                view = await self._proved(row.raw, copied)
            except StoreError:
                raise
            except BrokerError as error:  # the hub does not answer; the others may need nothing
                _log.info("held-on", id=row.id, error_code=error.code)
                view = None
            if view is not None and await self.incoming.take(row.raw, view=view):
                await self.database.change(_letting_go(row.number))
                self.waiting -= 1
            elif not row.said and to_ms(self.present.now() - SAID_AFTER) >= row.since_ms:
                await self._say(row.number, row.id)

    async def _proved(self, raw: bytes, copied: Copied) -> DirectoryView | None:
        """Return the directory as it counts for a delivery; None while the log may prove more.

        Raises:
            BrokerError: The hub does not answer, or the copy is damaged.
        """
        delivery, view = parse_delivery(raw), self.present.view
        about = route_of(delivery.decision)
        async with self.database.read() as connection:
            found = await connection.execute(
                select(leaves.c.number)
                .where(leaves.c.about == about, leaves.c.number < copied.proven)
                .order_by(leaves.c.number)
            )
        proof = TimeProof(view, self.files, copied, delivery.decision)
        for number in found.scalars():
            notes = await self._notes_over(number, copied)
            by = await asyncio.to_thread(proof.proved_by, number, notes)
            if by is not None:
                return proved(view, by=by)
        # It has no leaf here, or a false one. A later leaf cannot stand under an earlier time.
        by = proof.copied_by(self.present.now())
        if by is None or self._would_open(delivery, proved(view, by=by)):
            return None
        return view

    async def _notes_over(self, number: int, copied: Copied) -> Sequence[bytes]:
        reading = LogReading(HubServices(self.link, self.present.member))
        older = await reading.note_over(number)
        return (copied.note,) if older is None else (older, copied.note)

    def _would_open(self, delivery: Delivery, view: DirectoryView) -> bool:
        """Return whether a proof under the time of `view` would be early enough."""
        try:
            self.incoming.open(delivery, view)
        except (EnvelopeError, KeysError) as error:
            return error.code not in NEEDS_PROOF
        return True

    async def _say(self, number: int, ident: str) -> None:
        now = self.present.now()
        _log.error(WAITS, id=ident, alarm=WAITS)

        async def change(connection: AsyncConnection) -> None:
            await alarms.raise_alarm(connection, WAITS, now=now, ident=ident)
            mine = held.c.number == number
            await connection.execute(update(held).where(mine).values(said=1))

        await self.database.change(change)


def _letting_go(number: int) -> Callable[[AsyncConnection], Awaitable[None]]:
    async def change(connection: AsyncConnection) -> None:
        await connection.execute(delete(held).where(held.c.number == number))

    return change
