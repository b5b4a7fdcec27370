"""Remembers how far each stream was, so that one that went back in time is noticed and said.

A server may acknowledge a message and lose it all the same: a disk that lied, a backup put back,
somebody who deleted files. The streams are not the truth, but their going back is a fact that the
members must hear of.
"""

import sys
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from pydantic import Field

from broker.hub.erased import Erasures
from broker.store.digested import read_digested, write_digested
from broker.transport.streams import AUDIT_AGE, AUDIT_PREFIX, years_at
from broker.transport.streamstates import StreamState
from schemas.label import Moment, Strict

NONE_ERASED: Final = Erasures()
_NEARLY: Final = timedelta(days=1)  # for clocks, and for the server's taking its time
_MAX_BYTES: Final = 4 * 1024 * 1024


class Known(Strict):
    """How far one stream was when it was last looked at.

    Attributes:
        missing: Of a stream of decisions, which loses none: messages that it no longer held and
            that no erasure accounts for; None while its oldest leave by age.
    """

    created: str
    last_seq: int
    missing: int | None = None

    @classmethod
    def of(cls, name: str, state: StreamState, erased: Erasures, now: datetime) -> "Known":
        """Return how far the stream of this name is."""
        missing = None
        if name.startswith(AUDIT_PREFIX) and not _ages(state, now):
            missing = state.gone - erased.count(name)
        return cls(created=state.created, last_seq=state.last_seq, missing=missing)

    def is_behind(self, before: "Known") -> bool:
        """Return whether something that was there `before` is lost."""
        if self.created != before.created or self.last_seq < before.last_seq:
            return True
        if self.missing is None or before.missing is None:
            return False
        return self.missing > before.missing

    def after(self, before: "Known | None") -> "Known":
        """Return what to remember: an erasure is noted before its message goes."""
        if before is None or before.created != self.created or self.missing is None:
            return self
        return self.model_copy(update={"missing": max(self.missing, before.missing or 0)})


