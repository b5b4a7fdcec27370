"""The sequencer: reads the gateways' decisions in order, and grows the log by them.

It reads by number, from a place that stands in the log's own database, so that a stream which
lost, repeats or restarts its messages cannot fork what was signed: it can only be noticed.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from broker import clock
from broker.ledger.commit import Committer, Entry
from broker.ledger.errors import LedgerError
from broker.ledger.intake import Witnessed, entry_of, stream_id
from broker.ledger.state import Position
from broker.log.leaf import ZERO, LeafKind
from broker.logs import get_logger
from broker.transport.link import Link
from broker.transport.streams import StreamState, stream_states
from keys.primitives.hashing import sha256
from keys.primitives.signing import VerifyKey

MAX_BATCH: Final = 256
PAUSE_S: Final = 0.25  # at most this long until what was decided is in the tree
_log = get_logger()
_shuffle = secrets.SystemRandom().shuffle


@dataclass
class Sequencer:
    """Orders the leaves of one log. A second one stops at its first step."""

    link: Link
    committer: Committer
    gateway_keys: Callable[[], Sequence[VerifyKey]]
    pen: Witnessed
    agreed: Callable[[int], Awaitable[None]] | None = None  # With the witnesses; then it may grow.

    async def run(self) -> None:
        """Recover, then grow the log for ever.

        Raises:
            LedgerError: End the process, and let a person look where it says so.
            StoreError: End the process.
        """
        size = (await self.committer.recover()).size
        _log.info("log-recovered", size=size)
        if self.agreed is not None and size:
            await self.agreed(size)
        while True:
            grown = await self.step(size)
            if grown == size:
                await asyncio.sleep(PAUSE_S)
            size = grown

    async def step(self, size: int) -> int:
        """Append what was decided since; return the log's new size.

        Raises:
            LedgerError: `stream-reset`: a stream is not the one that was read, or is shorter.
            TransportError: The server did not answer; nothing happened.
        """
        positions = await self.committer.state.positions()
        entries: list[Entry] = []
        read: dict[str, Position] = {}
        for name, state in sorted((await stream_states(self.link, "audit.>")).items()):
            position = positions.get(name) or Position(state.created, max(1, state.first_seq))
            _check_forward(name, position, state)
            last = min(state.last_seq, position.next_seq + MAX_BATCH - len(entries) - 1)
            if last < position.next_seq:
                continue
            entries += await self._read(name, position, last)
            read[name] = replace(position, next_seq=last + 1)
        fresh = await self._fresh(entries)
        if fresh:
            _shuffle(fresh)  # so that an order within a batch tells nothing
            return (await self.committer.grow(size, fresh, read)).size
        if read:
            await self.committer.state.read_on(read)
        return size

    async def _read(self, name: str, position: Position, last: int) -> list[Entry]:
        numbers = range(position.next_seq, last + 1)
        stored = await asyncio.gather(*(self.link.get(name, seq) for seq in numbers))
        stream, keys, now = stream_id(name, position.created), self.gateway_keys(), clock.now()
        found: list[Entry] = []
        for seq, message in zip(numbers, stored, strict=True):
            if message is None:
                _log.error("stream-gap", stream=name, seq=seq, alarm="stream-gap")
                found.append(self.pen.leaf(LeafKind.STREAM, ZERO, stream=stream, seq=seq, now=now))
                continue
            entry = entry_of(message, keys, stream=stream, pen=self.pen, now=now)
            if entry is not None:
                found.append(entry)
        return found

    async def _fresh(self, entries: Sequence[Entry]) -> list[Entry]:
        """Return the entries whose number no leaf has; a number used twice is said."""
        known = await self.committer.state.known([entry.number for entry in entries])
        fresh: list[Entry] = []
        for entry in entries:
            if entry.number not in known:
                known.add(entry.number)
                fresh.append(entry)
                continue
            digest = sha256(entry.raw).hex()
            _log.error(
                "number-repeated", gateway=entry.number.gateway, leaf=digest, alarm="leaf-fault"
            )
        return fresh


def _check_forward(name: str, position: Position, state: StreamState) -> None:
    if state.created == position.created and state.last_seq >= position.next_seq - 1:
        return
    _log.error("stream-reset", stream=name, alarm="stream-reset")
    raise LedgerError(
        "stream-reset",
        f"{name} is not the stream that was read, or lost its end: look into it, then"
        " kentong log resume --stream-reset",
    )
