"""Files on their way from a desk to the node, and from the node to a desk."""

import re
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Path, Request
from starlette.responses import Response, StreamingResponse

from broker.api.access import Gatekeeper, Node, Reader, Submitter
from broker.api.bodies import read_body, read_bytes
from broker.api.documented import body_of, bytes_body, document_of, refusals, with_body
from broker.api.problems import RequestError
from broker.api.routes.answers import json_answer
from broker.api.routes.receiving import file_headers, visible
from schemas.attachment import CHUNK_BYTES, MAX_ATTACHMENT_BYTES, MAX_ATTACHMENTS, chunks_of
from schemas.desk import AttachmentRequest, AttachmentUpload, WaitingFiles

router: Final = APIRouter(tags=["attachments"])
_RANGE: Final = re.compile(r"bytes=([0-9]{1,10})-")
_PARTIAL: Final = 206

_Index = Annotated[
    int, Path(ge=0, lt=chunks_of(MAX_ATTACHMENT_BYTES), description="Counted from 0.")
]
_Number = Annotated[
    int, Path(ge=1, le=MAX_ATTACHMENTS, description="Counted from 1, as the alert shows it.")
]


@router.post(
    "/v1/attachments",
    status_code=201,
    response_model=AttachmentUpload,
    responses=with_body(),
    openapi_extra=body_of(AttachmentRequest),
)
async def create_attachment(
    request: Request, node: Node, gate: Gatekeeper, caller: Submitter
) -> Response:
    """Begin to hand over a file, or go on with the same one after a break.

    `next` is the first chunk that is missing. Send the chunks in order, then name the file in a
    draft within a day. Needs the scope `submit`.
    """
    wanted = await read_body(request, AttachmentRequest, max_bytes=gate.limits.max_small_body_bytes)
    return json_answer(await node.create_attachment(caller.desk, wanted), status=201)


@router.get("/v1/attachments", response_model=WaitingFiles, responses=refusals())
async def attachments_waiting(node: Node, caller: Submitter) -> Response:
    """List the files of this desk that went with no alert, oldest first. Needs `submit`."""
    return json_answer(await node.attachments_waiting(caller.desk))


@router.get(
    "/v1/attachments/{attachment_id}",
    response_model=AttachmentUpload,
    responses=refusals(404),
)
async def attachment_upload(node: Node, caller: Submitter, attachment_id: UUID) -> Response:
    """Show how far a file of this desk is. Needs the scope `submit`."""
    return json_answer(await node.attachment_upload(caller.desk, attachment_id))


@router.delete(
    "/v1/attachments/{attachment_id}",
    status_code=204,
    response_class=Response,
    responses=refusals(404, 409),
)
async def withdraw_attachment(node: Node, caller: Submitter, attachment_id: UUID) -> Response:
    """Delete a file of this desk that went with no alert. Needs the scope `submit`.

    A draft that names it can no longer be submitted. After a lost answer, 404 means it is gone.
    """
    await node.withdraw_attachment(caller.desk, attachment_id)
    return Response(status_code=204)


@router.put(
    "/v1/attachments/{attachment_id}/chunks/{index}",
    response_model=AttachmentUpload,
    responses=refusals(404, 409, 413),
    openapi_extra=bytes_body("`chunk_bytes` of the file; the last chunk may be shorter"),
)
async def put_chunk(
    request: Request, *, node: Node, caller: Submitter, attachment_id: UUID, index: _Index
) -> Response:
    """Hand over a chunk. Once this answers 200, no crash loses it; repeating it does no harm.

    After the last one the node compares the SHA-256 of the whole. Needs the scope `submit`.
    """
    raw = await read_bytes(request, max_bytes=CHUNK_BYTES)
    return json_answer(await node.put_chunk(caller.desk, attachment_id, index, raw))


@router.get(
    "/v1/inbox/{item_id}/attachments/{number}",
    response_class=Response,
    responses=document_of("The file, byte for byte; from a place on with `Range: bytes=N-`")
    | refusals(404, 409, 416),
)
async def attachment(
    request: Request, *, node: Node, caller: Reader, item_id: UUID, number: _Number
) -> Response:
    """Return an attached file once all of it is here and compared. Needs the scope `read`.

    `Range: bytes=N-` goes on after a break. It comes from another state's desk: treat it as you
    would any received file.
    """
    found = await visible(node, caller, item_id)
    asked = _RANGE.fullmatch(request.headers.get("range", ""))
    start = int(asked[1]) if asked else 0
    shown, chunks = await node.attachment(found.id, number, start=start)
    headers = file_headers(shown.name, shown.media_type)
    headers["content-length"] = str(shown.bytes - start)
    if not asked:
        return StreamingResponse(chunks, headers=headers)
    if start >= shown.bytes:
        raise RequestError(416, "beyond-the-end", "The file is not that long.", field="Range")
    headers["content-range"] = f"bytes {start}-{shown.bytes - 1}/{shown.bytes}"
    return StreamingResponse(chunks, status_code=_PARTIAL, headers=headers)
