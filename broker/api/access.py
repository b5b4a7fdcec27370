"""Who may call: the token, its scope, its rate, and how many streams it holds open."""

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from math import ceil
from typing import Annotated, Final

from fastapi import Depends, Request
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from broker.admission.quota import Bucket, Buckets
from broker.api.limits import Limits
from broker.api.problems import RequestError
from broker.api.tokens import Caller, Scope, TokenBook, TokenError
from broker.node.service import NodeService

REPEATED: Final = frozenset({"state", "type"})  # query parameters that are lists
_bearer: Final = HTTPBearer(
    scheme_name="token",
    description="A token made by `kentong token add`, for one desk, with scopes.",
    auto_error=False,
)


class Gate:
    """Admits callers. One per app, touched only from its event loop."""

    def __init__(self, book: TokenBook, limits: Limits, clock: Callable[[], datetime]) -> None:
        """Take where tokens are kept, the bounds, and the machine's clock."""
        self.limits = limits
        self._book = book
        self._clock = clock
        self._desks = Buckets()
        self._strangers = Bucket(limits.failures_per_s, limits.burst)
        self._streams: Counter[str] = Counter()

    @property
    def streams(self) -> int:
        """Event streams open now."""
        return self._streams.total()

    async def admit(self, presented: str | None) -> Caller:
        """Return the caller whose token was presented, at most at its rate.

        Raises:
            RequestError: 401 without a valid token, 429 above a rate.
        """
        try:
            caller = await self._book.authenticate(presented or "", now=self._clock())
        except TokenError:
            self.admit_stranger()
            raise RequestError(
                401,
                "bad-token",
                "The request carries no valid token.",
                headers={"WWW-Authenticate": "Bearer"},
            ) from None
        # Only who has a valid token has a bucket.
        _check(self._desks.take(caller.desk, self.limits.requests_per_s, self.limits.burst))
        return caller

    def admit_stranger(self) -> None:
        """Count a request that carries no valid token.

        Raises:
            RequestError: 429, so that guessing is slow.
        """
        _check(self._strangers.take(time.monotonic()))

    async def still_valid(self, presented: str) -> bool:
        """Whether a token admitted before would still be."""
        try:
            await self._book.authenticate(presented, now=self._clock())
        except TokenError:
            return False
        return True

    @contextmanager
    def stream(self, caller: Caller) -> Iterator[None]:
        """Hold one of the caller's streams.

        Raises:
            RequestError: 429 if all are open.
        """
        if self._streams[caller.desk] >= self.limits.streams_per_desk:
            raise RequestError(
                429, "too-many-streams", "Close an event stream first.", retry="later"
            )
        self._streams[caller.desk] += 1
        try:
            yield
        finally:
            self._streams[caller.desk] -= 1


# The framework gives what is no coroutine to a thread: two switches for looking up an attribute.
async def gate_of(request: Request) -> Gate:
    """Return the app's gate."""
    gate: Gate = request.app.state.gate
    return gate


async def node_of(request: Request) -> NodeService:
    """Return the node that the app serves."""
    node: NodeService = request.app.state.node
    return node


def presented_token(request: Request) -> str:
    """Return the token as it stands in the header, for asking again later."""
    return request.headers.get("authorization", "").partition(" ")[2].strip()


def need(*scopes: Scope) -> Callable[..., Awaitable[Caller]]:
    """Return a dependency that admits callers with one of `scopes`, before any body is read."""

    async def admit(
        request: Request,
        gate: Annotated[Gate, Depends(gate_of)],
        shown: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    ) -> Caller:
        caller = await gate.admit(shown.credentials.strip() if shown else None)
        if caller.scopes.isdisjoint(scopes):
            wanted = " or ".join(scopes)
            raise RequestError(403, "scope-missing", f"The token needs the scope {wanted}.")
        check_parameters(request)
        return caller

    return admit


def check_parameters(request: Request) -> None:
    """Return if the path's endpoint knows every query parameter, and takes each as often.

    One misspelt would be left out, and of one given twice the first: both ask for more in silence.

    Raises:
        RequestError: 422; a name that is not known is not repeated, it may be content.
    """
    if not request.query_params:
        return
    route: APIRoute = request.scope["route"]
    known = {each.alias for each in route.dependant.query_params}
    asked = Counter(name for name, _ in request.query_params.multi_items())
    if not asked.keys() <= known:
        raise RequestError(422, "invalid-parameter", "A parameter is not known here.")
    for name in asked.keys() - REPEATED:
        if asked[name] > 1:
            raise RequestError(422, "invalid-parameter", "It may be given once.", field=name)


def types_for(caller: Caller, asked: list[str]) -> frozenset[str]:
    """Return the types to look for; empty means all.

    Raises:
        RequestError: A type was named that the token does not cover.
    """
    if not all(caller.may_see(name) for name in asked):
        raise RequestError(
            403, "type-not-allowed", "The token does not cover this alert type.", field="type"
        )
    return frozenset(asked) or caller.types


def _check(wait_s: float) -> None:
    if wait_s:
        raise RequestError(
            429,
            "too-many-requests",
            "Ask again a little later.",
            retry="later",
            headers={"Retry-After": str(ceil(wait_s))},
        )


Node = Annotated[NodeService, Depends(node_of)]
Gatekeeper = Annotated[Gate, Depends(gate_of)]
Reader = Annotated[Caller, Depends(need(Scope.READ))]
Submitter = Annotated[Caller, Depends(need(Scope.SUBMIT))]
Desk = Annotated[Caller, Depends(need(Scope.READ, Scope.SUBMIT))]
Anyone = Annotated[Caller, Depends(need(Scope.READ, Scope.SUBMIT, Scope.MONITOR))]
Monitor = Annotated[Caller, Depends(need(Scope.MONITOR))]
