"""Holds judging while the record of decisions is not what it was: an id could be decided twice.

A stream that was made anew, or lost its end, is noticed within a second, and at each new connection
before anything is judged. It is trusted again once the log has put back which ids are decided, and
marked the stream after the loss: `kentong log resume --stream-reset`.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from broker import clock
from broker.errors import BrokerError
from broker.log.announcement import stream_id
from broker.log.errors import LogError
from broker.log.rebuilt import check_ready
from broker.logs import get_logger
from broker.transport.link import Link
from broker.transport.streams import AUDIT_PREFIX, ready_subject, years_at
from broker.transport.streamstates import StreamState, stream_states
from keys.primitives.signing import VerifyKey

LOOK_S: Final = 1.0
_log = get_logger()


def nothing_lost() -> Mapping[str, int]:
    """Return that the hub noticed no loss."""
    return {}


@dataclass
class AuditWatch:
    """Whether this worker may judge.

    Attributes:
        log_key: The sequencer's key as the directory has it; None: there is no log that could put
            anything back, and nothing is held.
        lost: What the hub noticed, as `StreamMemory.held`, which says it long after the repair.
    """

    link: Link
    log_key: Callable[[], bytes | None]
    lost: Callable[[], Mapping[str, int]] = nothing_lost
    _known: dict[str, StreamState] = field(default_factory=dict)
    _noticed: Mapping[str, int] = field(default_factory=dict)  # By the hub, at the last look.
    _behind: dict[str, int] = field(default_factory=dict)  # Noticed here, and not put right.
    _held: set[str] = field(default_factory=set)
    _looked_at: int = -1  # In which connection.

    @property
    def may_judge(self) -> bool:
        """Whether every stream of decisions is what it was, or was put right again."""
        if self.log_key() is None:
            return True
        return self._looked_at == self.link.generation and not self._held

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self.look()
            except BrokerError as error:
                _log.warning("record-not-seen", error_code=error.code)

    async def look(self) -> None:
        """Look once.

        Raises:
            BrokerError: The server does not answer, or the hub's memory is damaged.
        """
        generation = self.link.generation
        # In a year that is over nothing is looked for, and nobody marks its stream any more.
        used = {f"{AUDIT_PREFIX}{year}" for year in years_at(clock.now())}
        found = await stream_states(self.link, "audit.>")
        states = {name: state for name, state in found.items() if name in used}
        # After the streams: then it is no older than a mark in them.
        lost = {name: seq for name, seq in self.lost().items() if name in used}
        self._known = {name: known for name, known in self._known.items() if name in used}
        self._behind = {name: seq for name, seq in self._behind.items() if name in used}
        for name, known in self._known.items():
            self._notice(name, known, states.get(name), lost)
        self._known = states
        # What was put right stays so while its mark is read again: else each look would hold all.
        self._held |= {name for name, seq in lost.items() if self._noticed.get(name) != seq}
        # A loss that the hub's memory names no more holds nobody: it was put back, or is over.
        self._held &= {*lost, *self._behind}
        for name in {*lost, *self._behind}:
            number = max(lost.get(name, 0), self._behind.get(name, 0))
            if await self._is_ready(name, states.get(name), number):
                self._behind.pop(name, None)
                self._held.discard(name)
            else:
                self._held.add(name)
        self._noticed = lost
        self._looked_at = generation

    def _notice(
        self, name: str, known: StreamState, state: StreamState | None, lost: Mapping[str, int]
    ) -> None:
        """Hold what went back since the last look.

        This look may be late, with the stream put right meanwhile: who put it right wrote down
        first where it was, and what is behind the mark since then must not be waited for.
        """
        if state is not None and state.created == known.created:
            if state.last_seq >= known.last_seq:
                return
            told = name in lost and lost[name] != self._noticed.get(name)
            self._behind[name] = lost[name] if told else state.last_seq
        else:
            self._behind[name] = 0  # a mark names its stream: any that does was made since
        self._held.add(name)
        _log.error("record-lost", stream=name, alarm="record-lost")

    async def _is_ready(self, name: str, state: StreamState | None, behind: int) -> bool:
        key = self.log_key()
        if state is None or key is None:
            return False
        found = await self.link.get_last(name, ready_subject(name))
        if found is None or found.seq <= behind:
            return False
        try:
            check_ready(found.payload, stream_id(name, state.created), VerifyKey(key))
        except LogError:
            return False
        return True
