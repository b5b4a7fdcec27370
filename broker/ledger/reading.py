"""Reads the AUDIT streams by number, and checks what stands there, off the event loop.

The numbers are the log's own: what a stream forgot, repeats or restarts is noticed here.
"""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from broker import clock
from broker.ledger.commit import Entry
from broker.ledger.errors import LedgerError
from broker.ledger.intake import GatewayKey, Noticed, Witnessed, entry_of, statement_of, verify
from broker.ledger.state import Position
from broker.ledger.subjects import SealedSubjects, SubjectSealer
from broker.log.announcement import opened, stream_id
from broker.log.errors import LogError
from broker.log.leaf import LeafKind
from broker.logs import get_logger
from broker.transport.link import Link
from broker.transport.message import Stored
from broker.transport.streams import AUDIT_PREFIX, years_at
from broker.transport.streamstates import StreamState, stream_states
from keys.primitives.hashing import sha256

AUDIT: Final = "audit.>"
READ_TOGETHER: Final = 256  # messages in memory at one time, each up to 640 KiB
_THREADS: Final = os.cpu_count() or 1  # signature checks leave the interpreter's lock alone
_log = get_logger()


@dataclass(frozen=True)
class Batch:
    """What was read: entries in the order of the streams, and how far that is.

    Attributes:
        subjects: Of the messages, for the day on which AUDIT is lost.
    """

    entries: Sequence[Entry | Noticed] = ()
    read: Mapping[str, Position] = field(default_factory=dict)
    messages: int = 0
    subjects: Sequence[SealedSubjects] = ()


@dataclass(frozen=True)
class AuditReader:
    """Reads and checks. It writes nothing, and remembers only what it warned of."""

    link: Link
    gateway_keys: Callable[[], Sequence[GatewayKey]]
    pen: Witnessed
    _warned: set[str] = field(default_factory=set, repr=False)

    async def waiting(self, positions: Mapping[str, Position]) -> int:
        """Return how many messages stand behind `positions`, in streams that are known.

        Raises:
            TransportError: The server did not answer.
        """
        states = await stream_states(self.link, AUDIT)
        return sum(
            max(0, states[name].last_seq + 1 - position.next_seq)
            for name, position in positions.items()
            if name in states
        )

    async def lost(self, positions: Mapping[str, Position]) -> tuple[str, ...]:
        """Return the streams at which `read` would stop.

        Raises:
            TransportError: The server did not answer.
        """
        states = await stream_states(self.link, AUDIT)
        found = _gone(positions, states)
        for name, position in positions.items():
            if name in states and not await self._went_on(name, position, states[name]):
                found.append(name)
        return tuple(sorted(found))

    async def read(self, positions: Mapping[str, Position], most: int) -> Batch:
        """Return what stands behind `positions`, at most `most` messages of it.

        Raises:
            LedgerError: `stream-reset`: a stream is not the one that was read, is shorter, or gone.
            TransportError: The server did not answer; nothing happened.
        """
        states = await stream_states(self.link, AUDIT)
        for name in _gone(positions, states):
            raise _reset(name, "is gone")
        batch = Batch()
        for name, state in sorted(states.items()):
            position = positions.get(name) or await self._announced(name, state)
            if position is None:
                continue
            if not await self._went_on(name, position, state):
                raise _reset(name, "is not the stream that was read, or lost its end")
            last = min(state.last_seq, position.next_seq + most - batch.messages - 1)
            if last >= position.next_seq:
                batch = await self._read(batch, name, position, state, last)
        return batch

    async def _read(
        self, batch: Batch, name: str, position: Position, state: StreamState, last: int
    ) -> Batch:
        found: list[Entry | Noticed] = []
        subjects: list[SealedSubjects] = []
        stream, begin, tail = stream_id(name, position.created), position.next_seq, position.tail
        sealer, year = SubjectSealer.of(self.pen.key), int(name.removeprefix(AUDIT_PREFIX))
        if state.first_seq > begin:  # however many are gone at the head, they are one gap
            begin = state.first_seq
            last = max(last, begin - 1)
            found.append(_gap(stream, begin - 1))
            tail = ""
        for start in range(begin, last + 1, READ_TOGETHER):
            numbers = range(start, min(start + READ_TOGETHER, last + 1))
            stored = await asyncio.gather(*(self.link.get(name, seq) for seq in numbers))
            tail = _digest(stored[-1])
            keys = tuple(self.gateway_keys())
            found += await checked(numbers, stored, stream=stream, keys=keys, pen=self.pen)
            row = sealer.seal(year, (each.subject for each in stored if each is not None))
            subjects += [] if row is None else [row]
        return Batch(
            (*batch.entries, *found),
            {**batch.read, name: replace(position, next_seq=last + 1, tail=tail)},
            batch.messages + last + 1 - begin,
            (*batch.subjects, *subjects),
        )

    async def _announced(self, name: str, state: StreamState) -> Position | None:
        """Return the beginning of a stream that a gateway announced; None for any other."""
        if not state.messages:
            return None
        found = await self.link.get_last(name, f"audit.{name.removeprefix(AUDIT_PREFIX)}.opened")
        try:
            _check_announced(found, stream_id(name, state.created), self.gateway_keys())
        except LogError as error:
            if name not in self._warned:
                self._warned.add(name)
                _log.error(
                    "stream-not-announced",
                    stream=name,
                    error_code=error.code,
                    alarm="stream-not-announced",
                )
            return None
        return Position(state.created, 1)

    async def _went_on(self, name: str, position: Position, state: StreamState) -> bool:
        """Return whether a stream is the one that was read, and holds what was read last."""
        if state.created != position.created or state.last_seq < position.next_seq - 1:
            return False
        if not position.tail or state.last_seq < position.next_seq:
            return True
        # It may have gone back and been filled again: then another message stands there.
        before = await self.link.get(name, position.next_seq - 1)
        return before is None or _digest(before) == position.tail


