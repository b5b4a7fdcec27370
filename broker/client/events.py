"""Reading server-sent events. Source: HTML Living Standard, "Server-sent events".

Lines end at LF alone: text splitters that know U+2028 or U+0085 would cut JSON in two.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final, Self

import httpx
from pydantic import ValidationError

from broker.client.connection import Connection, Lost, Query
from broker.client.errors import BadAnswer, error_of
from schemas.desk import Problem

_MAX_EVENT_BYTES: Final = 16 * 1024 * 1024  # an alert inflates to 4 MiB; JSON may escape it


@dataclass(frozen=True)
class Received:
    """One event: its name, its data, and the id to go on after."""

    name: str
    data: bytes
    id: str


class EventReader:
    """One open stream. A break is `Lost`; whoever reads decides what then."""

    def __init__(self, response: httpx.Response) -> None:
        """Take an answer whose body was not read; `close` it in the end."""
        self._response = response
        self._chunks: AsyncIterator[bytes] = response.aiter_bytes()
        self._buffer = bytearray()

    @classmethod
    async def open(cls, connection: Connection, path: str, query: Query) -> Self:
        """Return a reader of a stream that the node has opened.

        Raises:
            Lost: The node is not there.
            ProblemError: The node refused.
        """
        return cls(await connection.open_stream(path, query))

    async def close(self) -> None:
        """Leave the stream; a second time does nothing."""
        await self._response.aclose()

    async def next(self) -> Received:
        """Return the next event; comments are passed over.

        Raises:
            Lost: The stream broke, or ended without an `end` event.
            ProblemError: The node ended it for a reason.
            BadAnswer: Not events, or one too large.
        """
        while True:
            event = _parse(await self._frame())
            if event is None:
                continue
            if event.name == "problem":
                raise _problem(event)
            return event

    async def _frame(self) -> bytes:
        while (end := self._buffer.find(b"\n\n")) < 0:
            if len(self._buffer) > _MAX_EVENT_BYTES:
                raise BadAnswer
            try:
                self._buffer += await anext(self._chunks)
            except (StopAsyncIteration, httpx.HTTPError, httpx.StreamError):
                raise Lost(sent=True) from None
        frame = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return frame


def _parse(frame: bytes) -> Received | None:
    fields: dict[str, list[bytes]] = {"event": [], "data": [], "id": []}
    for line in frame.split(b"\n"):
        name, _, value = line.partition(b":")
        fields.get(name.decode("ascii", "replace"), []).append(value.removeprefix(b" "))
    if not fields["data"]:
        return None
    try:
        named, ident = (b"".join(fields[name][-1:]).decode("ascii") for name in ("event", "id"))
    except UnicodeDecodeError:
        raise BadAnswer from None
    return Received(named, b"\n".join(fields["data"]), ident)


def _problem(event: Received) -> Exception:
    try:
        return error_of(Problem.model_validate_json(event.data))
    except ValidationError:
        return BadAnswer()
