"""Preview, draft, sign, submit: what a desk does to send an alert, and what became of it."""

from collections.abc import AsyncGenerator
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response

from broker.api.access import Desk, Gatekeeper, Node, Submitter, presented_token
from broker.api.bodies import read_body
from broker.api.documented import body_of, refusals, stream_of, with_body
from broker.api.events import Event, EventStream
from broker.api.problems import RequestError
from broker.api.routes.answers import json_answer
from broker.api.tokens import Caller
from broker.node.service import NodeService
from schemas.desk import (
    MAX_PAGE,
    DraftRequest,
    Preview,
    StoredDraft,
    Submission,
    SubmissionPage,
    SubmissionState,
    SubmitRequest,
)

router: Final = APIRouter(tags=["sending"])
_KEY_PATTERN: Final = r"^[\x21-\x7e]{8,96}$"  # the node stores "desk:key" in at most 128

_Key = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        pattern=_KEY_PATTERN,
        description="Made once per submission by the desk. The same key with the same draft and "
        "signature returns the same submission; with others, 409.",
        examples=["5f0c4a58-0a5e-4f9e-9f5c-5f2b1f6f6a10"],
    ),
]


@router.post(
    "/v1/preview",
    response_model=Preview,
    responses=with_body(),
    openapi_extra=body_of(DraftRequest),
)
async def preview(request: Request, node: Node, gate: Gatekeeper, caller: Submitter) -> Response:
    """Say who would receive this, why not the others, and what the hub would see.

    Keeps nothing. Needs the scope `submit`.
    """
    wanted = await _draft_request(request, gate, caller)
    return json_answer(await node.preview(wanted))


@router.post(
    "/v1/drafts",
    status_code=201,
    response_model=StoredDraft,
    responses=with_body(),
    openapi_extra=body_of(DraftRequest),
)
async def create_draft(
    request: Request, node: Node, gate: Gatekeeper, caller: Submitter
) -> Response:
    """Keep a draft for a day and return the exact bytes that the officer's key must sign.

    `parts` says what those bytes are made of, so that a desk can check them before it signs.
    Needs the scope `submit`.
    """
    wanted = await _draft_request(request, gate, caller)
    return json_answer(await node.create_draft(wanted), status=201)


@router.post(
    "/v1/drafts/{draft_id}/submit",
    response_model=Submission,
    responses=with_body(400, 404, 409),
    openapi_extra=body_of(SubmitRequest),
)
async def submit_draft(
    request: Request,
    *,
    node: Node,
    gate: Gatekeeper,
    caller: Submitter,
    draft_id: UUID,
    key: _Key,
) -> Response:
    """Queue a signed draft. Once this answers 200, no crash loses it.

    After a lost answer, send the same again under the same key. Needs the scope `submit`.
    """
    signed = await read_body(request, SubmitRequest, max_bytes=gate.limits.max_small_body_bytes)
    submission = await node.submit_draft(
        draft_id,
        signature=signed.signature,
        officer_kid=signed.officer_kid,
        idempotency_key=f"{caller.desk}:{key}",
    )
    return json_answer(submission)


@router.get("/v1/submissions", response_model=SubmissionPage, responses=refusals())
async def outbox(
    node: Node,
    caller: Desk,
    state: Annotated[list[SubmissionState] | None, Query()] = None,
    before: Annotated[UUID | None, Query(description="`next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
) -> Response:
    """List what this node sends, newest first. Needs the scope `read` or `submit`.

    A token for some alert types sees those alone, so a page can hold fewer than `limit`.
    """
    page = await node.outbox(states=state or (), before=before, limit=limit)
    seen = tuple(each for each in page.items if caller.may_see(each.type))
    return json_answer(SubmissionPage(items=seen, next=page.next))


@router.get("/v1/submissions/{reference}", response_model=Submission, responses=refusals(404))
async def submission(node: Node, caller: Desk, reference: UUID) -> Response:
    """Show one submission by its id, its alert's id (the newest) or its envelope's id.

    Needs the scope `read` or `submit`.
    """
    return json_answer(await _visible(node, caller, reference))


@router.post(
    "/v1/submissions/{reference}/cancel",
    response_model=Submission,
    responses=refusals(404, 409),
)
async def cancel(node: Node, caller: Submitter, reference: UUID) -> Response:
    """Withdraw what was not handed to the hub yet. Needs the scope `submit`."""
    found = await _visible(node, caller, reference)
    return json_answer(await node.cancel(found.submission_id))


@router.post(
    "/v1/submissions/{reference}/proceed",
    response_model=Submission,
    responses=refusals(404, 409),
)
async def proceed(node: Node, caller: Submitter, reference: UUID) -> Response:
    """Let a submission that needs attention go to those whom policy still permits.

    Needs the scope `submit`.
    """
    found = await _visible(node, caller, reference)
    return json_answer(await node.proceed(found.submission_id))


@router.get(
    "/v1/submissions/{reference}/events",
    response_class=Response,
    responses=stream_of(Submission, "submission", 'id: 3\nevent: submission\ndata: {"...": 0}\n\n')
    | refusals(404),
)
async def submission_events(
    request: Request, node: Node, gate: Gatekeeper, caller: Desk, reference: UUID
) -> Response:
    """Follow one submission: its state now, each change, then `end` when nothing can change.

    States in between can be missed, the last never. Needs the scope `read` or `submit`.
    """
    found = await _visible(node, caller, reference)
    return EventStream(
        _changes(node, found.submission_id),
        gate=gate,
        caller=caller,
        token=presented_token(request),
        closing=request.app.state.closing,
    )


async def _changes(node: NodeService, submission_id: UUID) -> AsyncGenerator[Event, None]:
    async for each in node.watch(submission_id):
        yield Event("submission", each.model_dump_json(), str(each.revision))


async def _draft_request(request: Request, gate: Gatekeeper, caller: Caller) -> DraftRequest:
    wanted = await read_body(request, DraftRequest, max_bytes=gate.limits.max_body_bytes)
    if not caller.may_see(wanted.alert.type):
        raise RequestError(
            403, "type-not-allowed", "The token does not cover this alert type.", field="alert.type"
        )
    return wanted


async def _visible(node: NodeService, caller: Caller, reference: UUID) -> Submission:
    found = await node.submission(reference)
    if not caller.may_see(found.type):
        raise RequestError(404, "not-found", "No such submission is known here.")
    return found
