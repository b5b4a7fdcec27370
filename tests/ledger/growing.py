"""A log that grows in a process of its own, and kills it at a chosen step.

Arguments: folder, step, how many growths, least seconds between two checkpoints shown, and the
database's URL; without it, SQLite.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from typing_extensions import override

from broker import clock
from broker.ledger.commit import Committer, Entry
from broker.ledger.signer import Signer, SignNote
from broker.ledger.signer_socket import SignerClient, serving
from broker.ledger.state import Beside, LedgerState, Locked, Number, Position, metadata
from broker.log.checkpoint import Checkpoint
from broker.log.note import Note
from broker.log.notekeys import SignatureType, VKey
from broker.log.notesigner import NoteSigner
from broker.store.database import open_database, sqlite_url
from broker.store.tilefiles import TileFiles

ORIGIN = "log.example/kentong"
KEY = NoteSigner(ORIGIN, SignatureType.ED25519, bytes(32))
STEPS = ("staged", "signed", "locked", "half-shown", "shown", "published", "never")
BATCHES = (1, 3, 252, 1, 300, 17)


def sign(checkpoint: Checkpoint) -> Note:
    return checkpoint.signed((KEY.sign(checkpoint.to_text()),))


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class DyingFiles(TileFiles):
    step: str = "never"

    @override
    def show(self, size: int) -> None:
        if self.step == "half-shown":
            staged = self.folder / "staging" / str(size)
            first = next(path for path in sorted(staged.rglob("*")) if path.is_file())
            target = self.folder / first.relative_to(staged)
            target.parent.mkdir(parents=True, exist_ok=True)
            first.rename(target)
            die()
        super().show(size)
        if self.step == "shown":
            die()

    @override
    def publish_note(self, name: str, note: bytes) -> None:
        super().publish_note(name, note)
        if self.step == "published":
            die()


@dataclass(frozen=True)
class DyingSigner(SignerClient):
    step: str = "never"

    @override
    async def append(self, old_size: int, leaf_hashes: Sequence[bytes]) -> bytes:
        if self.step == "staged":
            die()
        note = await super().append(old_size, leaf_hashes)
        if self.step == "signed":
            die()
        return note


@dataclass(frozen=True)
class DyingState(LedgerState):
    step: str = "never"

    @override
    async def advance(
        self,
        old_size: int,
        locked: Locked,
        *,
        read: Mapping[str, Position],
        taken: Sequence[Number],
        beside: Beside | None = None,
    ) -> None:
        await super().advance(old_size, locked, read=read, taken=taken, beside=beside)
        if self.step == "locked":
            die()


@asynccontextmanager
async def a_log(
    folder: Path,
    step: str = "never",
    *,
    sign: SignNote = sign,
    vkeys: Sequence[VKey] = (KEY.vkey,),
    checkpoint_s: float = 0,
    signers_clock: Callable[[], datetime] = clock.now,
    url: str = "",
) -> AsyncIterator[Committer]:
    """A log in `folder`, founded if there is none."""
    path, socket = folder / "signer.json", folder / "s"
    new = not path.exists()
    signer = Signer.create(path, ORIGIN, sign) if new else Signer.open(path, ORIGIN, sign)
    signer.now = signers_clock
    async with (
        serving(signer, socket),
        open_database(url or sqlite_url(folder / "log.db"), metadata) as database,
    ):
        committer = Committer(
            DyingFiles(folder / "tiles", step),
            DyingSigner(socket, step),
            DyingState(database, step),
            tuple(vkeys),
            checkpoint_s,
        )
        if new:
            await committer.found()
        yield committer


def entries(first: int, count: int) -> list[Entry]:
    numbers = range(first, first + count)
    return [Entry(b"entry %d" % seq, Number("gateway-1", 2**63 + 1, seq)) for seq in numbers]


async def grow(folder: Path, step: str, growths: int, checkpoint_s: float, url: str) -> None:
    """Grow that many times; die at `step` of the last."""
    async with a_log(folder, checkpoint_s=checkpoint_s, url=url) as committer:
        size = (await committer.recover()).size
        for count in BATCHES[: growths - 1]:
            read = {"AUDIT_2026": Position("then", size + count)}
            size = (await committer.grow(size, entries(size, count), read)).size
        committer.files, committer.signer, committer.state = (
            DyingFiles(committer.files.folder, step),
            DyingSigner(committer.signer.path, step),
            DyingState(committer.state.database, step),
        )
        count = BATCHES[growths - 1]
        read = {"AUDIT_2026": Position("then", size + count)}
        await committer.grow(size, entries(size, count), read)


if __name__ == "__main__":
    where, step, growths, seconds, *url = sys.argv[1:]
    asyncio.run(grow(Path(where), step, int(growths), float(seconds), "".join(url)))
