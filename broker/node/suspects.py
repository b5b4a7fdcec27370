"""Checkpoints that the log signed and a witness refused, held against our own copy of the log.

Most were only overtaken by a newer one. One that is no larger than the copy and has another root
proves that the log's owner signed two trees, whoever was shown it.

What strangers show is nearly always public and only ahead of the copy: it takes room of its own, is
held in memory alone, and becomes evidence, and is told to others, once the copy proves it a fork.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from broker.log.checkpoint import Checkpoint, parse_checkpoint
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
MAX_HEARD: Final = 1024  # more than a log keeps of sixteen members; of what others refused
MAX_HEARD_BYTES: Final = 32 * 1024 * 1024  # twice what it keeps of them
_log = get_logger()


class Tree(NamedTuple):
    """Which tree it is; extensions, which one stolen key can vary, make no other."""

    size: int
    root: bytes


class Suspect(NamedTuple):
    """The evidence of one, and how many of the log's signatures are in it."""

    asked: bytes
    lines: int = 0


@dataclass
class Suspects:
    """Written by the node's own loop alone: by the task that watches the log, and as a witness."""

    present: Present
    database: Database
    files: TileFiles
    evidence: LogEvidence
    _waiting: dict[Tree, Suspect] = field(default_factory=dict, repr=False)  # Refused here.
    _heard: dict[Tree, Suspect] = field(default_factory=dict, repr=False)  # Refused by others.
    _shown: dict[Tree, Note] = field(default_factory=dict, repr=False)  # By strangers.
    _untold: list[bytes] = field(default_factory=list, repr=False)  # Proved among those.

    def add(self, checkpoint: Checkpoint, asked: bytes) -> None:
        """Let `check` look at it.

        Args:
            checkpoint: The log's signature under it was verified.
            asked: The request in which it came, which is the evidence.
        """
        tree = _tree(checkpoint)
        if tree in self._waiting:
            return
        if len(self._waiting) >= MAX_WAITING:
            _drop_oldest(self._waiting)
        self._waiting[tree] = Suspect(asked)

    def hear(self, note: Note, asked: bytes) -> None:
        """Let `check` look at what another witness refused; it pushes out nothing of our own.

        Args:
            note: Under verified signatures of the log. Of two of one tree the one with more counts.
            asked: The request in which it came, which is the evidence.
        """
        tree, lines = _tree(parse_checkpoint(note.text)), len(note.signatures)
        known = self._heard.get(tree)
        if known is not None and known.lines >= lines:
            return
        self._heard[tree] = Suspect(asked, lines)
        while len(self._heard) > MAX_HEARD or _length(self._heard) > MAX_HEARD_BYTES:
            _drop_oldest(self._heard)

    def show(self, checkpoint: Checkpoint, note: Note) -> None:
        """Let `check` look at what a stranger brought; nothing is kept of it, nor told, before.

        Args:
            checkpoint: Of `note`.
            note: Under verified signatures of the log. Of two of one tree the one with more counts.
        """
        tree = _tree(checkpoint)
        known = self._shown.get(tree)
        if known is not None and len(known.signatures) >= len(note.signatures):
            return
        if known is None and len(self._shown) >= MAX_WAITING:
            _drop_oldest(self._shown)
        self._shown[tree] = note

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
        for room in (self._waiting, self._heard):
            for tree, suspect in tuple(room.items()):
                if tree.size > copied:
                    continue
                forks += await self._is_fork(tree, suspect.asked, copied)
                if room.get(tree) is suspect:  # else another came meanwhile
                    del room[tree]
        for tree, note in tuple(self._shown.items()):
            if tree.size > copied:
                continue
            asked = WitnessRequest(0, (), note).to_bytes()
            if await self._is_fork(tree, asked, copied):
                forks += 1
                self._untold.append(asked)
            if self._shown.get(tree) is note:  # else one with more signatures came meanwhile
                del self._shown[tree]
        return forks

    async def _is_fork(self, tree: Tree, asked: bytes, copied: int) -> bool:
        """Return whether the copy begins with another tree; if so, that is kept and alarmed."""
        if tree_root(tree.size, lookup_in(self.files.read, copied)) == tree.root:
            return False
        await self._alarm(asked)
        return True

    async def _alarm(self, asked: bytes) -> None:
        _log.error(FORK, alarm=FORK)
        detail = str(await asyncio.to_thread(self.evidence.keep, FORK, asked))
        now = self.present.now()
        await self.database.change(lambda c: alarms.raise_alarm(c, FORK, now=now, detail=detail))


def _tree(checkpoint: Checkpoint) -> Tree:
    return Tree(checkpoint.size, checkpoint.root)


def _length(room: Mapping[Tree, Suspect]) -> int:
    return sum(len(suspect.asked) for suspect in room.values())


def _drop_oldest(room: dict[Tree, Any]) -> None:
    del room[next(iter(room))]
