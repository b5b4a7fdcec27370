"""Server-sent events: framing and a stream that ends when it should.

Source: HTML Living Standard, section "Server-sent events". A stream carries whole events, a
comment as heartbeat when it is silent, and ends when the caller leaves, the token is revoked, or
the server closes. Nothing is queued here: a slow reader slows only its own source.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from typing_extensions import override

from broker.api.access import Gate
from broker.api.problems import RequestError, problem_of, respond
from broker.api.tokens import Caller
from broker.errors import BrokerError
from broker.logs import get_logger

MEDIA_TYPE: Final = "text/event-stream"
HEARTBEAT: Final = b": still here\n\n"
GREETING: Final = b"retry: 1000\n: connected\n\n"  # 1 s before a browser reconnects
END: Final = b"event: end\ndata: {}\n\n"


@dataclass(frozen=True)
class Event:
    """One event.

    Attributes:
        name: What `addEventListener` listens for.
        data: One line of JSON.
        id: Where to go on after a break; empty leaves the reader's place as it is.
    """

    name: str
    data: str
    id: str = ""

    def to_bytes(self) -> bytes:
        """Return the frame.

        Raises:
            ValueError: A part that would break out of its line.
        """
        if any(mark in self.name + self.data + self.id for mark in "\r\n\0"):
            raise ValueError("an event's parts stand on one line each")
        place = f"id: {self.id}\n" if self.id else ""
        return f"{place}event: {self.name}\ndata: {self.data}\n\n".encode()


class _EndedError(Exception):
    """The stream is over; leaves the task group, and cancels its other tasks."""


class EventStream(Response):
    """Answers with events until one side has enough."""

    media_type = MEDIA_TYPE

    def __init__(
        self,
        events: AsyncGenerator[Event, None],
        *,
        gate: Gate,
        caller: Caller,
        token: str,
        closing: asyncio.Event,
    ) -> None:
        """Take where events come from and what ends the stream.

        Args:
            events: Closed when the stream ends. When it is exhausted, an `end` event is sent.
            gate: Asked for room, and at each heartbeat whether the token still holds.
            caller: Whose stream it is.
            token: As presented.
            closing: Set when the server goes down.
        """
        super().__init__(status_code=200, media_type=MEDIA_TYPE)
        del self.headers["content-length"]
        self.headers["x-accel-buffering"] = "no"
        self._events = events
        self._gate = gate
        self._caller = caller
        self._token = token
        self._closing = closing

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with aclosing(self._events):
                with self._gate.stream(self._caller):
                    await self._run(receive, send)
        except RequestError as error:
            await respond(error)(scope, receive, send)

    async def _run(self, receive: Receive, send: Send) -> None:
        await send(
            {"type": "http.response.start", "status": 200, "headers": list(self.raw_headers)}
        )
        await _send(send, GREETING)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pump(send))
                tasks.create_task(self._beat(send))
                tasks.create_task(_until_gone(receive))
                tasks.create_task(_until_set(self._closing))
        except* (_EndedError, OSError):
            pass
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _pump(self, send: Send) -> None:
        try:
            async for event in self._events:
                await _send(send, event.to_bytes())
            await _send(send, END)
        except (OSError, asyncio.CancelledError):
            raise
        except Exception as error:  # noqa: BLE001 - a task's edge; told and logged by class
            if not isinstance(error, BrokerError):
                get_logger().error("api-fault", exc_info=error)
            problem = problem_of(error).model_dump_json()
            await _send(send, Event("problem", problem).to_bytes())
        raise _EndedError

    async def _beat(self, send: Send) -> None:
        while True:
            await asyncio.sleep(self._gate.limits.heartbeat_s)
            if not await self._gate.still_valid(self._token):
                raise _EndedError
            await _send(send, HEARTBEAT)


async def _send(send: Send, frame: bytes) -> None:
    await send({"type": "http.response.body", "body": frame, "more_body": True})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    raise _EndedError


async def _until_set(closing: asyncio.Event) -> None:
    await closing.wait()
    raise _EndedError
