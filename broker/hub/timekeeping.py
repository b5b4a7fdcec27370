"""Whether the hub's clock may be believed: what is thrown away by a wrong one is gone for good.

Mail and files whose time is over leave the hub. A clock that jumped ahead would make that all of
them, so nothing leaves while the time is further ahead than can be explained: by the clock that
nobody can set, while the machine runs; by the time written down last, at a start; and beyond that
by what the members show, each with a clock of its own. Else an operator has to say that it is
right. A clock that is behind throws nothing away; it is said all the same.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Final
from uuid import UUID

from pydantic import Field

from broker import clock
from broker.clock import Reading
from broker.log.cosignature import instant_after
from broker.log.errors import LogError
from broker.log.regional import regional_policy
from broker.logs import get_logger
from broker.store.digested import read_digested, write_digested
from broker.store.tilefiles import COSIGNED, TileFiles
from broker.transport.link import Link
from broker.transport.streams import AUDIT_PREFIX
from keys.directory.view import DirectoryView
from schemas.label import Moment, Strict, uuid7_time

UNEXPLAINED: Final = timedelta(hours=1)  # far more than clocks drift, far less than mail lives
DRIFT: Final = timedelta(seconds=20)  # a day: more than a clock that nobody sets right drifts
NOTED: Final = timedelta(seconds=30)  # at which nodes begin to warn, too
JUMPED: Final = "hub-clock-jumped"
AGREEING: Final = 2  # members whose clocks must show it: one alone may be wrong, or lie
AHEAD_OF_ITS_RECORD: Final = timedelta(minutes=5)  # no id that a gateway let through is further
_ID_AT: Final = 3  # audit.<year>.<member>.<id>
_MAX_BYTES: Final = 4096
_log = get_logger()

Shown = Callable[[], Awaitable[datetime | None]]
"""The latest time that others' clocks show, or None: asked for only while in doubt."""


class TimeKept(Strict):
    """`hub/clock.json`: both clocks when the time was believed last.

    Attributes:
        at: The time.
        boot: As `Reading`.
        elapsed_s: As `Reading`.
        shown: What the clock showed then, believed or not; None if an older version wrote it.
    """

    at: Moment
    boot: Annotated[str, Field(max_length=64)]
    elapsed_s: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    shown: Moment | None = None

    def doubts(self, read: Reading, shown: datetime | None = None) -> bool:
        """Return whether the time that is read now cannot be explained.

        Args:
            read: Both clocks now.
            shown: The latest time that others' clocks show.
        """
        least = self.at
        if self.boot and self.boot == read.boot:
            least += timedelta(seconds=max(0.0, read.elapsed_s - self.elapsed_s))
        most = least if shown is None else max(least, shown)
        return not least - UNEXPLAINED <= read.now <= most + UNEXPLAINED


def read_time(path: Path) -> TimeKept | None:
    """Return what stands in the file; None if there is none, as before a hub's first start.

    Raises:
        BrokerError: `damaged`.
        KeyFileError: It is open to others, or unreadable.
    """
    return read_digested(path, TimeKept, max_bytes=_MAX_BYTES)


def believe(path: Path, read: Reading, before: TimeKept | None = None) -> TimeKept:
    """Write down that this is the time, found so or said by an operator; return what was written.

    Args:
        path: Where to.
        read: Both clocks.
        before: What stood there, if the time follows from it within `UNEXPLAINED`: then what is
            not explained is not taken over, or small jumps would add up to a large one.

    Raises:
        KeyFileError: It cannot be written.
    """
    at = read.now
    if before is not None and before.boot and before.boot == read.boot:
        passed = timedelta(seconds=max(0.0, read.elapsed_s - before.elapsed_s))
        at = min(at, before.at + passed + DRIFT * (passed / timedelta(days=1)))
    kept = TimeKept(at=at, boot=read.boot, elapsed_s=read.elapsed_s, shown=read.now)
    write_digested(path, kept)
    return kept


def is_believed(path: Path, read: Reading) -> bool:
    """Return whether the time in `read` follows from what the file says, members unasked.

    Raises:
        BrokerError: As `read_time`.
        KeyFileError: As `read_time`.
    """
    kept = read_time(path)
    return kept is None or not kept.doubts(read)


