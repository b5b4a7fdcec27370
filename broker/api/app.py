"""The app: endpoints, refusals, and a last guard through which nothing said in confidence leaks."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from typing_extensions import override

from broker import clock
from broker.api.access import Gate
from broker.api.documented import with_hand_read
from broker.api.limits import Limits
from broker.api.metrics import Metrics
from broker.api.problems import RequestError, respond
from broker.api.routes import attaching, node, probes, receiving, sending
from broker.api.tokens import TokenBook
from broker.errors import BrokerError
from broker.logs import get_logger
from broker.node.service import NodeService
from schemas.errors import SchemaError

_DESCRIPTION: Final = """The local API of a member's node, for desks: officers' programs and
national systems. Errors are RFC 9457 problem documents: `code` is stable, `retry` says whether the
same request may pass later, `field` where the fault is. The officer's key stays at the desk."""
_HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
)
# A caller may invent others; a label not.
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE"})
_PLAIN: Final = {404: "Nothing is here.", 405: "This method is not known here."}


class _API(FastAPI):
    """Describes the bodies too that endpoints read strictly from their bytes."""

    @override
    def openapi(self) -> dict[str, Any]:
        """Return the document, made once."""
        return with_hand_read(super().openapi())


def create_app(
    service: NodeService,
    tokens: TokenBook,
    *,
    limits: Limits | None = None,
    certificates: Mapping[str, Path] | None = None,
    now: Callable[[], datetime] = clock.now,
) -> FastAPI:
    """Return the app that serves `service` to callers with a token of `tokens`.

    Args:
        service: The node.
        tokens: Who may ask.
        limits: Of what desks may ask.
        certificates: PEM files whose expiry monitoring is told, by a name for each.
        now: The clock.
    """
    app = _API(
        title="Kentong node",
        summary="Send and receive sealed, typed alerts.",
        description=_DESCRIPTION,
        version=version("kentong"),
        openapi_url="/openapi.json",
        docs_url=None,  # a page that loads scripts from elsewhere has no place beside alerts
        redoc_url=None,
        generate_unique_id_function=_operation_name,
        # Spans and validation records of the framework would carry what desks send.
        telemetry={
            "tracing": False,
            "metrics": False,
            "logs": False,
            "operation_spans": False,
            "auto_configure": False,
        },
    )
    app.state.node = service
    app.state.gate = Gate(tokens, limits or Limits(), now)
    app.state.metrics = Metrics(certificates)
    app.state.closing = asyncio.Event()
    for part in (sending, receiving, attaching, node, probes):
        app.include_router(part.router)
    app.add_exception_handler(RequestValidationError, _invalid_parameter)
    app.add_exception_handler(HTTPException, _not_found)
    for expected in (RequestError, BrokerError, SchemaError):
        app.add_exception_handler(expected, _refused)
    app.add_middleware(_Guard, metrics=app.state.metrics)
    return app


class _Guard:
    """Counts answers, adds headers, and tells an unexpected fault by its class alone."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 0

        async def guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), *_HEADERS]}
            await send(message)

        try:
            await self._app(scope, receive, guarded)
        except ClientDisconnect:
            return
        except Exception as error:  # noqa: BLE001 - the edge: told and logged by class, never by text
            get_logger().error("api-fault", exc_info=error)
            if status == 0:
                await respond(error)(scope, receive, guarded)
        finally:
            route = scope.get("route")
            template = route.path if isinstance(route, APIRoute) else "none"
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.count(method, template, status)


async def _refused(_: Request, error: Exception) -> Response:
    return respond(error)


async def _not_found(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    code = {404: "no-such-path", 405: "no-such-method"}.get(status, "bad-request")
    detail = _PLAIN.get(status, "The request is not understood.")
    return respond(RequestError(status, code, detail))


async def _invalid_parameter(_: Request, error: Exception) -> Response:
    first = error.errors()[0] if isinstance(error, RequestValidationError) else {}
    place, *names = (str(part) for part in first.get("loc", ("request",)))
    if place == "header":
        kind = "missing" if first.get("type") == "missing" else "invalid"
        return respond(
            RequestError(
                400,
                f"{names[0].lower()}-{kind}",
                "A header is missing or does not have its form.",
                field=names[0],
            )
        )
    name = names[0] if names else ""
    text = "A parameter is missing or does not have its form."
    return respond(RequestError(422, "invalid-parameter", text, field=name))


def _operation_name(route: APIRoute) -> str:
    return route.name
