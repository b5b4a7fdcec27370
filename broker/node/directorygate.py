"""Lets a newer directory count only once the log proves it, as every other member sees it.

Whoever holds the hub's online keys can show one member another directory than all others. He
cannot do so under a log that a quorum watches: there, each directory in force has a leaf.

What a newer directory takes away is taken away at once. What it grants waits for its leaf, some
seconds while a quorum is there. Five minutes without raise an alarm. Where no quorum stood behind
the log for `wait`, the newer directory is used without, and the alarm stands: a quorum that is gone
must freeze no keys for ever, its own replacement least of all. See docs/adr/0006.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.log.cosignature import instant
from broker.log.errors import LogError
from broker.log.regional import regional_policy
from broker.logs import get_logger
from broker.node import alarms
from broker.node.logstate import copied_of
from broker.node.present import Began, Present
from broker.store.database import Database
from broker.store.tables import meta, snapshots
from keys.directory.client import DirectoryClient, DirectoryCopy
from keys.directory.restricting import restricted

UNPROVEN: Final = "directory-unproven"
PROVEN_WITHIN: Final = timedelta(minutes=5)
DEFAULT_WAIT: Final = timedelta(hours=1)
_ALONE: Final = "directory-unproven"  # in `meta`: hash of the one that was taken without a proof
_log = get_logger()


@dataclass
class DirectoryGate:
    """Decides which directory is in force at one node.

    Attributes:
        client: Where the directory that was proved is kept.
        wait: So long without a quorum, and a newer directory is used without a proof; zero: never.
    """

    present: Present
    database: Database
    client: DirectoryClient | None
    wait: timedelta = DEFAULT_WAIT
    _copy: DirectoryCopy | None = field(default=None, repr=False)  # Of the candidate.
    _since: Began | None = None  # When the candidate, or a first leaf, began to be missed.
    _quorum: datetime | None = None  # By when one stood behind the log, in its own words,
    _moved: Began | None = None  # and when that was last seen to become another.
    _said: bool = False
    _stopped: bool = False  # Whether sealing stops because of what the log speaks of.

    async def offer(self, copy: DirectoryCopy) -> None:
        """Take the newest directory that was fetched and verified, as far as it counts yet.

        Raises:
            StoreError: The database cannot be read; what is in force stays.
            KeyFileError: What was proved cannot be kept.
        """
        present = self.present
        if not present.has_directory or present.view.hub.log is None:
            self._take(copy)  # the first, got by a root from out of band; or there is no log
            return
        if copy.view.version == present.view.version:
            self._copy = None
            present.take(copy.view)
        else:
            if self._copy is None or self._copy.view.version != copy.view.version:
                self._since, self._said = present.begin(), False
            self._copy = copy
        await self.settle()

    async def settle(self) -> None:
        """Look again whether the log proves it, as after each growth of the copy.

        Raises:
            StoreError: As `offer`.
            KeyFileError: As `offer`.
        """
        present, copy = self.present, self._copy
        if not present.has_directory or (log := present.view.hub.log) is None:
            return
        async with self.database.read() as connection:
            copied = await copied_of(connection, log.origin)
            newest = await _newest(connection, copied.proven)
            alone = await _taken_alone(connection)
        if copy is not None and newest in {None, copy.view.version.hash}:
            self._take(copy)  # proved; or this log speaks of no directory, which is said below
            copy = None
        ours = present.view.version.hash
        if copy is None and (newest == ours or not copied.proven):
            self._since, self._said = None, False
            if self._stopped:
                self._stopped, present.split_since = False, None
            return
        if copy is None and newest not in {None, ours} and alone != ours:
            # The log speaks of another directory than the hub shows. It may be on its way.
            self._stopped = self._stopped or present.split_since is None
            present.split_since = present.split_since or present.begin()
        await self._say_late()
        if copy is not None:
            await self._hold(copy, self._last_quorum(copied.note))

    async def _say_late(self) -> None:
        self._since = self._since or self.present.begin()
        if self.present.lasted(self._since) >= PROVEN_WITHIN and not self._said:
            now, self._said = self.present.now(), True
            _log.error(UNPROVEN, alarm=UNPROVEN)
            await self.database.change(lambda c: alarms.raise_alarm(c, UNPROVEN, now=now))

    async def _hold(self, copy: DirectoryCopy, last_quorum: datetime | None) -> None:
        present = self.present
        since, moved = self._since or present.begin(), self._note_quorum(last_quorum)
        waited = min(present.lasted(since), present.lasted(moved))
        if self.wait and waited >= self.wait:
            _log.error("directory-taken-unproven", alarm=UNPROVEN)
            digest = copy.view.version.hash.hex()
            await self.database.change(lambda c: _take_alone(c, digest))
            self._take(copy)
            return
        # The hub signs no timestamp over what is in force any more. It stays fresh for as long as
        # a quorum may be waited for; a hub that goes on without a proof then stops the sealing.
        until = min(copy.view.fresh_until, since.at + max(self.wait, DEFAULT_WAIT))
        until = max(until, present.view.fresh_until)
        present.hold(restricted(present.view, copy.view, fresh_until=until), copy.view)

    def _note_quorum(self, last: datetime | None) -> Began:
        """Return when a quorum was last seen to go on: no clock of ours says that it is gone."""
        if last != self._quorum or self._moved is None:
            self._quorum, self._moved = last, self.present.begin()
        return self._moved

    def _take(self, copy: DirectoryCopy) -> None:
        self._copy = None
        self.present.take(copy.view)
        if self.client is not None:
            self.client.keep_proven(copy.bundle)

    def _last_quorum(self, note: bytes) -> datetime | None:
        """Return by when enough witnesses had cosigned the note of the copy, in their own words.

        One alone may state any time; it must neither hold the directory back for ever by one far
        ahead nor end this task by one that no calendar has.
        """
        try:
            policy = regional_policy(self.present.view, at=self.present.now())
            by_s = policy.quorum_by(policy.verify_log(note).cosigned) if note else None
        except LogError:  # under keys of before
            return None
        return None if by_s is None else instant(by_s)


async def _newest(connection: AsyncConnection, proven: int) -> bytes | None:
    """Return the hash of the newest snapshot of which a proven leaf speaks."""
    found = await connection.execute(
        select(snapshots.c.snapshot)
        .where(snapshots.c.number < proven)
        .order_by(snapshots.c.number.desc())
        .limit(1)
    )
    return found.scalar_one_or_none()


async def _taken_alone(connection: AsyncConnection) -> bytes:
    """Return the hash of the directory that was taken without a proof; empty if none was."""
    found = await connection.execute(select(meta.c.value).where(meta.c.name == _ALONE))
    return bytes.fromhex(found.scalar_one_or_none() or "")


async def _take_alone(connection: AsyncConnection, digest: str) -> None:
    await connection.execute(delete(meta).where(meta.c.name == _ALONE))
    await connection.execute(insert(meta).values(name=_ALONE, value=digest))
