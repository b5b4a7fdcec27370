"""Messages of one gateway on the disk, as a stream holds them: a bench holds few at once."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import msgpack

from broker.ledger.sequencer import Cadence
from broker.log.audited import SealedRecord
from broker.log.leaf import LeafKind, Statement
from broker.log.recordkeys import NAME_BYTES
from broker.transport.message import Stored
from keys.primitives.signing import SignKey

KEY = SignKey(bytes(range(32)))
SEALED = bytes(2048 + 16)  # a decision as it lies there; the sequencer does not read it
TOGETHER = Cadence().growth_leaves


@dataclass(frozen=True)
class Recorded:
    """`count` messages in files of a growth each."""

    folder: Path
    count: int

    def make(self, cores: int) -> None:
        """Write all of them, on so many processes."""
        with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
            list(pool.map(partial(_write, self.folder, self.count), self._starts))

    def parts(self) -> Iterator[list[Stored]]:
        """Yield the messages in order, a growth at a time."""
        for start in self._starts:
            raws = msgpack.unpackb(_file(self.folder, start).read_bytes())
            yield [_stored(seq, raw) for seq, raw in enumerate(raws, start)]

    @property
    def _starts(self) -> range:
        return range(0, self.count, TOGETHER)


def _stored(seq: int, raw: bytes) -> Stored:
    return Stored(f"audit.2026.SG.{seq}", raw, seq + 1)


def _write(folder: Path, count: int, start: int) -> None:
    numbers = range(start, min(start + TOGETHER, count))
    _file(folder, start).write_bytes(msgpack.packb([_message(seq) for seq in numbers]))


def _message(seq: int) -> bytes:
    said = Statement(LeafKind.DECISION, 1_790_000_000, "gateway-1", 7, seq, c_body=bytes(32))
    return SealedRecord(said.sign(KEY), bytes(NAME_BYTES), SEALED).to_bytes()


def _file(folder: Path, start: int) -> Path:
    return folder / f"{start:09}"
