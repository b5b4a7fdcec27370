"""Opens what the hub exported for auditors: each becomes the opening of one leaf of a bundle.

    <name>.sealed   a sealed opening, named by SHA-256 of the signed statement, in hexadecimal
    <name>.erasure  the opening of an erasure, which was never sealed: salt and index

Nothing is verified of the bundle: `kentong audit verify` does that, openings included.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from broker.audit.bundle import CHECKPOINT, Bundle
from broker.audit.openings import Entries
from broker.errors import BrokerError
from broker.log.checkpoint import parse_checkpoint
from broker.log.errors import LogError
from broker.log.leaf import parse_leaf
from broker.log.note import parse_note
from broker.log.opening import MAX_OPENING_BYTES, parse_opening
from keys.primitives.hashing import sha256
from keys.primitives.sealing import OpenKey

SEALED: Final = ".sealed"
ERASURE: Final = ".erasure"


@dataclass
class Unsealing:
    """Opens one folder against one bundle.

    Attributes:
        refused: Code for each file that did not open, by its name.
    """

    folder: Path
    bundle: Bundle
    key: OpenKey
    refused: dict[str, str] = field(default_factory=dict)

    def openings(self) -> Iterator[tuple[int, bytes]]:
        """Yield each leaf's index with its opening, which matches the leaf.

        Raises:
            BrokerError: A file cannot be read, or the bundle has no checkpoint.
            LogError: The checkpoint or a tile is none.
        """
        note = self.bundle.read(CHECKPOINT)
        if note is None:
            raise BrokerError("bad-bundle", "the bundle has no checkpoint")
        size = parse_checkpoint(parse_note(note).text).size
        entries = Entries(self.bundle, size)
        for index in range(size):
            entry = entries.at(index)
            if entry is None:
                continue
            name = _name_of(entry)
            if (raw := self._read(name + ERASURE)) is not None:
                yield index, raw
            if (raw := self._read(name + SEALED)) is not None:
                try:
                    yield index, self._opened(name, raw)
                except LogError as error:
                    self.refused[name] = error.code

    def _opened(self, name: str, raw: bytes) -> bytes:
        opening = parse_opening(raw)
        if opening.name != name:
            raise LogError("opening-mismatch", "the file is of another leaf")
        return opening.open(self.key)

    def _read(self, name: str) -> bytes | None:
        try:
            with (self.folder / name).open("rb") as file:
                return file.read(MAX_OPENING_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise BrokerError("bad-file", f"{self.folder / name} cannot be read") from error


def _name_of(entry: bytes) -> str:
    try:
        signed = parse_leaf(entry).signed.to_bytes()
    except LogError:
        return ""  # a leaf of another form has no opening that we read
    return sha256(signed).hex()
