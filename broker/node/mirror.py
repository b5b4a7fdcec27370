"""The node's own copy of the log: every leaf, proved under a checkpoint that a quorum cosigned.

The leaves are commitments and tell nothing of others' mail. With them a node finds its own, proves
them to anybody, and can give the log back to a hub that lost it. For that it copies up to what it
cosigned itself, which is more than what a quorum has: what was signed once shall not be lost. So
the copy also holds the quorum's trees against those that this node was shown.
"""

import asyncio
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import insert, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.log.checkpoint import Checkpoint, parse_checkpoint
from broker.log.errors import LogError
from broker.log.leaf import ZERO, LeafKind, parse_leaf
from broker.log.merkle import Frontier, leaf_hash, tree_root
from broker.log.note import parse_note
from broker.log.policy import SignedCheckpoint
from broker.log.regional import regional_policy
from broker.log.tiles import TILE_WIDTH, Tile, lookup_in
from broker.logs import get_logger
from broker.node import alarms
from broker.node.logevidence import LogEvidence
from broker.node.logreading import LogReading
from broker.node.logstate import copied_of, forget_left_out, is_left_out, seen_of
from broker.node.present import Began, Present
from broker.node.suspects import FORK
from broker.store import tables
from broker.store.database import Database, StoreError
from broker.store.tilefiles import CHECKPOINT, COSIGNED, SEEN, TileFiles
from broker.transport.link import Link
from broker.transport.services import HubServices

CHUNK: Final = 64 * TILE_WIDTH  # leaves held in memory at once
PATIENCE: Final = timedelta(minutes=15)  # with what may only be late; as long as the hub's alarm
BROKEN: Final = "log-broken"
STALLED: Final = "log-stalled"
DAMAGED: Final = "log-copy-damaged"
DAMAGES: Final = frozenset({"tile-missing", "tile-damaged"})
_log = get_logger()


