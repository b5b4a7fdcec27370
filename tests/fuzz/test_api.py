"""Requests made up from the API's description, to a real node: answers as described, no fault.

The description decides what is asked and what may be answered; the node behind the app has a real
database, a real hub and an inbox with mail. Event streams have no end: `test_api_streams` reads
them.
"""

import json
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.fuzz.served import Place
from tests.support.hub import BOUND_S

pytestmark = pytest.mark.slow

DESCRIPTION = json.loads((Path(__file__).parents[2] / "docs" / "openapi.json").read_text("utf-8"))
ENDLESS = {"/v1/events", "/v1/submissions/{reference}/events"}
OPERATIONS = [
    (method, path)
    for path, methods in DESCRIPTION["paths"].items()
    for method in methods
    if path not in ENDLESS
]
NOTHING_TO_GET_WRONG = ("get", "/healthz")  # it takes nothing, and asks nobody who they are
OPERATIONS.sort(key=lambda operation: operation[0] == "delete")  # what is gone is asked no more
NOT_NOW = 503  # the one answer of a server that is no fault of it
UNREAD = {401, 404, 415}  # answers to a request whose body was not read
FORM = {"bad-json", "invalid-request", "invalid-parameter"}  # codes of one that is not as described
CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.mark.hub
@pytest.mark.parametrize(
    ("method", "path", "mode"),
    [
        pytest.param(*operation, mode, id="-".join((*operation, mode.name.lower())))
        for operation in OPERATIONS
        for mode in GenerationMode
        if mode is GenerationMode.POSITIVE or operation != NOTHING_TO_GET_WRONG
    ],
)
def test_every_answer_is_as_described_and_none_is_a_fault(
    place: Place, method: str, path: str, mode: GenerationMode
) -> None:
    operation = schemathesis.openapi.from_dict(DESCRIPTION)[path][method.upper()]
    assert not operation.skipped_parameters
    met: set[tuple[int, str]] = set()
    # What is wrong with a value may be gone once it is text in a query; an unknown name is not.
    described = DESCRIPTION["paths"][path][method].get("parameters", ())
    known = {each["name"] for each in described if each["in"] == "query"}

    @settings(
        max_examples=min(settings().max_examples, 300) // 2,
        suppress_health_check=list(HealthCheck),
        deadline=None,
    )
    @given(st.data())
    def check(data: st.DataObject) -> None:
        case = data.draw(operation.as_strategy(mode))
        wrong = {at for at, part in case.meta.components.items() if part.mode.is_negative}
        ids = place.known.keys() & set(case.path_parameters or ())
        for name in sorted(ids if ParameterLocation.PATH not in wrong else ()):
            if data.draw(st.booleans()):
                case.path_parameters[name] = data.draw(st.sampled_from(place.known[name]))
        answer = case.call(
            base_url=place.url,
            headers=place.headers,
            verify=place.ca,
            timeout=BOUND_S,
        )
        asked = parse_qs(urlsplit(answer.request.url).query, keep_blank_values=True)
        if wrong & {ParameterLocation.BODY, ParameterLocation.PATH} or asked.keys() - known:
            assert answer.status_code >= 400, f"taken, and not as described: {answer.text}"
        assert answer.status_code < 500 or answer.status_code == NOT_NOW, answer.text
        case.validate_response(answer, checks=CHECKS)
        met.add((answer.status_code, answer.json()["code"] if answer.status_code >= 400 else ""))

    check()
    if "requestBody" in DESCRIPTION["paths"][path][method]:
        assert {status for status, _ in met} - UNREAD, "no body was looked at"
        if mode is GenerationMode.POSITIVE:
            assert {code for status, code in met if status not in UNREAD} - FORM, (
                "only its form was"
            )
