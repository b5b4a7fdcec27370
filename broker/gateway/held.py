"""Copies that an inbox could not take: put there in order as room comes, or returned in time."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from broker import clock
from broker.envelope.decision import parse_delivery
from broker.envelope.errors import EnvelopeError
from broker.errors import BrokerError
from broker.gateway.counts import Counts
from broker.gateway.dispatch import PUBLISH_TIMEOUT_S, Dispatcher
from broker.logs import get_logger
from broker.transport.errors import StreamFull
from broker.transport.link import Link
from broker.transport.message import Message, leaves_at
from broker.transport.streams import EXPIRED_STREAM
from broker.transport.streamstates import streams_seen
from keys.errors import KeysError
from schemas.receipt import Where

PULL_TIMEOUT_S: Final = 3.0
LOOK_S: Final = 2.0  # between two looks at what is held
BATCH: Final = 16
FULL_PAUSE_S: Final = 5.0  # while the inbox is full; its owner is offline or slow
_PARTS: Final = 5
_log = get_logger()


def always() -> bool:
    """Return that the clock is right."""
    return True


@dataclass(frozen=True)
class HeldDrain:
    """Empties HELD_<CC>_<SENDER> into the inboxes, one at a time so that the order stays.

    Attributes:
        clock_is_good: Whether the hub's time is believed: a wrong clock returns nothing.
    """

    link: Link
    dispatcher: Dispatcher
    counts: Counts = field(default_factory=Counts)
    clock_is_good: Callable[[], bool] = always

    async def run(self) -> None:
        """Drain whatever is held, for ever; one sender's mail never waits behind another's."""
        busy: dict[str, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                busy = {name: task for name, task in busy.items() if not task.done()}
                try:
                    held = (await streams_seen(self.link, "held.>")).states
                except BrokerError as error:
                    _log.warning("held-not-seen", error_code=error.code)
                    held = {}
                for name, state in held.items():
                    if state.messages and name not in busy:
                        busy[name] = group.create_task(self._empty(name))
                await asyncio.sleep(LOOK_S)

    async def run_expired(self) -> None:
        """Announce what the hub took out of inboxes because nobody read it in time, for ever."""
        while True:
            try:
                batch = await self.link.pull(
                    EXPIRED_STREAM, "GATEWAY", batch=BATCH, timeout_s=PULL_TIMEOUT_S
                )
                for message in batch:
                    await self._expire(message, message.subject.split(".")[1], now=clock.now())
            except BrokerError as error:
                _log.warning("expired-paused", error_code=error.code)
                await asyncio.sleep(FULL_PAUSE_S)

    async def _empty(self, name: str) -> None:
        recipient = name.split("_")[1]
        try:
            while batch := await self.link.pull(name, "GATEWAY", batch=1, timeout_s=LOOK_S):
                await self.place(batch[0], recipient, now=clock.now())
        except (BrokerError, KeysError) as error:
            _log.warning("drain-paused", member=recipient, error_code=error.code)
            await asyncio.sleep(FULL_PAUSE_S)

    async def place(self, message: Message, member: str, *, now: datetime) -> None:
        """Move one copy into the inbox; return it if it has expired; else leave it first in line.

        While the clock is in doubt nothing has expired: what goes into the inbox by that leaves it
        later, if the clock was right.

        Raises:
            BrokerError: The outcome is unknown, or the clock's; it stays held.
            KeyFileError: What is known of the time cannot be read; it stays held.
        """
        parts = message.subject.split(".", _PARTS - 1)
        until = leaves_at(message.headers)
        if until is not None and until <= now and self.clock_is_good():
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
        self.counts.moved()
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
            delivery.decision,
            member,
            Where.EXPIRED,
            now=now,
            to=(parts.label.sender.member, member),
        )
        await message.ack()
        self.counts.placed((Where.EXPIRED,), lane=parts.label.lane)
        _log.info("expired", member=member, id=str(parts.label.id))
