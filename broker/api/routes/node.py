"""The node itself: how it is, whom it knows, and the forms of alerts."""

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path
from starlette.responses import JSONResponse, Response

from broker.api.access import Anyone, Node
from broker.api.documented import refusals
from broker.api.problems import RequestError
from broker.api.routes.answers import json_answer
from schemas.desk import MembersPage, NodeStatus
from schemas.generate import documents

router: Final = APIRouter(tags=["node"])
_MAX_VERSION: Final = 2**31 - 1


@router.get("/v1/status", response_model=NodeStatus, responses=refusals())
async def status(node: Node, _: Anyone) -> Response:
    """Say how the node is: connection, directory, clock, counts, gaps, alarms. Any scope."""
    return json_answer(await node.status())


@router.get("/v1/directory/members", response_model=MembersPage, responses=refusals())
async def members(node: Node, _: Anyone) -> Response:
    """List the members of the directory and what their nodes read. Any scope."""
    return json_answer(await node.members())


class _JSONSchema(JSONResponse):
    """Describes what `schema` gives; the text itself is there already."""

    media_type = "application/schema+json"


@router.get(
    "/v1/schemas/{name}/{version}",
    response_model=dict[str, Any],
    response_class=_JSONSchema,
    responses=refusals(404),
)
async def schema(
    _: Anyone,
    name: Annotated[str, Path(pattern=r"^[a-z][a-z0-9-]{0,31}$", examples=["cyber"])],
    version: Annotated[int, Path(ge=1, le=_MAX_VERSION, examples=[1])],
) -> Response:
    """Return the JSON Schema of an alert type. Any scope."""
    text = _schemas().get(f"{name}-{version}.json")
    if text is None:
        raise RequestError(404, "unknown-type", "No such type and version is read here.")
    return Response(text, media_type=_JSONSchema.media_type)


@cache
def _schemas() -> Mapping[str, str]:
    return documents()