class StreamMemory(Strict):
    """`hub/streams.json`.

    Attributes:
        streams: The furthest that each stream was seen.
        went_back: Streams that were seen behind that, since the operator last looked into it.
        lost: Streams of decisions among them, and the last number of each at that time, or 0 for
            one that is not the same stream any more: gateways judge nothing until the log has
            marked the stream, by its name and time, behind that number. A loss leaves with the
            decisions that it took: once they had left by age, and the log's mark does too.
        lost_at: When each of `lost` was noticed; what an older version noticed, when that was read.
        begun_anew: What was lost before is not known, since the file was damaged: each stream of
            decisions counts as lost once it is seen.
    """

    streams: dict[str, Known] = Field(default_factory=dict)
    went_back: tuple[str, ...] = ()
    lost: dict[str, int] = Field(default_factory=dict)
    lost_at: dict[str, Moment] = Field(default_factory=dict)
    begun_anew: bool = False

    def held(self, now: datetime) -> dict[str, int]:
        """Return `lost` as gateways hear it: until the hub has looked, it may be anything."""
        if not self.begun_anew:
            return self.lost
        return {f"{AUDIT_PREFIX}{year}": sys.maxsize for year in years_at(now)}  # behind any mark

    def seen(
        self,
        states: dict[str, StreamState],
        erased: Erasures = NONE_ERASED,
        *,
        now: datetime,
        clock_is_good: bool = True,
        silent: Collection[str] = (),
    ) -> "StreamMemory":
        """Return the memory after looking at the streams as they are now.

        Args:
            states: Of all streams that are not `silent`.
            erased: What the operator's erasures took out, read after the streams were looked at.
            now: The server's clock, by which decisions leave after `AUDIT_AGE`.
            clock_is_good: Whether `now` is believed; else no year and no loss is taken for over.
            silent: Streams of which nothing is known now: what was known of them stands.
        """
        found = {name: Known.of(name, state, erased, now) for name, state in states.items()}
        carried = {name: self.streams[name] for name in self.streams.keys() & {*silent}}
        behind = {
            name
            for name, known in self.streams.items()
            if name not in carried
            and (name not in found or found[name].is_behind(known))
            and not (clock_is_good and is_over(name, now))
        }
        now_known = {name: each.after(self.streams.get(name)) for name, each in found.items()}
        lost = {
            name: lost_behind(self.streams[name], found.get(name))
            for name in behind
            if name.startswith(AUDIT_PREFIX)
        }
        if self.begun_anew:
            lost |= {
                name: known.last_seq
                for name, known in found.items()
                if name.startswith(AUDIT_PREFIX) and name not in self.streams
            }
        went_back = tuple(sorted({*self.went_back, *behind, *lost}))
        noticed = StreamMemory(
            streams={**carried, **now_known},
            went_back=went_back,
            lost={**self.lost, **lost},
            lost_at={**dict.fromkeys(self.lost, now), **self.lost_at, **dict.fromkeys(lost, now)},
            begun_anew=self.begun_anew and any(name.startswith(AUDIT_PREFIX) for name in silent),
        )
        return noticed._without_over(now) if clock_is_good else noticed

    def before_repair(
        self, states: dict[str, StreamState], erased: Erasures = NONE_ERASED, *, now: datetime
    ) -> "StreamMemory":
        """Return the memory in which the losses of decisions are noticed, and nothing else is new.

        The hub looks seldom. What it noticed only after the log's mark was made would be a loss
        behind that mark, and gateways would wait for another one that nobody makes.

        Args:
            states: As for `seen`; the hub itself may look beside this.
            erased: As for `seen`.
            now: As for `seen`.
        """
        decisions = {name for name in self.streams if name.startswith(AUDIT_PREFIX)}
        mine = StreamMemory(streams={name: self.streams[name] for name in decisions})
        after = mine.seen({n: states[n] for n in decisions & states.keys()}, erased, now=now)
        known = {name: after.streams[name] for name in after.lost if name in after.streams}
        return StreamMemory(
            streams={**self.streams, **known},
            went_back=tuple(sorted({*self.went_back, *after.went_back})),
            lost={**self.lost, **after.lost},
            lost_at={**self.lost_at, **after.lost_at},
            begun_anew=self.begun_anew,
        )

    def purged(self, names: Iterable[str]) -> "StreamMemory":
        """Return the memory after these queues lost messages that nobody had in hand."""
        return self.model_copy(update={"went_back": tuple(sorted({*self.went_back, *names}))})

    def looked_into(self) -> "StreamMemory":
        """Return the memory without its alarms."""
        return self.model_copy(update={"went_back": ()})

    def _without_over(self, now: datetime) -> "StreamMemory":
        """Return the memory without losses of what would have left by age since."""
        kept = {
            name: at
            for name, at in self.lost_at.items()
            if now - at <= AUDIT_AGE and not is_over(name, now)
        }
        lost = {name: seq for name, seq in self.lost.items() if name in kept}
        return self.model_copy(update={"lost": lost, "lost_at": kept})


def is_over(name: str, now: datetime) -> bool:
    """Return whether a stream holds decisions of a year that leave no trace any more.

    Nothing is looked for in it, so that nobody is hindered if an operator removes it.
    """
    year = name.removeprefix(AUDIT_PREFIX)
    return year != name and year.isdecimal() and int(year) < years_at(now)[0]


def lost_behind(before: Known | StreamState, after: Known | StreamState | None) -> int:
    """Return the number behind which the log's mark must stand, for a stream that lost something.

    A mark names the time when its stream was made: in one that was made since `before`, every mark
    that names it is newer than the loss.
    """
    return 0 if after is None or after.created != before.created else after.last_seq


def _ages(state: StreamState, now: datetime) -> bool:
    if not state.oldest:
        return False
    return now - datetime.fromisoformat(state.oldest) > AUDIT_AGE - _NEARLY


def read_memory(path: Path) -> StreamMemory:
    """Return what stands in the file; an empty memory if there is none.

    Raises:
        BrokerError: `damaged`.
        KeyFileError: It is open to others, or unreadable.
    """
    return read_digested(path, StreamMemory, max_bytes=_MAX_BYTES) or StreamMemory()


def write_memory(path: Path, memory: StreamMemory) -> None:
    """Replace the file.

    Raises:
        KeyFileError: It cannot be written.
    """
    write_digested(path, memory)
