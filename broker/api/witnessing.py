"""The node's witness over HTTP, for any C2SP log client. Source: C2SP tlog-witness v1.0.0.

    POST /add-checkpoint                        what to cosign
    GET  /<hex SHA-256 of the origin>/checkpoint    what was cosigned last

No token: a cosignature tells nothing that the log did not sign. Bodies are bounded, few are read
at a time, and all strangers together have one rate.
"""

import asyncio
import time
from http import HTTPStatus
from math import ceil
from typing import Final, Protocol

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from broker.admission.quota import Bucket
from broker.api.bodies import read_bytes
from broker.api.limits import Limits
from broker.api.problems import RequestError
from broker.errors import BrokerError
from broker.log.witness import SIZE_TYPE
from broker.logs import get_logger

MAX_BODY_BYTES: Final = 512 * 1024  # a request has ten kibibytes; with 100 cosignatures 350
READ_WITHIN_S: Final = 10.0  # ten kibibytes on a slow line; who trickles is not waited for
READ_AT_ONCE: Final = 32  # bodies: 16 MiB together
_TEXT: Final = "text/plain; charset=utf-8"
_SAFE: Final = {"X-Content-Type-Options": "nosniff"}
_UNKEPT: Final = {"Cache-Control": "no-store", **_SAFE}
_SOON: Final = {"Cache-Control": "public, max-age=10", **_SAFE}
_log = get_logger()


class Witness(Protocol):
    """One node's witness, as strangers see it."""

    async def add_checkpoint(self, body: bytes) -> tuple[HTTPStatus, bytes]:
        """Return status and body for a request to cosign, which is not trusted."""
        ...

    async def checkpoint(self, origin_hash: str) -> tuple[HTTPStatus, bytes]:
        """Return status and body: the note cosigned last of that log, or why there is none."""
        ...


def witness_app(witness: Witness, limits: Limits | None = None) -> Starlette:
    """Return the application that answers for `witness` and has nothing else."""
    door = _Door(witness, limits or Limits())
    return Starlette(
        routes=[
            Route("/add-checkpoint", door.add, methods=["POST"]),
            Route("/{origin_hash}/checkpoint", door.newest),
        ]
    )


class _Door:
    """Answers strangers. One per app, touched only from its event loop."""

    def __init__(self, witness: Witness, limits: Limits) -> None:
        self._witness = witness
        self._strangers = Bucket(limits.failures_per_s, limits.burst)
        self._reading = asyncio.Semaphore(READ_AT_ONCE)

    async def add(self, request: Request) -> Response:
        if wait_s := self._strangers.take(time.monotonic()):
            return _later(HTTPStatus.TOO_MANY_REQUESTS, ceil(wait_s))
        if self._reading.locked():
            return _later(HTTPStatus.SERVICE_UNAVAILABLE, 1)
        async with self._reading:
            try:
                body = await read_bytes(request, max_bytes=MAX_BODY_BYTES, within_s=READ_WITHIN_S)
            except RequestError as error:
                return _answer(HTTPStatus(error.status), f"{error}\n".encode())
            except ClientDisconnect:
                return _answer(HTTPStatus.BAD_REQUEST, b"the body ended early\n")
            status, answer = await self._witness.add_checkpoint(body)
        if status is HTTPStatus.SERVICE_UNAVAILABLE:
            return _later(status, 1, answer)
        return _answer(status, answer, SIZE_TYPE if status is HTTPStatus.CONFLICT else _TEXT)

    async def newest(self, request: Request) -> Response:
        if wait_s := self._strangers.take(time.monotonic()):
            return _later(HTTPStatus.TOO_MANY_REQUESTS, ceil(wait_s))
        try:
            status, answer = await self._witness.checkpoint(request.path_params["origin_hash"])
        except BrokerError as error:
            _log.error("not-shown", error_code=error.code)
            return _later(HTTPStatus.SERVICE_UNAVAILABLE, 1)
        if status is HTTPStatus.SERVICE_UNAVAILABLE:
            return _later(status, 1, answer)
        if status is not HTTPStatus.OK:
            return _answer(status, answer)
        return Response(answer, headers={"Content-Type": _TEXT, **_SOON})


def _answer(status: HTTPStatus, body: bytes, kind: str = _TEXT) -> Response:
    return Response(body, status_code=status, headers={"Content-Type": kind, **_UNKEPT})


def _later(status: HTTPStatus, after_s: int, body: bytes = b"ask again later\n") -> Response:
    response = _answer(status, body)
    response.headers["Retry-After"] = str(after_s)
    return response
