"""What a node has committed of what was carried to it, so that the hub may forget its copies.

Kept in a file beside the database, written after the commit. A line of it that is lost is no harm:
the copy is carried once more, known by its id, and noted again. A line that stood here without a
commit would lose mail; so it is written last.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, ValidationError

from broker.carry.form import HASH_BYTES
from keys.errors import KeyFileError
from keys.files import make_private_folder, read_private, write_private
from schemas.label import Strict

MAX_DONE: Final = 100_000  # a hub gives out a few thousand at a time
_MAX_BYTES: Final = 16 * 1024 * 1024
_Hash = Annotated[str, Field(pattern=f"^[0-9a-f]{{{2 * HASH_BYTES}}}$")]
_Id = Annotated[str, Field(max_length=64)]


class _Kept(Strict):
    """The file: SHA-256 of each copy or receipt, and the file to the hub that told of it first."""

    format: Annotated[int, Field(ge=1, le=1)] = 1
    done: Annotated[dict[_Hash, _Id], Field(max_length=MAX_DONE)] = Field(default_factory=dict)


@dataclass
class Done:
    """One node's notes."""

    folder: Path
    _known: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Read what was noted; notes that are lost or damaged are made again."""
        try:
            raw = read_private(self._path, max_bytes=_MAX_BYTES)
            self._known = dict(_Kept.model_validate_json(raw).done)
        except (KeyFileError, ValidationError):
            self._known = {}

    @property
    def hashes(self) -> tuple[bytes, ...]:
        """Of everything that the hub may forget."""
        return tuple(bytes.fromhex(each) for each in self._known)

    def add(self, hashes: Iterable[bytes]) -> None:
        """Note what was committed; no file told of it yet."""
        for digest in hashes:
            self._known[digest.hex()] = ""
        while len(self._known) > MAX_DONE:
            del self._known[next(iter(self._known))]

    def told(self, file: str) -> None:
        """Note that file `file` to the hub holds all of them."""
        self._known = dict.fromkeys(self._known, file)

    def forget(self, file: str) -> None:
        """Drop what file `file` told of, since a ferry took that file."""
        if file:
            self._known = {digest: told for digest, told in self._known.items() if told != file}

    def save(self) -> None:
        """Write the notes.

        Raises:
            KeyFileError: They cannot be written; what was committed is then carried again.
        """
        make_private_folder(self.folder)
        text = json.dumps({"format": 1, "done": self._known})
        write_private(self._path, text.encode())

    @property
    def _path(self) -> Path:
        return self.folder / "done.json"
