"""What one entry of the table says of a parser, and how one input is judged."""

import shutil
from atexit import register
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Final, Literal, Protocol

from broker.api.problems import RequestError
from broker.errors import BrokerError
from keys.errors import KeysError
from schemas.errors import SchemaError

CORPUS: Final = Path(__file__).with_name("corpus")
OURS: Final = (SchemaError, KeysError, BrokerError, RequestError)
"""Every other exception that leaves a parser is a finding."""

Form = Literal["bytes", "canonical", "json", "toml", "lines"]


@dataclass(frozen=True)
class Parser:
    """One way in for bytes from elsewhere.

    Attributes:
        name: What it reads.
        read: Returns a value, or raises one of `OURS`.
        covers: The functions that it takes the bytes through, by their full names.
        again: Encodes the value again; must give the same bytes. None where the form is not
            canonical.
        form: How inputs are altered besides flipping, cutting and shuffling their bytes.
        wire: Whether `make fuzz` guides inputs into it.
        like: The parser whose corpus serves this one too; empty for its own.
        examples: At most so many inputs a test, where one costs much; 0 for no bound.
    """

    name: str
    read: Callable[[bytes], object]
    covers: tuple[str, ...]
    again: Callable[..., bytes] | None = None
    form: Form = "bytes"
    wire: bool = False
    like: str = ""
    examples: int = 0

    @property
    def corpus(self) -> Path:
        """The folder with the inputs kept for it."""
        return CORPUS / (self.like or self.name)

    def samples(self) -> tuple[bytes, ...]:
        """The inputs kept for it, of which the first one is good."""
        return tuple(path.read_bytes() for path in sorted(self.corpus.iterdir()))

    def judge(self, raw: bytes) -> bool:
        """Whether it is read; fail if it is refused with another error or not canonical."""
        try:
            value = self.read(raw)
        except OURS:
            return False
        if self.again is not None:
            assert self.again(value) == raw, "two encodings of one value"
        return True


@cache
def folder() -> Path:
    """A folder that only this user may enter, removed at the end of the process."""
    made = Path(mkdtemp())
    register(shutil.rmtree, made, ignore_errors=True)
    return made


def from_file(name: str, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    """Let a reader of files read bytes."""

    def put(raw: bytes) -> object:
        path = folder() / name
        path.write_bytes(raw)
        path.chmod(0o600)
        return read(path)

    return put


class _Encodes(Protocol):
    def to_bytes(self) -> bytes: ...


def to_bytes(value: _Encodes) -> bytes:
    """What most values write themselves as."""
    return value.to_bytes()


def text(raw: bytes) -> str:
    """Text in which any byte can stand, as a lone surrogate where UTF-8 has no place for it."""
    return raw.decode("utf-8", "surrogateescape")
