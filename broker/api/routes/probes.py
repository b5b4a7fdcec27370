"""What supervisors and monitoring ask: alive, ready, counts."""

import asyncio
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import JSONResponse, Response

from broker import clock
from broker.api.access import Gatekeeper, Monitor, Node, check_parameters
from broker.api.documented import public_refusals, refusals
from broker.api.metrics import CONTENT_TYPE, Metrics
from broker.api.monitoring import ready_answer
from broker.errors import BrokerError
from broker.node.service import NodeService

WRITE_S: Final = 5.0  # a database that takes longer for one row is not ready
router: Final = APIRouter(tags=["probes"])


async def metrics_of(request: Request) -> Metrics:
    """Return the app's counters."""
    metrics: Metrics = request.app.state.metrics
    return metrics


async def node_checks(node: NodeService) -> dict[str, bool]:
    """Return what a ready node has: its hub, a fresh directory, a database that takes writes."""
    try:
        async with asyncio.timeout(WRITE_S):
            await node.check_writes()
            status = await node.status()
    except (BrokerError, TimeoutError):
        return {"connected": False, "directory": False, "writes": False}
    fresh = status.directory is not None and status.directory.fresh
    return {"connected": status.connected, "directory": fresh, "writes": True}


@router.get("/healthz", response_model=dict[str, bool], responses=public_refusals())
async def health(request: Request, gate: Gatekeeper) -> Response:
    """Say that the process answers. No token."""
    gate.admit_stranger()
    check_parameters(request)
    return JSONResponse({"ok": True})


_NOT_READY: Final = public_refusals()
_NOT_READY[503]["model"] = dict[str, bool]  # what fails, beside the problem of one that is busy


@router.get("/readyz", response_model=dict[str, bool], responses=_NOT_READY)
async def ready(
    request: Request,
    gate: Gatekeeper,
    node: Node,
    wanted: Annotated[
        Literal["all", "desks"], Query(alias="for", description="For whom it must be ready.")
    ] = "all",
) -> Response:
    """Say whether the node is connected, its directory fresh, and its database takes writes.

    No token. 503 if one of them fails; the body names each. `?for=desks` asks for the database
    alone: a desk may always queue, so nothing should turn desks away while the hub is gone.
    """
    gate.admit_stranger()
    check_parameters(request)
    checks = await node_checks(node)
    return ready_answer({"writes": checks["writes"]} if wanted == "desks" else checks)


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {
            "description": "Counts in Prometheus' text format",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        },
        **refusals(),
    },
)
async def metrics(
    gate: Gatekeeper,
    node: Node,
    counters: Annotated[Metrics, Depends(metrics_of)],
    _: Monitor,
) -> Response:
    """Return counts, in Prometheus' text format. Needs the scope `monitor`."""
    text = counters.exposition(await node.status(), streams=gate.streams, now=clock.now())
    return Response(text, headers={"content-type": CONTENT_TYPE})
