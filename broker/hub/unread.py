"""Takes out of the hub what nobody read in time, so that a gateway can announce it to both sides.

A copy leaves its inbox or the hub's held store when its label expires, or after 90 days. It is
stored among the expired ones before it is erased where it was: at any crash it is in one of the
two, and the notice, which stands on one subject of the AUDIT stream, is one.

What its reader acknowledged is not unread. A server whose disk is full may lose that it took such a
message out and not that it was acknowledged: after its next start the message is there again, and
nobody is ever given it. It goes without a word when its time is over.
"""

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from broker.logs import get_logger
from broker.transport.link import Link
from broker.transport.message import Stored, leaves_at
from broker.transport.streamstates import StreamState, acknowledged_to, streams_seen
from keys.primitives.hashing import sha256

_ALL: Final = ">"
_FIRST_TOKENS: Final = 2  # deliver.CC and held.CC
SPARE: Final = 64  # of messages that are gone, for which no stream is read again
_log = get_logger()


@dataclass
class _Waiting:
    """What one stream holds, as far as it was read.

    Attributes:
        created: The stream's own; another one is read anew.
        next_seq: Everything before it was read.
        leaving: Heap of (when, number) of what is there, and of little that was.
    """

    created: str
    next_seq: int = 1
    leaving: list[tuple[datetime, int]] = field(default_factory=list)


@dataclass
class UnreadSweep:
    """Reads each waiting copy once, remembers when it must leave, and moves it then.

    Attributes:
        note: Told of a stream which messages will be taken out that were read: that is no loss.
    """

    link: Link
    note: Callable[[str, Iterable[int]], None]
    _streams: dict[str, _Waiting] = field(default_factory=dict)

    async def sweep(self, now: datetime) -> int:
        """Move every copy whose time is over; return how many.

        Streams for which no server speaks wait for another time, and hinder no other.

        Raises:
            BrokerError: The server did not answer, or has no room; call again.
        """
        moved = 0
        for subjects in ("deliver.>", "held.>"):
            for name, state in (await streams_seen(self.link, subjects)).states.items():
                if not state.messages:
                    self._streams.pop(name, None)
                    continue
                waiting = self._streams.get(name)
                if waiting is None or waiting.created != state.created:
                    waiting = self._streams[name] = _Waiting(state.created)
                await self._read(name, waiting)
                await self._forget(name, waiting, state)
                moved += await self._move(name, waiting, now)
        return moved

    async def _read(self, name: str, waiting: _Waiting) -> None:
        while True:
            found = await self.link.get_next(name, waiting.next_seq, _ALL)
            if found is None:
                return
            waiting.next_seq = found.seq + 1
            until = leaves_at(found.headers)
            if until is not None:
                heapq.heappush(waiting.leaving, (until, found.seq))

    async def _forget(self, name: str, waiting: _Waiting, state: StreamState) -> None:
        """Keep no more of what its reader took meanwhile than of what is there.

        An inbox is read in its order, so that nearly all of it lies before its oldest message; what
        was taken out of the middle is found out once it is more than what waits.
        """
        waiting.leaving = [each for each in waiting.leaving if each[1] >= state.first_seq]
        if len(waiting.leaving) > SPARE + 2 * state.messages:
            waiting.next_seq, waiting.leaving = state.first_seq, []
            await self._read(name, waiting)
        heapq.heapify(waiting.leaving)

    async def _move(self, name: str, waiting: _Waiting, now: datetime) -> int:
        if not waiting.leaving or waiting.leaving[0][0] > now:
            return 0
        moved, read = 0, await acknowledged_to(self.link, name)
        while waiting.leaving and waiting.leaving[0][0] <= now:
            seq = waiting.leaving[0][1]
            found = await self.link.get_next(name, seq, _ALL)
            if found is not None and found.seq == seq:  # else its reader was faster
                await self._take_out(name, found, unread=seq > read)
                moved += seq > read
            heapq.heappop(waiting.leaving)
        return moved

    async def _take_out(self, name: str, found: Stored, *, unread: bool) -> None:
        if unread:
            await self._store(found)
        else:
            self.note(name, (found.seq,))
        await self.link.api(f"STREAM.MSG.DELETE.{name}", {"seq": found.seq})
        _log.info("unread" if unread else "read-and-kept", stream=name)

    async def _store(self, found: Stored) -> None:
        _, member, rest = found.subject.split(".", _FIRST_TOKENS)
        await self.link.publish_acked(
            f"expired.{member}.{rest}",
            found.payload,
            msg_id=sha256(b"expired", found.subject.encode(), found.payload).hex(),
            headers={
                name: value for name, value in found.headers.items() if name.startswith("Kentong-")
            },
        )