@dataclass
class Mirror:
    """Follows one log.

    Attributes:
        late_since: Since when the hub shows nothing that could be taken, without being wrong.
    """

    present: Present
    database: Database
    link: Link
    files: TileFiles
    evidence: LogEvidence
    late_since: Began | None = None

    async def follow(self) -> bool:
        """Copy what was cosigned since; return whether the copy, or what is proved of it, grew.

        Raises:
            BrokerError: The hub does not answer, or the disk does not take it.
            LogError: What the hub shows is not what was signed: an alarm says so; or it may only
                be late: then the alarm comes after `PATIENCE`.
            StoreError: The copy is damaged: `repair` it.
        """
        if not self.present.has_directory or self.present.view.hub.log is None:
            return False
        policy = regional_policy(self.present.view, at=self.present.now())
        reading = LogReading(HubServices(self.link, self.present.member))
        origin = self.present.view.hub.log.origin
        async with self.database.read() as connection:
            known = (await copied_of(connection, origin)).note
        note = await reading.note(COSIGNED if policy.witnesses else CHECKPOINT, known=known)
        async with self.database.read() as connection:
            _, own = await seen_of(connection, origin)
        try:
            grown = False
            if own:
                grown = await self._copy(reading, parse_checkpoint(parse_note(own).text))
                if self.files.raw(SEEN) != own:
                    await asyncio.to_thread(self.files.publish_note, SEEN, own)
            if note is not None:
                grown = await self._follow(reading, policy.check(note), note) or grown
        except LogError as error:
            await self._say(error, note or b"", own)
            raise
        self.late_since = None
        return grown

    async def _say(self, error: LogError, note: bytes, own: bytes) -> None:
        if error.code == FORK:
            await asyncio.to_thread(self.evidence.keep, FORK, own)
            await self._alarm(FORK, note)
        elif error.retry == "never":
            await self._alarm(BROKEN, note)
        elif self.late_since is None:
            self.late_since = self.present.begin()
        elif self.present.lasted(self.late_since) >= PATIENCE:
            await self._alarm(STALLED, note)

    async def _follow(self, reading: LogReading, signed: SignedCheckpoint, note: bytes) -> bool:
        checkpoint = signed.checkpoint
        _, proven = await self.sizes(checkpoint.origin)
        grown = await self._copy(reading, checkpoint)
        if checkpoint.size < proven:  # an older one; it is ours all the same, as was just checked
            return grown
        async with self.database.read() as connection:
            kept = (await copied_of(connection, checkpoint.origin)).note
        if kept != note:
            await asyncio.to_thread(self.files.publish_note, CHECKPOINT, note)
            await self.database.change(lambda c: _proved(c, checkpoint, note))
        return grown or checkpoint.size > proven

    async def _copy(self, reading: LogReading, checkpoint: Checkpoint) -> bool:
        """Copy up to `checkpoint`, and hold the whole copy against it; return whether it grew."""
        size, _ = await self.sizes(checkpoint.origin)
        grown = size < checkpoint.size
        while size < checkpoint.size:
            entries = await self._entries(reading, size, min(checkpoint.size, size + CHUNK))
            await self._check(reading, size, entries, checkpoint)
            await asyncio.to_thread(self.files.add, size, entries)
            await self._keep(checkpoint.origin, size, entries)
            size += len(entries)
        await asyncio.to_thread(self._check_prefix, checkpoint, size)
        return grown

    async def repair(self) -> None:
        """Write the copy anew from the hub, under the checkpoints that this node kept.

        That is an alarm, unless the backup that was put back holds no copy.

        Raises:
            BrokerError: The hub does not answer.
            LogError: It does not show the leaves that were signed; the copy stays as it is.
        """
        if self.present.view.hub.log is None:
            return
        origin = self.present.view.hub.log.origin
        async with self.database.read() as connection:
            copied = await copied_of(connection, origin)
            _, own = await seen_of(connection, origin)
            left_out = await is_left_out(connection)
        if not left_out:
            await self._alarm(DAMAGED, b"")
        reading = LogReading(HubServices(self.link, self.present.member))
        notes = [parse_checkpoint(parse_note(raw).text) for raw in (copied.note, own) if raw]
        if not notes:
            return
        target = max(notes, key=lambda checkpoint: checkpoint.size)
        end, start = min(copied.size, target.size), 0
        while start < end:
            width = min(end - start, CHUNK)
            entries = await self._read(reading, start, start + width)
            await self._check(reading, start, entries, target)
            await asyncio.to_thread(self.files.add, start, entries)
            start += width
        await self.database.change(forget_left_out)
        _log.warning("copy-repaired", size=end)

    async def compare(self) -> None:
        """Read again from the hub what one bundle of leaves is, and compare it with the copy.

        Which one is drawn by lot: a hub that changes its past on the disk cannot know where nobody
        looks, and a log that does not grow is watched as well.

        Raises:
            BrokerError: The hub does not answer.
            LogError: It shows other leaves than it did, or none; an alarm says so.
            StoreError: The copy is damaged: `repair` it.
        """
        if not self.present.has_directory or self.present.view.hub.log is None:
            return
        origin = self.present.view.hub.log.origin
        size, _ = await self.sizes(origin)
        if not size:
            return
        index = secrets.randbelow(-(-size // TILE_WIDTH))
        tile = Tile(None, index, min(TILE_WIDTH, size - index * TILE_WIDTH))
        kept = self.files.read(tile)
        if self.files.read(Tile(0, index, tile.width)) != tuple(map(leaf_hash, kept)):
            raise StoreError("tile-damaged", f"{self.files.folder} is not what was written")
        try:
            reading = LogReading(HubServices(self.link, self.present.member))
            _same(await reading.entries(index, tile.width), kept)
        except LogError:
            async with self.database.read() as connection:
                note = (await copied_of(connection, origin)).note
            await self._alarm(BROKEN, note)
            raise

    async def sizes(self, origin: str) -> tuple[int, int]:
        """Return how many leaves are here, and how many of them a quorum's checkpoint proves."""
        async with self.database.read() as connection:
            copied = await copied_of(connection, origin)
        return copied.size, copied.proven

    def _check_prefix(self, checkpoint: Checkpoint, size: int) -> None:
        if not checkpoint.size:
            return
        root = tree_root(checkpoint.size, lookup_in(self.files.read, size))
        if root == checkpoint.root:
            return
        whole = Frontier()  # before anybody is accused: is our own disk as it was written?
        for index in range(-(-size // TILE_WIDTH)):
            tile = Tile(None, index, min(TILE_WIDTH, size - index * TILE_WIDTH))
            whole = whole.append(map(leaf_hash, self.files.read(tile)))
        if whole.root() != tree_root(size, lookup_in(self.files.read, size)):
            raise StoreError("tile-damaged", f"{self.files.folder} is not what was written")
        raise LogError(FORK, f"another tree of {checkpoint.size} leaves was signed")

    async def _entries(self, reading: LogReading, start: int, end: int) -> list[bytes]:
        known = start % TILE_WIDTH
        found = await self._read(reading, start - known, end)
        if known:
            _same(tuple(found[:known]), self.files.read(Tile(None, start // TILE_WIDTH, known)))
        return found[known:]

    async def _read(self, reading: LogReading, start: int, end: int) -> list[bytes]:
        found: list[bytes] = []
        for index in range(start // TILE_WIDTH, -(-end // TILE_WIDTH)):
            found += await reading.entries(index, min(TILE_WIDTH, end - index * TILE_WIDTH))
        return found

    async def _check(
        self, reading: LogReading, size: int, entries: list[bytes], checkpoint: Checkpoint
    ) -> None:
        """Return if the copy, with `entries` behind it, begins the tree of `checkpoint`."""
        kept = Frontier.of(size, lookup_in(self.files.read, size)) if size else Frontier()
        grown = kept.append(map(leaf_hash, entries))
        await reading.check_grown(grown.size, grown.root(), checkpoint.size, checkpoint.root)

    async def _keep(self, origin: str, size: int, entries: list[bytes]) -> None:
        rows, snapshots = [], []
        for number, entry in enumerate(entries, start=size):
            about, is_directory = _about(entry)
            if about != ZERO:
                rows.append({"about": about, "number": number})
            if is_directory:
                snapshots.append({"number": number, "snapshot": about})

        async def change(connection: AsyncConnection) -> None:
            table = tables.mirrors
            if size == 0:
                await connection.execute(
                    insert(table).values(origin=origin, size=len(entries), proven=0, note=b"")
                )
            else:
                await connection.execute(
                    update(table)
                    .where(table.c.origin == origin, table.c.size == size)
                    .values(size=size + len(entries))
                )
            if rows:
                await connection.execute(insert(tables.leaves), rows)
            if snapshots:
                await connection.execute(insert(tables.snapshots), snapshots)

        await self.database.change(change)

    async def _alarm(self, code: str, note: bytes) -> None:
        _log.error(code, alarm=code)
        detail = str(await asyncio.to_thread(self.evidence.keep, code, note)) if note else ""
        now = self.present.now()
        await self.database.change(lambda c: alarms.raise_alarm(c, code, now=now, detail=detail))


def is_damage(error: StoreError) -> bool:
    """Whether the copy on the disk is not what was written, so that `Mirror.repair` may help."""
    return error.code in DAMAGES


async def _proved(connection: AsyncConnection, checkpoint: Checkpoint, note: bytes) -> None:
    table = tables.mirrors
    await connection.execute(
        update(table)
        .where(table.c.origin == checkpoint.origin)
        .values(proven=checkpoint.size, note=note)
    )


def _same(shown: tuple[bytes, ...], kept: tuple[bytes, ...]) -> None:
    if shown != kept:
        raise LogError(BROKEN, "the hub shows other leaves than it did")


def _about(entry: bytes) -> tuple[bytes, bool]:
    """Return by what a leaf is found again, zero for one that nobody looks for; and of what kind.

    True: of the directory's snapshot, by its hash.
    """
    try:
        statement = parse_leaf(entry).signed.statement
    except LogError:  # an auditor will say so; it stands in the tree all the same
        return ZERO, False
    if statement.kind is LeafKind.DIRECTORY:
        return statement.snapshot, True
    return statement.c_route, False
