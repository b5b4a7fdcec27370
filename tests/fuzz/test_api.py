"""Requests made up from the API's description, to a real node: answers as described, no fault.

The description decides what is asked and what may be answered; the node behind the app has a real
database, a real hub and an inbox with mail. Event streams have no end: `test_api_streams` reads
them.
"""

import json
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.fuzz.served import Place
from tests.support.hub import BOUND_S

DESCRIPTION = json.loads((Path(__file__).parents[2] / "docs" / "openapi.json").read_text("utf-8"))
ENDLESS = {"/v1/events", "/v1/submissions/{reference}/events"}
OPERATIONS = [
    (method, path)
    for path, methods in DESCRIPTION["paths"].items()
    for method in methods
    if path not in ENDLESS
]
OPERATIONS.sort(key=lambda operation: operation[0] == "delete")  # what is gone is asked no more
NOT_NOW = 503  # the one answer of a server that is no fault of it
UNREAD = {401, 404, 415}  # answers to a request whose body was not read
CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.mark.hub
@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=lambda part: part)
def test_every_answer_is_as_described_and_none_is_a_fault(
    place: Place, method: str, path: str
) -> None:
    operation = schemathesis.openapi.from_dict(DESCRIPTION)[path][method.upper()]
    assert not operation.skipped_parameters
    cases = st.one_of(operation.as_strategy(mode) for mode in GenerationMode)
    met: set[int] = set()

    @settings(
        max_examples=min(settings().max_examples, 300) // 4,
        suppress_health_check=list(HealthCheck),
        deadline=None,
    )
    @given(st.data())
    def check(data: st.DataObject) -> None:
        case = data.draw(cases)
        for name in sorted(place.known.keys() & set(case.path_parameters or ())):
            if data.draw(st.booleans()):
                case.path_parameters[name] = data.draw(st.sampled_from(place.known[name]))
        answer = case.call(
            base_url=place.url,
            headers=place.headers,
            verify=place.ca,
            timeout=BOUND_S,
        )
        assert answer.status_code < 500 or answer.status_code == NOT_NOW, answer.text
        case.validate_response(answer, checks=CHECKS)
        met.add(answer.status_code)

    check()
    if "requestBody" in DESCRIPTION["paths"][path][method]:
        assert met - UNREAD, "no body was looked at"
