"""Takes submissions out of one lane of one member and has several carried at one time.

The next ones are asked for while the last are still on their way, so that neither the server nor
this worker waits for the slowest of a batch.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from broker.errors import BrokerError
from broker.logs import get_logger
from broker.transport.link import Link
from broker.transport.message import Message
from schemas.vocabulary import Lane

IN_HAND: Final = 64  # a worker that dies leaves this many to be judged again
FEW: Final = IN_HAND // 2  # so many left, and more are asked for
PULL_TIMEOUT_S: Final = 3.0
PAUSE_S: Final = 1.0  # after an error, before the lane is pulled again
_log = get_logger()

Carry = Callable[[Message, str], Awaitable[None]]
"""Carries one submission of a member through; un-acked, it comes again. Raises nothing."""


async def run_lane(link: Link, member: str, lane: Lane, carry: Carry) -> None:
    """Serve one lane of one member for ever."""
    hand = _Hand()
    async with asyncio.TaskGroup() as group:
        while True:
            await hand.light.wait()
            try:
                batch = await link.pull(
                    f"SUBMIT_{member}",
                    f"GATEWAY-{lane}",
                    batch=IN_HAND - hand.count,
                    timeout_s=PULL_TIMEOUT_S,
                )
            except BrokerError as error:
                _log.warning("lane-paused", member=member, lane=str(lane), error_code=error.code)
                await asyncio.sleep(PAUSE_S)
                continue
            hand.take(len(batch))
            for message in batch:
                group.create_task(_carried(hand, carry, message, member))


async def _carried(hand: "_Hand", carry: Carry, message: Message, member: str) -> None:
    try:
        await carry(message, member)
    finally:
        hand.give()


@dataclass
class _Hand:
    """How many submissions of a lane are being carried."""

    count: int = 0
    light: asyncio.Event = field(default_factory=asyncio.Event)  # Few enough to ask for more.

    def __post_init__(self) -> None:
        self.light.set()

    def take(self, count: int) -> None:
        self.count += count
        if self.count > FEW:
            self.light.clear()

    def give(self) -> None:
        self.count -= 1
        if self.count <= FEW:
            self.light.set()
