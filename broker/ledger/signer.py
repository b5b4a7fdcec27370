"""The signer: the only holder of the log's key, which signs one history and never two.

It takes old size and leaf hashes, keeps the frontier itself and computes the root itself: a
sequencer in foreign hands can add rubbish, but never obtains a second tree. What it is about to
sign is on its disk before the signature leaves it.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import Field, ValidationError

from broker.ledger.errors import LedgerError
from broker.log.checkpoint import Checkpoint
from broker.log.errors import LogError
from broker.log.merkle import Frontier
from broker.log.note import Note
from keys.errors import KeyFileError
from keys.files import read_private, write_private
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
    """`signer.json`: the tree signed last, the one before it, and the checkpoint."""

    origin: str
    tree: _Tree
    before: _Tree
    note: str


@dataclass
class Signer:
    """Signs the growth of one log. One process has it; nobody else writes its file."""

    path: Path
    origin: str
    sign: SignNote
    _state: _State

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
        state = _State(origin=origin, tree=empty, before=empty, note=note.to_bytes().decode())
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
            state = _State.model_validate_json(read_private(path, max_bytes=_MAX_STATE_BYTES))
            state.tree.value()
            state.before.value()
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
                leaves; `too-many`, `no-leaves`; or `signer-disk`: nothing was signed.
            LogError: `bad-hash`.
        """
        if not leaf_hashes:
            raise LedgerError("no-leaves", "a tree grows by one leaf at least")
        if len(leaf_hashes) > MAX_LEAVES:
            raise LedgerError("too-many", f"at most {MAX_LEAVES} leaves in one call")
        if old_size == self._state.before.size and old_size < self.size:
            return self._again(leaf_hashes)
        if old_size != self.size:
            raise LedgerError("wrong-size", f"the log has {self.size} leaves, not {old_size}")
        grown = self._state.tree.value().append(leaf_hashes)
        note = self.sign(Checkpoint(self.origin, grown.size, grown.root()))
        state = _State(
            origin=self.origin,
            tree=_tree(grown),
            before=self._state.tree,
            note=note.to_bytes().decode(),
        )
        try:
            write_private(self.path, _encode(state))
        except KeyFileError as error:
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