async def checked(
    numbers: Sequence[int],
    stored: Sequence[Stored | None],
    *,
    stream: bytes,
    keys: Sequence[GatewayKey],
    pen: Witnessed,
) -> list[Entry | Noticed]:
    """Return what these messages become, every signature checked, on all cores.

    Args:
        numbers: Of the messages.
        stored: As the stream holds them; None for one that is gone.
        stream: As `stream_id`.
        keys: Of the gateways, ended ones too.
        pen: Whose erasures count.
    """

    def check(part: Sequence[tuple[int, Stored | None]]) -> list[Entry | Noticed]:
        made = (
            _gap(stream, seq)
            if message is None
            else entry_of(message, keys, stream=stream, pen=pen)
            for seq, message in part
        )
        return [entry for entry in made if entry is not None]

    pairs = list(zip(numbers, stored, strict=True))
    share = -(-len(pairs) // _THREADS)
    parts = (pairs[start : start + share] for start in range(0, len(pairs), share))
    done = await asyncio.gather(*(asyncio.to_thread(check, part) for part in parts))
    return [entry for part in done for entry in part]


def _check_announced(found: Stored | None, stream: bytes, keys: Sequence[GatewayKey]) -> None:
    """Return if a gateway announced the stream by what was found."""
    if found is None:
        raise LogError("not-announced", "no gateway opened it")
    signed = statement_of(found.payload)
    verify(signed, keys, taken_at=found.at)
    if (signed.statement.kind, signed.statement.c_body) != (LeafKind.GATEWAY, opened(stream)):
        raise LogError("not-announced", "another stream was opened")


def _gone(positions: Mapping[str, Position], states: Mapping[str, StreamState]) -> list[str]:
    """Return the streams that were read and are not there, but for years that are over."""
    open_now = {f"{AUDIT_PREFIX}{year}" for year in years_at(clock.now())}
    return sorted((positions.keys() - states.keys()) & open_now)


def _reset(name: str, what: str) -> LedgerError:
    _log.error("stream-reset", stream=name, alarm="stream-reset")
    return LedgerError(
        "stream-reset", f"{name} {what}: look into it, then kentong log resume --stream-reset"
    )


def _gap(stream: bytes, seq: int) -> Noticed:
    _log.error("stream-gap", stream=stream.hex(), seq=seq, alarm="stream-gap")
    return Noticed(LeafKind.STREAM, stream=stream, seq=seq)


def _digest(message: Stored | None) -> str:
    return "" if message is None else sha256(message.subject.encode(), b"\0", message.payload).hex()
