"""The node's own copy of the log: every leaf, proved under a checkpoint that a quorum cosigned.

The leaves are commitments and tell nothing of others' mail. With them a node finds its own, proves
them to anybody, and can give the log back to a hub that lost it.
"""

import asyncio
import secrets
from dataclasses import dataclass
from typing import Final

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.log.checkpoint import Checkpoint
from broker.log.errors import LogError
from broker.log.leaf import ZERO, LeafKind, parse_leaf
from broker.log.merkle import Frontier, consistency_proof, leaf_hash, tree_root, verify_consistency
from broker.log.policy import SignedCheckpoint
from broker.log.regional import regional_policy
from broker.log.tiles import TILE_WIDTH, Tile, lookup_in, parse_bundle, parse_hashes
from broker.logs import get_logger
from broker.node import alarms
from broker.node.logevidence import LogEvidence
from broker.node.present import Present
from broker.store import tables
from broker.store.database import Database
from broker.store.tilefiles import CHECKPOINT, COSIGNED, TileFiles
from broker.transport.link import Link
from broker.transport.services import HubServices

CHUNK: Final = 64 * TILE_WIDTH  # leaves held in memory at once
MAX_NOTE_BYTES: Final = 1_000_000
MAX_TILE_BYTES: Final = TILE_WIDTH * 65_537
FORK: Final = "log-fork"
BROKEN: Final = "log-broken"
_log = get_logger()


