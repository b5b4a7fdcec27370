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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeAlias

from broker import clock
from broker.errors import BrokerError
from broker.ledger.errors import LedgerError
from broker.ledger.signer_socket import SignerClient
from broker.ledger.state import Beside, LedgerState, Locked, Number, Position
from broker.ledger.subjects import SealedSubjects
from broker.log.checkpoint import Checkpoint, parse_checkpoint
from broker.log.errors import LogError
from broker.log.merkle import tree_root
from broker.log.note import parse_note
from broker.log.notekeys import VKey, verify_note
from broker.log.tiles import lookup_in
from broker.logs import get_logger
from broker.store.stagedtiles import check_staged
from broker.store.tilefiles import CHECKPOINT, TileFiles, leaf_hashes

SIGNER_AHEAD: Final = "signer-ahead"
STAGING_DAMAGED: Final = "staging-damaged"
Staged: TypeAlias = tuple[Mapping[str, Position], Sequence[Number], Beside]
"""What stands beside a staged growth: positions, numbers, and what else is remembered with it."""
_log = get_logger()


@dataclass(frozen=True)
class Entry:
    """A leaf to append, and the number that it takes."""

    raw: bytes
    number: Number


@dataclass
class Committer:
    """Grows one log.

    Attributes:
        vkeys: The log's own; every note that is found must carry a signature of each.
        checkpoint_s: Least seconds between two checkpoints shown while the log grows.
    """

    files: TileFiles
    signer: SignerClient
    state: LedgerState
    vkeys: tuple[VKey, ...]
    checkpoint_s: float = 0.0
    now: Callable[[], datetime] = clock.now
    _locked: Locked | None = field(default=None, repr=False)  # What this process wrote last.
    _hidden: Locked | None = field(default=None, repr=False)  # Signed, its checkpoint not shown.
    _shown_at: float = field(default=-math.inf, repr=False)  # By the loop's clock.

    async def found(self) -> None:
        """Publish the empty log that the signer founded.

        Raises:
            LedgerError: There is a log already, or the signer is not empty; `database-lost`: the
                files of one are here, and its database is not.
        """
        size, note = await self.signer.state()
        if size:
            raise LedgerError("exists", "the signer has a log already")
        there = self.files.checkpoint() is not None or (self.files.folder / "tile").exists()
        if there and not await self.state.is_founded():
            raise LedgerError(
                "database-lost", "the log's files are here, its database is empty: restore that"
            )
        await self.state.found(note, self._now_s())
        await asyncio.to_thread(self.files.publish, 0, note)

    async def recover(self) -> Locked:
        """Bring signer, lock record and files together again; return where the log is.

        Raises:
            LedgerError: `signer-behind`: it forgot what it signed; `signer-ahead`: it signed what
                is not here, or damaged: restore the log's store, or fetch the leaves from a
                member; `fork`: one size and two checkpoints; `lock-damaged`, `checkpoint-damaged`:
                not what was written; `clock-back`: it is earlier than at the last growth.
            StoreError: `tile-missing`, `tile-damaged`, or the disk or the database failed.
        """
        locked = await self.state.locked()
        if self._now_s() < locked.at_s:
            raise LedgerError("clock-back", "the clock is behind the last growth: set it")
        self._signed(locked.note, locked.size, code="lock-damaged")
        size, note = await self.signer.state()
        if size < locked.size:
            raise LedgerError("signer-behind", "the signer forgot what it signed: restore it")
        if size == locked.size and note != locked.note:
            raise LedgerError("fork", "signer and database hold two checkpoints of one size")
        if size > locked.size:
            root = self.signed(locked.note, locked.size).root
            await asyncio.to_thread(self.files.check_edge, locked.size, root)
            staged = await self.staged(size, note)
            if staged is None:
                raise LedgerError(SIGNER_AHEAD, "the signer signed leaves that are not here")
            read, taken, beside = staged
            old_size, locked = locked.size, Locked(size, note, self._now_s())
            await self.state.advance(old_size, locked, read=read, taken=taken, beside=beside)
        await asyncio.to_thread(self._show, locked)
        self._locked = self._hidden = locked
        await self.show_checkpoint()
        return locked

    async def staged(self, size: int, note: bytes) -> Staged | None:
        """Return what stands beside a staged growth; None if it is not there as it was signed.

        Args:
            size: Of the grown log.
            note: What the signer signed of it.

        Raises:
            LedgerError: `bad-answer`: not signed by this log.
        """
        root = self._signed(note, size, code="bad-answer").root
        notes = await asyncio.to_thread(self.files.staged_notes, size)
        if notes is None:
            return None
        try:
            found = _decode(notes)
            await asyncio.to_thread(check_staged, self.files, size, root)
        except BrokerError as error:  # its leaves may be had elsewhere
            _log.error(STAGING_DAMAGED, size=size, error_code=error.code, alarm=STAGING_DAMAGED)
            return None
        return found

    def _show(self, locked: Locked) -> None:
        """Show the tiles of a growth that was interrupted, if what is in sight fits it."""
        raw = self.files.checkpoint()
        shown = None
        if raw is not None:
            shown = self._signed(raw, None, code="checkpoint-damaged")
            if shown.size > locked.size:
                raise LedgerError("signer-behind", "more was shown than the signer remembers")
        signed = self._signed(locked.note, locked.size, code="lock-damaged")
        check_staged(self.files, locked.size, signed.root)
        self.files.show(locked.size)
        self.files.check_edge(locked.size, signed.root)
        lookup = lookup_in(self.files.read, locked.size)
        if shown is not None and tree_root(shown.size, lookup) != shown.root:
            raise LedgerError("fork", "the checkpoint in sight is of another tree")

    def _signed(self, raw: bytes, size: int | None, *, code: str) -> Checkpoint:
        """Return the checkpoint of a note, every signature of the log under it verified."""
        try:
            note = parse_note(raw)
            verified = verify_note(note, self.vkeys)
            checkpoint = parse_checkpoint(note.text)
        except LogError as error:
            raise LedgerError(code, f"a checkpoint is not what was written: {error}") from error
        if len(verified) != len(self.vkeys) or size not in {None, checkpoint.size}:
            raise LedgerError(code, "a checkpoint is not what was written")
        return checkpoint

    def signed(self, note: bytes, size: int) -> Checkpoint:
        """Return the checkpoint of a note of this log's, of `size` leaves.

        Raises:
            LedgerError: `lock-damaged`: it is not what was written.
        """
        return self._signed(note, size, code="lock-damaged")

    def _now_s(self) -> int:
        return int(self.now().timestamp())

    async def grow(
        self,
        old_size: int,
        entries: Sequence[Entry],
        read: Mapping[str, Position],
        beside: Beside | None = None,
    ) -> Locked:
        """Append `entries`, and return the log's new lock record once its tiles are shown.

        Args:
            old_size: Of the log, as `recover` or the last call said.
            entries: One at least.
            read: How far the streams were read for them.
            beside: What else is remembered with them.

        Raises:
            LedgerError: End the process.
            StoreError: Likewise.
        """
        beside = beside or Beside()
        before, now_s = self._locked or await self.state.locked(), self._now_s()
        if now_s < before.at_s:
            raise LedgerError("clock-back", "the clock is behind the last growth: set it")
        if before.size != old_size:
            raise LedgerError("fenced", f"the log has {before.size} leaves, not {old_size}")
        root = self._signed(before.note, old_size, code="lock-damaged").root
        await asyncio.to_thread(self.files.check_edge, old_size, root)
        raws = [entry.raw for entry in entries]
        taken = [entry.number for entry in entries]
        notes = staged_notes(read, taken, beside)
        await asyncio.to_thread(self.files.stage, old_size, raws, notes)
        note = await self.signer.append(old_size, leaf_hashes(raws))
        locked = Locked(old_size + len(entries), note, now_s)
        self._signed(locked.note, locked.size, code="bad-answer")
        await self.state.advance(old_size, locked, read=read, taken=taken, beside=beside)
        await asyncio.to_thread(self.files.show, locked.size)
        self._locked = self._hidden = locked
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


def staged_notes(read: Mapping[str, Position], taken: Sequence[Number], beside: Beside) -> bytes:
    """Return what stands beside a staged growth, for whoever recovers it."""
    notes = {
        "read": {name: vars(position) for name, position in read.items()},
        "taken": [(number.gateway, number.boot, number.seq, number.said) for number in taken],
        "subjects": [(row.year, row.sealed.hex()) for row in beside.subjects],
        "marks": dict(beside.marks),
    }
    return json.dumps(notes).encode()


def _decode(notes: bytes) -> Staged:
    try:
        found = json.loads(notes)
        read = {name: Position(**position) for name, position in found["read"].items()}
        subjects = [SealedSubjects(year, bytes.fromhex(row)) for year, row in found["subjects"]]
        taken = [Number(*number) for number in found["taken"]]
        return read, taken, Beside(subjects, dict(found["marks"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise LedgerError(STAGING_DAMAGED, "what was staged cannot be read") from None
