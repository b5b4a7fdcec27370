"""Liveness, readiness and counts on a socket or port of their own, for monitoring alone.

No token: what is served names members and counts, and the socket or the address says who may ask.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client import Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from typing_extensions import override

from broker.errors import BrokerError
from broker.logs import get_logger

Checks = Callable[[], Awaitable[Mapping[str, bool]]]
Exposition = Callable[[], Awaitable[bytes]]
_UNREADY: Final = 503
_log = get_logger()


@dataclass(frozen=True)
class Families(Collector):
    """Families of metrics that are made anew at each question."""

    make: Callable[[], Iterator[Metric]]

    @override
    def collect(self) -> Iterator[Metric]:
        return self.make()


def exposition_of(make: Callable[[], Iterator[Metric]]) -> bytes:
    """Return these families in Prometheus' text format."""
    return generate_latest(Families(make))


def monitoring_app(checks: Checks, exposition: Exposition) -> Starlette:
    """Return an application with `/healthz`, `/readyz` and `/metrics`.

    Args:
        checks: What a ready process must have, by name.
        exposition: Everything it counts, in Prometheus' text format.
    """

    async def health(_: Request) -> Response:
        return JSONResponse({"ok": True})

    async def ready(_: Request) -> Response:
        return ready_answer(await checks())

    async def metrics(_: Request) -> Response:
        try:
            return Response(await exposition(), headers={"content-type": CONTENT_TYPE_LATEST})
        except BrokerError as error:
            _log.warning("not-measured", error_code=error.code)
            return Response(status_code=_UNREADY)

    return Starlette(
        routes=[
            Route("/healthz", health),
            Route("/readyz", ready),
            Route("/metrics", metrics),
        ]
    )


def ready_answer(checks: Mapping[str, bool]) -> Response:
    """Return 200 if all of it holds, else 503, with each check by name."""
    ok = all(checks.values())
    return JSONResponse({"ok": ok, **checks}, status_code=200 if ok else _UNREADY)
