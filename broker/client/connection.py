"""The HTTP side: where the node is, one request and its answer, and what to repeat."""

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeAlias, TypeVar
from urllib.parse import unquote, urlsplit

import httpx
from pydantic import BaseModel, ValidationError

from broker.client.errors import BadAnswer, LocalError, ProblemError, error_of
from broker.client.retrying import Backoff
from broker.errors import BrokerError
from schemas.desk import Problem

_Model = TypeVar("_Model", bound=BaseModel)
Query: TypeAlias = Mapping[str, str | int | Sequence[str]]
_CONNECT_S: Final = 5.0
_ANSWER_S: Final = 60.0
_MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024  # a page of 500 large alerts
_MAX_PROBLEM_BYTES: Final = 64 * 1024
_BUSY: Final = 503
_SECONDS: Final = re.compile(r"[0-9]{1,6}")
_NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
SILENCE_S: Final = 45.0  # three heartbeats: a stream silent for longer is dead


@dataclass(frozen=True)
class Where:
    """Where a node's API is.

    Attributes:
        url: `unix:///path/to/api.sock` or `https://host:port`.
        ca_file: PEM file of the authorities that may vouch for an https node; else the system's.
    """

    url: str
    ca_file: Path | None = None


@dataclass(frozen=True)
class Answer:
    """A success as it came."""

    content: bytes
    headers: httpx.Headers


class Lost(Exception):  # noqa: N818 - it never leaves the SDK
    """No answer came. `sent` is False only if the request surely did not reach the node."""

    def __init__(self, *, sent: bool) -> None:
        super().__init__()
        self.sent = sent


class Connection:
    """One client's connections to one node. Owned by the event loop that made it."""

    def __init__(self, where: Where, token: str, *, patience_s: float) -> None:
        """Take where the node is and how long to go on trying it.

        Raises:
            ValueError: A URL of another kind, or a token that is none.
            LocalError: The CA file cannot be read.
        """
        if not token.isascii() or not token.isprintable() or not token.strip():
            raise ValueError("the token is not one that `kentong token add` made")
        transport, base = _transport(where)
        self._patience_s = patience_s
        self._http = httpx.AsyncClient(
            transport=transport,
            base_url=base,
            headers={"authorization": f"Bearer {token.strip()}"},
            timeout=httpx.Timeout(_ANSWER_S, connect=_CONNECT_S),
            trust_env=False,  # a proxy from the environment has no business here
        )

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.__aexit__(kind, error, trace)

    async def ask(
        self,
        method: str,
        path: str,
        answer: type[_Model],
        *,
        body: BaseModel | None = None,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        repeat: bool = True,
    ) -> _Model:
        """Return the node's answer.

        Args:
            method: HTTP method.
            path: Below the node's URL.
            answer: What a success holds.
            body: Sent as JSON.
            query: Parameters of the URL.
            headers: Beside the usual.
            repeat: Whether the same request twice does no harm. If not, only what surely did not
                arrive is sent again.

        Raises:
            Lost: No answer within the patience.
            ProblemError: The node refused.
            BadAnswer: Something else answered.
        """
        raw = await self.ask_raw(
            method, path, body=body, query=query, headers=headers, repeat=repeat
        )
        try:
            return answer.model_validate_json(raw.content)
        except ValidationError:
            raise BadAnswer from None

    async def ask_raw(
        self,
        method: str,
        path: str,
        *,
        body: BaseModel | None = None,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        repeat: bool = True,
    ) -> Answer:
        """Return the node's answer as it is; `content` is sent as bytes. Else as `ask`."""
        sent_headers = dict(headers or {})
        if content is not None:
            sent_headers["content-type"] = "application/octet-stream"
        if body is not None:
            content = body.model_dump_json().encode()
            sent_headers["content-type"] = "application/json"

        async def attempt() -> Answer:
            request = self._http.build_request(
                method, path, content=content, params=query, headers=sent_headers
            )
            return await self._once(request)

        return await self._repeated(attempt, repeat=repeat)

    async def open_stream(
        self, path: str, query: Query, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Open an event stream or a file, once; the caller closes the answer.

        Raises:
            Lost: It could not be opened.
            ProblemError: The node refused.
            BadAnswer: Something else answered.
        """
        timeout = httpx.Timeout(SILENCE_S, connect=_CONNECT_S)
        request = self._http.build_request(
            "GET", path, params=query, headers=dict(headers or {}), timeout=timeout
        )
        return await self._opened(request)

    async def _once(self, request: httpx.Request) -> Answer:
        response = await self._opened(request)
        try:
            return Answer(await _read(response, _MAX_ANSWER_BYTES), response.headers)
        except httpx.HTTPError:
            raise Lost(sent=True) from None
        finally:
            await response.aclose()

    async def _opened(self, request: httpx.Request) -> httpx.Response:
        try:
            response = await self._http.send(request, stream=True)
            if response.is_success:
                return response
            try:
                raise await _refusal(response)
            finally:
                await response.aclose()
        except _NOT_SENT:
            raise Lost(sent=False) from None
        except httpx.HTTPError:
            raise Lost(sent=True) from None

    async def _repeated(self, attempt: Callable[[], Awaitable[Answer]], *, repeat: bool) -> Answer:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience_s
        sent = False
        waits = Backoff().waits()
        while True:
            wait_s = next(waits)
            try:
                return await attempt()
            except Lost as lost:
                sent = sent or lost.sent
                if (lost.sent and not repeat) or loop.time() + wait_s > deadline:
                    raise Lost(sent=sent) from None
            except ProblemError as problem:
                wait_s = max(wait_s, problem.retry_after_s or 0.0)
                if problem.retry != "later" or loop.time() + wait_s > deadline:
                    raise
            await asyncio.sleep(wait_s)


def _transport(where: Where) -> tuple[httpx.AsyncHTTPTransport, str]:
    parts = urlsplit(where.url)
    if parts.scheme == "unix" and not parts.netloc and parts.path.startswith("/"):
        return httpx.AsyncHTTPTransport(uds=unquote(parts.path)), "http://node"
    if parts.scheme == "https" and parts.hostname and parts.username is None:
        return httpx.AsyncHTTPTransport(verify=_context(where.ca_file)), where.url.rstrip("/")
    raise ValueError("a node's URL is unix:///path/to/api.sock or https://host:port")


def _context(ca_file: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError:
        raise LocalError("bad-ca-file", "the CA file cannot be read") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


async def _refusal(response: httpx.Response) -> BrokerError:
    raw = await _read(response, _MAX_PROBLEM_BYTES)
    try:
        problem = Problem.model_validate_json(raw)
    except ValidationError:
        if response.status_code != _BUSY:
            return BadAnswer()
        # The server itself is at its limit and says so in plain text.
        problem = Problem(
            title="Not now", status=_BUSY, detail="The node is busy.", code="busy", retry="later"
        )
    after = response.headers.get("retry-after", "")
    return error_of(problem, retry_after_s=float(after) if _SECONDS.fullmatch(after) else None)


async def _read(response: httpx.Response, max_bytes: int) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > max_bytes:
            raise BadAnswer
    return bytes(body)
