"""The signer: the only holder of the log's key, which signs one history and never two.

It takes old size and leaf hashes, keeps the frontier itself and computes the root itself: a
sequencer in foreign hands can add rubbish, but never obtains a second tree. What it is about to
sign is on its disk before the signature leaves it.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from pydantic import Field, ValidationError

from broker import clock
from broker.ledger.errors import LedgerError
from broker.log.checkpoint import Checkpoint, parse_checkpoint
from broker.log.errors import LogError
from broker.log.merkle import Frontier
from broker.log.note import Note, parse_note
from keys.errors import KeyFileError
from keys.files import read_private, write_private
from keys.primitives.hashing import sha256
from schemas.label import Strict

MAX_LEAVES: Final = 65_536  # in one call
_MAX_STATE_BYTES: Final = 256 * 1024
SignNote = Callable[[Checkpoint], Note]
"""Signs with every key of the log."""


class _Tree(Strict):
    size: int = Field(ge=0, lt=2**63)
    frontier: tuple[str, ...] = ()

    def value(self) -> Frontier:
        return Frontier(self.size, tuple(bytes.fromhex(item) for item in self.frontier))


class _State(Strict):
    """`signer.json`: the tree signed last, the one before it, the checkpoint, and when that was.

    Attributes:
        digest: Of all the rest: a disk that changes a bit must not change what is signed next.
    """

    origin: str
    tree: _Tree
    before: _Tree
    note: str
    signed_at_s: int
    digest: str = ""

    def sealed(self) -> "_State":
        return self.model_copy(update={"digest": self._digest()})

    def check(self, raw: bytes) -> None:
        signed = parse_checkpoint(parse_note(self.note.encode()).text)
        tree = self.tree.value()
        self.before.value()
        same = (signed.size, signed.root) == (tree.size, tree.root())
        if not same or self.digest != self._digest() or _encode(self) != raw:
            raise LogError("bad-state", "it is not what was written")

    def _digest(self) -> str:
        return sha256(self.model_copy(update={"digest": ""}).model_dump_json().encode()).hex()


@dataclass
class Signer:
    """Signs the growth of one log. One process has it; nobody else writes its file."""

    path: Path
    origin: str
    sign: SignNote
    _state: _State
    now: Callable[[], datetime] = clock.now
    _broken: bool = False  # What is on the disk is not known: a new start reads it.

    @classmethod
    def create(cls, path: Path, origin: str, sign: SignNote) -> "Signer":
        """Found an empty log: explicit, and once.

        Raises:
            LedgerError: `exists`.
            KeyFileError: The file cannot be written.
        """
        if path.exists():
            raise LedgerError("exists", f"{path} holds a log already")
        empty = _Tree(size=0)
        note = sign(Checkpoint(origin, 0, Frontier().root()))
        state = _State(
            origin=origin, tree=empty, before=empty, note=note.to_bytes().decode(), signed_at_s=0
        ).sealed()
        write_private(path, _encode(state))
        return cls(path, origin, sign, state)

    @classmethod
    def open(cls, path: Path, origin: str, sign: SignNote) -> "Signer":
        """Go on with a log.

        Raises:
            LedgerError: `no-signer-state`: never founded, or its file is lost; `signer-damaged`:
                not what this signer wrote; `wrong-origin`: the file of another log.
        """
        try:
            raw = read_private(path, max_bytes=_MAX_STATE_BYTES)
            state = _State.model_validate_json(raw)
            state.check(raw)
        except KeyFileError as error:
            raise LedgerError("no-signer-state", f"{path}: {error}") from error
        except (ValidationError, ValueError, LogError):
            raise LedgerError("signer-damaged", f"{path} is damaged: restore the log") from None
        if state.origin != origin:
            raise LedgerError("wrong-origin", f"{path} is of the log {state.origin}")
        return cls(path, origin, sign, state)

    @property
    def size(self) -> int:
        """Leaves in the tree signed last."""
        return self._state.tree.size

    @property
    def checkpoint(self) -> bytes:
        """The note signed last."""
        return self._state.note.encode()

    def append(self, old_size: int, leaf_hashes: Sequence[bytes]) -> bytes:
        """Return the signed checkpoint of the tree grown by `leaf_hashes`.

        The same call again, after a crash between signing and publishing, gives the same answer.

        Raises:
            LedgerError: `wrong-size`: this tree was not grown from there; `fork`: it was, by other
                leaves; `too-many`, `no-leaves`. Or, and then the process must end: `signer-disk`:
                nothing was given away; `clock-back`: it is earlier than at the last signature.
            LogError: `bad-hash`.
        """
        if self._broken:
            raise LedgerError("signer-disk", f"{self.path} was not written: start again")
        if not leaf_hashes:
            raise LedgerError("no-leaves", "a tree grows by one leaf at least")
        if len(leaf_hashes) > MAX_LEAVES:
            raise LedgerError("too-many", f"at most {MAX_LEAVES} leaves in one call")
        if old_size == self._state.before.size and old_size < self.size:
            return self._again(leaf_hashes)
        if old_size != self.size:
            raise LedgerError("wrong-size", f"the log has {self.size} leaves, not {old_size}")
        now_s = int(self.now().timestamp())
        if now_s < self._state.signed_at_s:
            raise LedgerError("clock-back", "the clock is behind the last signature: set it")
        grown = self._state.tree.value().append(leaf_hashes)
        note = self.sign(Checkpoint(self.origin, grown.size, grown.root()))
        state = _State(
            origin=self.origin,
            tree=_tree(grown),
            before=self._state.tree,
            note=note.to_bytes().decode(),
            signed_at_s=now_s,
        ).sealed()
        try:
            write_private(self.path, _encode(state))
        except (KeyFileError, OSError) as error:
            self._broken = True
            raise LedgerError("signer-disk", f"{self.path} is not written: {error}") from error
        self._state = state
        return self.checkpoint

    def _again(self, leaf_hashes: Sequence[bytes]) -> bytes:
        grown = self._state.before.value().append(leaf_hashes)
        if grown != self._state.tree.value():
            raise LedgerError("fork", "other leaves were signed at this place already")
        return self.checkpoint


async def in_thread(signer: Signer, old_size: int, leaf_hashes: Sequence[bytes]) -> bytes:
    """Do as `Signer.append`, without holding the loop while it writes."""
    return await asyncio.to_thread(signer.append, old_size, leaf_hashes)


def _tree(frontier: Frontier) -> _Tree:
    return _Tree(size=frontier.size, frontier=tuple(item.hex() for item in frontier.hashes))


def _encode(state: _State) -> bytes:
    return state.model_dump_json(indent=1).encode()
