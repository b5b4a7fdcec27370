"""Takes the leaves that are missing here from members that have them, before anything is signed.

A log that was put back from a backup lacks leaves that it had signed. Every witness has a copy. The
hub calls no node: who asks what to cosign is answered with the name of a file of its copy instead,
and hands that in. Nothing of it is believed: it becomes leaves only once all of it is hashed again
and proved, as `broker.ledger.restoring` has it. One member is asked at a time, the one that
cosigned most; whose copy proves nothing is asked no more.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from broker.ledger.commit import Committer
from broker.ledger.errors import LedgerError
from broker.ledger.restoring import ProvenCopy, restore
from broker.ledger.standings import AHEAD, Standings
from broker.log.errors import LogError
from broker.log.policy import Policy, SignedCheckpoint
from broker.log.tiles import MAX_BUNDLE_BYTES, TILE_WIDTH, Tile, bundles_of, parse_path
from broker.logs import get_logger
from broker.store.tilefiles import CHECKPOINT, SEEN
from broker.transport.services import LEND, MAX_REPORT_BYTES, REFUSED, TAKEN

LENT_WITHIN_S: Final = 30.0  # without one more file; a node asks every ten seconds
_log = get_logger()


@dataclass
class _Lender:
    """One member, and what it handed in so far."""

    name: bytes
    seen: SignedCheckpoint
    wanted: list[str]
    got: dict[str, bytes] = field(default_factory=dict, repr=False)
    bundles_asked: bool = False
    moved: asyncio.Event = field(default_factory=asyncio.Event, repr=False)


@dataclass
class Borrowing:
    """Owned by the task that waits for the witnesses after a start.

    Attributes:
        standings: What the witnesses cosigned last.
        policy: The keys of this log, its witnesses and their quorum.
    """

    standings: Standings
    committer: Committer
    policy: Callable[[], Policy]
    lent_within_s: float = LENT_WITHIN_S
    _lender: _Lender | None = None
    _refused: set[bytes] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Let nobody end the process for leaves that can be had."""
        self.standings.borrows = True

    async def wait_agreed(self, size: int) -> None:
        """Return once enough witnesses showed what they cosigned, and all of it is here.

        The log may be larger then: ask the committer again.

        Raises:
            LedgerError: As `Standings.compare`; of leaves that are missing once nobody gives them.
            StoreError: The disk does not take them.
        """
        while True:
            try:
                await self.standings.wait_agreed(size)
                break
            except LedgerError as error:
                if error.code != AHEAD:
                    raise
                _log.error(AHEAD, alarm=AHEAD)
                size = await self._borrow(size, error)
        self.standings.complete()

    def next(self, member: bytes) -> bytes | None:
        """Return which file of its copy `member` shall hand in, if it is its turn."""
        lender = self._lender
        if lender is None or lender.name != member or not lender.wanted:
            return None
        return LEND + lender.wanted[0].encode() + b"\n"

    def take(self, member: bytes, body: bytes) -> bytes:
        """Take a file that `member` was asked for; what nobody asked for is refused.

        Args:
            member: Who hands it in, as the connection tells.
            body: The path, a line feed and the file; nothing behind it says that there is none.
        """
        lender = self._lender
        path, _, raw = body.partition(b"\n")
        if (
            lender is None
            or lender.name != member
            or not lender.wanted
            or path != lender.wanted[0].encode()
            or len(raw) > min(MAX_BUNDLE_BYTES, MAX_REPORT_BYTES)
        ):
            return REFUSED
        name = lender.wanted.pop(0)
        if raw:
            lender.got[name] = raw
        lender.moved.set()
        return TAKEN

    async def _borrow(self, size: int, why: LedgerError) -> int:
        """Return the log's new size.

        Raises:
            LedgerError: `why`, if nobody gives the leaves; or `fork`.
        """
        while (lender := await self._who_has_more(size)) is not None:
            name, self._lender = lender.name, lender
            try:
                copy = await self._copy_of(lender, size)
                _, new_size = await restore(self.committer, copy)
            except (LogError, TimeoutError, LedgerError) as error:
                if isinstance(error, LedgerError) and error.code != "nothing-newer":
                    raise
                _log.warning("not-lent", member=name.decode())
                self._refused.add(name)
                continue
            finally:
                self._lender = None
            await self.committer.show_checkpoint()
            _log.error("log-restored", member=name.decode(), size=new_size, alarm="log-restored")
            return new_size
        raise why

    async def _who_has_more(self, size: int) -> _Lender | None:
        """Return the member that cosigned most, of those not asked in vain; others may yet come."""
        until = asyncio.get_running_loop().time() + self.lent_within_s
        while True:
            ahead = [
                (signed.checkpoint.size, name, signed)
                for name, signed in self.standings.latest.items()
                if signed is not None
                and signed.checkpoint.size > size
                and name not in self._refused
            ]
            if ahead:
                _, name, signed = max(ahead, key=lambda each: each[:2])
                return _Lender(name, signed, [CHECKPOINT, SEEN])
            self.standings.shown.clear()
            try:
                async with asyncio.timeout_at(until):
                    await self.standings.shown.wait()
            except TimeoutError:
                return None

    async def _copy_of(self, lender: _Lender, size: int) -> ProvenCopy:
        """Return the lender's copy, what is here already taken from here.

        Raises:
            LogError: It is not proved.
            TimeoutError: The lender hands in nothing more.
        """
        policy = self.policy()
        await self._handed_in(lender)
        target = self._target(lender, policy)
        first = size // TILE_WIDTH
        lender.wanted = [tile.path for tile in bundles_of(target) if tile.index >= first]
        await self._handed_in(lender)

        def read(path: str) -> bytes | None:
            if path in lender.got or path in {CHECKPOINT, SEEN}:
                return lender.got.get(path)
            tile: Tile = parse_path(path)
            return self.committer.files.raw(path) if tile.index < first else None

        return await asyncio.to_thread(ProvenCopy.of, read, policy)

    def _target(self, lender: _Lender, policy: Policy) -> int:
        """Return how many leaves the lender's own notes speak of, at most what it showed.

        Raises:
            LogError: They are not signed by this log.
        """
        sizes = [
            policy.verify_log(note).checkpoint.size
            for name in (CHECKPOINT, SEEN)
            if (note := lender.got.get(name))
        ]
        size = max(sizes, default=0)
        if not 0 < size <= lender.seen.checkpoint.size:
            raise LogError("copy-unproved", "the copy has no checkpoint that goes so far")
        return size

    async def _handed_in(self, lender: _Lender) -> None:
        while lender.wanted:
            async with asyncio.timeout(self.lent_within_s):
                await lender.moved.wait()
            lender.moved.clear()
