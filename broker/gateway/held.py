"""Copies that an inbox could not take: put there in order as room comes, or returned in time."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from broker import clock
from broker.envelope.decision import parse_delivery
from broker.envelope.errors import EnvelopeError
from broker.errors import BrokerError
from broker.gateway.dispatch import PUBLISH_TIMEOUT_S, Dispatcher
from broker.logs import get_logger
from broker.transport.errors import StreamFull
from broker.transport.link import Link
from broker.transport.message import Message
from schemas.receipt import Where

PULL_TIMEOUT_S: Final = 3.0
FULL_PAUSE_S: Final = 5.0  # while the inbox is full; its owner is offline or slow
_PARTS: Final = 5
_log = get_logger()


@dataclass(frozen=True)
class HeldDrain:
    """Empties HELD_<CC> into INBOX_<CC>, one at a time so that the order stays."""

    link: Link
    dispatcher: Dispatcher

    async def run(self, member: str) -> None:
        """Drain one member's held copies for ever."""
        while True:
            try:
                batch = await self.link.pull(
                    f"HELD_{member}", "GATEWAY", batch=1, timeout_s=PULL_TIMEOUT_S
                )
                for message in batch:
                    await self.place(message, member, now=clock.now())
            except BrokerError as error:
                _log.warning("drain-paused", member=member, error_code=error.code)
                await asyncio.sleep(FULL_PAUSE_S)

    async def place(self, message: Message, member: str, *, now: datetime) -> None:
        """Move one copy into the inbox; return it if it has expired; else leave it first in line.

        Raises:
            BrokerError: The outcome is unknown; it stays held.
        """
        parts = message.subject.split(".", _PARTS - 1)
        if _expired(message, now):
            await self._expire(message, member, now=now)
            return
        if len(parts) != _PARTS:
            _log.error("held-misplaced", member=member)
            await message.ack()
            return
        try:
            await self.link.publish_acked(
                f"deliver.{member}.{parts[3]}.{parts[4]}",
                message.payload,
                msg_id=message.headers.get("Nats-Msg-Id", message.subject),
                headers={
                    name: value
                    for name, value in message.headers.items()
                    if name.startswith("Kentong-")
                },
                timeout_s=PUBLISH_TIMEOUT_S,
            )
        except StreamFull:
            await message.nak(delay_s=FULL_PAUSE_S)
            await asyncio.sleep(FULL_PAUSE_S)
            return
        await message.ack()
        _log.info("held-placed", member=member, lane=parts[3])

    async def _expire(self, message: Message, member: str, *, now: datetime) -> None:
        try:
            delivery = parse_delivery(message.payload)
        except EnvelopeError as error:
            _log.error("held-unreadable", member=member, error_code=error.code)
            await message.ack()
            return
        parts = delivery.delivered.frame
        await self.dispatcher.notify(
            parts.label,
            parts.digest,
            member,
            Where.EXPIRED,
            now=now,
            to=(parts.label.sender.member, member),
        )
        await message.ack()
        _log.info("expired", member=member, id=str(parts.label.id))


def _expired(message: Message, now: datetime) -> bool:
    raw = message.headers.get("Kentong-Expires", "")
    if not raw.isdecimal():
        return False
    return datetime.fromtimestamp(int(raw) / 1000, tz=UTC) <= now
