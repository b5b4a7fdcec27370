"""Remembers how far each stream was, so that one that went back in time is noticed and said.

A server may acknowledge a message and lose it all the same: a disk that lied, a backup put back,
somebody who deleted files. The streams are not the truth, but their going back is a fact that the
members must hear of.
"""

from pathlib import Path
from typing import Final

from pydantic import Field, ValidationError

from broker.errors import BrokerError
from broker.transport.streams import AUDIT_PREFIX, StreamState
from keys.files import read_private, write_private
from schemas.label import Strict

_MAX_BYTES: Final = 4 * 1024 * 1024


class Known(Strict):
    """How far one stream was when it was last looked at."""

    created: str
    last_seq: int


class StreamMemory(Strict):
    """`hub/streams.json`.

    Attributes:
        streams: The furthest that each stream was seen.
        went_back: Streams that were seen behind that, since the operator last looked into it.
        lost: Streams of decisions among them, and the last number of each at that time: gateways
            judge nothing until the log has marked the stream behind it.
    """

    streams: dict[str, Known] = Field(default_factory=dict)
    went_back: tuple[str, ...] = ()
    lost: dict[str, int] = Field(default_factory=dict)

    def seen(self, states: dict[str, StreamState]) -> "StreamMemory":
        """Return the memory after looking at the streams as they are now."""
        behind = {
            name
            for name, known in self.streams.items()
            if name not in states
            or states[name].created != known.created
            or states[name].last_seq < known.last_seq
        }
        now = {
            name: Known(created=state.created, last_seq=state.last_seq)
            for name, state in states.items()
        }
        lost = {
            name: now[name].last_seq if name in now else 0
            for name in behind
            if name.startswith(AUDIT_PREFIX)
        }
        went_back = tuple(sorted({*self.went_back, *behind}))
        return StreamMemory(streams=now, went_back=went_back, lost={**self.lost, **lost})

    def looked_into(self) -> "StreamMemory":
        """Return the memory without its alarms."""
        return self.model_copy(update={"went_back": ()})


def read_memory(path: Path) -> StreamMemory:
    """Return what stands in the file; an empty memory if there is none.

    Raises:
        BrokerError: `damaged`.
        KeyFileError: It is open to others, or unreadable.
    """
    if not path.exists():
        return StreamMemory()
    try:
        return StreamMemory.model_validate_json(read_private(path, max_bytes=_MAX_BYTES))
    except ValidationError:
        raise BrokerError("damaged", f"{path} is damaged") from None


def write_memory(path: Path, memory: StreamMemory) -> None:
    """Replace the file.

    Raises:
        KeyFileError: It cannot be written.
    """
    write_private(path, memory.model_dump_json(indent=1).encode())
