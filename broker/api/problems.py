"""Refusals as problem documents, which never repeat what was sent. Source: RFC 9457.

A problem says which field is wrong and why, in words of this program: the library's own messages
can quote input, and so can the name of a field that nobody asked for.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from itertools import takewhile
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from starlette.responses import Response

from broker.errors import BrokerError, Retry
from broker.node.errors import Kind, NodeError
from schemas.desk import AttachmentRequest, DraftRequest, Problem
from schemas.errors import SchemaError
from schemas.registry import known as known_types
from schemas.registry import model_for

MEDIA_TYPE: Final = "application/problem+json"
_STATUS: Final[Mapping[Kind, int]] = {
    "invalid": 422,
    "forbidden": 403,
    "not-found": 404,
    "conflict": 409,
    "unavailable": 503,
}
_TITLES: Final[Mapping[int, str]] = {
    400: "Bad request",
    401: "Not authenticated",
    403: "Not authorised",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    413: "Too large",
    415: "Not JSON",
    416: "Beyond the end",
    422: "Not valid",
    429: "Too many requests",
    500: "Fault of the node",
    503: "Not now",
}
# Messages of these kinds are made from the schema alone; any other might quote the input.
_TELLING: Final = frozenset(
    {
        "bool_type",
        "bytes_too_long",
        "bytes_too_short",
        "dict_type",
        "enum",
        "greater_than_equal",
        "int_type",
        "json_invalid",
        "less_than_equal",
        "literal_error",
        "missing",
        "string_pattern_mismatch",
        "string_too_long",
        "string_too_short",
        "string_type",
        "too_long",
        "too_short",
        "tuple_type",
        "value_error",
    }
)


class RequestError(Exception):
    """A request that does not reach the node.

    Attributes:
        status: HTTP status.
        code: Stable, machine-readable, kebab-case.
        retry: Whether the same request may pass later.
        field: Dotted path of the offending field or name of the header.
        headers: Sent along, such as `Retry-After`.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        retry: Retry = "never",
        field: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.retry: Retry = retry
        self.field = field
        self.headers = dict(headers or {})


def problem_of(error: Exception) -> Problem:
    """Return what the caller is told about `error`; an unexpected one is told by class alone."""
    match error:
        case RequestError():
            return _problem(error.status, error.code, str(error), error.retry, error.field)
        case NodeError():
            return _refused(_STATUS[error.kind], error, error.retry)
        case BrokerError():
            status = 503 if error.retry == "later" else 500
            return _problem(status, error.code, str(error), error.retry)
        case SchemaError():
            return _refused(422, error, "never")
        case _:
            text = "The node met a fault of its own; its log names it. Nothing was changed."
            return _problem(500, "internal", text, "later")


def respond(error: Exception) -> Response:
    """Return the answer for `error`."""
    problem = problem_of(error)
    headers = dict(error.headers) if isinstance(error, RequestError) else {}
    if problem.status in (429, 503):
        headers.setdefault("Retry-After", "1")
    return Response(
        problem.model_dump_json(),
        status_code=problem.status,
        media_type=MEDIA_TYPE,
        headers=headers,
    )


def invalid(error: ValidationError, model: type[BaseModel]) -> RequestError:
    """Return the refusal for the first fault in a request of type `model`."""
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    known = _field_names(model)
    where = _known_path([str(part) for part in first["loc"]], known)
    detail = first["msg"] if first["type"] in _TELLING else "The value does not have its form."
    if first["type"] == "extra_forbidden":
        detail = "A field is not known here."
    code = "bad-json" if first["type"] == "json_invalid" else "invalid-request"
    return RequestError(422, code, detail, field=".".join(where))


def _refused(status: int, error: NodeError | SchemaError, retry: Retry) -> Problem:
    asked = error.field.split(".") if error.field else []
    known = _field_names(DraftRequest) | _field_names(AttachmentRequest) | _content_names()
    told = _known_path(asked, known)
    detail = str(error) if told == asked else "A field is not known here."
    return _problem(status, error.code, detail, retry, ".".join(told))


def _known_path(parts: list[str], known: frozenset[str]) -> list[str]:
    """Return the path up to a name that the caller made up, which may be content."""
    return list(takewhile(lambda part: part.isdecimal() or part in known, parts))


def _problem(status: int, code: str, detail: str, retry: Retry, field: str = "") -> Problem:
    title = _TITLES.get(status, "Refused")
    return Problem(title=title, status=status, detail=detail, code=code, retry=retry, field=field)


@cache
def _content_names() -> frozenset[str]:
    models = (model_for(*each) for each in known_types())
    return frozenset(name for model in models for name in _field_names(model))


@cache
def _field_names(model: type[BaseModel]) -> frozenset[str]:
    return frozenset(_properties(model.model_json_schema()))


def _properties(schema: Any) -> Iterator[str]:  # noqa: ANN401 - JSON
    if isinstance(schema, dict):
        properties = schema.get("properties")
        if isinstance(properties, dict):
            yield from properties
        for value in schema.values():
            yield from _properties(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _properties(value)
