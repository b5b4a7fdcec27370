"""The one order in which a log grows, and how it is put right after a crash between any two steps.

    1. entries and tiles aside, synced      lost: nothing was signed, what was read is read again
    2. the signer's state, then signature   lost: the signer is one growth ahead, and step 3 follows
    3. lock record, positions, numbers      a second sequencer loses here
    4. tiles, then checkpoint               lost: done again at the start

While the log grows fast, not every growth shows its checkpoint: at most one in `checkpoint_s`, the
last one soon after. Tiles, signer and lock record never wait.

Nothing is ever tried again in place: on any error the process ends, and `recover` begins anew.
"""

import asyncio
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from broker.ledger.errors import LedgerError
from broker.ledger.signer_socket import SignerClient
from broker.ledger.state import LedgerState, Locked, Number, Position
from broker.store.tilefiles import CHECKPOINT, TileFiles, leaf_hashes


@dataclass(frozen=True)
class Entry:
    """A leaf to append, and the number that it takes."""

    raw: bytes
    number: Number


@dataclass
class Committer:
    """Grows one log.

    Attributes:
        checkpoint_s: Least seconds between two checkpoints shown while the log grows.
    """

    files: TileFiles
    signer: SignerClient
    state: LedgerState
    checkpoint_s: float = 0.0
    _hidden: Locked | None = field(default=None, repr=False)  # Signed, its checkpoint not shown.
    _shown_at: float = field(default=-math.inf, repr=False)  # By the loop's clock.

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
        await asyncio.to_thread(self.files.show, locked.size)
        self._hidden = locked
        await self.show_checkpoint()
        return locked

    async def grow(
        self, old_size: int, entries: Sequence[Entry], read: Mapping[str, Position]
    ) -> Locked:
        """Append `entries`, and return the log's new lock record once its tiles are shown.

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
        await asyncio.to_thread(self.files.show, locked.size)
        self._hidden = locked
        await self.show_if_due()
        return locked

    async def show_if_due(self) -> None:
        """Show the newest checkpoint if it waits, and the last one was shown long enough ago.

        Raises:
            StoreError: `log-disk`: end the process.
        """
        if asyncio.get_running_loop().time() - self._shown_at >= self.checkpoint_s:
            await self.show_checkpoint()

    async def show_checkpoint(self) -> None:
        """Show the newest checkpoint now if it waits, as at the end of the process.

        Raises:
            StoreError: `log-disk`: end the process.
        """
        if self._hidden is None:
            return
        note, self._hidden = self._hidden.note, None
        await asyncio.to_thread(self.files.publish_note, CHECKPOINT, note)
        self._shown_at = asyncio.get_running_loop().time()


def _encode(read: Mapping[str, Position], taken: Sequence[Number]) -> bytes:
    positions = {name: vars(position) for name, position in read.items()}
    numbers = [(number.gateway, number.boot, number.seq) for number in taken]
    return json.dumps({"read": positions, "taken": numbers}).encode()


def _decode(notes: bytes) -> tuple[dict[str, Position], list[Number]]:
    try:
        found = json.loads(notes)
        read = {name: Position(**position) for name, position in found["read"].items()}
        return read, [Number(*number) for number in found["taken"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise LedgerError("staging-damaged", "what was staged cannot be read") from None
