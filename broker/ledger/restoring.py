"""Gives a log that was put back from a backup the leaves that it had signed since.

They come from a member's copy, from which nobody need believe anything: all of it is hashed again
and must give the root of a checkpoint that a quorum cosigned, and, beyond, of one that the log
itself signed and a witness cosigned. It must begin with what is here. Only then is anything signed;
and what is signed is a tree that was signed before.

How far the streams were read is not moved on: they are read again from where the backup was, and
what has its leaf already gets no second one.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from broker.ledger.commit import Committer, Entry, staged_notes
from broker.ledger.errors import LedgerError
from broker.ledger.intake import NOWHERE
from broker.ledger.state import VOID_BY_LOG, Beside, Number
from broker.log.checkpoint import Checkpoint
from broker.log.errors import LogError
from broker.log.leaf import LeafKind, parse_leaf
from broker.log.merkle import Frontier, leaf_hash
from broker.log.policy import Policy, SignedCheckpoint
from broker.log.tiles import TILE_WIDTH, Tile, bundles_of, parse_bundle
from broker.store.lacking import Lacking
from broker.store.tilefiles import CHECKPOINT, SEEN
from keys.primitives.hashing import sha256

GROWTH: Final = 4096  # leaves at a time, as behind a backlog
Read = Callable[[str], bytes | None]
"""A file of the copy by its path in the layout of tlog-tiles, or None."""


@dataclass(frozen=True)
class ProvenCopy:
    """A member's copy, hashed again as a whole.

    Attributes:
        entries: All of them.
        checkpoint: What they were proved under.
        witnessed: How many of them a quorum stands behind.
    """

    entries: Sequence[bytes] = field(repr=False)
    checkpoint: Checkpoint
    witnessed: int

    @classmethod
    def of(cls, read: Read, policy: Policy) -> "ProvenCopy":
        """Return the copy if all of it is proved.

        Args:
            read: Nothing of it is trusted.
            policy: The keys of this log, its witnesses and their quorum.

        Raises:
            LogError: `copy-unproved`, or why a note of it is refused.
        """
        note = read(CHECKPOINT)
        if note is None:
            raise LogError("copy-unproved", "the copy has no checkpoint")
        quorum = policy.check(note)
        newest = _newest(read, policy, quorum)
        entries = _entries(read, newest.checkpoint.size)
        for signed in (quorum, newest):
            size, root = signed.checkpoint.size, signed.checkpoint.root
            if root_of(entries, size) != root:
                raise LogError("copy-unproved", f"the first {size} leaves are not those signed")
        return cls(entries, newest.checkpoint, quorum.checkpoint.size)


def _newest(read: Read, policy: Policy, quorum: SignedCheckpoint) -> SignedCheckpoint:
    """Return what the member itself cosigned, if that is larger than what a quorum has."""
    note = read(SEEN)
    if note is None:
        return quorum
    seen = policy.verify_log(note)
    larger = seen.checkpoint.size > quorum.checkpoint.size and seen.cosigned
    return seen if larger else quorum


def _entries(read: Read, size: int) -> list[bytes]:
    found: list[bytes] = []
    for tile in bundles_of(size):
        for width in range(tile.width, TILE_WIDTH + 1):  # the copy may go on beyond
            raw = read(Tile(None, tile.index, width).path)
            if raw is not None:
                found += parse_bundle(raw, width)[: tile.width]
                break
        else:
            raise LogError("copy-unproved", f"the copy lacks {tile.path}")
    return found


def root_of(entries: Sequence[bytes], size: int) -> bytes:
    """Return the root of the first `size` of these."""
    return Frontier().append(map(leaf_hash, entries[:size])).root()


async def restore(committer: Committer, copy: ProvenCopy) -> tuple[int, int]:
    """Grow the log by what the copy has beyond it; return the old size and the new one.

    Raises:
        LedgerError: `nothing-newer`: the log has as much; `fork`: the copy does not begin with
            what is here, so keep both and tell the members; or as `Committer.recover`.
        StoreError: As `Committer.grow`.
    """
    locked = await committer.state.locked()
    signed_size, signed_note = await committer.signer.state()
    have = max(locked.size, signed_size)
    if copy.checkpoint.size < have or (copy.checkpoint.size == locked.size):
        raise LedgerError("nothing-newer", f"the copy has {copy.checkpoint.size} leaves, not more")
    for size, note in ((locked.size, locked.note), (signed_size, signed_note)):
        if root_of(copy.entries, size) != committer.signed(note, size).root:
            raise LedgerError("fork", f"the copy does not begin with the {size} leaves signed here")
    entries = [_entry(index, raw) for index, raw in enumerate(copy.entries)]
    if signed_size > locked.size:
        more = entries[locked.size : signed_size]
        if await committer.staged(signed_size, signed_note) is None:
            await _stage_what_was_signed(committer, locked.size, more)
    size = (await committer.recover()).size
    while size < len(entries):
        more = entries[size : size + GROWTH]
        size = (await committer.grow(size, more, {})).size
    Lacking(committer.files.folder).forget()  # the witnesses are asked again before it grows on
    return locked.size, size


async def _stage_what_was_signed(
    committer: Committer, old_size: int, entries: Sequence[Entry]
) -> None:
    """Put aside again what the signer signed, so that `recover` finds it."""
    notes = staged_notes({}, [entry.number for entry in entries], Beside())
    raws = [entry.raw for entry in entries]
    await asyncio.to_thread(committer.files.stage, old_size, raws, notes)


def _entry(index: int, raw: bytes) -> Entry:
    try:
        leaf = parse_leaf(raw)
    except LogError:  # it stands in the tree; nothing else will ever have this number
        return Entry(raw, Number("restored", 0, index))
    signed = leaf.signed
    said = signed.statement
    by_log = said.kind is LeafKind.VOID and leaf.stream == NOWHERE  # it stood in no stream
    digest = VOID_BY_LOG if by_log else sha256(signed.to_bytes()).hex()
    return Entry(raw, Number(said.gateway, said.boot, said.seq, digest))
