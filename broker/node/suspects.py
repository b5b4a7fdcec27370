"""Checkpoints that the log signed and a witness refused, held against our own copy of the log.

Most were only overtaken by a newer one. One that is no larger than the copy and has another root
proves that the log's owner signed two trees, whoever was shown it.

What strangers show is nearly always public and only ahead of the copy: it takes room of its own, is
held in memory alone, and becomes evidence, and is told to others, once the copy proves it a fork.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from broker.log.checkpoint import Checkpoint
from broker.log.errors import LogError
from broker.log.merkle import tree_root
from broker.log.note import Note
from broker.log.tiles import lookup_in
from broker.log.witness import WitnessRequest
from broker.logs import get_logger
from broker.node import alarms
from broker.node.logevidence import LogEvidence
from broker.node.present import Present
from broker.store.database import Database, StoreError
from broker.store.tilefiles import TileFiles

FORK: Final = "log-fork"
MAX_WAITING: Final = 64  # of each kind that are larger than the copy; the oldest make room
_log = get_logger()


@dataclass
class Suspects:
    """Written by the node's own loop alone: by the task that watches the log, and as a witness."""

    present: Present
    database: Database
    files: TileFiles
    evidence: LogEvidence
    _waiting: deque[tuple[Checkpoint, bytes]] = field(
        default_factory=lambda: deque(maxlen=MAX_WAITING), repr=False
    )
    _shown: dict[Checkpoint, Note] = field(default_factory=dict, repr=False)  # By strangers.
    _untold: list[bytes] = field(default_factory=list, repr=False)  # Proved among those.

    def add(self, checkpoint: Checkpoint, asked: bytes) -> None:
        """Let `check` look at it.

        Args:
            checkpoint: The log's signature under it was verified.
            asked: The request in which it came, which is the evidence.
        """
        if all(asked != known for _, known in self._waiting):
            self._waiting.append((checkpoint, asked))

    def show(self, checkpoint: Checkpoint, note: Note) -> None:
        """Let `check` look at what a stranger brought; nothing is kept of it, nor told, before.

        Args:
            checkpoint: Of `note`.
            note: Under verified signatures of the log. Of two of one tree the one with more counts.
        """
        known = self._shown.get(checkpoint)
        if known is not None and len(known.signatures) >= len(note.signatures):
            return
        if known is None and len(self._shown) >= MAX_WAITING:
            del self._shown[next(iter(self._shown))]
        self._shown[checkpoint] = note

    def proved(self) -> list[bytes]:
        """Return, once, what strangers showed and `check` proved to be forks: for the others."""
        found, self._untold = self._untold, []
        return found

    def is_ours(self, checkpoint: Checkpoint, copied: int) -> bool:
        """Return whether a copy of `copied` leaves begins with the checkpoint's tree."""
        if checkpoint.size > copied:
            return False
        try:
            return tree_root(checkpoint.size, lookup_in(self.files.read, copied)) == checkpoint.root
        except (LogError, StoreError):  # a damaged copy clears nobody
            return False

    async def check(self, copied: int) -> int:
        """Hold against a copy of `copied` leaves what is not larger; return how many are forks.

        Raises:
            StoreError: The copy is damaged, or the alarm was not kept; it is looked at again.
        """
        forks = 0
        for checkpoint, asked in tuple(self._waiting):
            if checkpoint.size > copied:
                continue
            forks += await self._is_fork(checkpoint, asked, copied)
            if (checkpoint, asked) in self._waiting:  # else a newer one took its room meanwhile
                self._waiting.remove((checkpoint, asked))
        for checkpoint, note in tuple(self._shown.items()):
            if checkpoint.size > copied:
                continue
            asked = WitnessRequest(0, (), note).to_bytes()
            if await self._is_fork(checkpoint, asked, copied):
                forks += 1
                self._untold.append(asked)
            if self._shown.get(checkpoint) is note:  # else one with more signatures came meanwhile
                del self._shown[checkpoint]
        return forks

    async def _is_fork(self, checkpoint: Checkpoint, asked: bytes, copied: int) -> bool:
        """Return whether the copy begins with another tree; if so, that is kept and alarmed."""
        lookup = lookup_in(self.files.read, copied)
        if tree_root(checkpoint.size, lookup) == checkpoint.root:
            return False
        await self._alarm(asked)
        return True

    async def _alarm(self, asked: bytes) -> None:
        _log.error(FORK, alarm=FORK)
        detail = str(await asyncio.to_thread(self.evidence.keep, FORK, asked))
        now = self.present.now()
        await self.database.change(lambda c: alarms.raise_alarm(c, FORK, now=now, detail=detail))
