"""The log's files over HTTP, read-only, as C2SP tlog-tiles lays them out.

Anybody may read them: leaves are commitments. Nothing served here is trusted by who reads it. While
leaves are missing that were signed, nothing is served: a part must not look like all.
"""

from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from broker.log.errors import LogError
from broker.log.line import read_number
from broker.log.tiles import parse_path
from broker.store.lacking import Lacking
from broker.store.tilefiles import CHECKPOINT, COSIGNED, TileFiles, older_name

_NOTE: Final = "text/plain; charset=utf-8"
_SOON: Final = "public, max-age=1"  # an older note too: further cosignatures come under it
_FOR_EVER: Final = "public, max-age=31536000, immutable"


def log_app(files: TileFiles) -> Starlette:
    """Return the application that serves these files and nothing else of their folder."""

    def answer(path: str, kind: str, cache: str) -> Response:
        if Lacking(files.folder).is_marked():
            return _later()
        return _answer(files.raw(path), kind, cache)

    def note(request: Request) -> Response:
        return answer(request.url.path.removeprefix("/"), _NOTE, _SOON)

    def older(request: Request) -> Response:
        try:
            size = read_number(request.path_params["size"], code="bad-size")
        except LogError:
            return _missing()
        return answer(older_name(size), _NOTE, _SOON)

    def tile(request: Request) -> Response:
        try:
            path = parse_path(f"tile/{request.path_params['path']}").path
        except LogError:
            return _missing()
        return answer(path, "application/octet-stream", _FOR_EVER)

    return Starlette(
        routes=[
            Route(f"/{CHECKPOINT}", note),
            Route(f"/{COSIGNED}", note),
            Route("/checkpoints/{size}", older),
            Route("/tile/{path:path}", tile),
        ]
    )


def _answer(raw: bytes | None, kind: str, cache: str) -> Response:
    if raw is None:
        return _missing()
    return Response(raw, headers={"Content-Type": kind, "Cache-Control": cache})


def _missing() -> Response:
    return Response(b"not here\n", status_code=404, headers={"Content-Type": _NOTE})


def _later() -> Response:
    headers = {"Content-Type": _NOTE, "Cache-Control": "no-store", "Retry-After": "10"}
    return Response(b"leaves are missing here, ask later\n", status_code=503, headers=headers)
