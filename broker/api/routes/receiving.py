"""The inbox: pages, single alerts, the live stream, and named cursors."""

import re
from collections.abc import AsyncGenerator, Collection
from typing import Annotated, Final
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from broker.api.access import Gatekeeper, Node, Reader, presented_token, types_for
from broker.api.bodies import read_body
from broker.api.documented import body_of, document_of, refusals, stream_of, with_body
from broker.api.events import Event, EventStream
from broker.api.problems import RequestError
from broker.api.routes.answers import json_answer
from broker.api.tokens import Caller
from broker.node.service import NodeService
from schemas.desk import MAX_PAGE, Cursor, CursorAck, InboxItem, InboxPage

router: Final = APIRouter(tags=["receiving"])
_MAX_POSITION: Final = 2**63 - 1  # what the database counts with

_DIGITS: Final = re.compile(r"[0-9]{1,19}")

_Since = Annotated[int, Query(ge=0, le=_MAX_POSITION, description="Show what came after.")]
_Types = Annotated[
    list[str] | None,
    Query(alias="type", description="Alert types, repeated; all if none is named."),
]
_CURSOR: Final = r"^[a-z0-9][a-z0-9._-]{0,31}$"  # with the desk's name before it, 64 at most
_Name = Annotated[str, Path(pattern=_CURSOR, description="The reader's own name for its place.")]


@router.get("/v1/inbox", response_model=InboxPage, responses=refusals())
async def inbox(
    node: Node,
    caller: Reader,
    types: _Types = None,
    since: _Since = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
) -> Response:
    """List stored alerts after position `since`, oldest first. Needs the scope `read`."""
    wanted = types_for(caller, types or [])
    return json_answer(await node.inbox(types=wanted, since=since, limit=limit))


@router.get("/v1/inbox/{item_id}", response_model=InboxItem, responses=refusals(404))
async def item(node: Node, caller: Reader, item_id: UUID) -> Response:
    """Show one alert by its envelope's id, or the newest revision by its alert's id.

    Needs the scope `read`.
    """
    return json_answer(await visible(node, caller, item_id))


@router.get(
    "/v1/inbox/{item_id}/original",
    response_class=Response,
    responses=document_of("The source document, byte for byte, as its sender named it")
    | refusals(404),
)
async def original(node: Node, caller: Reader, item_id: UUID) -> Response:
    """Return the source document that the alert was made from. Needs the scope `read`.

    It comes from another state's desk: treat it as you would any received file.
    """
    found = await visible(node, caller, item_id)
    document = await node.original(found.id)
    headers = file_headers(document.name or "original", document.media_type)
    return Response(document.content, headers=headers)


@router.get(
    "/v1/events",
    response_class=Response,
    responses=stream_of(InboxItem, "alert", 'id: 42\nevent: alert\ndata: {"position": 42}\n\n')
    | refusals(400),
)
async def events(
    request: Request,
    *,
    node: Node,
    gate: Gatekeeper,
    caller: Reader,
    cursor: Annotated[str | None, Query(pattern=_CURSOR)] = None,
    types: _Types = None,
    since: Annotated[int | None, Query(ge=0, le=_MAX_POSITION)] = None,
) -> Response:
    """Follow the inbox: what is stored after your place, then each alert as it arrives.

    The place is `since` where given, else the `Last-Event-ID` of a reconnecting browser, else the
    cursor's. The stream moves no cursor: acknowledge what you have dealt with. Each alert comes at
    least once, always under the same `id` field; a cursor belongs to the desk of the token.
    Needs the scope `read`.
    """
    wanted = types_for(caller, types or [])
    start = since if since is not None else _last_event(request)
    if start is None and cursor is None:
        raise RequestError(400, "no-place", "Name a cursor or a position to begin after.")
    if start is None and cursor is not None:
        start = (await node.cursor(_scoped(caller, cursor))).position
    return EventStream(
        _alerts(node, wanted, start or 0),
        gate=gate,
        caller=caller,
        token=presented_token(request),
        closing=request.app.state.closing,
    )


@router.get("/v1/cursors/{name}", response_model=Cursor, responses=refusals())
async def cursor_place(node: Node, caller: Reader, name: _Name) -> Response:
    """Show a cursor of this desk; position 0 if it was never acknowledged."""
    found = await node.cursor(_scoped(caller, name))
    return json_answer(found.model_copy(update={"name": name}))


@router.post(
    "/v1/cursors/{name}/ack",
    response_model=Cursor,
    responses=with_body(),
    openapi_extra=body_of(CursorAck),
)
async def acknowledge(
    request: Request, node: Node, gate: Gatekeeper, caller: Reader, name: _Name
) -> Response:
    """Say that everything up to and with a position is dealt with. Needs the scope `read`.

    A position before the cursor's leaves it where it is.
    """
    ack = await read_body(request, CursorAck, max_bytes=gate.limits.max_small_body_bytes)
    if ack.position > _MAX_POSITION:
        raise RequestError(422, "beyond-inbox", "No such position.", field="position")
    found = await node.acknowledge(_scoped(caller, name), ack.position)
    return json_answer(found.model_copy(update={"name": name}))


async def _alerts(
    node: NodeService, types: Collection[str], since: int
) -> AsyncGenerator[Event, None]:
    async for each in node.subscribe(types=types, since=since):
        yield Event("alert", each.model_dump_json(), str(each.position))


def _scoped(caller: Caller, name: str) -> str:
    return f"{caller.desk}.{name}"


def _last_event(request: Request) -> int | None:
    shown = request.headers.get("last-event-id", "")
    if not _DIGITS.fullmatch(shown) or int(shown) > _MAX_POSITION:
        return None
    return int(shown)


def file_headers(name: str, media_type: str) -> dict[str, str]:
    """Return the headers of a file from elsewhere: saved, not shown, and nothing in it runs."""
    return {
        "content-type": media_type,
        "content-disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
        "content-security-policy": "sandbox; default-src 'none'",
    }


async def visible(node: NodeService, caller: Caller, item_id: UUID) -> InboxItem:
    """Return an alert that the caller's token covers.

    Raises:
        NodeError: `not-found`.
        RequestError: The same, for a type that the token does not cover.
    """
    found = await node.item(item_id)
    if not caller.may_see(found.type):
        raise RequestError(404, "not-found", "No such alert is known here.")
    return found
