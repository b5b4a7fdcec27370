"""The one order in which a log grows, and how it is put right after a crash between any two steps.

    1. entries and tiles aside, synced      lost: nothing was signed, what was read is read again
    2. the signer's state, then signature   lost: the signer is one growth ahead, and step 3 follows
    3. lock record, positions, numbers      a second sequencer loses here
    4. tiles, then checkpoint               lost: done again at the start

Nothing is ever tried again in place: on any error the process ends, and `recover` begins anew.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from broker.ledger.errors import LedgerError
from broker.ledger.signer_socket import SignerClient
from broker.ledger.state import LedgerState, Locked, Number, Position
from broker.store.tilefiles import TileFiles, leaf_hashes


@dataclass(frozen=True)
class Entry:
    """A leaf to append, and the number that it takes."""

    raw: bytes
    number: Number


@dataclass(frozen=True)
class Committer:
    """Grows one log."""

    files: TileFiles
    signer: SignerClient
    state: LedgerState

    async def found(self) -> None:
        """Publish the empty log that the signer founded.

        Raises:
            LedgerError: There is a log already, or the signer is not empty.
        """
        size, note = await self.signer.state()
        if size:
            raise LedgerError("exists", "the signer has a log already")
        await self.state.found(note)
        await asyncio.to_thread(self.files.publish, 0, note)

    async def recover(self) -> Locked:
        """Bring signer, lock record and files together again; return where the log is.

        Raises:
            LedgerError: `signer-behind`: it forgot what it signed; `signer-ahead`: it signed what
                is not here: restore the log's store, or fetch the leaves from a member;
                `fork`: one size and two checkpoints.
        """
        locked = await self.state.locked()
        size, note = await self.signer.state()
        if size < locked.size:
            raise LedgerError("signer-behind", "the signer forgot what it signed: restore it")
        if size == locked.size and note != locked.note:
            raise LedgerError("fork", "signer and database hold two checkpoints of one size")
        if size > locked.size:
            notes = await asyncio.to_thread(self.files.staged_notes, size)
            if notes is None:
                raise LedgerError("signer-ahead", "the signer signed leaves that are not here")
            read, taken = _decode(notes)
            await self.state.advance(locked.size, Locked(size, note), read=read, taken=taken)
            locked = Locked(size, note)
        await asyncio.to_thread(self.files.publish, locked.size, locked.note)
        return locked

    async def grow(
        self, old_size: int, entries: Sequence[Entry], read: Mapping[str, Position]
    ) -> Locked:
        """Append `entries`, and return the log's new lock record once all of it is published.

        Args:
            old_size: Of the log, as `recover` or the last call said.
            entries: One at least.
            read: How far the streams were read for them.

        Raises:
            LedgerError: End the process.
            StoreError: Likewise.
        """
        raws = [entry.raw for entry in entries]
        taken = [entry.number for entry in entries]
        notes = _encode(read, taken)
        await asyncio.to_thread(self.files.stage, old_size, raws, notes)
        note = await self.signer.append(old_size, leaf_hashes(raws))
        locked = Locked(old_size + len(entries), note)
        await self.state.advance(old_size, locked, read=read, taken=taken)
        await asyncio.to_thread(self.files.publish, locked.size, locked.note)
        return locked


def _encode(read: Mapping[str, Position], taken: Sequence[Number]) -> bytes:
    positions = {name: asdict(position) for name, position in read.items()}
    return json.dumps({"read": positions, "taken": [asdict(number) for number in taken]}).encode()


def _decode(notes: bytes) -> tuple[dict[str, Position], list[Number]]:
    try:
        found = json.loads(notes)
        read = {name: Position(**position) for name, position in found["read"].items()}
        return read, [Number(**number) for number in found["taken"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise LedgerError("staging-damaged", "what was staged cannot be read") from None
