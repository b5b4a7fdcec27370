"""What supervisors and monitoring ask: alive, ready, counts."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse, Response

from broker.api.access import Gatekeeper, Monitor, Node
from broker.api.documented import public_refusals, refusals
from broker.api.metrics import CONTENT_TYPE, Metrics

router: Final = APIRouter(tags=["probes"])


def metrics_of(request: Request) -> Metrics:
    """Return the app's counters."""
    metrics: Metrics = request.app.state.metrics
    return metrics


@router.get("/healthz", response_model=dict[str, bool], responses=public_refusals())
async def health(gate: Gatekeeper) -> Response:
    """Say that the process answers. No token."""
    gate.admit_stranger()
    return JSONResponse({"ok": True})


@router.get("/readyz", response_model=dict[str, bool], responses=public_refusals())
async def ready(gate: Gatekeeper, node: Node) -> Response:
    """Say that the node can queue and show alerts: its database answers. No token.

    A node without its hub is ready: a desk may always queue.
    """
    gate.admit_stranger()
    await node.status()
    return JSONResponse({"ok": True})


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {
            "description": "Counts in Prometheus' text format",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        },
        **refusals(503),
    },
)
async def metrics(
    gate: Gatekeeper,
    node: Node,
    counters: Annotated[Metrics, Depends(metrics_of)],
    _: Monitor,
) -> Response:
    """Return counts, in Prometheus' text format. Needs the scope `monitor`."""
    text = counters.exposition(await node.status(), streams=gate.streams)
    return Response(text, headers={"content-type": CONTENT_TYPE})
