"""What OpenAPI says beside the models: bodies read by hand, refusals, and examples."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from broker.api.problems import MEDIA_TYPE
from schemas.desk import AttachmentRequest, CursorAck, DraftRequest, Problem, SubmitRequest

_WHY: Final[Mapping[int, tuple[str, str, str]]] = {
    # status: (description, an example's code, its retry)
    400: ("A parameter or header is missing", "idempotency-key-missing", "never"),
    401: ("No valid token", "bad-token", "never"),
    403: ("The token or the officer may not", "scope-missing", "never"),
    404: ("Not known here", "not-found", "never"),
    409: ("Not in this state", "idempotency-reused", "never"),
    413: ("The body is too long", "body-too-large", "never"),
    415: ("The body is not JSON", "not-json", "never"),
    416: ("The range begins beyond the end", "beyond-the-end", "never"),
    422: ("The request is not valid; `field` says where", "invalid-request", "never"),
    429: ("Too many requests", "too-many-requests", "later"),
    500: ("What is kept was damaged, or a fault of the node's own", "database-damaged", "never"),
    503: ("The node cannot now", "no-directory", "later"),
}
_ANY: Final = (401, 403, 422, 429, 500, 503)
_BODY: Final = (413, 415)
_SCHEMAS: Final = "#/components/schemas/"

DRAFT: Final = {
    "status": "exercise",
    "agency": "SPF",
    "tlp": "amber",
    "purposes": ["investigation-history"],
    "recipients": ["MY", "VN"],
    "alert": {"type": "cyber", "version": 1, "body": {"summary": "see GET /v1/schemas/cyber/1"}},
    "officer_kid": "00112233445566778899aabbccddeeff",
}
SIGNATURE: Final = {
    "signature": f"{'A' * 85}Q==",  # 64 bytes
    "officer_kid": "00112233445566778899aabbccddeeff",
}
_EXAMPLES: Final[Mapping[type[BaseModel], Any]] = {
    DraftRequest: DRAFT,
    SubmitRequest: SIGNATURE,
    CursorAck: {"position": 42},
    AttachmentRequest: {
        "name": "film.mp4",
        "media_type": "video/mp4",
        "bytes": 734003200,
        "sha256": "00" * 32,
    },
}


def with_hand_read(document: dict[str, Any]) -> dict[str, Any]:
    """Return an OpenAPI document with the models that `body_of` and refusals refer to.

    The framework knows none but those that it reads and answers with itself.
    """
    models: list[type[BaseModel]] = [*_EXAMPLES, Problem]
    _, found = models_json_schema(
        [(model, "validation") for model in models], ref_template=_SCHEMAS + "{model}"
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name, schema in found["$defs"].items():
        schemas.setdefault(name, schema)
    return document


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of an endpoint that can refuse with `statuses`.

    Each reads the database, if only for the token: so 500 and 503 are added for all, as are 401,
    403 and 429, and 422, which answers an unknown parameter.
    """
    return {status: _refusal(status) for status in sorted({*_ANY, *statuses})}


def public_refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of an endpoint that asks for no token: 422, 429, 503, `statuses`."""
    return {status: _refusal(status) for status in sorted({422, 429, 503, *statuses})}


def with_body(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return `refusals` with those of a body."""
    return refusals(*_BODY, *statuses)


def body_of(model: type[BaseModel]) -> dict[str, Any]:
    """Return `openapi_extra` for a body that the endpoint reads strictly from its bytes."""
    reference = {"$ref": _SCHEMAS + model.__name__}
    content = {"application/json": {"schema": reference, "example": _EXAMPLES[model]}}
    return {"requestBody": {"required": True, "content": content}}


def bytes_body(description: str) -> dict[str, Any]:
    """Return `openapi_extra` for a body of plain bytes."""
    schema = {"type": "string", "format": "binary"}
    content = {"application/octet-stream": {"schema": schema}}
    return {"requestBody": {"required": True, "description": description, "content": content}}


def document_of(description: str) -> dict[int | str, dict[str, Any]]:
    """Return the response of an endpoint that gives bytes of any media type."""
    schema = {"type": "string", "format": "binary"}
    return {
        200: {
            "description": description,
            "content": {"application/octet-stream": {"schema": schema}},
        }
    }


def stream_of(model: type[BaseModel], name: str, example: str) -> dict[int | str, dict[str, Any]]:
    """Return the response of an event stream whose events `name` carry a `model`."""
    text = (
        f"Events named `{name}`, each with an `id` to go on after and a {model.__name__} in JSON "
        "as `data`; comments as heartbeat; `problem` before a stream ends for a reason, `end` "
        "when nothing more can come."
    )
    content = {"text/event-stream": {"schema": {"type": "string"}, "example": example}}
    return {200: {"description": text, "content": content}}


def _refusal(status: int) -> dict[str, Any]:
    description, code, retry = _WHY[status]
    example = {
        "type": "about:blank",
        "title": description,
        "status": status,
        "detail": "A sentence a person can act on.",
        "code": code,
        "retry": retry,
        "field": "",
    }
    reference = {"$ref": _SCHEMAS + Problem.__name__}
    return {
        "description": description,
        "content": {MEDIA_TYPE: {"schema": reference, "example": example}},
    }