def jumped(before: Reading, read: Reading) -> timedelta:
    """Return how far the clock was set between two readings; zero if nothing counted meanwhile."""
    if not before.boot or before.boot != read.boot:
        return timedelta(0)
    return read.now - before.now - timedelta(seconds=read.elapsed_s - before.elapsed_s)


@dataclass
class Timekeeper:
    """Believes one hub's clock, or not.

    Attributes:
        path: Of what it writes down.
        shown: As `Shown`.
        read: Both clocks.
    """

    path: Path
    shown: Shown
    read: Callable[[], Reading] = clock.reading
    _kept: TimeKept | None = None  # As believed by this process last.
    _in_doubt: bool = False
    _before: Reading | None = None  # By this process.

    def is_good(self) -> bool:
        """Return whether what is over by the clock may be thrown away at this moment."""
        if self._in_doubt or self._kept is None:
            return False
        return not self._kept.doubts(self.read())

    async def look(self) -> None:
        """Find out whether the time is believed, and write it down if so.

        Raises:
            BrokerError: What was written down cannot be read, or others cannot be asked: the time
                is in doubt until they can.
            KeyFileError: Likewise.
        """
        before, self._in_doubt = self._in_doubt, True
        read, kept = self.read(), read_time(self.path)
        self._say_jump(read, kept)
        if kept is not None and kept.doubts(read):
            if not before:
                _log.error("hub-clock", alarm="hub-clock")
            if kept.doubts(read, await self.shown()):
                return
            kept = None  # explained by others' clocks
        self._kept = believe(self.path, read, kept)
        self._in_doubt = False
        if before:
            _log.warning("hub-clock-believed")

    def _say_jump(self, read: Reading, kept: TimeKept | None) -> None:
        """Say that the clock was set: nodes whose own is right submit nothing meanwhile."""
        before, self._before = self._before, read
        if before is None and kept is not None and kept.shown is not None:
            before = Reading(kept.shown, kept.boot, kept.elapsed_s)
        if before is not None and abs(jump := jumped(before, read)) > NOTED:
            _log.error(JUMPED, alarm=JUMPED, skew_s=int(jump.total_seconds()))


async def shown_by_members(
    link: Link, streams: Sequence[str], members: Sequence[str]
) -> datetime | None:
    """Return the latest time that two members' clocks have shown at least; None if two did not.

    An id carries the time of its sender's clock, stands on a subject that is that member's alone,
    and was let through by a gateway.

    Args:
        link: On the hub's own account.
        streams: Names of all that there are.
        members: Who may have sent something.

    Raises:
        TransportError: The server did not answer.
    """
    years = sorted((each for each in streams if each.startswith(AUDIT_PREFIX)), reverse=True)
    times = []
    for member in members:
        for stream in years:
            subject = f"audit.{stream.removeprefix(AUDIT_PREFIX)}.{member}.*"
            found = await link.get_last(stream, subject)
            if found is None:
                continue
            sent = _sent_at(found.subject)
            if sent and found.at and sent <= found.at + AHEAD_OF_ITS_RECORD:
                times.append(sent)
            break
    return sorted(times, reverse=True)[AGREEING - 1] if len(times) >= AGREEING else None


def shown_by_witnesses(files: TileFiles, view: DirectoryView, now: datetime) -> datetime | None:
    """Return when a quorum of witnesses had cosigned the log last, by their own clocks.

    Args:
        files: The log's.
        view: The directory, for the witnesses.
        now: Whose keys count.

    Returns:
        None if none did, or what is there is no such note.
    """
    raw = files.raw(COSIGNED)
    if raw is None:
        return None
    try:
        policy = regional_policy(view, at=now)
        by_s = policy.quorum_by(policy.check(raw).cosigned)
    except LogError:
        return None
    return None if by_s is None else instant_after(by_s)


def _sent_at(subject: str) -> datetime | None:
    try:
        return uuid7_time(UUID(subject.split(".")[_ID_AT]))
    except ValueError:
        return None
