"""Which messages the operator's own erasures take out of streams, noted before it is done.

So the hub can tell an erasure, which leaves fewer messages behind, from a stream that was purged.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field

from broker.store.digested import read_digested, write_digested
from schemas.label import Strict

_MAX_BYTES: Final = 64 * 1024 * 1024
Number = Annotated[int, Field(ge=1)]


class Erasures(Strict):
    """`hub/erased.json`: the numbers of the messages, by stream."""

    streams: dict[str, tuple[Number, ...]] = Field(default_factory=dict)

    def count(self, stream: str) -> int:
        """Return how many messages may be missing from a stream."""
        return len(self.streams.get(stream, ()))

    def noted(self, stream: str, numbers: Iterable[int]) -> "Erasures":
        """Return the same with these numbers too; one that is there counts once."""
        all_of_it = tuple(sorted({*self.streams.get(stream, ()), *numbers}))
        return Erasures(streams={**self.streams, stream: all_of_it})


def read_erased(path: Path) -> Erasures:
    """Return what stands in the file; nothing if there is none.

    Raises:
        BrokerError: `damaged`.
        KeyFileError: It is open to others, or unreadable.
    """
    return read_digested(path, Erasures, max_bytes=_MAX_BYTES) or Erasures()


def note_erased(path: Path, stream: str, numbers: Iterable[int]) -> None:
    """Note what will be erased; only then erase it.

    Raises:
        BrokerError: As `read_erased`.
        KeyFileError: It cannot be read or written.
    """
    found = read_erased(path).noted(stream, numbers)
    write_digested(path, found)
