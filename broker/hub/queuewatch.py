"""Notices messages that left a queue though nobody had them in hand: purged, or deleted one by one.

The numbers of a stream only grow, whether its messages are read or thrown away. But what a reader
acknowledged was handed to it before, and each consumer counts what it hands out. More messages
gone than were handed out since the last look, less what the hub itself took out as expired or
erased, were taken by somebody at the server.

Both counts are one server's, from the look after it started: what was purged while this hub or its
server did not run shows to the members alone, by numbers that never came. The same holds while the
servers of a cluster change who counts: what a leader gave out that died, the next one may not know,
until whoever has it in hand acknowledged it, or was given it again.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from broker.hub.erased import Erasures
from broker.logs import get_logger
from broker.transport.errors import Unreachable
from broker.transport.link import Link
from broker.transport.streams import EXPIRED_STREAM
from broker.transport.streamstates import StreamState, consumers_of, stream_state

QUEUES: Final = ("SUBMIT_", "INBOX_", "HELD_", "RECEIPT_", EXPIRED_STREAM)
_SWEPT: Final = ("INBOX_", "HELD_")  # where the hub takes out what is over
_UNDER_WAY: Final = 1  # stored as expired before this hub began, and erased since
_SECOND: Final = 1_000_000_000  # nanoseconds, JetStream's unit
_log = get_logger()


@dataclass(frozen=True)
class _Handed:
    """What the consumers of a stream gave out.

    Attributes:
        count: How often, all told.
        in_hand: What of it is not acknowledged.
        waiting: What is still to be given out.
        leaders: Who counts in a cluster, and since when; a new leader may have counted less.
        ack_wait_s: After which all that a leader before gave out was given out again.
    """

    count: int
    in_hand: int
    waiting: int
    leaders: tuple[str, ...]
    ack_wait_s: float


@dataclass(frozen=True)
class _Base:
    """What was found at a look.

    Attributes:
        may_leave: Messages that may leave though nobody is given them from now on.
        counts: Whether what leaves from now on can be told from what was handed out.
    """

    created: str
    gone: int
    may_leave: int
    handed: _Handed
    counts: bool


@dataclass
class QueueWatch:
    """Looks at every queue of one hub.

    Attributes:
        erased: What the operator's erasures take out.
        steady: A clock that only goes on, in seconds.
    """

    link: Link
    erased: Callable[[], Erasures]
    steady: Callable[[], float] = time.monotonic
    _generation: int = -1
    _bases: dict[str, _Base] = field(default_factory=dict)
    _led: dict[str, tuple[tuple[str, ...], float]] = field(default_factory=dict)  # By whom since.
    _expired: int | None = None  # Number of the newest expired message that was counted.
    _taken_out: int = _UNDER_WAY  # Messages the hub may have erased, and no queue accounted for.
    _erasures: dict[str, int] = field(default_factory=dict)  # Of each stream, accounted for.

    async def look(self, states: Mapping[str, StreamState]) -> tuple[str, ...]:
        """Return the queues that lost messages since the last look.

        Args:
            states: Of all streams for which a server speaks, as they are now.

        Raises:
            TransportError: The server did not answer; look again.
        """
        generation = self.link.generation
        if generation != self._generation:
            self._bases.clear()
        self._generation = generation
        if self._expired is None and EXPIRED_STREAM in states:
            self._expired = states[EXPIRED_STREAM].last_seq
            erased = self.erased()
            self._erasures = {name: erased.count(name) for name in states}
        found = []
        for name, state in states.items():
            if not name.startswith(QUEUES) or self._is_still(name, state):
                continue
            if name.startswith(_SWEPT) and EXPIRED_STREAM not in states:
                continue  # what was taken out of it as expired cannot be told now
            try:
                lost = await self._lost(name)
            except (
                Unreachable
            ):  # the rest at the next look, from the same base; what is found stays
                _log.warning("queue-not-seen", stream=name)
                break
            if lost:
                found.append(name)
        return tuple(found) if generation == self.link.generation else ()

    def _is_still(self, name: str, state: StreamState) -> bool:
        """Return whether nothing left the stream since its base."""
        base = self._bases.get(name)
        if base is None or not (base.counts or not state.messages):  # what is empty loses nothing
            return False
        return (base.created, base.gone) == (state.created, state.gone)

    async def _lost(self, name: str) -> bool:
        """Return whether more left than was handed out, and begin anew from here.

        What was handed out is counted before the messages for the next look, and after them for
        this one: what is acknowledged meanwhile is never taken for lost.
        """
        before = await self._handed(name)
        state = await stream_state(self.link, name)
        after = await self._handed(name)
        base = self._bases.get(name)
        may_leave = before.in_hand
        if before.leaders:  # what is acknowledged leaves once the servers agree
            may_leave = max(may_leave, state.messages - before.waiting)
        begun = _Base(state.created, state.gone, may_leave, before, self._counts(name, before))
        same = base is not None and (base.created, base.handed.leaders) == (
            state.created,
            after.leaders,
        )
        if base is None or not (base.counts and same):
            self._erasures.setdefault(name, self.erased().count(name))
            self._bases[name] = begun
            return False
        handed = (
            after.count - base.handed.count if after.count >= base.handed.count else after.count
        )
        short = state.gone - base.gone - base.may_leave - handed
        lost = short > 0 and await self._unaccounted(name, short)
        self._bases[name] = begun
        return lost

    async def _unaccounted(self, name: str, short: int) -> bool:
        """Return whether the hub itself did not take out so many messages of a stream."""
        swept = name.startswith(_SWEPT)
        newest = (await stream_state(self.link, EXPIRED_STREAM)).last_seq if swept else 0
        erased = self.erased().count(name)  # nothing is accounted for before all of it was asked
        short -= erased - self._erasures.get(name, 0)
        self._erasures[name] = erased
        if short <= 0 or not swept:
            return short > 0
        self._taken_out += max(0, newest - (self._expired or 0))
        self._expired = newest
        accounted = min(short, self._taken_out)
        self._taken_out -= accounted
        return short > accounted

    def _counts(self, name: str, handed: _Handed) -> bool:
        """Return whether those who count have done so for long enough to have counted all."""
        now = self.steady()
        if name not in self._led or self._led[name][0] != handed.leaders:
            self._led[name] = handed.leaders, now
        return not handed.leaders or now - self._led[name][1] >= handed.ack_wait_s

    async def _handed(self, name: str) -> _Handed:
        count = in_hand = waiting = 0
        ack_wait_s = 0.0
        leaders: list[str] = []
        for consumer in await consumers_of(self.link, name):
            count += consumer["delivered"]["consumer_seq"]
            in_hand += consumer["num_ack_pending"]
            waiting += consumer["num_pending"]
            ack_wait_s = max(ack_wait_s, consumer["config"]["ack_wait"] / _SECOND)
            if cluster := consumer.get("cluster"):
                leaders.append(f"{cluster.get('leader')} {cluster.get('leader_since')}")
        return _Handed(count, in_hand, waiting, tuple(leaders), ack_wait_s)