@dataclass
class Mirror:
    """Follows one log."""

    present: Present
    database: Database
    link: Link
    files: TileFiles
    evidence: LogEvidence | None = None

    async def follow(self) -> bool:
        """Copy what a quorum cosigned since; return whether the copy grew.

        Raises:
            BrokerError: The hub does not answer, or the disk does not take it.
            LogError: What the hub shows is not what was signed; an alarm says so.
        """
        if not self.present.has_directory or self.present.view.hub.log is None:
            return False
        policy = regional_policy(self.present.view, at=self.present.now())
        hub = HubServices(self.link, self.present.member)
        name = COSIGNED if policy.witnesses else CHECKPOINT
        note = await hub.log_file(name, max_bytes=MAX_NOTE_BYTES)
        if note is None:
            return False
        try:
            signed = policy.check(note)
            return await self._follow(hub, signed, note)
        except LogError as error:
            await self._alarm(FORK if error.code == FORK else BROKEN, note)
            raise

    async def _follow(self, hub: HubServices, signed: SignedCheckpoint, note: bytes) -> bool:
        checkpoint = signed.checkpoint
        size, proven = await self.sizes(checkpoint.origin)
        if checkpoint.size < proven:  # an older one; it must be ours all the same
            self._check_prefix(checkpoint)
            return False
        grown = False
        while size < checkpoint.size:
            entries = await self._entries(hub, size, min(checkpoint.size, size + CHUNK))
            await self._check(hub, size, entries, checkpoint)
            await asyncio.to_thread(self.files.add, size, entries)
            await self._keep(checkpoint.origin, size, entries)
            size, grown = size + len(entries), True
        self._check_prefix(checkpoint)
        async with self.database.read() as connection:
            kept = await note_of(connection, checkpoint.origin)
        if kept != note:
            await asyncio.to_thread(self.files.publish_note, CHECKPOINT, note)
            await self.database.change(lambda c: _proved(c, checkpoint, note))
        return grown or checkpoint.size > proven

    async def compare(self) -> None:
        """Read again from the hub what one bundle of leaves is, and compare it with the copy.

        Which one is drawn by lot: a hub that changes its past on the disk cannot know where nobody
        looks, and a log that does not grow is watched as well.

        Raises:
            BrokerError: The hub does not answer.
            LogError: It shows other leaves than it did, or none; an alarm says so.
        """
        if not self.present.has_directory or self.present.view.hub.log is None:
            return
        origin = self.present.view.hub.log.origin
        size, _ = await self.sizes(origin)
        if not size:
            return
        index = secrets.randbelow(-(-size // TILE_WIDTH))
        tile = Tile(None, index, min(TILE_WIDTH, size - index * TILE_WIDTH))
        raw = b""
        try:
            raw = await self._tile(HubServices(self.link, self.present.member), tile)
            _same(parse_bundle(raw, tile.width), self.files.read(tile))
        except LogError:
            async with self.database.read() as connection:
                note = await note_of(connection, origin)
            await self._alarm(BROKEN, note + raw)
            raise

    async def sizes(self, origin: str) -> tuple[int, int]:
        """Return how many leaves are here, and how many of them a quorum's checkpoint proves."""
        async with self.database.read() as connection:
            table = tables.mirrors
            row = (await connection.execute(select(table).where(table.c.origin == origin))).first()
        return (0, 0) if row is None else (int(row.size), int(row.proven))

    def _check_prefix(self, checkpoint: Checkpoint) -> None:
        root = tree_root(checkpoint.size, lookup_in(self.files.read, checkpoint.size))
        if root != checkpoint.root:
            raise LogError(FORK, f"another tree of {checkpoint.size} leaves was cosigned")

    async def _entries(self, hub: HubServices, start: int, end: int) -> list[bytes]:
        entries: list[bytes] = []
        for index in range(start // TILE_WIDTH, -(-end // TILE_WIDTH)):
            tile = Tile(None, index, min(TILE_WIDTH, end - index * TILE_WIDTH))
            found = parse_bundle(await self._tile(hub, tile), tile.width)
            known = max(0, start - index * TILE_WIDTH)
            if known:
                _same(found[:known], self.files.read(Tile(None, index, known)))
            entries += found[known:]
        return entries

    async def _check(
        self, hub: HubServices, size: int, entries: list[bytes], checkpoint: Checkpoint
    ) -> None:
        """Return if the copy, with `entries` behind it, begins the tree of `checkpoint`."""
        kept = Frontier.of(size, lookup_in(self.files.read, size)) if size else Frontier()
        grown = kept.append(map(leaf_hash, entries))
        wanted: dict[Tile, tuple[bytes, ...]] = {}

        def note(tile: Tile) -> tuple[bytes, ...]:
            return wanted.setdefault(tile, (ZERO,) * tile.width)

        consistency_proof(grown.size, checkpoint.size, lookup_in(note, checkpoint.size))
        for tile in wanted:
            wanted[tile] = parse_hashes(await self._tile(hub, tile), tile.width)
        proof = consistency_proof(grown.size, checkpoint.size, lookup_in(note, checkpoint.size))
        verify_consistency(
            old=grown.size,
            new=checkpoint.size,
            proof=proof,
            old_root=grown.root(),
            new_root=checkpoint.root,
        )

    async def _tile(self, hub: HubServices, tile: Tile) -> bytes:
        raw = await hub.log_file(tile.path, max_bytes=MAX_TILE_BYTES)
        if raw is None and tile.width < TILE_WIDTH:  # the full one may have taken its place
            whole = await hub.log_file(Tile(tile.level, tile.index).path, max_bytes=MAX_TILE_BYTES)
            if whole is not None:
                return _cut(whole, tile)
        if raw is None:
            raise LogError("tile-missing", f"the hub does not show {tile.path}", retry="later")
        return raw

    async def _keep(self, origin: str, size: int, entries: list[bytes]) -> None:
        rows = []
        for number, entry in enumerate(entries, start=size):
            about = _about(entry)
            if about != ZERO:
                rows.append({"about": about, "number": number})

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

        await self.database.change(change)

    async def _alarm(self, code: str, note: bytes) -> None:
        _log.error(code, alarm=code)
        detail = "" if self.evidence is None else str(self.evidence.keep(code, note))
        now = self.present.now()
        await self.database.change(lambda c: alarms.raise_alarm(c, code, now=now, detail=detail))


async def note_of(connection: AsyncConnection, origin: str) -> bytes:
    """Return the note under which the copy of a log is proved; empty if there is none."""
    table = tables.mirrors
    found = await connection.execute(select(table.c.note).where(table.c.origin == origin))
    return found.scalar_one_or_none() or b""


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


def _about(entry: bytes) -> bytes:
    """Return by what a leaf is found again; zero for one that nobody looks for."""
    try:
        statement = parse_leaf(entry).signed.statement
    except LogError:  # an auditor will say so; it stands in the tree all the same
        return ZERO
    if statement.kind is LeafKind.DIRECTORY:
        return statement.snapshot
    return statement.c_route


def _cut(whole: bytes, tile: Tile) -> bytes:
    if tile.level is not None:
        return whole[: tile.width * len(ZERO)]
    place = 0
    for _ in range(tile.width):
        place += 2 + int.from_bytes(whole[place : place + 2], "big")
    return whole[:place]
