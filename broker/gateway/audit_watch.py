"""Holds judging while the record of decisions is not what it was: an id could be decided twice.

A stream that was made anew, or lost its end, is noticed within a second, and at each new connection
before anything is judged. It is trusted again once the log has put back which ids are decided, and
marked the stream after the loss: `kentong log resume --stream-reset`.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from broker.errors import BrokerError
from broker.log.announcement import stream_id
from broker.log.errors import LogError
from broker.log.rebuilt import check_ready
from broker.logs import get_logger
from broker.transport.link import Link
from broker.transport.streams import StreamState, ready_subject, stream_states
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
        lost: What the hub noticed, from before this worker began: the last number of each stream
            at that time.
    """

    link: Link
    log_key: Callable[[], bytes | None]
    lost: Callable[[], Mapping[str, int]] = nothing_lost
    _known: dict[str, StreamState] = field(default_factory=dict)
    _behind: dict[str, int] = field(default_factory=dict)
    _looked_at: int = -1  # In which connection.

    @property
    def may_judge(self) -> bool:
        """Whether every stream of decisions is what it was, or was put right again."""
        if self.log_key() is None:
            return True
        return self._looked_at == self.link.generation and not self._behind

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
        states = await stream_states(self.link, "audit.>")
        for name, known in self._known.items():
            state = states.get(name)
            if state is None or state.created != known.created or state.last_seq < known.last_seq:
                self._behind[name] = 0 if state is None else state.last_seq
                _log.error("record-lost", stream=name, alarm="record-lost")
        for name, seq in self.lost().items():
            self._behind[name] = max(seq, self._behind.get(name, 0))
        for name in list(self._behind):
            if await self._is_ready(name, states.get(name)):
                del self._behind[name]
        self._known = states
        self._looked_at = generation

    async def _is_ready(self, name: str, state: StreamState | None) -> bool:
        key = self.log_key()
        if state is None or key is None:
            return False
        found = await self.link.get_last(name, ready_subject(name))
        if found is None or found.seq <= self._behind[name]:
            return False
        try:
            check_ready(found.payload, stream_id(name, state.created), VerifyKey(key))
        except LogError:
            return False
        return True
