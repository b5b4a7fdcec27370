"""Reads the AUDIT streams by number, and checks what stands there, off the event loop.

The numbers are the log's own: what a stream forgot, repeats or restarts is noticed here.
"""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from broker import clock
from broker.ledger.commit import Entry
from broker.ledger.errors import LedgerError
from broker.ledger.intake import Witnessed, entry_of, stream_id
from broker.ledger.state import Position
from broker.log.leaf import ZERO, LeafKind
from broker.logs import get_logger
from broker.transport.link import Link
from broker.transport.message import Stored
from broker.transport.streams import StreamState, stream_states
from keys.primitives.hashing import sha256
from keys.primitives.signing import VerifyKey

AUDIT: Final = "audit.>"
READ_TOGETHER: Final = 256  # messages in memory at one time, each up to 640 KiB
_THREADS: Final = os.cpu_count() or 1  # signature checks leave the interpreter's lock alone
_log = get_logger()


@dataclass(frozen=True)
class Batch:
    """What was read: entries in the order of the streams, and how far that is."""

    entries: Sequence[Entry] = ()
    read: Mapping[str, Position] = field(default_factory=dict)
    messages: int = 0


@dataclass(frozen=True)
class AuditReader:
    """Reads and checks; it remembers nothing and writes nothing."""

    link: Link
    gateway_keys: Callable[[], Sequence[VerifyKey]]
    pen: Witnessed

    async def waiting(self, positions: Mapping[str, Position]) -> int:
        """Return how many messages stand behind `positions`.

        Raises:
            TransportError: The server did not answer.
        """
        states = await stream_states(self.link, AUDIT)
        return sum(
            max(0, state.last_seq + 1 - _at(positions.get(name), state).next_seq)
            for name, state in states.items()
        )

    async def read(self, positions: Mapping[str, Position], most: int) -> Batch:
        """Return what stands behind `positions`, at most `most` messages of it.

        Raises:
            LedgerError: `stream-reset`: a stream is not the one that was read, or is shorter.
            TransportError: The server did not answer; nothing happened.
        """
        entries: list[Entry] = []
        read: dict[str, Position] = {}
        room = most
        for name, state in sorted((await stream_states(self.link, AUDIT)).items()):
            position = _at(positions.get(name), state)
            await self._check_forward(name, position, state)
            last = min(state.last_seq, position.next_seq + room - 1)
            if last < position.next_seq:
                continue
            found, read[name] = await self._read(name, position, last)
            entries += found
            room -= last + 1 - position.next_seq
        return Batch(entries, read, most - room)

    async def _read(self, name: str, position: Position, last: int) -> tuple[list[Entry], Position]:
        found: list[Entry] = []
        tail = position.tail
        for start in range(position.next_seq, last + 1, READ_TOGETHER):
            numbers = range(start, min(start + READ_TOGETHER, last + 1))
            stored = await asyncio.gather(*(self.link.get(name, seq) for seq in numbers))
            tail = _digest(stored[-1])
            stream, keys = stream_id(name, position.created), tuple(self.gateway_keys())
            found += await checked(numbers, stored, stream=stream, keys=keys, pen=self.pen)
        return found, replace(position, next_seq=last + 1, tail=tail)

    async def _check_forward(self, name: str, position: Position, state: StreamState) -> None:
        same = state.created == position.created and state.last_seq >= position.next_seq - 1
        if same and position.tail and state.last_seq >= position.next_seq:
            # It went back and was filled again: another message stands where the last one was.
            before = await self.link.get(name, position.next_seq - 1)
            same = before is None or _digest(before) == position.tail
        if same:
            return
        _log.error("stream-reset", stream=name, alarm="stream-reset")
        raise LedgerError(
            "stream-reset",
            f"{name} is not the stream that was read, or lost its end: look into it, then"
            " kentong log resume --stream-reset",
        )


async def checked(
    numbers: Sequence[int],
    stored: Sequence[Stored | None],
    *,
    stream: bytes,
    keys: Sequence[VerifyKey],
    pen: Witnessed,
) -> list[Entry]:
    """Return what these messages become, every signature checked, on all cores.

    Args:
        numbers: Of the messages.
        stored: As the stream holds them; None for one that is gone.
        stream: As `stream_id`.
        keys: Of the gateways, ended ones too.
        pen: For gaps and faults.
    """
    now = clock.now()

    def check(part: Sequence[tuple[int, Stored | None]]) -> list[Entry]:
        made = (
            _gap(seq, stream=stream, pen=pen, now=now)
            if message is None
            else entry_of(message, keys, stream=stream, pen=pen, now=now)
            for seq, message in part
        )
        return [entry for entry in made if entry is not None]

    pairs = list(zip(numbers, stored, strict=True))
    share = -(-len(pairs) // _THREADS)
    parts = (pairs[start : start + share] for start in range(0, len(pairs), share))
    done = await asyncio.gather(*(asyncio.to_thread(check, part) for part in parts))
    return [entry for part in done for entry in part]


def _gap(seq: int, *, stream: bytes, pen: Witnessed, now: datetime) -> Entry:
    _log.error("stream-gap", stream=stream.hex(), seq=seq, alarm="stream-gap")
    return pen.leaf(LeafKind.STREAM, ZERO, stream=stream, seq=seq, now=now)


def _at(position: Position | None, state: StreamState) -> Position:
    return position or Position(state.created, max(1, state.first_seq))


def _digest(message: Stored | None) -> str:
    return "" if message is None else sha256(message.subject.encode(), b"\0", message.payload).hex()
